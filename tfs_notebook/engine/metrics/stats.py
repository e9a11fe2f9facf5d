"""Counts and latencies per model, version and signature.

Bounds are those of TensorFlow Serving's latency metrics: 10·1.8^k microseconds, k = 0…31, then infinity.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from dataclasses import dataclass
from itertools import pairwise
from math import inf

BOUNDS_US = tuple(10 * 1.8**k for k in range(32))


@dataclass(frozen=True, slots=True)
class CallSummary:
    """What was asked of a signature; `buckets[i]` counts calls of at most `BOUNDS_US[i]`, the last one all others.

    `least_us` and `most_us` are the shortest and the longest of the successful calls, 0 without any.
    """

    count: int
    errors: int
    total_us: float
    buckets: tuple[int, ...]
    least_us: float = 0.0
    most_us: float = 0.0

    def quantile_us(self, q: float) -> float:
        """The latency below which the share `q` of the successful calls stayed, in microseconds, 0 without calls.

        Interpolated within its bucket, so it is right to within that bucket's width (a factor of 1.8), and never beyond
        the shortest and the longest call.
        """
        answered = sum(self.buckets)
        if not answered:
            return 0.0
        rank, passed = q * answered, 0
        edges = (0.0, *BOUNDS_US, max(BOUNDS_US[-1], self.most_us))
        for (low, high), count in zip(pairwise(edges), self.buckets, strict=True):
            if count and passed + count >= rank:
                estimate = low + (high - low) * (rank - passed) / count
                return min(max(estimate, self.least_us), self.most_us)
            passed += count
        return self.most_us


class CallStats:
    """Counts the calls of one signature; every thread may record."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._errors = 0
        self._total_us = 0.0
        self._least_us, self._most_us = inf, 0.0
        self._buckets = [0] * (len(BOUNDS_US) + 1)

    def record(self, seconds: float) -> None:
        """One call that was answered after `seconds`."""
        micros = seconds * 1e6
        bucket = bisect_left(BOUNDS_US, micros)
        with self._lock:
            self._buckets[bucket] += 1
            self._total_us += micros
            self._least_us = min(self._least_us, micros)
            self._most_us = max(self._most_us, micros)

    def record_error(self) -> None:
        """One call that ended in an error."""
        with self._lock:
            self._errors += 1

    def summary(self) -> CallSummary:
        """The counts as they are now; `count` includes the errors."""
        with self._lock:
            buckets = tuple(self._buckets)
            answered = sum(buckets)
            least_us = self._least_us if answered else 0.0
            return CallSummary(answered + self._errors, self._errors, self._total_us, buckets, least_us, self._most_us)
