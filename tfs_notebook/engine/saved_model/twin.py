"""A second session for the short calls of a small version, in which an operation has one thread.

Threads that share an operation of a small convolution take longer to meet than one of them takes alone: an image of a
small CNN took two threads 430 µs and one thread 213 (two processors, TensorFlow 2.21). Large batches gain from more
threads, so the first session stays for them.

A twin costs a thread and the version's memory once more. So it is made when a version has been asked often enough to
gain from it, beside the requests, and only so many versions of a process have one at a time.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from tfs_notebook.engine.saved_model.session import Runner
from tfs_notebook.threads import NoThreadError, run_on_daemon_thread

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

MAX_TWINS = 32
"""Versions of this process that have one at a time."""
MAX_BYTES = 16 << 20
"""Bytes of files that a version with a twin has at most."""
CALLS_BEFORE = 256
"""Calls on the calling thread after which a version is thought of."""
LEAST_SECONDS = 50e-6
"""What a call takes at least: a shorter one has no operation that threads would share."""

_places = threading.BoundedSemaphore(MAX_TWINS)


class Twin:
    """The second session of one version: not there yet, there, or closed."""

    def __init__(self, load: Callable[[], Any | None]) -> None:
        """`load` makes the session; None, or any error, means that the version goes on without."""
        self._load = load
        self._calls = 0
        self._lock = threading.Lock()
        self._is_begun = False
        self._is_closed = False
        self._runner: Runner | None = None

    def called(self, expected_seconds: float | None, use: Callable[[Runner], None]) -> bool:
        """Count a call on the calling thread. When it is time, make the session on a thread of its own for `use`.

        True when nothing more is to be counted.
        """
        self._calls += 1
        if self._calls % CALLS_BEFORE or expected_seconds is None or expected_seconds < LEAST_SECONDS:
            return False
        with self._lock:  # starting a thread takes a while, in which others may come as far
            if self._is_begun:
                return True
            self._is_begun = _places.acquire(blocking=False)
            if not self._is_begun:
                return False
        try:
            run_on_daemon_thread(lambda: self._make(use), "tfs-twin-session")
        except NoThreadError:
            with self._lock:
                self._is_begun = False
            _places.release()
            return False
        return True

    def _make(self, use: Callable[[Runner], None]) -> None:
        session = None
        with suppress(Exception):
            session = self._load()
        with self._lock:
            if session is not None and not self._is_closed:
                self._runner = Runner(session)
                use(self._runner)
                return
        if session is not None:
            session.close()
        _places.release()

    def close(self) -> None:
        """Close the session, or let it be closed as soon as it is there. Nothing may run in it any more."""
        with self._lock:
            self._is_closed = True
            runner, self._runner = self._runner, None
        if runner is not None:
            runner.close()
            _places.release()
