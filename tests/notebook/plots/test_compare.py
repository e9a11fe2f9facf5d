from __future__ import annotations

import numpy as np

from tests.notebook.plots.test_cards import order, scores, shown
from tfs_notebook.notebook.plots.compare import differing, figure_parts, html, summary, text
from tfs_notebook.notebook.plots.figure import bars
from tfs_notebook.notebook.plots.shown import Shown


def stable_and_canary(rows: int = 40) -> dict[str, Shown]:
    """Two answers with names of classes; the second is wrong in row 3 and, a little surer, in row 30."""
    other = scores(rows)
    other[3], other[30] = np.eye(10)[5] * 0.6 + 0.04, np.eye(10)[5] * 0.7 + 0.03
    truth = np.arange(rows) % 10
    names = tuple("abcdefghij")
    return {
        "stable": shown(rows, truth=truth, classes=names),
        "canary": shown(rows, truth=truth, classes=names, outputs={"y": other}),
    }


def test_rows_that_differ_come_first_surest_first() -> None:
    answers = stable_and_canary()
    assert differing(answers).tolist() == [30, 3]
    assert summary(answers) == "2 of 40 differ; stable 1.000, canary 0.950"
    page = html(answers)
    assert order(page)[:4] == [30, 3, 0, 1]
    assert page.count("· differ") == page.count("canary ✗") == 2
    assert "and 28 more" in page
    assert page.count("<img") == 12
    assert "#30  stable a 0.823 | canary f 0.730" in text(answers)


def test_numbers_differ_beyond_rounding() -> None:
    x, y = np.zeros((5, 3)), np.arange(5.0)
    other = y + np.array([0, 1e-7, 0.5, 0, 2.0])
    answers = {"one": Shown("", {"x": x}, {"y": y}), "two": Shown("", {"x": x}, {"y": other})}
    assert differing(answers).tolist() == [4, 2]
    assert summary(answers) == "2 of 5 differ, by up to 2"
    assert html(answers).index(">6<") < html(answers).index(">2.5<")


def test_quality_and_time_are_drawn() -> None:
    parts = figure_parts(stable_and_canary(), {"stable": 0.001, "canary": 0.002})
    assert parts == {"accuracy": {"stable": 1.0, "canary": 0.95}, "milliseconds": {"stable": 1.0, "canary": 2.0}}
    assert [axes.get_xlabel() for axes in bars(parts).axes] == ["accuracy", "milliseconds"]
