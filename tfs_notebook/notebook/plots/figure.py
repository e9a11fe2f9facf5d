"""An answer as a matplotlib Figure, made without pyplot: transparent, and grey enough for light and dark pages."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from tfs_notebook.notebook.plots.cards import ordered
from tfs_notebook.notebook.plots.markup import ACCENT, WRONG, clipped
from tfs_notebook.notebook.plots.scores import scores_of, true_classes
from tfs_notebook.notebook.plots.shown import MAX_SHOWN
from tfs_notebook.notebook.plots.subject import Images, subject_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tfs_notebook.notebook.plots.scores import Scores
    from tfs_notebook.notebook.plots.shown import Shown

_INK = "#808080"


class Picture(Figure):
    """A Figure that shows itself, whether or not pyplot's inline backend is there."""

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        self.savefig(file, format="png", dpi=96)
        return file.getvalue()


def figure(shown: Shown) -> Any:
    """The picture of `shown`: images with their classes, else each output as lines or points, against the truth."""
    subject = subject_of(shown.inputs)
    scores = scores_of(shown, subject)
    drawn = _outputs(shown) if scores is None or not isinstance(subject, Images) else _images(shown, subject, scores)
    return _readable(drawn)


def _readable(drawn: Figure) -> Figure:
    """The figure without a ground, its ink visible on a light and on a dark one."""
    drawn.patch.set_alpha(0)
    for axes in drawn.axes:
        axes.patch.set_alpha(0)
        axes.tick_params(colors=_INK)
        for text in (axes.title, axes.xaxis.label, axes.yaxis.label):
            text.set_color(WRONG if text.get_color() == WRONG else _INK)
        for spine in axes.spines.values():
            spine.set_color(_INK)
    return drawn


def bars(parts: Mapping[str, Mapping[str, float]]) -> Any:
    """Numbers by name under each title, as bars beside each other."""
    drawn = Picture(figsize=(4 * len(parts), 0.8 + 0.35 * max(map(len, parts.values()))), layout="constrained")
    for position, (title, numbers) in enumerate(parts.items()):
        axes = drawn.add_subplot(1, len(parts), position + 1)
        held = axes.barh(list(numbers), list(numbers.values()), color=ACCENT)
        axes.bar_label(held, fmt="{:.3g}", padding=3, color=_INK)
        axes.set(xlabel=title, xlim=(0, 1.2 * max(numbers.values()) or 1))
        axes.invert_yaxis()
    return _readable(drawn)


def _images(shown: Shown, images: Images, scores: Scores) -> Figure:
    truth = true_classes(shown)
    rows = ordered(scores, truth, images.rows)[0][:MAX_SHOWN]
    columns = min(len(rows), 8)
    lines = -(-len(rows) // columns)
    drawn = Picture(figsize=(1.4 * columns, 1.7 * lines), layout="constrained")
    for position, row in enumerate(rows):
        axes = drawn.add_subplot(lines, columns, position + 1)
        pixels = images.pixels[row]
        axes.imshow(pixels[..., 0] if pixels.shape[2] == 1 else pixels, cmap="gray", vmin=0, vmax=255)
        axes.set_axis_off()
        (name, score), *_ = scores.top(int(row), 1)
        wrong = truth is not None and scores.predicted[row] != truth[row]
        axes.set_title(f"{clipped(name, 12)} {score:.2f}", fontsize=9, color=WRONG if wrong else _INK)
    return drawn


def _outputs(shown: Shown) -> Figure:
    numeric = {alias: array for alias, array in shown.outputs.items() if array.dtype.kind in "iufb"}
    if not numeric:
        raise ValueError("No output holds numbers: there is nothing to plot")
    drawn = Picture(figsize=(6, 2.6 * len(numeric)), layout="constrained")
    for position, (alias, array) in enumerate(numeric.items()):
        axes = drawn.add_subplot(len(numeric), 1, position + 1)
        _draw(axes, alias, array, shown)
    return drawn


def _draw(axes: Any, alias: str, array: np.ndarray, shown: Shown) -> None:
    if array.ndim > 1 and array.size > len(array):
        for row in array.reshape(len(array), -1)[:8]:
            axes.plot(row)
        axes.set(ylabel=alias)
    elif shown.truth is not None and shown.truth.dtype.kind in "iufb" and shown.truth.size == array.size:
        truth, values = shown.truth.ravel(), array.ravel()
        ends = [min(truth.min(), values.min()), max(truth.max(), values.max())]
        axes.plot(ends, ends, color=_INK, linewidth=1)
        axes.plot(truth, values, ".", color=ACCENT)
        axes.set(xlabel="truth", ylabel=alias)
    else:
        axes.plot(np.atleast_1d(array).ravel(), "." if array.size > 1 else "o", color=ACCENT)
        axes.set(xlabel="row", ylabel=alias)
