"""What became of the calls of one signature: over all time, and in the last minute.

The last minute is kept in windows of five seconds; what leaves it is added to what was before. So the memory is that of
the windows, whatever is asked.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tfs_notebook.engine.metrics.latencies import Latencies, latencies_of
from tfs_notebook.engine.metrics.latencies import merged as merged_latencies
from tfs_notebook.errors import Code

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

BOUNDS_US = tuple(10 * 1.8**k for k in range(32))
"""TensorFlow Serving's bounds for its latency metrics."""
WINDOW_SECONDS = 5
WINDOWS = 12
_MAX_NOTED = 512


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


_NOTHING = CallSummary()


class CallStats:
    """Counts the calls of one signature. Every thread may count and read; a reader holds nobody up.

    A call that ended well is only noted: its latencies are worked out with those of many others, by a reader or by
    every 512th call, at a fifth of the time that each alone would take.
    """

    def __init__(self, now: float | None = None) -> None:
        """`now` is the time, in seconds of `time.perf_counter`, as in all methods; by default it is looked up."""
        self._since = time.perf_counter() if now is None else now
        self._noted: deque[tuple[float, float, float]] = deque()
        """Calls that are in no window yet: whole, run, and when they ended."""
        self._lock = threading.Lock()
        """Held to change what follows."""
        self._before = _NOTHING
        self._windows: dict[int, CallSummary] = {}
        """The windows in which there were calls, by their number since the clock began."""

    def record(self, seconds: float, run_seconds: float, now: float | None = None) -> None:
        """One call that was answered after `seconds`, of which the model took `run_seconds`."""
        noted = self._noted
        noted.append((seconds, run_seconds, time.perf_counter() if now is None else now))
        if len(noted) >= _MAX_NOTED:
            with self._lock:
                self._work_out()

    def record_error(self, code: Code, now: float | None = None) -> None:
        """One call that ended with `code`."""
        now = time.perf_counter() if now is None else now
        with self._lock:
            self._add(_number(now), CallSummary({code: 1}))

    def _work_out(self) -> None:
        """Put the calls that were noted into their windows."""
        by_window: dict[int, list[tuple[float, float, float]]] = {}
        for _ in range(len(self._noted)):
            call = self._noted.popleft()
            by_window.setdefault(_number(call[2]), []).append(call)
        for number, calls in by_window.items():
            whole, run = (latencies_of([call[part] for call in calls]) for part in (0, 1))
            self._add(number, CallSummary({Code.OK: len(calls)}, whole, run))

    def _add(self, number: int, calls: CallSummary) -> None:
        windows = self._windows
        windows[number] = merged([windows.get(number, _NOTHING), calls])
        if len(windows) > WINDOWS:
            last = max(windows)
            old = [windows.pop(each) for each in list(windows) if each <= last - WINDOWS]
            self._before = merged([self._before, *old])

    def summary(self, now: float | None = None) -> CallSummary:
        """What became of all calls until now."""
        now = time.perf_counter() if now is None else now
        with self._lock:
            self._work_out()
            windows = [self._before, *self._windows.values()]
        return merged(windows, now - self._since)

    def last_minute(self, now: float | None = None) -> CallSummary:
        """What became of those of the last minute, less up to five seconds."""
        now = time.perf_counter() if now is None else now
        first = _number(now) - WINDOWS + 1
        seconds = now - max(self._since, first * WINDOW_SECONDS)
        with self._lock:
            self._work_out()
            windows = [calls for number, calls in self._windows.items() if number >= first]
        return merged(windows, seconds)


def _number(now: float) -> int:
    return int(now // WINDOW_SECONDS)


def merged(summaries: Iterable[CallSummary], seconds: float = 0.0) -> CallSummary:
    """All of these calls as one summary, counted for so many `seconds`."""
    filled = [summary for summary in summaries if summary.codes]
    codes: dict[Code, int] = {}
    for summary in filled:
        for code, count in summary.codes.items():
            codes[code] = codes.get(code, 0) + count
    whole, run = (merged_latencies(part) for part in ([s.whole for s in filled], [s.run for s in filled]))
    return CallSummary(codes, whole, run, seconds)
