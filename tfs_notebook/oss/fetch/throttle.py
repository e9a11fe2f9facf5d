"""How a process that downloads gives way to the one that serves.

While the other process works, and some processor has time to spare, each part is brought by a thread that runs only
where nobody else wants to (Linux's SCHED_IDLE): such a thread is interrupted at once, where one that is merely nice may
first end its time slice. Where all processors are busy it would wait for ever, so that there being nice must do. Linux
groups processes by session (sched_autogroup) and minds priorities within a group only, which is why this process stays
in the session of the one that started it.

Where the network is faster than the machine that is not enough, as copying takes memory and the system's time: while
the other process works, this one takes a small share of the machine's processors (of two still more than 1 Gbit/s), and
has less copied at a time, as a processor that the system copies on is nobody else's until it is done.
"""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

import psutil

from tfs_notebook.oss.client.body import PIECE

if TYPE_CHECKING:
    from collections.abc import Callable

NICENESS = 10
SHARE = 0.15
"""Of all processors, while the other process works."""
ROOM = 0.1
"""The part of all processors' time that must be left over for threads that take only what is."""
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
        self._looked, self._used, self._spare = time.monotonic(), self._used_by_other(), _spare()
        self._load = self._room = 0.0
        self._measured = time.process_time()
        self._paid_until = self._looked

    def begin(self) -> None:
        """Run this process, and the threads that it starts, after others."""
        if hasattr(os, "nice"):
            os.nice(NICENESS)

    def run(self, part: Callable[[], None]) -> None:
        """Call `part`, in a thread of its own when that is to give way: a thread cannot take its priority back."""
        with self._lock:
            self._look(time.monotonic())
            gives_way = self._load > _WORKING and self._room > ROOM
        if gives_way and hasattr(os, "SCHED_IDLE"):
            with ThreadPoolExecutor(1, thread_name_prefix="tfs-oss-idle", initializer=_give_way) as thread:
                thread.submit(part).result()
        else:
            part()

    def pause(self) -> int:
        """Let this thread sleep as long as this process has used more than its share; the bytes to ask for next."""
        with self._lock:
            now, measured = time.monotonic(), time.process_time()
            self._look(now)
            taken, self._measured = measured - self._measured, measured
            if self._load <= _WORKING:
                return PIECE
            self._paid_until = max(self._paid_until, now) + taken / (SHARE * self._processors)
            seconds = self._paid_until - now
        time.sleep(seconds)
        return SMALL_PIECE

    def _look(self, now: float) -> None:
        """Note what the other process takes, and what nobody does; the system counts in steps of 10 ms, so smoothly."""
        passed = now - self._looked
        if passed < _LOOK_SECONDS:
            return
        used, spare = self._used_by_other(), _spare()
        self._load = (self._load + (used - self._used) / passed) / 2
        self._room = (spare - self._spare) / passed / self._processors
        self._looked, self._used, self._spare = now, used, spare

    def _used_by_other(self) -> float:
        """Seconds of processor time."""
        with suppress(psutil.Error):
            times = self._other.cpu_times()
            return times.user + times.system
        return 0.0


def _spare() -> float:
    """Seconds of processor time that nobody has wanted."""
    return psutil.cpu_times().idle


def _give_way() -> None:
    with suppress(OSError):  # a sandbox may forbid it
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
