"""The parts of a sparse tensor among the inputs of a signature, and what its indices and dense shape must be.

TensorFlow's kernels trust them in part: a size below 0 or a number of rows that no memory holds ends the process, and
an index beyond the shape makes some write for minutes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tfs_notebook.errors import ServingError, invalid_argument

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

MAX_ROWS = 1 << 24
"""Kernels keep something for each row, also for those without values."""
MAX_PLACES = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class SparseInput:
    """A sparse tensor among the inputs of a signature: the aliases of its indices, of its values (None for values that
    the graph makes) and of its dense shape.
    """

    indices: str
    values: str | None
    dense_shape: str

    @property
    def aliases(self) -> tuple[str, ...]:
        """The inputs that are its parts."""
        return tuple(alias for alias in (self.indices, self.values, self.dense_shape) if alias)

    def check(self, inputs: Mapping[str, np.ndarray]) -> None:
        """Raise ServingError INVALID_ARGUMENT, with the place, for parts that are not those of one sparse tensor."""
        if any(alias not in inputs for alias in self.aliases):
            return  # the graph makes what a run of several signatures leaves out
        indices, dense_shape = inputs[self.indices], inputs[self.dense_shape]
        if dense_shape.ndim != 1:
            raise _wrong(self.dense_shape, "a vector of sizes", dense_shape.shape)
        if indices.ndim != 2 or indices.shape[1] != len(dense_shape):
            raise _wrong(
                self.indices, f"[?,{len(dense_shape)}], a column for each size of {self.dense_shape}", indices.shape
            )
        if self.values is not None and inputs[self.values].shape != (len(indices),):
            raise _wrong(
                self.values, f"[{len(indices)}], a value for each row of {self.indices}", inputs[self.values].shape
            )
        self._check_sizes(dense_shape.tolist())
        wrong = ((indices < 0) | (indices >= dense_shape)).nonzero()
        if len(wrong[0]):
            row, column = int(wrong[0][0]), int(wrong[1][0])
            where = f"{self.indices}[{row}][{column}]"
            expected = f"from 0 to below {dense_shape[column]}, as {self.dense_shape} says"
            raise invalid_argument(f"{where} must be {expected}, but is {indices[row, column]}", where=where)

    def _check_sizes(self, sizes: list[int]) -> None:
        for place, size in enumerate(sizes):
            most = MAX_PLACES if place else MAX_ROWS
            if not 0 <= size <= most:
                where = f"{self.dense_shape}[{place}]"
                raise invalid_argument(f"{where} must be from 0 to {most}, but is {size}", where=where)
        if math.prod(sizes) > MAX_PLACES:
            message = f"{self.dense_shape} has more than {MAX_PLACES} places: {sizes}"
            raise invalid_argument(message, where=self.dense_shape)


def _wrong(alias: str, expected: str, shape: tuple[int, ...]) -> ServingError:
    return invalid_argument(f"{alias} must be {expected}, but is [{','.join(map(str, shape))}]", where=alias)
