"""Where models come from in OSS, as lines of a table: how far each place is, what is on its way, what is waited for."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tfs_notebook.engine.storage.remote import SourceStatus, Transfer

SOURCE_HEADER = ("Source", "State", "Files", "Bytes", "Speed", "Last look")
_MARKS = {
    "starting": "◌", "in step": "●", "waiting": "…", "transferring": "◔", "paused": "○", "stopped": "✗",
    "following": "●",
}  # fmt: skip
_REASON_LENGTH = 80
_TONES = {"in step": "available", "following": "available", "stopped": "failed"}


def source_rows(sources: Iterable[SourceStatus]) -> list[tuple[tuple[str, ...], str]]:
    """Cells as in `SOURCE_HEADER`, and how the state is to be coloured: a line for each source, then its versions."""
    return [row for source in sources for row in _rows(source)]


def _rows(source: SourceStatus) -> Iterator[tuple[tuple[str, ...], str]]:
    troubled = source.problem is not None
    mark = "✗" if troubled else _MARKS.get(source.state, "")
    tone = "failed" if troubled else _TONES.get(source.state, "")
    state = f"{mark} {source.state}"
    if troubled and source.next_listing is not None:
        state += f" until {_clock(source.next_listing)}"
    yield (source.address, state, "", "", "", _looked(source)), tone
    for transfer in source.transfers:
        files = f"{transfer.files} of {transfer.files_in_all}"
        yield (f"  {transfer.name}", "◔ fetching", files, _amount(transfer), _speed(transfer), ""), ""
    fetched = {transfer.name for transfer in source.transfers}
    for name, reason in source.waiting.items():
        if name not in fetched:
            yield (f"  {name}", f"… {_brief(reason)}", "", "", "", ""), ""


def _looked(source: SourceStatus) -> str:
    """When it was last looked at with success, as a clock shows it."""
    return _clock(source.last_listing) if source.last_listing else "never"


def _clock(seconds: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(seconds))


def _brief(reason: str) -> str:
    """As much of it as keeps the table narrow; below the table it stands in full."""
    return reason if len(reason) <= _REASON_LENGTH else f"{reason[: _REASON_LENGTH - 1]}…"


def _amount(transfer: Transfer) -> str:
    return f"{size_text(transfer.size)} of {size_text(transfer.size_in_all)}"


def _speed(transfer: Transfer) -> str:
    return f"{size_text(transfer.speed)}/s" if transfer.speed else ""


def size_text(size: float) -> str:
    """A number of bytes as people read it."""
    if size < 1000:
        return f"{size:.0f} B"
    unit = next((unit for unit in _UNITS if size / _UNITS[unit] < 999.95), "GB")
    return f"{size / _UNITS[unit]:.1f} {unit}"


_UNITS = {"kB": 1e3, "MB": 1e6, "GB": 1e9}


def source_notes(sources: Iterable[SourceStatus]) -> list[str]:
    """What is odd about the sources without keeping anything from being served, and how those that stopped go on."""
    notes = []
    for source in sources:
        notes += [f"{source.address}: {warning}" for warning in source.warnings]
        if source.state == "stopped" and source.next_listing is not None:
            again = f"it is asked again at {_clock(source.next_listing)}"
            notes.append(f"{source.address}: {again}, with other credentials or %tfs_sync now at once")
    return notes
