"""How far something slow is, in one place of the cell that is written over; only the main thread shows and changes it.

Where nothing can be written over, as in a terminal, a line is printed now and then.
"""

from __future__ import annotations

import time
from html import escape
from typing import TYPE_CHECKING, Any

from IPython.core.getipython import get_ipython

from tfs_notebook.notebook.view.source_table import size_text

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    from typing_extensions import Self

    from tfs_notebook.engine.storage.remote import SourceStatus, Transfer
    from tfs_notebook.server.server import Server

_UPDATE_SECONDS = 0.1
_PRINT_SECONDS = 5.0
_WIDTH = 30


class Progress:
    """A few lines of text that are shown as soon as there are any, and replaced by the last ones at the end."""

    def __init__(self) -> None:
        self._can_update = getattr(get_ipython(), "kernel", None) is not None
        self._handle: Any = None
        self._shown = ""
        self._next = 0.0

    def show(self, text: str, *, at_once: bool = False) -> None:
        """Let `text` stand there, but not more often than people can read."""
        now = time.monotonic()
        if text == self._shown or not (text or self._handle) or (now < self._next and not at_once):
            return
        self._shown, self._next = text, now + (_UPDATE_SECONDS if self._can_update else _PRINT_SECONDS)
        if not self._can_update:
            print(text.splitlines()[0] if text else "")
            return
        from IPython.display import display

        bundle = {"text/plain": text, "text/html": f'<pre style="margin:0;white-space:pre-wrap">{escape(text)}</pre>'}
        if self._handle is None:
            self._handle = display(bundle, raw=True, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self._handle.update(bundle, raw=True)


class FetchProgress:
    """What is on its way from OSS to a server while somebody waits for it; says at the end how long that took.

    `server` is the one that runs already, if any; a transfer counts also when it is over before anybody looks.
    """

    def __init__(self, server: Server | None) -> None:
        self._progress = Progress()
        self._server = server
        self._begun = {source.address: source.begun for source in server.sources()} if server is not None else {}
        self._fetched_from: set[str] = set()
        self._started = time.monotonic()

    def update(self, server: Server) -> None:
        """Show how far it is now."""
        self._server = server
        sources = server.sources()
        self._note(sources)
        if text := fetching_text(sources):
            self._progress.show(text)

    def say(self, text: str) -> None:
        """Show `text`, about what comes before anything is fetched."""
        self._progress.show(text, at_once=True)

    def _note(self, sources: Iterable[SourceStatus]) -> None:
        self._fetched_from |= {
            source.address
            for source in sources
            if source.transfers or source.begun > self._begun.get(source.address, 0)
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._server is not None and error is None:
            sources = self._server.sources()
            self._note(sources)
            self._fetched_from -= {source.address for source in sources if source.waiting}  # which is told below
        if self._fetched_from and error is None:
            seconds = time.monotonic() - self._started
            self._progress.show(
                f"Fetched from {', '.join(sorted(self._fetched_from))} in {seconds:.1f} s", at_once=True
            )
        elif not self._fetched_from:
            self._progress.show("", at_once=True)  # what was waited for is told by what follows


def fetching_text(sources: Iterable[SourceStatus]) -> str:
    """A line for each version that is being brought or waits, and one for each source that is listed or in trouble."""
    lines = []
    for source in sources:
        lines += [transfer_text(transfer) for transfer in source.transfers]
        fetched = {transfer.name for transfer in source.transfers}
        lines += [f"{name} waits: {reason}" for name, reason in source.waiting.items() if name not in fetched]
        if source.problem is not None:
            lines.append(source.problem.message)
        elif source.state == "starting" and not source.transfers:
            lines.append(f"{source.address} is being listed")
    return "\n".join(lines)


def transfer_text(transfer: Transfer) -> str:
    """One transfer with a bar."""
    share = transfer.size / transfer.size_in_all if transfer.size_in_all else 0.0
    bar = "█" * round(share * _WIDTH)
    amount = f"{size_text(transfer.size)} of {size_text(transfer.size_in_all)}"
    speed = f", {size_text(transfer.speed)}/s" if transfer.speed else ""
    return f"{transfer.name} {bar:░<{_WIDTH}} {share:4.0%} {amount}{speed}"
