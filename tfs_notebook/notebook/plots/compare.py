"""Answers to the same rows side by side, those that are not alike first."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import numpy as np

from tfs_notebook.notebook.plots.cards import bars
from tfs_notebook.notebook.plots.markup import beside, box, clipped, label, line, whole
from tfs_notebook.notebook.plots.scores import scores_of, true_classes
from tfs_notebook.notebook.plots.shown import MAX_SHOWN
from tfs_notebook.notebook.plots.subject import subject_of
from tfs_notebook.notebook.plots.tables import value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tfs_notebook.notebook.plots.scores import Scores
    from tfs_notebook.notebook.plots.shown import Shown
    from tfs_notebook.notebook.plots.subject import Subject

_TOP = 3
_RELATIVE, _ABSOLUTE = 1e-3, 1e-5
_CELL = "padding:2px 14px 2px 0;text-align:left;font-size:12px"


def differing(answers: Mapping[str, Shown]) -> np.ndarray:
    """The rows that are not answered alike, those that differ most first: int[n]."""
    found = _scores(answers)
    if found is None:
        differences = _differences(answers)
        return np.argsort(-differences, kind="stable")[: int((differences > 0).sum())]
    predicted = np.stack([scores.predicted for scores in found.values()])
    rows = np.flatnonzero((predicted != predicted[0]).any(axis=0))
    sure = np.min([scores.sure[rows] for scores in found.values()], axis=0)
    return rows[np.argsort(-sure, kind="stable")]


def _scores(answers: Mapping[str, Shown]) -> dict[str, Scores] | None:
    """The class scores of all answers, None unless all have some, of as many rows and classes."""
    found = {name: scores_of(shown, subject_of(shown.inputs)) for name, shown in answers.items()}
    same = {scores.values.shape if scores is not None else () for scores in found.values()}
    if len(same) > 1 or () in same:
        return None
    return {name: scores for name, scores in found.items() if scores is not None}


def _differences(answers: Mapping[str, Shown]) -> np.ndarray:
    """By how much the answers differ in each row, 0 where it is no more than rounding."""
    first, *others = [shown.outputs for shown in answers.values()]
    rows = next(iter(answers.values())).rows
    largest = np.zeros(rows)
    for outputs in others:
        for alias in first.keys() & outputs.keys():
            if first[alias].shape == outputs[alias].shape and rows:
                largest = np.maximum(largest, _difference(first[alias], outputs[alias]))
    return largest


def _difference(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    one, other = one.reshape(len(one), -1), other.reshape(len(other), -1)
    if one.dtype.kind not in "iufbV":
        unlike: np.ndarray = (one != other).any(axis=1).astype(np.float64)
        return unlike
    one, other = one.astype(np.float64), other.astype(np.float64)
    close = np.isclose(one, other, rtol=_RELATIVE, atol=_ABSOLUTE, equal_nan=True)
    distance = np.nan_to_num(np.abs(one - other), nan=np.inf)
    largest: np.ndarray = np.where(close, 0, distance).max(axis=1, initial=0)
    return largest


def summary(answers: Mapping[str, Shown]) -> str:
    """How many rows differ and, with truth, how good each is: "47 of 360 differ; canary 0.964, stable 0.875"."""
    shown, found = next(iter(answers.values())), _scores(answers)
    rows = len(differing(answers))
    told = f"{rows} of {shown.rows} differ"
    if found is None and rows:
        told += f", by up to {_differences(answers).max():.3g}"
    quality = accuracies(answers)
    if quality:
        unit = "" if found is not None else "mean absolute error: "
        told += f"; {unit}" + ", ".join(f"{name} {share:.3f}" for name, share in quality.items())
    return told


def accuracies(answers: Mapping[str, Shown]) -> dict[str, float]:
    """The share of right classes of each, its mean absolute error where the outputs are numbers; {} without truth."""
    shown, found = next(iter(answers.values())), _scores(answers)
    truth = true_classes(shown) if found is not None else shown.truth
    if truth is None:
        return {}
    if found is not None:
        return {name: float((scores.predicted == truth).mean()) for name, scores in found.items()}
    columns = {name: next(iter(each.outputs.values())) for name, each in answers.items()}
    if any(column.size != truth.size or column.dtype.kind not in "iuf" for column in columns.values()):
        return {}
    return {name: float(np.abs(column.ravel() - truth.ravel()).mean()) for name, column in columns.items()}


def figure_parts(answers: Mapping[str, Shown], seconds: Mapping[str, float]) -> dict[str, Mapping[str, float]]:
    """What is compared in a chart: numbers by answer under their titles."""
    parts: dict[str, Mapping[str, float]] = {"milliseconds": {name: 1000 * took for name, took in seconds.items()}}
    if quality := accuracies(answers):
        parts = {"accuracy" if _scores(answers) is not None else "mean absolute error": quality, **parts}
    return parts


def text(answers: Mapping[str, Shown]) -> str:
    """The comparison for a terminal."""
    lines = [summary(answers), *(shown.caption for shown in answers.values())]
    found, rows = _scores(answers), differing(answers)
    for row in rows[:10]:
        parts = []
        for name, shown in answers.items():
            (best, score), *_ = found[name].top(int(row), 1) if found is not None else [("", 0.0)]
            told = f"{best} {score:.3f}" if found is not None else value(next(iter(shown.outputs.values()))[row])
            parts.append(f"{name} {clipped(told, 60)}")
        lines.append(f"#{row}  {' | '.join(parts)}")
    return "\n".join([*lines, *[f"and {len(rows) - 10} more"][: len(rows) > 10]])


def html(answers: Mapping[str, Shown]) -> str:
    """The comparison for a page."""
    captions = [line(escape(shown.caption), small=True) for shown in answers.values()]
    found = _scores(answers)
    drawn = _cards(answers, found) if found is not None else _table(answers)
    return whole(*captions, line(f"<b>{escape(summary(answers))}</b>"), *drawn)


def _cards(answers: Mapping[str, Shown], found: Mapping[str, Scores]) -> list[str]:
    shown = next(iter(answers.values()))
    subject, truth = subject_of(shown.inputs), true_classes(shown)
    known = len(next(iter(found.values())).values) if subject is None else subject.rows
    rows = [int(row) for row in _order(answers, found) if row < known]
    most = max(MAX_SHOWN // len(found), 6)
    cards = [_card(row, subject, found, truth, most) for row in rows[:most]]
    return [*cards, *[line(f"and {shown.rows - most} more", small=True)][: shown.rows > most]]


def _order(answers: Mapping[str, Shown], found: Mapping[str, Scores]) -> np.ndarray:
    """Those that differ, then those that any is least sure of."""
    first = differing(answers)
    sure = np.min([scores.sure for scores in found.values()], axis=0)
    rest = np.argsort(sure, kind="stable")
    return np.concatenate([first, rest[~np.isin(rest, first)]])


def _card(row: int, subject: Subject | None, found: Mapping[str, Scores], truth: np.ndarray | None, drawn: int) -> str:
    first = next(iter(found.values()))
    unlike = len({int(scores.predicted[row]) for scores in found.values()}) > 1
    true = "" if truth is None else f" · is <b>{label(first.name(int(truth[row])), 16)}</b>"
    head = f'<div style="font-size:11px;line-height:14px">#{row}{" · differ" if unlike else ""}{true}</div>'
    picture = "" if subject is None else subject.html(row, drawn)
    return box(picture + beside(head + "".join(_one(row, name, each, truth) for name, each in found.items())))


def _one(row: int, name: str, scores: Scores, truth: np.ndarray | None) -> str:
    mark = "" if truth is None else " ✓" if scores.predicted[row] == truth[row] else " ✗"
    return (
        '<div style="display:inline-block;vertical-align:top;margin-right:8px;min-width:158px">'
        f"<div>{label(name, 18)}{mark}</div>{bars(scores, row, _TOP)}</div>"
    )


def _table(answers: Mapping[str, Shown]) -> list[str]:
    shown = next(iter(answers.values()))
    if not shown.rows:
        return [line(f"{escape(name)}: {label(text_of(each), 200)}") for name, each in answers.items()]
    differences, subject = _differences(answers), subject_of(shown.inputs)
    head = "".join(f'<th style="{_CELL}">{label(name, 24)}</th>' for name in ["#", "input", *answers, "difference"])
    rows = np.argsort(-differences, kind="stable")[:MAX_SHOWN]
    cells = [
        [str(row), subject.text(int(row)) if subject is not None and row < subject.rows else ""]
        + [text_of(each, int(row)) for each in answers.values()]
        + [f"{differences[row]:.3g}" if differences[row] else "–"]
        for row in rows
    ]
    body = "".join(
        f"<tr>{''.join(f'<td style={chr(34)}{_CELL}{chr(34)}>{label(cell, 48)}</td>' for cell in line_)}</tr>"
        for line_ in cells
    )
    more = [line(f"and {shown.rows - len(rows)} more", small=True)] if shown.rows > len(rows) else []
    return [f'<table style="border-collapse:collapse;margin:0 0 6px 0"><tr>{head}</tr>{body}</table>', *more]


def text_of(shown: Shown, row: int | None = None) -> str:
    """The outputs of a row, or all of them, in a few words."""
    parts = {alias: value(array if row is None else array[row]) for alias, array in shown.outputs.items()}
    return ", ".join(f"{alias} {told}" if len(parts) > 1 else told for alias, told in parts.items())
