"""Whether two answers are the same but for rounding, and by how much they differ."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

_RELATIVE, _ABSOLUTE = 1e-4, 1e-6
_RELATIVE_OF_HALVES = 1e-2


def difference(one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> float:
    """The largest difference of two answers; infinite for another shape or other texts."""
    largest = 0.0
    for alias in one:
        left, right = np.asarray(one[alias]), np.asarray(other[alias])
        if left.shape != right.shape:
            return float("inf")
        if left.dtype.kind in "iufbV" and right.dtype.kind in "iufbV":
            apart = np.abs(left.astype(np.float64) - right.astype(np.float64))
            largest = max(largest, float(np.nan_to_num(apart, nan=0.0).max(initial=0.0)))
        elif not (left == right).all():
            return float("inf")
    return largest


def agree(one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> bool:
    """True when two answers differ by no more than rounding."""
    for alias in one:
        left, right = np.asarray(one[alias]), np.asarray(other[alias])
        if left.shape != right.shape:
            return False
        if left.dtype.kind in "iufbV" and right.dtype.kind in "iufbV":
            narrow = min(left.dtype.itemsize, right.dtype.itemsize) < 4
            relative = _RELATIVE_OF_HALVES if narrow else _RELATIVE
            numbers = left.astype(np.float64), right.astype(np.float64)
            if not np.allclose(*numbers, rtol=relative, atol=_ABSOLUTE, equal_nan=True):
                return False
        elif not (left == right).all():
            return False
    return True
