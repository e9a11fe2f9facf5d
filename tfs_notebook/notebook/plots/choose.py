"""Which picture suits an answer."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import numpy as np

from tfs_notebook.notebook.plots.cards import cards
from tfs_notebook.notebook.plots.charts import column_of, lines, numbers, series_of
from tfs_notebook.notebook.plots.markup import clipped, line, whole
from tfs_notebook.notebook.plots.pictures import pictures, pictures_of
from tfs_notebook.notebook.plots.scores import scores_of, true_classes
from tfs_notebook.notebook.plots.subject import Lines, subject_of
from tfs_notebook.notebook.plots.tables import table
from tfs_notebook.notebook.plots.truth import accuracy, confused

if TYPE_CHECKING:
    from tfs_notebook.notebook.plots.scores import Scores
    from tfs_notebook.notebook.plots.shown import Shown
    from tfs_notebook.notebook.plots.subject import Subject


def html(shown: Shown) -> str:
    """The picture of an answer for a page."""
    return whole(line(escape(shown.caption), small=True), *_parts(shown))


def _parts(shown: Shown) -> list[str]:
    subject, wanted = subject_of(shown.inputs), shown.plot
    if wanted in {"auto", "cards"} and (scores := scores_of(shown, subject)) is not None:
        return cards(shown, subject, scores)
    if wanted in {"auto", "pictures"} and (answered := pictures_of(shown)) is not None:
        return pictures(subject, answered)
    if wanted in {"auto", "numbers"} and (column := column_of(shown)) is not None:
        return numbers(shown, subject, *column)
    if (series := series_of(shown)) is not None and (
        wanted == "lines" or (wanted == "auto" and _long(series, subject))
    ):
        return lines(shown, subject, series)
    missing = [] if wanted in {"auto", "table"} else [line(f"--plot {wanted} does not suit this signature: a table")]
    return [*missing, *table(shown)]


def _long(series: np.ndarray, subject: Subject | None) -> bool:
    """Whether numbers in a row are steps: when there are many, or what was asked is a series."""
    return series.shape[1] >= 8 and (isinstance(subject, Lines) or series.shape[1] > 24)


def text(shown: Shown) -> str:
    """The answer for a terminal: the caption, and the arrays in a few lines each."""
    lines = [shown.caption]
    scores = scores_of(shown, subject_of(shown.inputs))
    if scores is not None and (truth := true_classes(shown)) is not None:
        lines += filter(None, [accuracy(scores, truth), confused(scores, truth)])
    if scores is not None and scores.names:
        lines += top_lines(scores)
    for alias, array in shown.outputs.items():
        lines.append(f"{alias}: {array.dtype}{list(array.shape)}\n{_few(array)}")
    return "\n".join(lines)


def top_lines(scores: Scores) -> list[str]:
    """The predicted class of the first rows, one a line."""
    lines = []
    for row in range(min(len(scores.values), 10)):
        best = ", ".join(f"{name} {score:.3f}" for name, score in scores.top(row, 3))
        lines.append(f"#{row}  {clipped(best, 90)}")
    more = len(scores.values) - len(lines)
    return [*lines, *[f"and {more} more"][: more > 0]]


def _few(array: np.ndarray) -> str:
    """The array in a few lines: rows are left out before columns are."""
    with np.printoptions(precision=4, suppress=True, threshold=100, edgeitems=4, linewidth=100):
        if array.ndim < 2 or array.size <= 100 or array[0].size > 20:
            return str(array)
        first, last = str(array[:3]), str(array[-3:])
    return f"{first[:-1]}\n ...\n {last[1:]}"
