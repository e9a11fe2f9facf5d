from __future__ import annotations

import subprocess
import sys

import numpy as np

from tests.notebook.plots.test_cards import scores, shown
from tfs_notebook.notebook.plots.figure import figure
from tfs_notebook.notebook.plots.shown import Shown


def test_images_are_drawn_with_their_class() -> None:
    drawn = figure(shown(30, classes=tuple("abcdefghij")))
    titles = [axes.get_title() for axes in drawn.axes]
    assert titles[:2] == ["a 0.40", "b 0.42"]
    assert len(titles) == 24
    assert drawn._repr_png_()[:8] == b"\x89PNG\r\n\x1a\n"
    assert drawn.patch.get_alpha() == 0


def test_numbers_are_drawn_against_the_truth_and_series_as_lines() -> None:
    values = np.linspace(0, 1, 9)
    against = figure(Shown("m", {"x": values}, {"y": values}, truth=values + 0.1))
    assert against.axes[0].get_xlabel() == "truth"
    lines = figure(Shown("m", {"x": values}, {"y": np.zeros((3, 50)), "z": scores(3)}))
    assert [len(axes.lines) for axes in lines.axes] == [3, 3]


def test_pyplot_is_not_imported() -> None:
    script = (
        "import sys, numpy as np\nfrom tfs_notebook.notebook.plots.figure import figure\n"
        "from tfs_notebook.notebook.plots.shown import Shown\n"
        "figure(Shown('m', {}, {'y': np.zeros(3)}))._repr_png_()\nprint('matplotlib.pyplot' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout == "False\n"
