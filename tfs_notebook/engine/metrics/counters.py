"""Counters and histograms by label values, as TensorFlow's monitoring library has them; every thread may feed them.

A series costs memory for as long as the server lives, and clients choose model names: there is a most of each.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

Labels = tuple[str, ...]

MAX_SERIES = 1000
"""Sets of label values that a metric tells apart; what comes later counts for `OTHER` in place of its first label."""
MAX_LABEL_LENGTH = 256
OTHER = "(other)"


@dataclass(frozen=True, slots=True)
class Distribution:
    """A moment of a histogram: `buckets[i]` counts the values of at most `bounds[i]`, the last one all others."""

    buckets: tuple[int, ...]
    total: float


class Counter:
    """Numbers that only rise, one for each set of label values."""

    def __init__(self, name: str, *labels: str) -> None:
        """`name` in TensorFlow's form, like /tensorflow/serving/request_count."""
        self.name = name
        self.labels = labels
        self._lock = threading.Lock()
        self._counts: dict[Labels, int] = {}

    def add(self, *values: str, by: int = 1) -> None:
        """Count `by` more for the label values `values`."""
        with self._lock:
            try:
                self._counts[values] += by
            except KeyError:
                shown = _admitted(values, self._counts)
                self._counts[shown] = self._counts.get(shown, 0) + by

    def counts(self) -> dict[Labels, int]:
        """What was counted until now, in the order of the label values."""
        with self._lock:
            counts = self._counts.copy()
        return dict(sorted(counts.items()))


class Histogram:
    """How values are distributed over buckets, for each set of label values."""

    def __init__(self, name: str, *labels: str, bounds: Sequence[float]) -> None:
        """`bounds` are the upper bounds of all buckets but the last, which has none, in rising order."""
        self.name = name
        self.labels = labels
        self.bounds = tuple(bounds)
        self._lock = threading.Lock()
        self._series: dict[Labels, _Series] = {}

    def record(self, value: float, *values: str) -> None:
        """Count `value` for the label values `values`."""
        series = self._series.get(values) or self._begun(values)
        bucket = bisect_left(self.bounds, value)
        with series.lock:
            series.buckets[bucket] += 1
            series.total += value

    def _begun(self, values: Labels) -> _Series:
        with self._lock:
            return self._series.setdefault(_admitted(values, self._series), _Series(len(self.bounds) + 1))

    def distributions(self) -> dict[Labels, Distribution]:
        """What was recorded until now, in the order of the label values. Nobody who records waits for the whole."""
        with self._lock:
            series = sorted(self._series.items())
        return {values: one.distribution() for values, one in series}


class _Series:
    __slots__ = ("buckets", "lock", "total")

    def __init__(self, size: int) -> None:
        self.lock = threading.Lock()
        self.buckets = [0] * size
        self.total = 0.0

    def distribution(self) -> Distribution:
        with self.lock:
            return Distribution(tuple(self.buckets), self.total)


def _admitted(values: Labels, known: Collection[Labels]) -> Labels:
    """The label values under which something new is counted: Unicode text, and not too many or too long."""
    shown = tuple(value.encode("utf-8", "replace").decode().replace("\0", "�") for value in values)
    if shown in known or (len(known) < MAX_SERIES and max(map(len, shown), default=0) <= MAX_LABEL_LENGTH):
        return shown
    return (OTHER, *shown[1:])
