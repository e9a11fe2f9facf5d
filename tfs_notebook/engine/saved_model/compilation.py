"""Lets one call compile a graph while others that need the same wait for it, instead of compiling copies of their own.

A session keeps what it compiles for a set of inputs and outputs, but calls that come together before that each make
one: eight first requests of a frozen graph of 305 MB took 5 GB more, and a minute (two processors, TensorFlow 2.21).
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from tfs_notebook.errors import Code, ServingError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable


class Compilation:
    """What has been compiled of one session."""

    def __init__(self) -> None:
        self._done: set[Hashable] = set()
        self._under_way: dict[Hashable, threading.Lock] = {}

    def once(self, key: Hashable, compile_: Callable[[], bool], timeout: float | None) -> float | None:
        """Return when what `key` stands for is compiled, by `compile_` if it was not, which tells whether it could.

        Returns what is left of `timeout`, in seconds. Raises ServingError DEADLINE_EXCEEDED when another call still
        compiles by then.
        """
        if key in self._done:
            return timeout
        started = time.monotonic()
        lock = self._under_way.setdefault(key, threading.Lock())
        if not lock.acquire(timeout=-1 if timeout is None else max(timeout, 0)):
            raise ServingError(Code.DEADLINE_EXCEEDED, "Timed out waiting for notification")
        try:
            if key not in self._done and compile_():
                self._done.add(key)
        finally:
            lock.release()
        self._under_way.pop(key, None)
        return None if timeout is None else timeout - (time.monotonic() - started)
