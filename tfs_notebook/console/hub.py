"""Tells those who look what a server's state is: at most ten times a second, only what changed, and nothing to nobody.

A viewer that reads slowly skips: it gets the whole state next time instead of every change that it missed.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any

import orjson

from tfs_notebook.console.commands import COMMANDS
from tfs_notebook.console.rates import Rates
from tfs_notebook.console.snapshot import Snapshot, change, take

if TYPE_CHECKING:
    from tfs_notebook.engine.events import Event
    from tfs_notebook.server.server import Server

_UPDATE_SECONDS = 0.1
_COUNT_SECONDS = 1.0
_SHARE = 0.05
"""The most of a core that looking may take while something changes: a thousand versions take long."""


class Viewer:
    """Somebody who looks, and the number of the state that was told last."""

    def __init__(self) -> None:
        self.told = -1
        self.wake = asyncio.Event()
        self.wake.set()


class Hub:
    """The states of one server, numbered; lives on the loop that it is made on, which need not be the serving loop."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.messages = 0
        """How many states and changes were made: none while nobody looks."""
        self._loop = asyncio.get_running_loop()
        self._viewers: set[Viewer] = set()
        self._rates = Rates()
        self._number = 0
        self._snapshot: Snapshot | None = None
        self._whole = self._change = b""
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def join(self) -> Viewer:
        """Look on until `leave`."""
        viewer = Viewer()
        self._viewers.add(viewer)
        if self._task is None:
            self._look()
            self._task = self._loop.create_task(self._keep_up())
        return viewer

    def leave(self, viewer: Viewer) -> None:
        """Look no more."""
        self._viewers.discard(viewer)
        if not self._viewers and self._task is not None:
            self._task.cancel()
            self._task = self._snapshot = None
            self._rates = Rates()

    async def next(self, viewer: Viewer) -> bytes:
        """The next message for `viewer`, as JSON, once there is one."""
        await viewer.wake.wait()
        viewer.wake.clear()
        follows = viewer.told == self._number - 1
        viewer.told = self._number
        if follows:
            return self._change
        return self.whole()

    def whole(self) -> bytes:
        """The state as it was told last, with the table of commands."""
        if not self._whole:
            self._whole = orjson.dumps({"type": "state", "snapshot": self._snapshot, "commands": COMMANDS})
        return self._whole

    async def finish(self) -> None:
        """Let those who look see the end."""
        if self._viewers:
            self._look()
            await asyncio.sleep(_UPDATE_SECONDS)

    async def _keep_up(self) -> None:
        end = self.server.listen(self._on_event)
        try:
            while True:
                self._changed.clear()
                began = time.thread_time()
                self._look()
                took = time.thread_time() - began
                await asyncio.sleep(max(_UPDATE_SECONDS, took / _SHARE))
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), _COUNT_SECONDS)
        finally:
            end()

    def _on_event(self, _event: Event) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._changed.set)

    def _look(self) -> None:
        before, now = self._snapshot, take(self.server, self._rates)
        self._snapshot = now
        changed: dict[str, Any] = change(before, now) if before is not None else {}
        self._number += 1
        self.messages += 1
        self._change, self._whole = orjson.dumps({"type": "change", **changed}), b""
        for viewer in self._viewers:
            viewer.wake.set()
