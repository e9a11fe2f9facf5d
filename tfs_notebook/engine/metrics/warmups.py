"""What TensorFlow Serving counts of warm-ups."""

from __future__ import annotations

from tfs_notebook.engine.metrics.counters import Counter, Histogram
from tfs_notebook.engine.metrics.stats import BOUNDS_US


class WarmupCounts:
    """Microseconds of warm-ups, and the records that they read, by path and status: `OK`, or the code of the error."""

    def __init__(self) -> None:
        self.latency = Histogram("/tensorflow/serving/model_warmup_latency", "model_path", "status", bounds=BOUNDS_US)
        self.records = Counter("/tensorflow/serving/model_warmup_records_read", "model_path", "status")

    def add(self, path: str, status: str, records: int, seconds: float) -> None:
        """Count a warm-up of the version in the directory `path` that ended after so many `seconds`."""
        self.latency.record(seconds * 1e6, path, status)
        self.records.add(path, status, by=records)
