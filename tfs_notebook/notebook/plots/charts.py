"""Numbers and series as charts: inline SVG in the colour of the page's text, and one accent."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import numpy as np

from tfs_notebook.notebook.plots.markup import ACCENT, box, label, line
from tfs_notebook.notebook.plots.subject import Lines, number

if TYPE_CHECKING:
    from tfs_notebook.notebook.plots.shown import Shown
    from tfs_notebook.notebook.plots.subject import Subject

_WIDTH, _HEIGHT, _EDGE = 340, 200, 30
_STRIP = 160
_ROWS = 10
_SERIES = 12
_DOTS = 600
_CELL = "padding:1px 14px 1px 0;text-align:left;font-size:12px;white-space:nowrap"


def column_of(shown: Shown) -> tuple[str, np.ndarray] | None:
    """The only output, its alias and float[rows], when it is one number a row; else None."""
    if len(shown.outputs) != 1 or not shown.rows:
        return None
    ((alias, array),) = shown.outputs.items()
    if array.size != len(array) or array.dtype.kind not in "iufV":
        return None
    return alias, array.reshape(len(array)).astype(np.float64)


def numbers(shown: Shown, subject: Subject | None, alias: str, values: np.ndarray) -> list[str]:
    """Each number with its place among all; with truth a scatter plot and the errors."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return [line(f"{len(values)} values, none of them finite")]
    told = (
        f"<b>{escape(alias)}</b>: {len(values)} values from {number(finite.min())} to {number(finite.max())}, "
        f"mean {number(finite.mean())}"
    )
    if len(finite) < len(values):
        told += f", {len(values) - len(finite)} not finite"
    parts = [line(told)]
    if shown.truth is not None and shown.truth.size == len(values) and shown.truth.dtype.kind in "iuf":
        truth = shown.truth.reshape(len(values)).astype(np.float64)
        parts += [line(f"<b>{errors(values, truth)}</b>"), _scatter(truth, values)]
    elif len(finite) >= 20:
        parts.append(_histogram(finite))
    rows = "".join(_row(row, values, finite, subject) for row in range(min(len(values), _ROWS)))
    more = [line(f"and {len(values) - _ROWS} more", small=True)] if len(values) > _ROWS else []
    return [*parts, f'<table style="border-collapse:collapse;margin:0 0 6px 0">{rows}</table>', *more]


def errors(values: np.ndarray, truth: np.ndarray) -> str:
    """How far the values are from the truth, in words."""
    distance = values - truth
    spread = float(((truth - truth.mean()) ** 2).sum())
    explained = f" · R² {1 - float((distance**2).sum()) / spread:.3f}" if spread else ""
    return f"mean absolute error {number(np.abs(distance).mean())}{explained}"


def _row(row: int, values: np.ndarray, finite: np.ndarray, subject: Subject | None) -> str:
    asked = label(subject.text(row), 48) if subject is not None and row < subject.rows else ""
    span = (finite.max() - finite.min()) or 1
    place = 3 + (_STRIP - 6) * (values[row] - finite.min()) / span
    mark = f'<circle cx="{place:.1f}" cy="6" r="4" fill="{ACCENT}"/>' if np.isfinite(place) else ""
    strip = (
        f'<svg width="{_STRIP}" height="12" role="img" aria-label="place among all values">'
        f'<line x1="3" x2="{_STRIP - 3}" y1="6" y2="6" stroke="currentColor" stroke-opacity=".4"/>{mark}</svg>'
    )
    cells = (f"#{row}", asked, f"<b>{number(values[row])}</b>", strip)
    return f"<tr>{''.join(f'<td style={chr(34)}{_CELL}{chr(34)}>{cell}</td>' for cell in cells)}</tr>"


def _frame(content: str, across: tuple[float, float], down: tuple[float, float], title: str) -> str:
    """`content` in a frame whose ends are labelled."""
    texts = (
        (_EDGE + 4, _HEIGHT - 6, "start", number(across[0])),
        (_WIDTH - 2, _HEIGHT - 6, "end", number(across[1])),
        (_EDGE + 4, 14, "start", number(down[1])),
        (_WIDTH - 2, 14, "end", title),
    )
    labels = "".join(
        f'<text x="{x}" y="{y}" text-anchor="{anchor}" font-size="11" fill="currentColor">{escape(text)}</text>'
        for x, y, anchor, text in texts
    )
    axes = f"M{_EDGE},18 V{_HEIGHT - 20} H{_WIDTH}"
    return (
        f'<svg width="{_WIDTH}" height="{_HEIGHT}" role="img" aria-label="{escape(title)}">{content}'
        f'<path d="{axes}" fill="none" stroke="currentColor" stroke-opacity=".6"/>{labels}</svg>'
    )


