"""How long a signature's calls take, learnt from the calls themselves, and what follows for the next one.

A call on the calling thread saves the hop into TensorFlow's pools, which costs more than a small graph; a graph with
wide parallel branches is faster in the pools. Neither is known beforehand and a made-up call could change a stateful
model, so the first real calls try both in turn. The least time counts: a busy cell only ever adds to it. Only a call in
the pools can be timed out, so an input far larger than any that was quick goes there.
"""

from __future__ import annotations

from collections import deque

from tfs_notebook.engine.session import CALLING_THREAD, THREAD_POOL

SAMPLES = 8
QUICK_SECONDS = 0.001
"""What a call may take at most to vouch for others with as much input."""
POOLS_GAIN = 1.25
"""How much faster the pools must be: under load they lose more than a single call shows."""
LONG_SECONDS = 0.005
"""From here on the hop into the pools is nothing, and being able to end the call is worth it."""
WORDY_BYTES = 32 << 10
"""Bytes of output that take about as long to write as a short call takes."""


class Pace:
    """Chooses the pool for a signature's calls. Racing threads at worst lose a sample."""

    def __init__(self, *, bounded: bool) -> None:
        """`bounded` tells that the time of a call depends on nothing but the size of its input."""
        self._calls = 0
        self._recent: dict[int, deque[float]] = {pool: deque(maxlen=SAMPLES) for pool in (CALLING_THREAD, THREAD_POOL)}
        self._chosen: int | None = None if bounded else THREAD_POOL
        self._is_wordy = False
        self._largest = 0
        # What follows from the above, worked out when something is learnt and not at every call
        self._usual = THREAD_POOL
        self._expected: float | None = None

    def pool(self, size: int) -> int:
        """Where the next call, with `size` bytes of input, is to run."""
        if self._chosen is None:
            return CALLING_THREAD if self._calls % 2 else THREAD_POOL
        return self._usual if size <= 2 * self._largest else THREAD_POOL

    def expected_seconds(self, size: int) -> float | None:
        """How long a call with `size` bytes of input takes on the calling thread.

        None when it is to run in the pools, when too little is known, when the input is far larger than any that was
        quick, or the output takes its time to be written.
        """
        return self._expected if size <= 2 * self._largest else None

    def record(self, pool: int, seconds: float, size: int, output_size: int = 0) -> None:
        """Learn from one call with so many bytes of input and output."""
        self._calls += 1
        if output_size > WORDY_BYTES and not self._is_wordy:
            self._is_wordy, self._expected = True, None
        if self._calls <= 2:  # the first calls also compile the graph
            return
        self._recent[pool].append(seconds)
        if self._chosen is None:
            self._largest = max(self._largest, size)
            if all(len(samples) == SAMPLES for samples in self._recent.values()):
                here, in_pools = (min(self._recent[pool]) for pool in (CALLING_THREAD, THREAD_POOL))
                self._chosen = self._usual = CALLING_THREAD if here < POOLS_GAIN * in_pools else THREAD_POOL
                self._conclude()
            return
        if size > self._largest and seconds < QUICK_SECONDS:
            self._largest = size
        if self._calls % SAMPLES == 0:
            self._conclude()

    def _conclude(self) -> None:
        """Where the next calls run: a long one in the pools, where its times also tell when it is short again."""
        if self._chosen == CALLING_THREAD:
            least = min(self._recent[self._usual])
            is_long = least >= LONG_SECONDS
            self._usual = THREAD_POOL if is_long else CALLING_THREAD
            self._expected = None if is_long or self._is_wordy else least
