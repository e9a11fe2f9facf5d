"""The console in a cell, for front ends that show anywidgets: JupyterLab, Notebook 7, VS Code, Colab, marimo.

* One model carries the state, another the commands: a kernel answers on a model in the order in which it was asked
  there, and the state is not to wait for a command.
* Nothing is sent until a page has said hello, and nothing more once none has for a while.
* Messages are sent from the console's thread, so they reach the page while a cell runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from importlib import resources
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import anywidget
import orjson
import traitlets
from ipywidgets import widget_serialization

from tfs_notebook.console.commands import run
from tfs_notebook.console.hub import Hub
from tfs_notebook.engine.events import Kind
from tfs_notebook.runtime import Runtime

if TYPE_CHECKING:
    from tfs_notebook.engine.events import Event
    from tfs_notebook.server.server import Server

_HELLO_SECONDS = 90.0
"""A page says hello every thirty seconds; one that was silent for longer is closed."""
_SCRIPT = resources.files("tfs_notebook.console").joinpath("static", "console.js")


class Feed:
    """What the widgets of one server share: a thread, a loop and the hub on it, until the server stops."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.runtime = Runtime("tfs-console")
        self.hub = self.runtime.call(self._make())
        self._end = server.events.listen(self._on_event)

    async def _make(self) -> Hub:
        return Hub(self.server)

    def _on_event(self, event: Event) -> None:
        if event.kind is Kind.SERVER and event.message == "stopped":
            self._end()
            _FEEDS.pop(self.server, None)
            with contextlib.suppress(Exception):
                self.runtime.call(self.hub.finish(), 1.0)
            self.runtime.close()


_FEEDS = WeakKeyDictionary["Server", Feed]()


def feed_of(server: Server) -> Feed:
    """The feed of a running server."""
    found = _FEEDS.get(server)
    if found is None:
        found = _FEEDS[server] = Feed(server)
    return found


class CommandsWidget(anywidget.AnyWidget):  # type: ignore[misc]
    """Takes commands and answers them; shows nothing."""

    _esm = "export default {}"


class ConsoleWidget(anywidget.AnyWidget):  # type: ignore[misc]
    """The console of a running server as a widget."""

    _esm = traitlets.Unicode().tag(sync=True)
    commands = traitlets.Instance(CommandsWidget).tag(sync=True, **widget_serialization)

    def __init__(self, server: Server) -> None:
        super().__init__(_esm=_SCRIPT.read_text(encoding="utf-8"), commands=CommandsWidget())
        self._server = server
        self._feed = feed_of(server)
        self._heard = 0.0
        self._telling = False
        self.commands.on_msg(self._on_message)

    def _on_message(self, _widget: object, content: Any, _buffers: object) -> None:
        """Called where widgets are called back: only posts to the console's thread, and returns."""
        if not isinstance(content, dict):
            return
        self._heard = time.monotonic()
        with contextlib.suppress(Exception):  # the server has stopped
            self._feed.runtime.spawn(self._hear(content))

    async def _hear(self, content: dict[str, Any]) -> None:
        if content.get("op") == "hello":
            if content.get("afresh") or not self._telling:
                await self._begin()
            return
        loop = asyncio.get_running_loop()
        outcome = await loop.run_in_executor(None, run, self._server, content.get("op"), content.get("arguments"))
        reply = orjson.dumps({"type": "reply", "id": content.get("id"), "outcome": outcome})
        self.commands.send({"message": reply.decode()})

    async def _begin(self) -> None:
        if self._telling:
            self.send({"message": self._feed.hub.whole().decode()})  # to a page that was opened later
            return
        self._telling = True
        viewer = self._feed.hub.join()
        try:
            while time.monotonic() - self._heard < _HELLO_SECONDS:
                self.send({"message": (await self._feed.hub.next(viewer)).decode()})
        finally:
            self._telling = False
            self._feed.hub.leave(viewer)
