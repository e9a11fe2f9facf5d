"""What TensorFlow's own loader counts of the loads of SavedModels."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tfs_notebook.engine.metrics.counters import Counter

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tfs_notebook.engine.models.servable import Servable


class LoadCounts:
    """Attempts by path and outcome (`success`, `fail`), and the microseconds that the successful ones took."""

    def __init__(self) -> None:
        self.attempts = Counter("/tensorflow/cc/saved_model/load_attempt_count", "model_path", "status")
        self.micros = Counter("/tensorflow/cc/saved_model/load_latency", "model_path")


@dataclass(frozen=True, slots=True)
class CountedLoad:
    """`load` whose calls are counted; it is equal to another one that loads a version in the same way."""

    load: Callable[[Path], Servable]
    counts: LoadCounts = field(compare=False)

    def __call__(self, directory: Path) -> Servable:
        """Load the version in `directory`; raises what `load` raises."""
        started = time.perf_counter()
        try:
            servable = self.load(directory)
        except BaseException:
            self.counts.attempts.add(str(directory), "fail")
            raise
        self.counts.attempts.add(str(directory), "success")
        self.counts.micros.add(str(directory), by=round((time.perf_counter() - started) * 1e6))
        return servable
