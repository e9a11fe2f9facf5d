"""Parts for the engine's tests: waiting with a deadline, events written down, and loads that a test steers."""

from __future__ import annotations

import asyncio
import os
import stat
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tests.support.serving import PATIENCE
from tfs_notebook.engine.events import Event, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SECONDS = PATIENCE
"""Generous: a starved machine is no reason to fail."""
_NOBODY = 65534
_TRAVERSE = stat.S_IXGRP | stat.S_IXOTH


async def until(condition: Callable[[], object], seconds: float = SECONDS) -> None:
    """Wait until `condition` holds; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about in time"
        await asyncio.sleep(0.002)


class Recorder:
    """A listener that writes down every event."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def __call__(self, event: Event) -> None:
        self.events.append(event)

    def states(self, model: str, version: int) -> list[str]:
        """The states that the version went through, as their names."""
        return [e.state.name for e in self.events if (e.kind, e.model, e.version) == (Kind.VERSION, model, version)]

    def of(self, kind: Kind, model: str = "") -> list[Event]:
        return [event for event in self.events if event.kind is kind and event.model == model]


class Part:
    """A servable without signatures that says whether it was closed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.signatures: dict[str, Any] = {}
        self.signature_def: dict[str, Any] = {}
        self.closed = threading.Event()

    def run(self, *arguments: Any) -> dict[str, Any]:
        raise NotImplementedError

    def expected_seconds(self, *arguments: Any) -> float | None:
        return None

    def close(self) -> None:
        self.closed.set()


class Loads:
    """A `load` for a Manager. `hold` makes the loads of a directory wait; `faults` holds the errors still to raise."""

    def __init__(self) -> None:
        self.begun: list[Path] = []
        self.faults: dict[Path, list[Exception]] = {}
        self._gates: dict[Path, threading.Event] = {}

    def hold(self, path: Path) -> Callable[[], None]:
        """Let loads of `path` wait until the returned function is called."""
        self._gates[path] = threading.Event()
        return self._gates[path].set

    def __call__(self, path: Path) -> Part:
        self.begun.append(path)
        if path in self._gates:
            assert self._gates[path].wait(SECONDS)
        if self.faults.get(path):
            raise self.faults[path].pop(0)
        return Part(path)


@contextmanager
def without_privileges(directory: Path) -> Iterator[None]:
    """Permissions hold within this, for root too: `directory` is handed to `nobody`, who acts until the end."""
    if os.geteuid() != 0:
        yield
        return
    for path in (directory, *directory.rglob("*")):
        os.chown(path, _NOBODY, -1)
    modes = {parent: stat.S_IMODE(parent.stat().st_mode) for parent in directory.parents}
    for parent, mode in modes.items():
        parent.chmod(mode | _TRAVERSE)
    os.seteuid(_NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        for parent, mode in modes.items():
            parent.chmod(mode)
