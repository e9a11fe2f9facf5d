"""How often versions are asked, and how fast they answer, made from counters that only rise."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tfs_notebook.engine.metrics.stats import BOUNDS_US, CallSummary

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tfs_notebook.engine.status import ModelStatus

_WINDOW_SECONDS = 60.0
_SHORTEST_SECONDS = 0.9
"""A rate over less would jump with every request."""


@dataclass(frozen=True, slots=True)
class Rate:
    """Requests a second, and the median and 99th percentile of the last minute's latencies (None without requests)."""

    rate: float
    p50_us: float | None
    p99_us: float | None


@dataclass(frozen=True, slots=True)
class _Sample:
    time: float
    count: int
    buckets: tuple[int, ...]


class Rates:
    """Looks at the counters of all versions whenever it is told to, and remembers a minute of that."""

    def __init__(self) -> None:
        self._samples: dict[tuple[str, int], deque[_Sample]] = {}
        self._rates: dict[tuple[str, int], Rate] = {}

    def look(self, models: Iterable[ModelStatus], now: float) -> dict[tuple[str, int], Rate]:
        """The rates by model and number at `now`, in seconds of a clock that only rises."""
        counted = {
            (model.name, version.number): _sample(version.calls.values(), now)
            for model in models
            for version in model.versions
            if version.calls
        }
        self._samples = {key: self._samples.get(key, deque()) for key in counted}
        self._rates = {key: rate for key, rate in self._rates.items() if key in counted}
        for key, sample in counted.items():
            samples = self._samples[key]
            if samples and sample.count < samples[-1].count:  # loaded again: it counts from 0
                samples.clear()
            if not samples or now - samples[-1].time >= _SHORTEST_SECONDS:
                self._add(key, samples, sample)
        return self._rates

    def _add(self, key: tuple[str, int], samples: deque[_Sample], sample: _Sample) -> None:
        samples.append(sample)
        while sample.time - samples[0].time > _WINDOW_SECONDS + _SHORTEST_SECONDS:
            samples.popleft()
        if len(samples) > 1:
            before, first = samples[-2], samples[0]
            recent = tuple(new - old for new, old in zip(sample.buckets, first.buckets, strict=True))
            calls = CallSummary(sum(recent), 0, 0.0, recent, most_us=BOUNDS_US[-1])
            self._rates[key] = Rate(
                round((sample.count - before.count) / (sample.time - before.time), 1),
                *(round(calls.quantile_us(q), 1) if calls.count else None for q in (0.5, 0.99)),
            )


def _sample(calls: Iterable[CallSummary], now: float) -> _Sample:
    all_calls = list(calls)
    buckets = tuple(map(sum, zip(*(one.buckets for one in all_calls), strict=True)))
    return _Sample(now, sum(one.count for one in all_calls), buckets)
