"""The parts of a ragged tensor among the inputs of a signature, and what their row splits must be.

TensorFlow's kernels trust row splits: wrong ones end the process, or read and write memory beside the tensors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from tfs_notebook.errors import invalid_argument

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np


@dataclass(frozen=True, slots=True)
class RaggedInput:
    """A ragged tensor among the inputs of a signature: the alias of its flat values, None for values that the graph
    makes, and those of its row splits from the outermost on.
    """

    values: str | None
    splits: tuple[str, ...]

    @property
    def aliases(self) -> tuple[str, ...]:
        """The inputs that are its parts."""
        return self.splits if self.values is None else (self.values, *self.splits)

    def check(self, inputs: Mapping[str, np.ndarray]) -> None:
        """Raise ServingError INVALID_ARGUMENT, with the place, for splits that do not split the values into rows."""
        if any(alias not in inputs for alias in self.aliases):
            return  # the graph makes what a run of several signatures leaves out
        for alias in self.splits:
            _check(alias, inputs[alias])
        for outer, inner in zip(self.splits, self.splits[1:], strict=False):
            _check_end(outer, inputs[outer], len(inputs[inner]) - 1, f"the rows of {inner}")
        if self.values is not None:
            values = inputs[self.values]
            if not values.ndim:
                raise invalid_argument(f"{self.values} must have rows, but is []", where=self.values)
            _check_end(self.splits[-1], inputs[self.splits[-1]], len(values), f"the rows of {self.values}")


def _check(alias: str, splits: np.ndarray) -> None:
    if splits.ndim != 1 or not len(splits):
        shape = ",".join(map(str, splits.shape))
        message = f"{alias} must be a vector of row splits, which begins with 0, but is [{shape}]"
        raise invalid_argument(message, where=alias)
    if splits[0] != 0:
        _refuse(f"{alias}[0]", "0, as all row splits begin", splits[0])
    falling = (splits[1:] < splits[:-1]).nonzero()[0]
    if len(falling):
        place = int(falling[0]) + 1
        _refuse(f"{alias}[{place}]", f"{splits[place - 1]} or more, as row splits never fall", splits[place])


def _check_end(alias: str, splits: np.ndarray, count: int, of: str) -> None:
    if splits[-1] != count:
        _refuse(f"{alias}[{len(splits) - 1}]", f"{count}, the number of {of}", splits[-1])


def _refuse(place: str, expected: str, value: object) -> NoReturn:
    raise invalid_argument(f"{place} must be {expected}, but is {value}", where=place)
