"""Predicted classes beside the true ones."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import numpy as np

from tfs_notebook.notebook.plots.markup import clipped, line

if TYPE_CHECKING:
    from tfs_notebook.notebook.plots.scores import Scores

_MAX_CLASSES = 24
_MAX_PAIRS = 5


def accuracy(scores: Scores, truth: np.ndarray) -> str:
    """The share of right predictions in words."""
    right = int((scores.predicted == truth).sum())
    return f"accuracy {right / len(truth):.3f} · {right} of {len(truth)} right"


def confused(scores: Scores, truth: np.ndarray) -> str:
    """What is taken for what most often; "" when nothing is wrong."""
    counts = confusion(scores, truth)
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[:_MAX_PAIRS]
    pairs = [(*divmod(int(index), len(counts)), int(counts.flat[index])) for index in order]
    told = [f"{scores.name(true)} → {scores.name(taken)} ({count})" for true, taken, count in pairs if count]
    return f"taken for another: {', '.join(told)}" if told else ""


def confusion(scores: Scores, truth: np.ndarray) -> np.ndarray:
    """int[classes, classes]: how many of each true class (row) were predicted as each class (column)."""
    classes = max(scores.values.shape[1], int(truth.max(initial=0)) + 1)
    counts = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(counts, (truth, scores.predicted), 1)
    return counts


def confusion_html(scores: Scores, truth: np.ndarray) -> str:
    """The matrix for a page; "" when it would say no more than the cards do, or is too large."""
    counts = confusion(scores, truth)
    if not 2 <= len(counts) <= _MAX_CLASSES or len(truth) < 10:
        return ""
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    names = [escape(clipped(scores.name(number), 12)) for number in range(len(counts))]
    head = "".join(f'<th style="{_CELL}">{name}</th>' for name in names)
    rows = [
        f'<tr><th style="{_CELL};text-align:right">{names[true]}</th>'
        + "".join(_cell(int(counts[true, taken]), shares[true, taken], true == taken) for taken in range(len(counts)))
        + "</tr>"
        for true in range(len(counts))
    ]
    return (
        line("rows: what is true, columns: what was predicted", small=True)
        + f'<table style="border-collapse:collapse;margin:0 0 6px 0"><tr><th style="{_CELL}"></th>{head}</tr>'
        + f"{''.join(rows)}</table>"
    )


_CELL = "padding:2px 6px;text-align:center;font-size:12px;min-width:16px"


def _cell(count: int, share: float, right: bool) -> str:
    colour = "59,130,246" if right else "229,72,77"
    strength = 0.06 if not count else 0.1 + 0.4 * share if right else min(0.25 + 0.6 * share, 0.6)
    background = f"rgba({colour},{strength:.2f})" if count else "rgba(128,128,128,.06)"
    return f'<td style="{_CELL};background:{background}">{count or ""}</td>'
