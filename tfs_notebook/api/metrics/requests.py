"""A request as the metrics count it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tfs_notebook.api.calls.observers import code_of

if TYPE_CHECKING:
    from typing_extensions import Self

    from tfs_notebook.engine.metrics.counters import Counter, Histogram


class CountedRequest:
    """A request under way: counted by model and status when it ends, and its time when it ends well."""

    __slots__ = ("_entrypoint", "_latency", "_requests", "_started", "api", "model")

    def __init__(self, requests: Counter, latency: Histogram, entrypoint: str, model: str, api: str) -> None:
        self.model = model
        self.api = api
        self._requests = requests
        self._latency = latency
        self._entrypoint = entrypoint
        self._started = time.perf_counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        self.end(error)

    def end(self, error: BaseException | None = None) -> None:
        """Count it, as ended with `error` or well."""
        if error is None:
            micros = (time.perf_counter() - self._started) * 1e6
            self._latency.record(micros, self.model, self.api, self._entrypoint)
            self._requests.add(self.model, "OK")
        else:
            self._requests.add(self.model, code_of(error).name)


class Uncounted:
    """A request while nobody may ask for the metrics."""

    __slots__ = ("api", "model")

    def __init__(self) -> None:
        self.model = self.api = ""

    def end(self, error: BaseException | None = None) -> None:
        """Count nothing."""


UNCOUNTED = Uncounted()