def _histogram(values: np.ndarray) -> str:
    counts, edges = np.histogram(values, bins=min(24, max(int(len(values) ** 0.5), 6)))
    width = (_WIDTH - _EDGE) / len(counts)
    tops = counts / counts.max() * (_HEIGHT - 44)
    content = "".join(
        f'<rect x="{_EDGE + position * width:.1f}" y="{_HEIGHT - 20 - top:.1f}" width="{width - 1:.1f}" '
        f'height="{top:.1f}" fill="{ACCENT}"/>'
        for position, top in enumerate(tops)
    )
    return _frame(content, (edges[0], edges[-1]), (0, float(counts.max())), "how often")


def _scatter(truth: np.ndarray, values: np.ndarray) -> str:
    both = np.concatenate([truth, values])
    both = both[np.isfinite(both)]
    low, span = both.min(), (both.max() - both.min()) or 1
    step = -(-len(values) // _DOTS)
    x = _EDGE + 4 + (truth[::step] - low) / span * (_WIDTH - _EDGE - 8)
    y = _HEIGHT - 24 - (values[::step] - low) / span * (_HEIGHT - 48)
    dots = "".join(
        f'<circle cx="{a:.0f}" cy="{b:.0f}" r="2.5" fill="{ACCENT}" fill-opacity=".7"/>'
        for a, b in zip(x, y, strict=True)
        if np.isfinite(a) and np.isfinite(b)
    )
    diagonal = (
        f'<line x1="{_EDGE + 4}" y1="{_HEIGHT - 24}" x2="{_WIDTH - 4}" y2="24" stroke="currentColor" '
        'stroke-opacity=".5" stroke-dasharray="4 3"/>'
    )
    return _frame(diagonal + dots, (low, low + span), (low, low + span), "right: true, up: predicted")


def series_of(shown: Shown) -> np.ndarray | None:
    """The only output as float[rows, steps, variables] when it is a series a row; else None."""
    if len(shown.outputs) != 1 or not shown.rows:
        return None
    (array,) = shown.outputs.values()
    if array.dtype.kind not in "iufV" or array.ndim not in {2, 3} or array.shape[1] < 2 or not array.size:
        return None
    return (array if array.ndim == 3 else array[..., np.newaxis]).astype(np.float64)


def lines(shown: Shown, subject: Subject | None, series: np.ndarray) -> list[str]:
    """A chart for each of the first rows: what was asked, then what was answered, and the truth where there is one."""
    asked = subject.values if isinstance(subject, Lines) else np.zeros((0, 0, 1))
    truth = shown.truth if shown.truth is not None and shown.truth.shape[:2] == series.shape[:2] else None
    parts = [line(legend(bool(len(asked)), truth is not None), small=True)]
    for row in range(min(len(series), _SERIES)):
        before = asked[row, :, :1] if row < len(asked) else np.zeros((0, 1))
        true = np.zeros((0, 1)) if truth is None else truth[row].reshape(series.shape[1], -1)[:, :1]
        chart = _chart(before.astype(np.float64), series[row, :, :4], true.astype(np.float64))
        parts.append(box(f'<div style="font-size:11px">#{row}</div>{chart}'))
    return [*parts, *[line(f"and {len(series) - _SERIES} more", small=True)][: len(series) > _SERIES]]


def legend(asked: bool, truth: bool) -> str:
    """What the lines of a chart are."""
    parts = ["thin: what was asked"] * asked + ["blue: what was answered"] + ["dashed: what is true"] * truth
    return "; ".join(parts)


def _chart(before: np.ndarray, after: np.ndarray, true: np.ndarray) -> str:
    width, height = 240, 80
    everything = np.concatenate([before.ravel(), after.ravel(), true.ravel()])
    everything = everything[np.isfinite(everything)]
    low, span = (everything.min(), (everything.max() - everything.min()) or 1) if len(everything) else (0.0, 1.0)
    steps = max(len(before) + len(after) - 1, 1)

    def drawn(values: np.ndarray, start: int, style: str) -> str:
        step = max(len(values) // width, 1)
        kept = np.nan_to_num(values[::step])
        across = 2 + (start + step * np.arange(len(kept))) / steps * (width - 4)
        down = height - 3 - (kept - low) / span * (height - 6)
        points = " ".join(f"{x:.0f},{y:.0f}" for x, y in zip(across, down, strict=True))
        return f'<polyline points="{points}" fill="none" {style}/>' if len(values) else ""

    content = "".join(drawn(column, len(before), f'stroke="{ACCENT}" stroke-width="1.7"') for column in after.T)
    content += drawn(before[:, 0], 0, 'stroke="currentColor" stroke-opacity=".7"')
    content += drawn(
        true[:, 0] if true.size else true.ravel(), len(before), 'stroke="currentColor" stroke-dasharray="3 3"'
    )
    ends = f"{number(float(low))} … {number(float(low + span))}"
    return (
        f'<svg width="{width}" height="{height}" role="img" aria-label="series">{content}</svg>'
        f'<div style="font-size:11px">{ends}</div>'
    )
