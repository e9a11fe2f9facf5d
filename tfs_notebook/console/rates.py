"""How often versions are asked at the moment, made from counters that only rise."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tfs_notebook.engine.status import ModelStatus

_SHORTEST_SECONDS = 0.9
"""A rate over less would jump with every request."""


class Rates:
    """Looks at the counters of all versions whenever it is told to, and remembers the last look."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, int], tuple[float, int]] = {}
        self._rates: dict[tuple[str, int], float] = {}

    def look(self, models: Iterable[ModelStatus], now: float) -> dict[tuple[str, int], float]:
        """Requests a second by model and number at `now`, in seconds of a clock that only rises."""
        counted = {
            (model.name, version.number): sum(calls.count for calls in version.calls.values())
            for model in models
            for version in model.versions
            if version.calls
        }
        self._last = {key: last for key, last in self._last.items() if key in counted}
        self._rates = {key: rate for key, rate in self._rates.items() if key in counted}
        for key, count in counted.items():
            began, before = self._last.get(key, (now, count))
            if count < before or key not in self._last:  # loaded again, it counts from 0
                self._last[key] = now, count
            elif now - began >= _SHORTEST_SECONDS:
                self._rates[key] = round((count - before) / (now - began), 1)
                self._last[key] = now, count
        return self._rates
