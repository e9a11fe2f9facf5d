"""Anything that has no better picture: dtypes, shapes and the first rows."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import numpy as np

from tfs_notebook.notebook.plots.markup import clipped, label, line

if TYPE_CHECKING:
    from tfs_notebook.notebook.plots.shown import Shown

_ROWS = 10
_CELL = "padding:2px 14px 2px 0;text-align:left;font-size:12px;vertical-align:top"


def table(shown: Shown) -> list[str]:
    """Outputs with their dtypes and shapes; the first rows beside what was asked, when they are one a row."""
    if not shown.rows:
        return [_array(alias, array) for alias, array in shown.outputs.items()]
    inputs = {alias: array for alias, array in shown.inputs.items() if array.ndim and len(array) == shown.rows}
    columns = [(alias, array, "") for alias, array in inputs.items()]
    columns += [(alias, array, " →" if inputs and alias == next(iter(shown.outputs)) else "") for alias, array in
                shown.outputs.items()]  # fmt: skip
    if shown.truth is not None:
        columns.append(("truth", np.asarray(shown.truth), ""))
    head = "".join(
        f'<th style="{_CELL}">{arrow} {label(alias, 24)}<br><span style="font-weight:normal">{_kind(array)}</span></th>'
        for alias, array, arrow in columns
    )
    rows = "".join(_row(row, [array for _, array, _ in columns]) for row in range(min(shown.rows, _ROWS)))
    more = [line(f"and {shown.rows - _ROWS} more", small=True)] if shown.rows > _ROWS else []
    first = f'<th style="{_CELL}">#</th>'
    return [f'<table style="border-collapse:collapse;margin:0 0 6px 0"><tr>{first}{head}</tr>{rows}</table>', *more]


def _row(row: int, arrays: list[np.ndarray]) -> str:
    cells = "".join(f'<td style="{_CELL}">{label(value(array[row]), 60)}</td>' for array in arrays)
    return f'<tr><td style="{_CELL}">{row}</td>{cells}</tr>'


def _array(alias: str, array: np.ndarray) -> str:
    return line(f"<b>{label(alias, 40)}</b> {_kind(array)}: {label(value(array), 300)}")


def _kind(array: np.ndarray) -> str:
    dtype = "string" if array.dtype == object else str(array.dtype)
    return escape(f"{dtype}[{', '.join(map(str, array.shape))}]")


def value(item: object) -> str:
    """A value in a few words."""
    if isinstance(item, bytes):
        return repr(item.decode()) if _is_text(item) else f"{len(item)} bytes"
    if isinstance(item, np.ndarray) and item.ndim:
        with np.printoptions(precision=4, suppress=True, threshold=12, edgeitems=3, linewidth=1000):
            return clipped(str(item), 300)
    return f"{item:.6g}" if isinstance(item, (float, np.floating)) else str(item)


def _is_text(item: bytes) -> bool:
    try:
        return item.decode().isprintable()
    except UnicodeDecodeError:
        return False
