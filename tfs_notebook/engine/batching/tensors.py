"""Arrays of several requests as one, and what comes out of it as several again, by TensorFlow Serving's rules.

The texts are those of batching/batching_session.cc and batching/batching_util.cc.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from tfs_notebook.errors import Code, ServingError, invalid_argument

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from tfs_notebook.engine.batching.request import Part

_MAX_PADDED_DIMENSIONS = 6
_MAX_PADDED_BYTES = 1 << 30
"""What an input of a batch may take once it is padded: an empty array can have any length in a message of few bytes."""


def count_rows(inputs: Collection[np.ndarray]) -> int:
    """How many rows each of `inputs` has. Raises ServingError INVALID_ARGUMENT unless they have as many."""
    rows = -1
    for array in inputs:
        if not array.ndim:
            raise invalid_argument("Batching Run() input tensors must have at least one dimension")
        if rows not in {-1, array.shape[0]}:
            raise invalid_argument("Batching Run() input tensors must have equal 0th-dimension size")
        rows = array.shape[0]
    if rows < 0:
        raise invalid_argument("Batching Run() must have at least one input tensor")
    return rows


def merged(parts: Sequence[Part], alias: str, name: str, *, rows: int, pad: bool) -> np.ndarray:
    """The input `alias`, the tensor `name`, of all `parts` with `rows` rows: what they lack are copies of one.

    With `pad` the other dimensions are filled up to the largest of the batch. Raises ServingError FAILED_PRECONDITION
    when they differ and may not be padded, RESOURCE_EXHAUSTED when that would take too much memory.
    """
    arrays = [part.input(alias) for part in parts]
    if len(arrays) > 1 and any(array.shape[1:] != arrays[0].shape[1:] for array in arrays):
        if pad and any(array.ndim != arrays[0].ndim for array in arrays):
            raise ServingError(
                Code.FAILED_PRECONDITION,
                f"Tensors with name '{name}' from different tasks have different numbers of dimensions, which no "
                "padding makes equal",
            )
        if not pad:
            raise ServingError(
                Code.FAILED_PRECONDITION,
                f"Tensors with name '{name}' from different tasks have different shapes and padding is turned off. Set "
                "pad_variable_length_inputs to true, or ensure that all tensors with the same name have equal "
                "dimensions starting with the first dim.",
            )
        largest = np.max([array.shape[1:] for array in arrays], axis=0)
        _check_padded_size(name, arrays, largest.tolist())
        arrays = [_padded(array, largest) for array in arrays]
    lacking = rows - sum(part.rows for part in parts)
    if lacking > 0:
        arrays += _first_row(arrays) * lacking
    return np.concatenate(arrays) if len(arrays) > 1 else arrays[0]


def _check_padded_size(name: str, arrays: Sequence[np.ndarray], largest: list[int]) -> None:
    size = sum(array.shape[0] * array.itemsize for array in arrays) * math.prod(largest)
    if size > _MAX_PADDED_BYTES:
        raise ServingError(
            Code.RESOURCE_EXHAUSTED,
            f"Tensors with name '{name}' from different tasks would take {size} bytes when padded to rows of "
            f"[{','.join(map(str, largest))}]; at most {_MAX_PADDED_BYTES} are allowed",
        )


def _padded(array: np.ndarray, largest: np.ndarray) -> np.ndarray:
    """`array` with all dimensions but the first filled up to `largest`, by its own first element."""
    if array.ndim > _MAX_PADDED_DIMENSIONS:
        raise invalid_argument(f"Only tensors with rank from 1 to {_MAX_PADDED_DIMENSIONS} can be padded.")
    filler = array.flat[0] if array.size else b"" if array.dtype == object else 0
    whole = np.full((array.shape[0], *largest), filler, array.dtype)
    whole[tuple(slice(size) for size in array.shape)] = array
    return whole


def _first_row(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The first row of the last of `arrays` that has one."""
    return next(([array[:1]] for array in reversed(arrays) if array.shape[0]), [])


def split(outputs: Mapping[str, np.ndarray], parts: Sequence[Part], rows: int) -> list[dict[str, np.ndarray]]:
    """What each of `parts` gets of `outputs`; `rows` is how many were run, with those that fill up.

    Raises ServingError FAILED_PRECONDITION for an output that has not one row for every row that was run.
    """
    for array in outputs.values():
        if not array.ndim:
            raise ServingError(Code.FAILED_PRECONDITION, "Batched output tensor has 0 dimensions")
        if array.shape[0] != rows:
            raise ServingError(
                Code.FAILED_PRECONDITION,
                "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension sizes of the input "
                "tensors",
            )
    shares, start = [], 0
    for part in parts:
        stop = start + part.rows
        shares.append({alias: array[start:stop] for alias, array in outputs.items()})
        start = stop
    return shares


def joined(shares: Sequence[Mapping[str, np.ndarray]], aliases: Collection[str]) -> dict[str, np.ndarray]:
    """The outputs `aliases` of a request whose parts got `shares`."""
    if len(shares) == 1:
        return {alias: shares[0][alias] for alias in aliases}
    return {alias: np.concatenate([share[alias] for share in shares]) for alias in aliases}
