"""A server's state as a table, in HTML for the page and in text for everything else.

One list of rows feeds both, so they cannot disagree. Names come from users and are escaped. Colours are the theme's
mixed with the text's own, which makes them readable on light and dark pages, also where no JupyterLab sets a theme; a
state is always written out beside its mark.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from tfs_notebook.api.auth import is_loopback
from tfs_notebook.engine.events import State
from tfs_notebook.engine.status import not_taken_up
from tfs_notebook.errors import ServingError
from tfs_notebook.notebook.view.source_table import SOURCE_HEADER, source_notes, source_rows
from tfs_notebook.notebook.view.state import is_brief, policy_of, state_of, waiting_state, waits_too_long

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tfs_notebook.engine.batching.status import BatchingStatus
    from tfs_notebook.engine.lifecycle.version import VersionStatus
    from tfs_notebook.engine.metrics.stats import CallSummary
    from tfs_notebook.engine.status import ModelStatus
    from tfs_notebook.server.status import ServerStatus

HEADER = ("Model", "Version", "State", "Labels", "Requests", "Errors", "p50", "p99", "Policy")
_NUMERIC = frozenset({"Requests", "Errors", "p50", "p99", "Files", "Bytes", "Speed"})
_MARKS = {State.START: "◌", State.LOADING: "◔", State.AVAILABLE: "●", State.UNLOADING: "◑", State.END: "○"}
_ENDED_SHOWN = 3
_STYLE = """<style>
.widget-html-content:has(>.tfs-server){min-width:0;max-width:100%}
.tfs-server{font-size:var(--jp-ui-font-size1,13px);line-height:1.5;overflow-x:auto}
.tfs-server{padding:2px 0 2px var(--jp-code-padding,5px)}
.tfs-server table{border-collapse:collapse;margin:2px 0 4px}
.tfs-server .tfs-latency{opacity:.7}
.tfs-server .tfs-headline,.tfs-server .tfs-latency,.tfs-server .tfs-batching{padding:2px 0;overflow-wrap:anywhere}
.tfs-server table th,.tfs-server table td{padding:3px 16px 3px 0;text-align:left;white-space:nowrap}
.tfs-server th,.tfs-server td{border-bottom:1px solid var(--jp-border-color2,rgba(128,128,128,.4))}
.tfs-server th{font-weight:600}
.tfs-server table .tfs-number{text-align:right;font-variant-numeric:tabular-nums}
.tfs-server .tfs-available{color:color-mix(in srgb,var(--jp-success-color1,#4caf50) 60%,currentColor)}
.tfs-server .tfs-failed,
.tfs-server .tfs-problem{color:color-mix(in srgb,var(--jp-error-color1,#f44336) 65%,currentColor)}
.tfs-server .tfs-problem{white-space:pre-wrap;overflow-wrap:anywhere;margin:2px 0}
.tfs-server table .tfs-name{white-space:pre-wrap;overflow-wrap:anywhere;min-width:6em;max-width:40em}
</style>"""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table: cells as its header names them, and how the state is to be coloured."""

    cells: tuple[str, ...]
    tone: str = ""


def headline(status: ServerStatus) -> str:
    """Where the server answers, in one line."""
    if not status.running:
        return "TensorFlow Serving in this kernel: stopped"
    parts = [
        "TensorFlow Serving in this kernel",
        *status.addresses,
        "" if is_loopback(status.host) else f"on {status.host}",
        "token needed: server.token (server = %tfs_status)" if status.needs_token else "",
        f"console {status.console_url}" if status.console_url else "",
        ", ".join(status.devices),
    ]
    return " · ".join(filter(None, parts))


def rows(status: ServerStatus) -> list[Row]:
    """The table's lines: the versions of every configured model, then what still serves of models that were."""
    ordered = sorted(status.models, key=lambda model: (model.config is None, model.name))
    return [row for model in ordered for row in _model_rows(model)]


def _model_rows(model: ModelStatus) -> Iterator[Row]:
    shown = dict(_numbered_rows(model))
    yield from (shown[number] for number in sorted(shown, reverse=True))
    if not shown and model.config is not None:
        yield Row((model.name, "–", "○ NOT FOUND", *[""] * 5, policy_of(model)), "failed")


def _numbered_rows(model: ModelStatus) -> Iterator[tuple[int, Row]]:
    """Rows by version number; of several of one number the last says most."""
    for number in set(model.labels.values()):
        yield number, _bare_row(model, number, "○ NOT AVAILABLE")
    ended = [version for version in model.versions if version.state is State.END]
    if model.config is not None:
        ended = [version for version in ended if version.error is None][_ENDED_SHOWN:]
    for version in model.versions:
        if version not in ended:
            yield version.number, _version_row(model, version)
    for number, reason in _waiting(model):
        tone = "failed" if waits_too_long(model, number) else ""
        yield number, _bare_row(model, number, f"… {waiting_state(reason)}", tone)


def _waiting(model: ModelStatus) -> list[tuple[int, str]]:
    """The versions that have a row for what they wait for; what serves may be another base path's, of before."""
    serving = {version.number for version in model.versions if version.state is State.AVAILABLE}
    return [(number, reason) for number, reason in model.waiting.items() if number not in serving]


def _bare_row(model: ModelStatus, number: int, state: str, tone: str = "") -> Row:
    return Row((model.name, str(number), state, _labels(model, number), *[""] * 4, policy_of(model)), tone)


def _labels(model: ModelStatus, number: int) -> str:
    return ", ".join(sorted(label for label, named in model.labels.items() if named == number))


def _version_row(model: ModelStatus, version: VersionStatus) -> Row:
    failed = version.error is not None
    calls, recent = version.all_calls, version.last_minute
    cells = (
        model.name,
        str(version.number),
        f"{'✗' if failed else _MARKS[version.state]} {state_of(version, model)}",
        _labels(model, version.number),
        str(calls.count),
        str(calls.errors),
        _latency(recent, 0.5),
        _latency(recent, 0.99),
        policy_of(model, version),
    )
    return Row(cells, "failed" if failed else "available" if version.state is State.AVAILABLE else "")


def latency_note(status: ServerStatus) -> str:
    """What p50 and p99 are of, "" when there are none."""
    asked = any(version.last_minute.whole.buckets for model in status.models for version in model.versions)
    return "p50 and p99: last minute, from a request's receipt to its reply (in the model)" if asked else ""


def _latency(calls: CallSummary, q: float) -> str:
    """The whole request's, and the model's share of it in brackets."""
    whole, run = (_duration(latencies.quantile_us(q)) for latencies in (calls.whole, calls.run))
    return f"{whole} ({run})" if whole and run else whole


def _duration(micros: float) -> str:
    if not micros:
        return ""
    return (
        f"{micros:.0f} µs" if micros < 1000 else f"{micros / 1000:.1f} ms" if micros < 1e6 else f"{micros / 1e6:.1f} s"
    )


def batching(status: ServerStatus) -> str:
    """How full the batches of each version are and what waits for one, in one line; "" when nothing is batched."""
    of = {
        f"{model.name} {version.number}": version.batching
        for model in sorted(status.models, key=lambda model: model.name)
        for version in model.versions
        if version.batching is not None
    }
    told = [f"{name}: {_batches(of[name])}" for name in of if of[name].batches or of[name].waiting]
    return f"Batching · {' · '.join(told) or 'no request yet'}" if of else ""


def _batches(batching: BatchingStatus) -> str:
    return f"{batching.mean_rows:.1f} rows a batch" + (f", {batching.waiting} waiting" if batching.waiting else "")


def problems(status: ServerStatus) -> list[str]:
    """Why what is served is not what was asked for, each with what to do about it."""
    refused = status.config_problem
    told = [problem.told for problem in status.listening_problems]
    told += [f"The running configuration stays, the new one was refused: {refused.told}"] if refused else []
    shown = {refused, *status.listening_problems}
    others = [
        problem for problem in status.problems if problem not in shown and problem.message not in _in_rows(status)
    ]
    return [*told, *_with_each_hint_once(others), *source_notes(status.sources)]


def _in_rows(status: ServerStatus) -> set[str]:
    """The messages of problems that stand in a row already."""
    return {
        not_taken_up(model.name, number, reason).message
        for model in status.models
        for number, reason in _waiting(model)
        if is_brief(reason)
    }


def _with_each_hint_once(problems: list[ServingError]) -> Iterator[str]:
    """What is told of each of `problems`; what helps against several of them stands with the last one."""
    for place, problem in enumerate(problems):
        comes_again = problem.hint and any(problem.hint == other.hint for other in problems[place + 1 :])
        yield ServingError(problem.code, problem.message, where=problem.where).told if comes_again else problem.told


def sources(status: ServerStatus) -> list[Row]:
    """The lines of the table of places in OSS; none when all models are on this machine."""
    return [Row(cells, tone) for cells, tone in source_rows(status.sources)]


def as_text(status: ServerStatus) -> str:
    """The table for a terminal."""
    tables = [
        *_text_table(HEADER, rows(status)),
        *filter(None, [latency_note(status), batching(status)]),
        *sources_as_text(status),
    ]
    return "\n".join([headline(status), *tables, *problems(status)])


def sources_as_text(status: ServerStatus) -> list[str]:
    """The table of places in OSS, line by line."""
    return _text_table(SOURCE_HEADER, found) if (found := sources(status)) else []


def _text_table(header: tuple[str, ...], table: list[Row]) -> list[str]:
    lines = [header, *(row.cells for row in table)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return ["  ".join(map(_padded, header, line, widths)).rstrip() for line in lines]


def _padded(title: str, cell: str, width: int) -> str:
    return cell.rjust(width) if title in _NUMERIC else cell.ljust(width)


def as_html(status: ServerStatus) -> str:
    """The table for a page."""
    latency = f'<div class="tfs-latency">{escape(note)}</div>' if (note := latency_note(status)) else ""
    batches = f'<div class="tfs-batching">{escape(batching(status))}</div>' if batching(status) else ""
    return (
        f'{_STYLE}<div class="tfs-server"><div class="tfs-headline">{escape(headline(status))}</div>'
        f"{_html_table(HEADER, rows(status))}{latency}{batches}{_html_sources(status)}</div>"
    )


def sources_as_html(status: ServerStatus) -> str:
    """The table of places in OSS for a page."""
    return f'{_STYLE}<div class="tfs-server">{_html_sources(status)}</div>'


def _html_sources(status: ServerStatus) -> str:
    found = sources(status)
    notes = "".join(f'<div class="tfs-problem">{escape(text)}</div>' for text in problems(status))
    return (_html_table(SOURCE_HEADER, found) if found else "") + notes


def _html_table(header: tuple[str, ...], table: list[Row]) -> str:
    head = "".join(f'<th scope="col"{_number(title)}>{title}</th>' for title in header)
    body = "".join(_html_row(header, row) for row in table)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _html_row(header: tuple[str, ...], row: Row) -> str:
    cells = []
    for title, cell in zip(header, row.cells, strict=True):
        if title in {"Model", "Source"}:
            attributes = f' class="tfs-name" title="{escape(cell.strip())}"'
        else:
            attributes = f' class="tfs-{row.tone}"' if title == "State" and row.tone else _number(title)
        cells.append(f"<td{attributes}>{escape(cell)}</td>")
    return f"<tr>{''.join(cells)}</tr>"


def _number(title: str) -> str:
    return ' class="tfs-number"' if title in _NUMERIC else ""
