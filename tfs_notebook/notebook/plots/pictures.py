"""Images that a model answers with: as they are, or, of masks, laid over the image that was asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tfs_notebook.notebook.plots.markup import box, image, line
from tfs_notebook.notebook.plots.png import as_bytes, encode_within
from tfs_notebook.notebook.plots.shown import MAX_SHOWN
from tfs_notebook.notebook.plots.subject import Images

if TYPE_CHECKING:
    from tfs_notebook.notebook.plots.shown import Shown
    from tfs_notebook.notebook.plots.subject import Subject

_SIDE = 128
_BUDGET = 100_000
_COLOURS = np.array(
    [[59, 130, 246], [229, 72, 77], [34, 160, 90], [230, 150, 30], [150, 90, 220], [20, 170, 190], [220, 90, 170]]
)
_MIXED = 0.55


def pictures_of(shown: Shown) -> np.ndarray | None:
    """The only output when it is an image or a mask a row, [rows, height, width, channels]; else None."""
    if len(shown.outputs) != 1 or not shown.rows:
        return None
    (array,) = shown.outputs.values()
    if array.dtype.kind not in "iufb" or not array.size:
        return None
    if array.ndim == 3 and min(array.shape[1:]) >= 8 and _same_size(shown, array):
        array = array[..., np.newaxis]
    return array if array.ndim == 4 and min(array.shape[1:3]) >= 4 and array.shape[3] <= 256 else None


def _same_size(shown: Shown, array: np.ndarray) -> bool:
    return any(given.ndim >= 3 and given.shape[:3] == array.shape for given in shown.inputs.values())


def pictures(subject: Subject | None, answered: np.ndarray) -> list[str]:
    """Each of the first rows: what was asked, and beside it the image; a mask lies over what was asked."""
    asked = subject.pixels if isinstance(subject, Images) else None
    fits = asked is not None and asked.shape[1:3] == answered.shape[1:3]
    mask = classes_of(answered) if fits or answered.shape[3] not in {1, 3, 4} else None
    rows = range(min(len(answered), MAX_SHOWN, len(asked) if asked is not None else MAX_SHOWN))
    limit = _BUDGET // (2 * max(len(rows), 1))
    pixels = as_bytes(answered) if mask is None else None
    parts = []
    for row in rows:
        before = "" if asked is None else image(encode_within(asked[row], limit), _SIDE, f"image {row}") + "&nbsp;"
        if mask is not None:
            after = overlaid(asked[row] if asked is not None and fits else None, mask[row])
        elif pixels is not None:
            after = pixels[row]
        parts.append(
            box(
                f'<div style="font-size:11px">#{row}</div>{before}{image(encode_within(after, limit), _SIDE, "answer")}'
            )
        )
    more = len(answered) - len(rows)
    return [*parts, *[line(f"and {more} more", small=True)][: more > 0]]


def classes_of(answered: np.ndarray) -> np.ndarray | None:
    """The class of each pixel, int[rows, height, width] with 0 for none; None for what is no mask.

    Masks are whole numbers below 256, one channel of probabilities, or scores that add up to one.
    """
    channels = answered.shape[3]
    if channels == 1:
        values = answered[..., 0]
        if values.dtype.kind in "iub" and int(values.max()) < 256 and len(np.unique(values[:4])) <= 32:
            return values.astype(np.int64)
        if values.dtype.kind == "f" and values.min() >= 0 and values.max() <= 1:
            extreme = ((values < 0.1) | (values > 0.9)).mean()
            return (values > 0.5).astype(np.int64) if extreme > 0.8 else None
        return None
    if answered.dtype.kind == "f" and answered.min() >= 0 and np.allclose(answered.sum(axis=3), 1, atol=0.02):
        return np.asarray(answered.argmax(axis=3))
    return np.asarray(answered.argmax(axis=3)) if channels > 4 else None


def overlaid(below: np.ndarray | None, mask: np.ndarray) -> np.ndarray:
    """uint8[height, width, 3]: the image with each class of the mask in a colour of its own, 0 left as it is."""
    if below is None:
        below = np.zeros((*mask.shape, 3), np.uint8)
    grey = np.repeat(below[..., :1], 3, axis=2) if below.shape[2] < 3 else below[..., :3]
    colours = _COLOURS[(mask - 1) % len(_COLOURS)]
    mixed = np.where((mask > 0)[..., np.newaxis], grey * (1 - _MIXED) + colours * _MIXED, grey)
    return mixed.astype(np.uint8)
