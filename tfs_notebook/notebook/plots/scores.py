"""Scores of classes among outputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tfs_notebook.notebook.plots.shown import Shown
    from tfs_notebook.notebook.plots.subject import Subject


@dataclass(frozen=True, slots=True)
class Scores:
    """How sure a model is of each class: float[rows, classes], 0 to 1; `note` says what was made of the outputs."""

    values: np.ndarray
    names: tuple[str, ...]
    note: str = ""

    @property
    def predicted(self) -> np.ndarray:
        """The class with the highest score, int[rows]."""
        found: np.ndarray = self.values.argmax(axis=1)
        return found

    @property
    def sure(self) -> np.ndarray:
        """The highest score, float[rows]."""
        found: np.ndarray = self.values.max(axis=1)
        return found

    def name(self, number: int) -> str:
        """What the class is called."""
        return self.names[number] if 0 <= number < len(self.names) else str(number)

    def top(self, row: int, count: int) -> list[tuple[str, float]]:
        """The classes with the highest scores, the highest first."""
        scores = self.values[row]
        order = np.argsort(-scores, kind="stable")[:count]
        return [(self.name(int(number)), float(scores[number])) for number in order]


def scores_of(shown: Shown, subject: Subject | None) -> Scores | None:
    """The scores among the outputs of `shown`; None when there are none.

    Rows that add up to one are scores; others are when names were given, or what was asked are images or texts.
    """
    expected = subject is not None and type(subject).__name__ in {"Images", "Files", "Texts"}
    for array in shown.outputs.values():
        if array.ndim != 2 or array.dtype.kind not in "fV" or not len(array) or array.shape[1] > 100_000:
            continue
        values = np.nan_to_num(array.astype(np.float32))
        if values.shape[1] == 1:
            if (expected or shown.classes) and values.min() >= 0 and values.max() <= 1 and len(shown.classes) in {0, 2}:
                return Scores(np.hstack([1 - values, values]), shown.classes)
        elif values.min() >= 0 and np.allclose(values.sum(axis=1), 1, atol=0.02):
            return Scores(values, shown.classes)
        elif shown.plot == "cards" or shown.classes or (expected and values.shape[1] <= 1001):
            return _others(values, shown.classes)
    return None


def _others(values: np.ndarray, names: tuple[str, ...]) -> Scores:
    """Of numbers that do not add up to one: several classes may hold at a time, or they are logits."""
    if values.min() >= 0 and values.max() <= 1:
        return Scores(values, names)
    powers = np.exp(values - values.max(axis=1, keepdims=True))
    return Scores(powers / powers.sum(axis=1, keepdims=True), names, "softmax of the outputs")


def true_classes(shown: Shown) -> np.ndarray | None:
    """The truth as numbers of classes, int[rows]; None when there is none, or it is something else."""
    truth = shown.truth
    if truth is None or truth.ndim != 1 or truth.dtype.kind not in "iufb":
        return None
    whole = truth.astype(np.int64)
    return whole if (whole == truth).all() and whole.min(initial=0) >= 0 else None
