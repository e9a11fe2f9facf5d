"""Threads for calls whose time is known and short: no more of them than can work at the same time.

A thread that has done its call takes the next one, and only sleeps when there is none: waking a thread, and handing it
the interpreter's lock, takes about as long as a small model. So calls that come together are run by few threads one
after the other, and another is woken only for those that would wait longer than that.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from typing import TYPE_CHECKING

from tfs_notebook.api.dispatch.thresholds import LEAVE_PROCESSOR_SECONDS, WAKE_SECONDS
from tfs_notebook.threads import NoThreadError, start_daemon_thread

if TYPE_CHECKING:
    from collections.abc import Callable

PROCESSORS = os.cpu_count() or 1


class Threads:
    """Runs jobs, which must not raise, in the order in which they come."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._waiting: deque[Callable[[], object]] = deque()
        self._asleep: list[threading.Lock] = []
        self._threads = 0
        self._is_open = True

    def submit(self, job: Callable[[], object], seconds: float) -> None:
        """Run `job`, which takes about so many `seconds`, soon.

        Raises RuntimeError when this is closed, and NoThreadError when there is no thread; `job` is not run then.
        """
        if not self._is_open:
            raise RuntimeError("no more calls are run")
        self._waiting.append(job)
        awake = self._threads - len(self._asleep)
        most = PROCESSORS if seconds >= LEAVE_PROCESSOR_SECONDS else PROCESSORS - 1
        enough = awake and (awake >= most or len(self._waiting) * seconds <= awake * WAKE_SECONDS)
        if not enough and not self._wake() and self._threads < PROCESSORS:
            self._start(job)

    def _start(self, job: Callable[[], object]) -> None:
        """Have one more thread; without any, `job` is taken back."""
        self._threads += 1
        try:
            start_daemon_thread(self._work, f"{self._name}_{self._threads - 1}")
        except NoThreadError:
            self._threads -= 1
            if not self._threads:
                self._waiting.remove(job)
                raise

    def _wake(self) -> bool:
        """Wake a thread, if one sleeps."""
        try:
            self._asleep.pop().release()
        except IndexError:
            return False
        return True

    def _work(self) -> None:
        awoken = threading.Lock()
        awoken.acquire()
        while True:
            try:
                job = self._waiting.popleft()
            except IndexError:
                if not self._is_open:
                    return
                self._asleep.append(awoken)
                if self._waiting or not self._is_open:  # it came before this thread was known to sleep
                    self._wake()
                awoken.acquire()
                continue
            job()
            del job  # else this thread keeps its arrays until the next one

    def close(self) -> None:
        """Take no more jobs; those that wait are still run. Does not wait for them."""
        self._is_open = False
        while self._wake():
            pass
