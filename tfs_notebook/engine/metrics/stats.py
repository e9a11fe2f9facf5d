"""What became of the calls of one signature: over all time, and in the last minute.

The last minute is a ring of windows of five seconds; what leaves it is added to what was before. So a call touches one
window, and the memory is that of the windows whatever is asked.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tfs_notebook.engine.metrics.latencies import Histogram, Latencies
from tfs_notebook.errors import Code

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

BOUNDS_US = tuple(10 * 1.8**k for k in range(32))
"""TensorFlow Serving's bounds for its latency metrics."""
WINDOW_SECONDS = 5
WINDOWS = 12


@dataclass(frozen=True, slots=True)
class CallSummary:
    """What became of calls: `codes` counts how they ended, and those that ended well took as long as the latencies say.

    `whole` is from the receipt of a request to its reply, `run` the model's share of that. `seconds` is how long the
    calls were counted, about a minute for the last one.
    """

    codes: Mapping[Code, int] = field(default_factory=dict)
    whole: Latencies = field(default_factory=Latencies)
    run: Latencies = field(default_factory=Latencies)
    seconds: float = 0.0

    @property
    def count(self) -> int:
        """The calls that were answered, with outputs or an error: not those whose client had gone."""
        return sum(self.codes.values()) - self.codes.get(Code.CANCELLED, 0)

    @property
    def errors(self) -> int:
        """Those that were answered with an error."""
        return self.count - self.codes.get(Code.OK, 0)

    @property
    def rate(self) -> float:
        """Calls a second."""
        return self.count / self.seconds if self.seconds else 0.0


class _Window:
    """Calls of some seconds, or of all time before."""

    __slots__ = ("codes", "number", "run", "whole")

    def __init__(self, number: int = -1) -> None:
        self.number = number
        """Which of the windows since the clock began."""
        self.codes: dict[Code, int] = {}
        self.whole = Histogram()
        self.run = Histogram()

    def add_all(self, others: CallSummary) -> None:
        for code, count in others.codes.items():
            self.codes[code] = self.codes.get(code, 0) + count
        self.whole.add_all(others.whole)
        self.run.add_all(others.run)

    def summary(self, seconds: float = 0.0) -> CallSummary:
        return CallSummary(self.codes.copy(), self.whole.latencies(), self.run.latencies(), seconds)


class CallStats:
    """Counts the calls of one signature. Every thread may count and read; a reader holds nobody up."""

    def __init__(self, now: float | None = None) -> None:
        """`now` is the time, in seconds of `time.perf_counter`, as in all methods; by default it is looked up."""
        self._since = time.perf_counter() if now is None else now
        self._lock = threading.Lock()
        self._before = _Window()
        self._ring: list[_Window] = []
        """The windows in which there were calls, the newest last."""

    def record(self, seconds: float, run_seconds: float, now: float | None = None) -> None:
        """One call that was answered after `seconds`, of which the model took `run_seconds`."""
        with self._lock:
            window = self._window(now)
            window.codes[Code.OK] = window.codes.get(Code.OK, 0) + 1
            window.whole.add(seconds * 1e6)
            window.run.add(run_seconds * 1e6)

    def record_error(self, code: Code, now: float | None = None) -> None:
        """One call that ended with `code`."""
        with self._lock:
            codes = self._window(now).codes
            codes[code] = codes.get(code, 0) + 1

    def _window(self, now: float | None) -> _Window:
        """The window of `now`. Threads come in any order: a call of a moment ago counts for the newest one."""
        number = int((time.perf_counter() if now is None else now) / WINDOW_SECONDS)
        ring = self._ring
        if not ring or ring[-1].number < number:
            while ring and ring[0].number <= number - WINDOWS:
                self._before.add_all(ring.pop(0).summary())
            ring.append(_Window(number))
        return ring[-1]

    def summary(self, now: float | None = None) -> CallSummary:
        """What became of all calls until now."""
        now = time.perf_counter() if now is None else now
        with self._lock:
            windows = [window.summary() for window in (self._before, *self._ring)]
        return merged(windows, now - self._since)

    def last_minute(self, now: float | None = None) -> CallSummary:
        """What became of those of the last minute, less up to five seconds."""
        now = time.perf_counter() if now is None else now
        first = int(now / WINDOW_SECONDS) - WINDOWS + 1
        seconds = now - max(self._since, first * WINDOW_SECONDS)
        with self._lock:
            windows = [window.summary() for window in self._ring if window.number >= first]
        return merged(windows, seconds)


def merged(summaries: Iterable[CallSummary], seconds: float = 0.0) -> CallSummary:
    """All of these calls as one summary, counted for so many `seconds`."""
    total = _Window()
    for summary in summaries:
        total.add_all(summary)
    return total.summary(seconds)
