"""How long calls took: histograms of logarithmic buckets, and the quantiles that they tell.

Bounds are 10·1.8^(k/4) microseconds, k = 0…124, then infinity: every fourth is one of TensorFlow Serving's. A quantile
is right to within a bucket's width, a factor of 1.16.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

BOUNDS_US = tuple(10 * 1.8 ** (k / 4) for k in range(125))
_BOUNDS = np.array(BOUNDS_US)


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


def latencies_of(seconds: Iterable[float]) -> Latencies:
    """The latencies of calls that took so long, of which there is at least one."""
    micros = np.fromiter(seconds, np.float64) * 1e6
    buckets, counts = np.unique(np.searchsorted(_BOUNDS, micros), return_counts=True)
    by_bucket = dict(zip(buckets.tolist(), counts.tolist(), strict=True))
    return Latencies(by_bucket, float(micros.sum()), float(micros.min()), float(micros.max()))


def merged(parts: Iterable[Latencies]) -> Latencies:
    """All of these calls as one."""
    filled = [part for part in parts if part.buckets]
    buckets: dict[int, int] = {}
    for part in filled:
        for bucket, count in part.buckets.items():
            buckets[bucket] = buckets.get(bucket, 0) + count
    return Latencies(
        buckets,
        sum(part.total_us for part in filled),
        min((part.least_us for part in filled), default=0.0),
        max((part.most_us for part in filled), default=0.0),
    )
