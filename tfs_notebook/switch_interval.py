"""Python's switch interval, lowered while requests come, so that a cell that computes lets them be answered sooner.

Python lets another thread run after 5 ms of a cell's pure Python, and an answer needs that twice. There is one
interval for the whole process: it is as low as any server wants it, back within a second after the last request, and
what somebody else sets meanwhile stays.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

_LOOK_SECONDS = 0.4
"""Between two looks whether requests still come: after the last one there are at most two."""


class _Process:
    """The interval of this process; `wanted` holds the seconds that those who want it lower ask for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wanted: dict[object, float] = {}
        self._before = 0.0
        self._ours: float | None = None
        """What was set here last, None while the interval is somebody else's."""

    def want(self, who: object, seconds: float | None) -> None:
        """Let the interval be at most so many seconds on behalf of `who`; None: no longer."""
        with self._lock:
            if seconds is None:
                self._wanted.pop(who, None)
            else:
                self._wanted[who] = seconds
            if self._ours is not None and sys.getswitchinterval() != self._ours:
                self._ours = self._ours if self._wanted else None  # somebody else's stays while requests come
                return
            self._set()

    def _set(self) -> None:
        if self._ours is None:
            self._before = sys.getswitchinterval()
        lowest = min([self._before, *self._wanted.values()])
        if self._ours is not None or lowest < self._before:
            sys.setswitchinterval(lowest + 5e-7)  # Python cuts what is less than a microsecond off
        self._ours = sys.getswitchinterval() if lowest < self._before else None


_PROCESS = _Process()


class SwitchInterval:
    """Lowers the interval for the requests of one server, whose event loop is `loop`."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._seconds = 0.0
        self._is_lowered = self._has_come = False

    def turn_to(self, micros: int) -> None:
        """From now on lower it to so many microseconds; 0 or less: not at all."""
        self.restore()
        self._seconds = micros / 1e6

    def request(self) -> None:
        """A request has come. Any thread may tell."""
        self._has_come = True
        if not self._is_lowered:
            self._lower()

    def restore(self) -> None:
        """Put the interval back now."""
        self._is_lowered = False
        _PROCESS.want(self, None)

    def _lower(self) -> None:
        if self._seconds <= 0:
            return
        self._is_lowered = True
        _PROCESS.want(self, self._seconds)
        if self._seconds <= 0:  # switched off meanwhile
            self.restore()
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._look_later)

    def _look_later(self) -> None:
        self._loop.call_later(_LOOK_SECONDS, self._look)

    def _look(self) -> None:
        if not self._is_lowered:
            return
        if self._came():
            self._look_later()
            return
        self.restore()
        if self._came():  # meanwhile, when it was still low
            self._lower()

    def _came(self) -> bool:
        """Whether a request has come since this was asked last."""
        has_come, self._has_come = self._has_come, False
        return has_come
