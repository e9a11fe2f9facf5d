"""What a picture is drawn of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

PLOTS = ("auto", "none", "cards", "lines", "numbers", "pictures", "table")
"""What may be asked for: by itself what suits the signature, nothing, or one kind of picture."""
MAX_SHOWN = 24
"""As many examples of a batch are drawn, in a picture that nobody scrolls through."""


@dataclass(frozen=True, slots=True)
class Shown:
    """An answer as it is drawn.

    `inputs` and `outputs` are arrays by alias, rows first (the inputs may hold the first rows only); `classes` are the
    names of classes, none when unknown; `truth` has one value a row: the number of a class, or what a number should be.
    """

    caption: str
    inputs: Mapping[str, np.ndarray]
    outputs: Mapping[str, np.ndarray]
    classes: tuple[str, ...] = ()
    truth: np.ndarray | None = None
    plot: str = "auto"

    @property
    def rows(self) -> int:
        """How many examples were asked; 0 when the outputs are not one a row."""
        sizes = {len(array) if array.ndim else 0 for array in self.outputs.values()}
        return sizes.pop() if len(sizes) == 1 else 0
