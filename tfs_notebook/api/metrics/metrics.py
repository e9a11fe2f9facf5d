"""What TensorFlow Serving counts of its requests, models and loads, under its names.

Requests are counted only while somebody may ask for the metrics: front ends look once a request, and calls are of
another type then.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tfs_notebook.api.metrics.prometheus import metrics_text
from tfs_notebook.api.metrics.requests import CountedRequest
from tfs_notebook.engine.metrics.batches import BatchCounts
from tfs_notebook.engine.metrics.counters import Counter, Histogram
from tfs_notebook.engine.metrics.loads import LoadCounts
from tfs_notebook.engine.metrics.stats import BOUNDS_US
from tfs_notebook.engine.metrics.warmups import WarmupCounts
from tfs_notebook.engine.request_log.log import log_counter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

    from tfs_notebook.api.inference import Call
    from tfs_notebook.engine.metrics.counters import Labels
    from tfs_notebook.engine.metrics.stats import CallStats
    from tfs_notebook.engine.models.signature import Signature

_SERVING = "/tensorflow/serving/"
_UNFED = {f"{_SERVING}mlmd_map": "gauge"}
"""Metrics of TensorFlow Serving that have no samples, here or there, so that the page shows their type alone."""
_EXAMPLES = tuple(2.0**k for k in range(15))


class Metrics:
    """The metrics of one server; they only ever rise, whatever is loaded, unloaded or switched off meanwhile."""

    def __init__(self) -> None:
        self.loads = LoadCounts()
        self.batches = BatchCounts()
        self.warmups = WarmupCounts()
        self.logged = log_counter()
        self._requests = Counter(f"{_SERVING}request_count", "model_name", "status")
        self._latency = Histogram(f"{_SERVING}request_latency", "model_name", "API", "entrypoint", bounds=BOUNDS_US)
        self._runtime = Histogram(f"{_SERVING}runtime_latency", "model_name", "API", "runtime", bounds=BOUNDS_US)
        self._examples = Counter(f"{_SERVING}request_example_count_total", "model")
        self._example_counts = Histogram(f"{_SERVING}request_example_counts", "model", bounds=_EXAMPLES)
        self._counters = (
            self.loads.attempts, self.loads.micros, self.warmups.records, self._requests, self.logged, self._examples,
            self.batches.runs,
        )  # fmt: skip
        self._histograms = (
            self._latency, self._runtime, self._example_counts, self.warmups.latency, *self.batches.sizes_and_waits,
        )  # fmt: skip

    def text(self) -> str:
        """The page that Prometheus reads. Takes milliseconds with many models; waits for nobody."""
        return metrics_text((*self._counters, *self._histograms), _UNFED)

    def counts(self, name: str) -> dict[Labels, int]:
        """The series of the counter `name` (/tensorflow/serving/…) in their order, empty when there is no such one."""
        found = next((counter for counter in self._counters if counter.name == name), None)
        return {} if found is None else found.counts()

    def request(self, entrypoint: str, model: str = "", api: str = "") -> CountedRequest:
        """Count what happens from now to the end of a `with` as a request; its `model` and `api` may be told within."""
        return CountedRequest(self._requests, self._latency, entrypoint, model, api)

    def counted(self, call_type: type[Call]) -> type[Call]:
        """Calls like `call_type` of which those that succeed are counted."""
        runtime, count_examples = self._runtime, self._count_examples

        class CountedCall(call_type):  # type: ignore[misc, valid-type]  # mypy knows no classes of variable base
            __slots__ = ()

            def answered(self, stats: CallStats, started: float) -> None:
                super().answered(stats, started)
                self._count(started)

            def predict_together(
                self,
                signatures: Sequence[Signature],
                inputs: Mapping[str, np.ndarray],
                outputs: Sequence[str],
                *,
                timeout: float | None = None,
            ) -> dict[str, np.ndarray]:
                started = time.perf_counter()
                values = super().predict_together(signatures, inputs, outputs, timeout=timeout)
                self._count(started)
                count_examples(self.model, len(next(iter(inputs.values()))))
                return values  # type: ignore[no-any-return]

            def _count(self, started: float) -> None:
                runtime.record((time.perf_counter() - started) * 1e6, self.model, self.api, "TF1")

        return CountedCall

    def _count_examples(self, model: str, count: int) -> None:
        """As TensorFlow Serving does of MultiInference, and of nothing else."""
        self._examples.add(model, by=count)
        self._example_counts.record(count, model)
