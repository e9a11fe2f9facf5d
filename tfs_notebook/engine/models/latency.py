"""How long a signature's calls take, measured on real calls, and where the next call runs.

* A call runs on its own thread, which saves a small graph the hop into TensorFlow's pools, or in the pools, where a
  graph with wide parallel branches is faster. A made-up call could change a stateful model, so the first real calls
  try both in turn.
* The shortest time of calls that ran alone counts: a busy cell can only add to it. When no call runs alone, all stay on
  their own threads.
* What the trials bring: a graph of eight wide branches answers 1.64 times as many requests as on one thread, one after
  the other, and 1.13 times from eight connections (2 processors, 2026-12).
* Only a call in the pools can be timed out, so an input far larger than any that was quick goes there.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from math import inf

from tfs_notebook.engine.saved_model.session import CALLING_THREAD, THREAD_POOL

SAMPLES = 8
MAX_TRIALS = 64
"""Calls after which the trials end, though too few of them ran alone."""
QUICK_SECONDS = 0.001
"""A call that takes less shows that inputs of its size are quick."""
POOLS_GAIN = 1.25
"""How much faster the pools must be: under load they lose more than a single call shows."""
LONG_SECONDS = 0.005
"""From here on the hop into the pools is nothing, and being able to end the call is worth it."""
LARGE_OUTPUT_BYTES = 32 << 10
"""Bytes of output that take about as long to write as a short call takes."""


class Latency:
    """Chooses where a signature's calls run. Racing threads at worst lose a sample."""

    def __init__(self, *, bounded: bool) -> None:
        """`bounded`: the time of a call depends only on the size of its input."""
        self._calls = 0
        self._recent: dict[int, deque[float]] = {pool: deque(maxlen=SAMPLES) for pool in (CALLING_THREAD, THREAD_POOL)}
        self._chosen: int | None = None if bounded else THREAD_POOL
        self._running: set[int] | None = set() if bounded else None
        """The threads of the calls under way, None when it is known where they run."""
        self.is_in_doubt = bounded
        """True when `record` wants the processor time of the next call, too."""
        self._has_large_output = False
        self._largest = 0
        # What follows from the above, worked out when something is learnt and not at every call
        self._pool = THREAD_POOL
        self._expected: float | None = None

    def begin(self, size: int) -> int:
        """The pool for a call with `size` bytes of input; `end` must be called when it is over, however it ends."""
        if self._chosen is None:
            if (running := self._running) is not None:
                running.add(threading.get_ident())
            return CALLING_THREAD if self._calls % 2 else THREAD_POOL
        return self._pool if size <= 2 * self._largest else THREAD_POOL

    def end(self) -> None:
        """Note that the call of this thread is over."""
        running = self._running
        if running is not None:
            running.discard(threading.get_ident())

    def expected_seconds(self, size: int) -> float | None:
        """How long a call with `size` bytes of input takes on the calling thread.

        None when it is to run in the pools, when too little is known, when the input is far larger than any that was
        quick, or the output takes its time to be written.
        """
        return self._expected if size <= 2 * self._largest else None

    def record(
        self, pool: int, seconds: float, size: int, output_size: int = 0, processor_seconds: float | None = None
    ) -> None:
        """Learn from one call with so many bytes of input and output, and so much time of its thread on the processor.

        A call that took longer than threads leave each other the interpreter's lock may have waited for that alone.
        """
        self._calls += 1
        waited = pool == CALLING_THREAD and seconds >= (interval := sys.getswitchinterval())
        self.is_in_doubt = waited or self._chosen is None
        if waited:
            if processor_seconds is None:
                return
            seconds = max(processor_seconds, seconds - 2 * interval)
        if output_size > LARGE_OUTPUT_BYTES and not self._has_large_output:
            self._has_large_output, self._expected = True, None
        if self._calls <= 2:  # the first calls also compile the graph
            return
        if self._chosen is None:
            self._try(pool, seconds, size)
            return
        self._recent[pool].append(seconds)
        if size > self._largest and seconds < QUICK_SECONDS:
            self._largest = size
        if self._calls % SAMPLES == 0:
            self._conclude()

    def _try(self, pool: int, seconds: float, size: int) -> None:
        self._largest = max(self._largest, size)
        if not self._running:
            self._recent[pool].append(seconds)
        if all(len(samples) == SAMPLES for samples in self._recent.values()):
            here, in_pools = (min(self._recent[pool]) for pool in (CALLING_THREAD, THREAD_POOL))
            self._choose(CALLING_THREAD if here < POOLS_GAIN * in_pools else THREAD_POOL)
        elif self._calls >= MAX_TRIALS:
            self._choose(CALLING_THREAD)

    def _choose(self, pool: int) -> None:
        self._chosen = self._pool = pool
        self._running = None
        self._conclude()

    def _conclude(self) -> None:
        """Choose again: long calls run in the pools, whose times also show when they are short again."""
        if self._chosen == CALLING_THREAD:
            least = min(self._recent[self._pool], default=inf)
            is_long = least >= LONG_SECONDS
            self._pool = THREAD_POOL if is_long else CALLING_THREAD
            self._expected = None if is_long or self._has_large_output else least
