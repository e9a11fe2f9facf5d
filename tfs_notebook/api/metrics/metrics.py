"""What TensorFlow Serving counts of its requests, models and loads, under its names.

Requests are counted only while somebody may ask for the metrics. `Metrics.count_call` observes calls; the front ends
count requests themselves, as some never become a call: for an unknown model, or without the token.
"""

from __future__ import annotations

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
    from tfs_notebook.api.calls.record import CallRecord
    from tfs_notebook.engine.metrics.counters import Labels

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

    def count_call(self, call: CallRecord) -> None:
        """Count what the model has answered, whatever became of the reply: an observer of calls."""
        if call.ran is None or call.begun is None or call.task:
            return
        # With the wait for a batch, as TensorFlow Serving's sessions count it
        self._runtime.record((call.ran - call.begun) * 1e6, call.model, call.method, "TF1")
        if call.method == "MultiInference":  # as TensorFlow Serving does, and of nothing else
            self._examples.add(call.model, by=call.examples)
            self._example_counts.record(call.examples, call.model)
