"""A server's state as a table, in HTML for the page and in text for everything else.

One list of rows feeds both, so they cannot disagree. Names come from users and are escaped. Colours are the theme's
mixed with the text's own, which makes them readable on light and dark pages, also where no JupyterLab sets a theme; a
state is always written out beside its mark.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from tfs_notebook.engine.events import State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tfs_notebook.engine.status import ModelStatus
    from tfs_notebook.engine.version import VersionStatus
    from tfs_notebook.errors import ServingError
    from tfs_notebook.server import ServerStatus

HEADER = ("Model", "Version", "State", "Labels", "Requests", "Errors", "p50", "p99", "Policy")
_NUMERIC = frozenset({"Requests", "Errors", "p50", "p99"})
_MARKS = {State.START: "◌", State.LOADING: "◔", State.AVAILABLE: "●", State.UNLOADING: "◑", State.END: "○"}
_ENDED_SHOWN = 3
_STYLE = """<style>
.tfs-server{font-size:var(--jp-ui-font-size1,13px);line-height:1.5;overflow-x:auto}
.tfs-server{padding:2px 0 2px var(--jp-code-padding,5px)}
.tfs-server table{border-collapse:collapse;margin:2px 0 4px}
.tfs-server caption{caption-side:top;text-align:left;padding:2px 0;color:inherit;white-space:nowrap}
.tfs-server th,.tfs-server td{padding:3px 16px 3px 0;text-align:left;white-space:nowrap}
.tfs-server th,.tfs-server td{border-bottom:1px solid var(--jp-border-color2,rgba(128,128,128,.4))}
.tfs-server th{font-weight:600}
.tfs-server th.tfs-number,.tfs-server td.tfs-number{text-align:right;font-variant-numeric:tabular-nums}
.tfs-server .tfs-available{color:color-mix(in srgb,var(--jp-success-color1,#4caf50) 60%,currentColor)}
.tfs-server .tfs-failed,
.tfs-server .tfs-problem{color:color-mix(in srgb,var(--jp-error-color1,#f44336) 65%,currentColor)}
.tfs-server .tfs-problem{white-space:pre-wrap;margin:2px 0}
</style>"""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: cells as in `HEADER`, and how the state is to be coloured."""

    cells: tuple[str, ...]
    tone: str = ""


def headline(status: ServerStatus) -> str:
    """Where the server answers, in one line."""
    if not status.running:
        return "TensorFlow Serving in this kernel: stopped"
    addresses = [f"REST {status.rest_url}" if status.rest_url else "", f"gRPC {status.grpc_target or ''}".rstrip()]
    shown = [part for part in addresses if part and part != "gRPC"]
    return " · ".join(("TensorFlow Serving in this kernel", *shown, ", ".join(status.devices)))


def rows(status: ServerStatus) -> list[Row]:
    """The table's lines: the versions of every configured model, then those of models that were."""
    ordered = sorted(status.models, key=lambda model: (model.config is None, model.name))
    return [row for model in ordered for row in _model_rows(model)]


def _model_rows(model: ModelStatus) -> Iterator[Row]:
    policy = str(model.config.policy) if model.config is not None else "removed"
    live = [version for version in model.versions if version.state is not State.END or version.error is not None]
    ended = [version for version in model.versions if version.state is State.END and version.error is None]
    shown = sorted([*live, *ended[:_ENDED_SHOWN]], key=lambda version: version.number, reverse=True)
    for version in shown:
        yield _version_row(model, version, policy)
    for number in sorted(model.waiting, reverse=True):
        yield Row((model.name, str(number), "… WAITING", *[""] * 5, policy))
    if not shown and not model.waiting:
        yield Row((model.name, "–", "○ NOT FOUND", *[""] * 5, policy), "failed")


def _version_row(model: ModelStatus, version: VersionStatus, policy: str) -> Row:
    state = f"{_MARKS[version.state]} {version.state.name}"
    if version.error is not None:
        again = f"FAILED, attempt {version.attempts}" if version.state is State.LOADING else "FAILED"
        state = f"✗ {again}"
    labels = ", ".join(sorted(label for label, number in model.labels.items() if number == version.number))
    count = sum(calls.count for calls in version.calls.values())
    errors = sum(calls.errors for calls in version.calls.values())
    busiest = max(version.calls.values(), key=lambda calls: calls.count, default=None)
    p50, p99 = ("", "") if busiest is None else (_duration(busiest.quantile_us(q)) for q in (0.5, 0.99))
    tone = "failed" if version.error is not None else "available" if version.state is State.AVAILABLE else ""
    return Row((model.name, str(version.number), state, labels, str(count), str(errors), p50, p99, policy), tone)


def _duration(micros: float) -> str:
    if not micros:
        return ""
    return (
        f"{micros:.0f} µs" if micros < 1000 else f"{micros / 1000:.1f} ms" if micros < 1e6 else f"{micros / 1e6:.1f} s"
    )


def problems(status: ServerStatus) -> list[str]:
    """What keeps models from serving, each with what to do about it."""
    return [_problem(problem) for model in status.models for problem in model.problems]


def _problem(error: ServingError) -> str:
    return f"{error}\n{error.hint}".rstrip()


def as_text(status: ServerStatus) -> str:
    """The table for a terminal."""
    lines = [HEADER, *(row.cells for row in rows(status))]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADER))]
    table = ["  ".join(map(_padded, HEADER, line, widths)).rstrip() for line in lines]
    return "\n".join([headline(status), *table, *problems(status)])


def _padded(title: str, cell: str, width: int) -> str:
    return cell.rjust(width) if title in _NUMERIC else cell.ljust(width)


def as_html(status: ServerStatus) -> str:
    """The table for a page."""
    head = "".join(f'<th scope="col"{_number(title)}>{title}</th>' for title in HEADER)
    body = "".join(_html_row(row) for row in rows(status))
    notes = "".join(f'<div class="tfs-problem">{escape(text)}</div>' for text in problems(status))
    return (
        f'{_STYLE}<div class="tfs-server"><table><caption>{escape(headline(status))}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{notes}</div>"
    )


def _html_row(row: Row) -> str:
    cells = []
    for title, cell in zip(HEADER, row.cells, strict=True):
        attributes = f' class="tfs-{row.tone}"' if title == "State" and row.tone else _number(title)
        cells.append(f"<td{attributes}>{escape(cell)}</td>")
    return f"<tr>{''.join(cells)}</tr>"


def _number(title: str) -> str:
    return ' class="tfs-number"' if title in _NUMERIC else ""
