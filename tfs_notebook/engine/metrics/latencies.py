"""How long calls took: histograms of logarithmic buckets, and the quantiles that they tell.

Bounds are 10·1.8^(k/4) microseconds, k = 0…124, then infinity: every fourth is one of TensorFlow Serving's. A quantile
is right to within a bucket's width, a factor of 1.16.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

BOUNDS_US = tuple(10 * 1.8 ** (k / 4) for k in range(125))


@dataclass(frozen=True, slots=True)
class Latencies:
    """Times of calls, in microseconds: `buckets[i]` counts those between `BOUNDS_US[i - 1]` and `BOUNDS_US[i]`.

    Buckets without a call are left out. `least_us` and `most_us` are the shortest and the longest, 0 without any.
    """

    buckets: Mapping[int, int] = field(default_factory=dict)
    total_us: float = 0.0
    least_us: float = 0.0
    most_us: float = 0.0

    @property
    def count(self) -> int:
        """How many calls they are of."""
        return sum(self.buckets.values())

    def quantile_us(self, q: float) -> float:
        """The time below which the share `q` of the calls stayed, 0 without calls.

        Interpolated within its bucket, and never beyond the shortest and the longest call.
        """
        rank, passed = q * self.count, 0
        for bucket, count in sorted(self.buckets.items()):
            if passed + count >= rank:
                low = BOUNDS_US[bucket - 1] if bucket else 0.0
                high = BOUNDS_US[bucket] if bucket < len(BOUNDS_US) else max(low, self.most_us)
                estimate = low + (high - low) * (rank - passed) / count
                return min(max(estimate, self.least_us), self.most_us)
            passed += count
        return self.most_us


class Histogram:
    """Latencies that are still added to; at most as large as there are buckets. It has no lock of its own."""

    __slots__ = ("_buckets", "_least_us", "_most_us", "_total_us")

    def __init__(self) -> None:
        self._buckets: dict[int, int] = {}
        self._total_us = 0.0
        self._least_us, self._most_us = inf, 0.0

    def add(self, micros: float) -> None:
        """One more call."""
        bucket = bisect_left(BOUNDS_US, micros)
        self._buckets[bucket] = self._buckets.get(bucket, 0) + 1
        self._total_us += micros
        self._least_us = min(self._least_us, micros)
        self._most_us = max(self._most_us, micros)

    def add_all(self, others: Latencies) -> None:
        """The calls of `others`, too."""
        if not others.buckets:
            return
        for bucket, count in others.buckets.items():
            self._buckets[bucket] = self._buckets.get(bucket, 0) + count
        self._total_us += others.total_us
        self._least_us = min(self._least_us, others.least_us)
        self._most_us = max(self._most_us, others.most_us)

    def latencies(self) -> Latencies:
        """As it is now."""
        least_us = self._least_us if self._buckets else 0.0
        return Latencies(self._buckets.copy(), self._total_us, least_us, self._most_us)
