"""What was asked, one example at a time: an image, a text, a line, or numbers."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Protocol

import numpy as np

from tfs_notebook.notebook.plots.markup import ACCENT, beside, image, label
from tfs_notebook.notebook.plots.png import as_bytes, encode_within

if TYPE_CHECKING:
    from collections.abc import Mapping

SIDE = 96
"""Pixels of an image on the page."""
_BUDGET = 100_000
"""Bytes that the images of an answer take, as files, before they become coarser."""
_FLAT_SIDES = {64: 8, 784: 28}
"""Sides of images that are customarily flattened, by how many values they have: scikit-learn's digits, MNIST."""


class Subject(Protocol):
    """The examples of a batch, as something to look at."""

    @property
    def rows(self) -> int:
        """How many there are."""

    def html(self, row: int, shown: int) -> str:
        """The example `row`, one of `shown` on the page."""

    def text(self, row: int) -> str:
        """The example `row` in a few words."""


@dataclass(frozen=True, slots=True)
class Images:
    """Images: uint8[rows, height, width, channels]."""

    pixels: np.ndarray

    @property
    def rows(self) -> int:
        """How many there are."""
        return len(self.pixels)

    def html(self, row: int, shown: int) -> str:
        """The image, 96 pixels high."""
        return image(encode_within(self.pixels[row], _BUDGET // max(shown, 1)), SIDE, self.text(row))

    def text(self, row: int) -> str:
        """Which one it is."""
        return f"image {row}"


@dataclass(frozen=True, slots=True)
class Files:
    """Images that were sent as files: PNG, JPEG, GIF or WebP."""

    values: np.ndarray

    @property
    def rows(self) -> int:
        """How many there are."""
        return len(self.values)

    def html(self, row: int, shown: int) -> str:
        """The file itself; its size when it is too large for the page."""
        data = self.values[row]
        if len(data) > _BUDGET // max(shown, 1):
            return beside(escape(f"an image of {len(data)} bytes"))
        return image(data, SIDE, self.text(row)).replace("image-rendering:pixelated;", "")

    def text(self, row: int) -> str:
        """Which one it is."""
        return f"image file {row}, {len(self.values[row])} bytes"


@dataclass(frozen=True, slots=True)
class Texts:
    """Strings, as the model gets them."""

    values: np.ndarray

    @property
    def rows(self) -> int:
        """How many there are."""
        return len(self.values)

    def html(self, row: int, shown: int) -> str:  # noqa: ARG002
        """The beginning of the text."""
        text = self.text(row)
        lines = [text[start : start + 44] for start in range(0, min(len(text), 176), 44)]
        more = "…" if len(text) > 176 else ""
        return (
            '<div style="display:inline-block;vertical-align:top;width:280px;white-space:normal;font-size:13px;'
            f'line-height:17px" title="{escape(text[:500])}">{escape("".join(lines))}{more}</div>'
        )

    def text(self, row: int) -> str:
        """The text in one line."""
        value = self.values[row]
        return " ".join((value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)).split())


@dataclass(frozen=True, slots=True)
class Lines:
    """Series: float[rows, steps, variables]."""

    values: np.ndarray

    @property
    def rows(self) -> int:
        """How many there are."""
        return len(self.values)

    def html(self, row: int, shown: int) -> str:  # noqa: ARG002
        """The series as lines, the first in the accent."""
        return sparkline(self.values[row])

    def text(self, row: int) -> str:  # noqa: ARG002
        """How long it is."""
        return f"series of {self.values.shape[1]} steps"


@dataclass(frozen=True, slots=True)
class Numbers:
    """Numbers of a table: by the name of the column float[rows]."""

    columns: Mapping[str, np.ndarray]
    rows: int

    def html(self, row: int, shown: int) -> str:  # noqa: ARG002
        """The first numbers."""
        return beside(label(self.text(row), 44))

    def text(self, row: int) -> str:
        """The numbers by name."""
        return ", ".join(f"{name} {number(column[row])}".strip() for name, column in self.columns.items())


def number(value: float) -> str:
    """A number in four digits."""
    return f"{value:.4g}"


def sparkline(series: np.ndarray, *, width: int = 140, height: int = 56) -> str:
    """Lines for float[steps, variables], at most four, without axes."""
    finite = np.nan_to_num(series[:, :4].astype(np.float64))
    finite = finite[:: max(len(finite) // width, 1)]
    low, span = finite.min(), (finite.max() - finite.min()) or 1
    across = np.linspace(2, width - 2, len(finite))
    lines = []
    for position, column in reversed(list(enumerate(finite.T))):
        down = height - 3 - (column - low) / span * (height - 6)
        points = " ".join(f"{x:.0f},{y:.1f}" for x, y in zip(across, down, strict=True))
        colour = f'stroke="{ACCENT}"' if not position else 'stroke="currentColor" stroke-opacity=".5"'
        lines.append(f'<polyline points="{points}" fill="none" {colour} stroke-width="1.5"/>')
    return f'<svg width="{width}" height="{height}" role="img" aria-label="series">{"".join(lines)}</svg>'


def subject_of(inputs: Mapping[str, np.ndarray]) -> Subject | None:
    """What the inputs are; None for what is neither of the four."""
    if len(inputs) == 1:
        (array,) = inputs.values()
        return _only(array)
    columns = {alias: array.reshape(len(array)) for alias, array in inputs.items() if _is_column(array)}
    rows = {len(column) for column in columns.values()}
    if len(columns) == len(inputs) and len(rows) == 1:
        return Numbers(columns, rows.pop())
    pictures = [found for found in map(_only, inputs.values()) if isinstance(found, (Images, Files, Texts))]
    return pictures[0] if len(pictures) == 1 else None


def _is_column(array: np.ndarray) -> bool:
    return array.dtype.kind in "iufb" and array.ndim in {1, 2} and array.size == len(array) > 0


def _only(array: np.ndarray) -> Subject | None:
    if not array.ndim or not array.size:
        return None
    if array.dtype == object:
        return _strings(array.reshape(len(array))) if array.size == len(array) else None
    if array.dtype.kind not in "iufb":
        return None
    pixels = as_images(array)
    return _numbers(array) if pixels is None else Images(pixels)


def _numbers(array: np.ndarray) -> Subject | None:
    if array.ndim == 3 and array.shape[1] > 1:
        return Lines(array)
    if array.ndim == 2 and array.shape[1] > 24:
        return Lines(array[..., np.newaxis])
    columns = array.reshape(len(array), -1)
    names = [""] if columns.shape[1] == 1 else [" " * position for position in range(columns.shape[1])]
    return Numbers(dict(zip(names, columns.T, strict=True)), len(array)) if array.ndim <= 2 else None


def as_images(array: np.ndarray) -> np.ndarray | None:
    """uint8[rows, height, width, channels] of what looks like images, None for what does not."""
    if array.ndim == 4 and array.shape[3] not in {1, 3, 4} and array.shape[1] in {1, 3}:
        array = np.moveaxis(array, 1, 3)
    if array.ndim == 3 and array.shape[1] == array.shape[2] >= 8:
        array = array[..., np.newaxis]
    if array.ndim == 2 and array.shape[1] in _FLAT_SIDES and array.min() >= 0 and array.max() <= 255:
        side = _FLAT_SIDES[array.shape[1]]
        array = array.reshape(len(array), side, side, 1)
    if array.ndim != 4 or array.shape[3] not in {1, 3, 4} or min(array.shape[1:3]) < 4:
        return None
    return as_bytes(array)


def _strings(values: np.ndarray) -> Subject:
    if all(_is_picture(value) for value in values):
        return Files(values)
    return Texts(values)


def _is_picture(value: object) -> bool:
    starts = (b"\x89PNG\r\n", b"\xff\xd8\xff", b"GIF8")
    return isinstance(value, bytes) and (value.startswith(starts) or value[:4] + value[8:12] == b"RIFFWEBP")
