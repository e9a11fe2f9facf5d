"""How a process that downloads gives way to the one that serves.

Each of its threads but one runs only where nobody else wants the processor (Linux's SCHED_IDLE): such a thread is
interrupted at once, where one that is merely nice may first end its time slice. The one that is left brings the
download on when all processors are busy for hours. Linux groups processes by session (sched_autogroup) and minds
priorities within a group only, which is why this process stays in the session of the one that started it.

Where the network is faster than the machine that is not enough, as copying takes memory and the system's time: while
the other process works, this one takes a small share of the machine's processors (of two still more than 1 Gbit/s), and
has less copied at a time, as a processor that the system copies on is nobody else's until it is done.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import psutil

from tfs_notebook.oss.body import PIECE

if TYPE_CHECKING:
    from collections.abc import Callable

NICENESS = 10
SHARE = 0.15
"""Of all processors, while the other process works."""
SMALL_PIECE = 32 << 10
_LOOK_SECONDS = 0.2
_WORKING = 0.04
"""The part of one processor above which the other process works: an answer now and then, and a progress bar, take less.
"""


class Courtesy:
    """Of this process to the one with the number `pid`."""

    def __init__(self, pid: int) -> None:
        self._processors = psutil.cpu_count() or 1
        self._other = psutil.Process(pid)
        self._lock = threading.Lock()
        self._looked, self._used = time.monotonic(), self._used_by_other()
        self._load = 0.0
        self._measured = time.process_time()
        self._paid_until = self._looked

    def begin(self) -> None:
        """Run this process, and the threads that it starts, after others."""
        if hasattr(os, "nice"):
            os.nice(NICENESS)

    def threads(self) -> Callable[[], None]:
        """What each of some threads calls first, which share the work of one file."""
        numbers = itertools.count()

        def thread() -> None:
            if next(numbers) and hasattr(os, "SCHED_IDLE"):
                with suppress(OSError):  # a sandbox may forbid it
                    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))

        return thread

    def pause(self) -> int:
        """Let this thread sleep as long as this process has used more than its share; the bytes to ask for next."""
        with self._lock:
            now, measured = time.monotonic(), time.process_time()
            if now - self._looked >= _LOOK_SECONDS:
                self._look(now)
            taken, self._measured = measured - self._measured, measured
            if self._load <= _WORKING:
                return PIECE
            self._paid_until = max(self._paid_until, now) + taken / (SHARE * self._processors)
            seconds = self._paid_until - now
        time.sleep(seconds)
        return SMALL_PIECE

    def _look(self, now: float) -> None:
        """Note how much of a processor the other process takes; the system counts in steps of 10 ms, so smoothly."""
        used = self._used_by_other()
        self._load = (self._load + (used - self._used) / (now - self._looked)) / 2
        self._looked, self._used = now, used

    def _used_by_other(self) -> float:
        """Seconds of processor time."""
        with suppress(psutil.Error):
            times = self._other.cpu_times()
            return times.user + times.system
        return 0.0
