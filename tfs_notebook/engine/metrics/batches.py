"""What TensorFlow Serving counts of batches."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tfs_notebook.engine.metrics.counters import Counter, Histogram

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tfs_notebook.engine.batching.request import Part

_SESSION = "/tensorflow/serving/batching_session/"
_ROWS = tuple(2.0**k for k in range(14))
_MICROS = tuple(100 * 1.2**k for k in range(52))


class BatchCounts:
    """Batches that ran, their sizes in rows, and the microseconds that requests waited for them."""

    def __init__(self) -> None:
        self.runs = Counter(f"{_SESSION}wrapped_run_count")
        self._input = Histogram(f"{_SESSION}input_batch_size", bounds=_ROWS)
        self._padding = Histogram(f"{_SESSION}padding_size", "execution_batch_size", bounds=_ROWS)
        self._processed = Histogram(f"{_SESSION}processed_batch_size", bounds=_ROWS)
        self._queuing = Histogram(f"{_SESSION}queuing_latency", "thread_pool_name", bounds=_MICROS)
        self.sizes_and_waits = (self._input, self._padding, self._processed, self._queuing)

    def add(self, parts: Sequence[Part], rows: int) -> None:
        """Count a batch of `parts` that is about to run, padded to `rows` rows."""
        now = time.monotonic()
        for part in parts:
            if part.index == 0:
                self._input.record(part.request.rows)
            self._queuing.record((now - part.request.began) * 1e6, "")
        self._padding.record(rows - sum(part.rows for part in parts), str(rows))
        self._processed.record(rows)
        self.runs.add()
