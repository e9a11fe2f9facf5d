"""How long a signature's calls take, learnt from the calls themselves, and what follows for the next one.

A call on the calling thread saves the hop into TensorFlow's pools, which costs more than a small graph. A graph with
wide parallel branches is faster in the pools. One of small convolutions is faster on one core, and leaves the others to
other calls. None of it is known beforehand and a made-up call could change a stateful model, so the first real calls
try all three in turn. The least time counts: a busy cell only ever adds to it. Only a call in the pools can be timed
out, so an input far larger than any that was quick goes there.
"""

from __future__ import annotations

from collections import deque

from tfs_notebook.engine.session import CALLING_THREAD, ONE_CORE, POOLS, THREAD_POOL

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
        self._recent: dict[int, deque[float]] = {pool: deque(maxlen=SAMPLES) for pool in POOLS}
        self._chosen: int | None = None if bounded else THREAD_POOL
        self._is_long = False
        self._is_wordy = False
        self._largest = 0
        # What follows from the above, worked out when something is learnt and not at every call
        self._expected: float | None = None

    def pool(self, size: int) -> int:
        """Where the next call, with `size` bytes of input, is to run."""
        if self._chosen is None:
            return POOLS[self._calls % len(POOLS)]
        return self._chosen if size <= 2 * self._largest else THREAD_POOL

    def expected_seconds(self, size: int) -> float | None:
        """How long a call with `size` bytes of input takes on the calling thread or on one core.

        None when it is to run in the pools, when too little is known, when the input is far larger than any that was
        quick, or the output takes its time to be written.
        """
        return self._expected if size <= 2 * self._largest else None

    def record(self, pool: int, seconds: float, size: int, output_size: int = 0) -> None:
        """Learn from one call with so many bytes of input and output."""
        self._calls += 1
        if output_size > WORDY_BYTES and not self._is_wordy:
            self._is_wordy, self._expected = True, None
        if self._calls <= len(POOLS):  # the first calls also compile the graph
            return
        self._recent[pool].append(seconds)
        if self._chosen is None:
            self._largest = max(self._largest, size)
            self._compare()
            return
        if size > self._largest and seconds < QUICK_SECONDS:
            self._largest = size
        if self._calls % SAMPLES == 0:
            self._look_back()

    def _compare(self) -> None:
        """Choose once every pool has been tried often enough, which is once when a call takes long everywhere."""
        if not all(self._recent.values()):
            return
        least = {pool: min(samples) for pool, samples in self._recent.items()}
        if min(least.values()) >= LONG_SECONDS:
            self._go_to_the_pools()
        elif all(len(samples) == SAMPLES for samples in self._recent.values()):
            quickest = min((CALLING_THREAD, ONE_CORE), key=least.__getitem__)
            if least[quickest] < POOLS_GAIN * least[THREAD_POOL]:
                self._chosen = quickest
                self._look_back()
            else:
                self._chosen = THREAD_POOL

    def _look_back(self) -> None:
        """Learn from the last calls of a pool that was chosen."""
        if self._is_long:
            if min(self._recent[THREAD_POOL]) < LONG_SECONDS / 2:
                self._is_long, self._chosen = False, None
                for samples in self._recent.values():
                    samples.clear()
        elif self._chosen is not None and self._chosen != THREAD_POOL:
            least = min(self._recent[self._chosen])
            if least >= LONG_SECONDS:
                self._go_to_the_pools()
            elif not self._is_wordy:
                self._expected = least

    def _go_to_the_pools(self) -> None:
        """Until calls are short again."""
        self._is_long, self._chosen, self._expected = True, THREAD_POOL, None
