"""A card an example: what was asked, and how sure the model is of which class."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import numpy as np

from tfs_notebook.notebook.plots.markup import bar, beside, box, label, line
from tfs_notebook.notebook.plots.scores import true_classes
from tfs_notebook.notebook.plots.shown import MAX_SHOWN
from tfs_notebook.notebook.plots.truth import accuracy, confused, confusion_html

if TYPE_CHECKING:
    from tfs_notebook.notebook.plots.scores import Scores
    from tfs_notebook.notebook.plots.shown import Shown
    from tfs_notebook.notebook.plots.subject import Subject

_TOP = 5
_IN_ORDER = 4
"""So few examples stay in their order: they fit into one line."""


def cards(shown: Shown, subject: Subject | None, scores: Scores) -> list[str]:
    """The cards, and with truth what is wrong."""
    truth = true_classes(shown)
    order, how = ordered(scores, truth, len(scores.values) if subject is None else subject.rows)
    drawn = order[:MAX_SHOWN]
    parts = [_summary(truth, scores, how if len(order) > 1 else "")]
    parts += [_card(int(row), subject, scores, truth, len(drawn)) for row in drawn]
    if more := len(scores.values) - len(drawn):
        parts.append(line(f"and {more} more", small=True))
    if truth is not None:
        parts += [line(escape(told), small=True) for told in [confused(scores, truth)] if told]
        parts.append(confusion_html(scores, truth))
    return parts


def ordered(scores: Scores, truth: np.ndarray | None, known: int) -> tuple[np.ndarray, str]:
    """The numbers of the rows in the order in which they are worth a look, and how that is called.

    Only the first `known` rows can be drawn.
    """
    known = min(known, len(scores.values))
    if known <= _IN_ORDER:
        return np.arange(known), ""
    sure = scores.sure[:known]
    if truth is None:
        return np.argsort(sure, kind="stable"), "least sure first"
    right = scores.predicted[:known] == truth[:known]
    return np.lexsort((sure, right)), "wrong first, then least sure" if not right.all() else "least sure first"


def _summary(truth: np.ndarray | None, scores: Scores, how: str) -> str:
    right = f"<b>{accuracy(scores, truth)}</b>" if truth is not None else ""
    told = [right, f"{len(scores.values)} examples, {how}" if how else "", escape(scores.note)]
    text = " · ".join(filter(None, told))
    return line(text) if text else ""


def _card(row: int, subject: Subject | None, scores: Scores, truth: np.ndarray | None, drawn: int) -> str:
    wrong = truth is not None and int(scores.predicted[row]) != int(truth[row])
    is_true = "" if truth is None or not wrong else f" · <b>✗ is {label(scores.name(int(truth[row])), 16)}</b>"
    texts = f'<div style="font-size:11px;line-height:14px">#{row}{is_true}</div>{bars(scores, row)}'
    picture = "" if subject is None else subject.html(row, drawn)
    return box(picture + beside(texts), wrong=wrong)


def bars(scores: Scores, row: int, count: int = _TOP) -> str:
    """The classes with the highest scores, one a line, the highest in bold."""
    return "".join(
        _bar_line(name, score, first=not position) for position, (name, score) in enumerate(scores.top(row, count))
    )


def _bar_line(name: str, score: float, *, first: bool) -> str:
    text = f"{score:.3f}&nbsp; {label(name, 16)}"
    return f"<div>{bar(score, accent=first)}{f'<b>{text}</b>' if first else text}</div>"
