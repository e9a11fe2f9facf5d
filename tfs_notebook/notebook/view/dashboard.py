"""The live table: a widget that the serving thread keeps up to date while cells run.

Only that thread writes the widget's value, at most ten times a second, a long table less often; a trait that is set
there reaches the page even while the main thread is busy. Once a second it looks for requests that were counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any

from tfs_notebook.notebook.view.table import as_html, as_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from tfs_notebook.engine.events import Event
    from tfs_notebook.server.server import Server

_UPDATE_SECONDS = 0.1
_COUNT_SECONDS = 1.0
_SHARE_OF_CHANGES, _SHARE_OF_COUNTS = 0.05, 0.01
"""The most of the serving thread's time that the table may take while something changes, and while nothing does."""


class Dashboard:
    """The live table of one server; every display of the server shows the same widget."""

    def __init__(self, server: Server) -> None:
        import ipywidgets

        self._server = server
        self._html = ipywidgets.HTML(value=as_html(server.status()))
        self._changed = asyncio.Event()
        self._end_listening: Callable[[], None] = server.listen(self._on_event)
        server.spawn(self._keep_up())

    def mimebundle(self, **kwargs: Any) -> dict[str, Any]:
        """The widget, with HTML and text for pages and terminals that show no widgets."""
        bundle: dict[str, Any] = self._html._repr_mimebundle_(**kwargs)
        return {**bundle, **static_mimebundle(self._server)}

    def close(self) -> None:
        """Take the widget off the page."""
        self._end_listening()
        for widget in (self._html.layout, self._html.style, self._html):  # a widget leaves the first two behind
            widget.close()

    def _on_event(self, _event: Event) -> None:
        if self._server.running:
            self._changed.set()
        else:
            self._render()

    async def _keep_up(self) -> None:
        while True:
            self._changed.clear()
            began = time.thread_time()
            self._render()
            # A table of a thousand versions takes 50 ms: not to be taken from the requests ten times a second
            took = time.thread_time() - began
            await asyncio.sleep(max(_UPDATE_SECONDS, took / _SHARE_OF_CHANGES))
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._changed.wait(), max(_COUNT_SECONDS, took / _SHARE_OF_COUNTS))

    def _render(self) -> None:
        html = as_html(self._server.status())
        if html != self._html.value:
            self._html.value = html


def static_mimebundle(server: Server) -> dict[str, str]:
    """The table as it is now, for where nothing can be updated."""
    status = server.status()
    return {"text/html": as_html(status), "text/plain": as_text(status)}
