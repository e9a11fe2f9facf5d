"""What became of the requests to a version that are batched."""

from __future__ import annotations

import threading
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BatchingStatus:
    """The batches that a version has begun, their rows (those that only fill them up not counted), and the requests
    that wait for one at this moment.
    """

    batches: int = 0
    rows: int = 0
    waiting: int = 0

    @property
    def mean_rows(self) -> float:
        """How many rows a batch has on average, 0 without any."""
        return self.rows / self.batches if self.batches else 0.0


class BatchTally:
    """Counts the batches of a version; every thread may add."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._batches = self._rows = 0

    def add(self, rows: int) -> None:
        """Count a batch of so many rows."""
        with self._lock:
            self._batches += 1
            self._rows += rows

    def status(self, waiting: int) -> BatchingStatus:
        """The counts as they are now, beside the requests that wait."""
        with self._lock:
            return BatchingStatus(self._batches, self._rows, waiting)
