"""A servable whose calls wait for each other and run together, as behind TensorFlow Serving's --enable_batching."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, field
from functools import partial
from math import inf
from typing import TYPE_CHECKING

from tfs_notebook.engine.batching.parameters import BatchingParameters, parameters_of_version
from tfs_notebook.engine.batching.request import Part, Request
from tfs_notebook.engine.batching.scheduler import Scheduler, expired
from tfs_notebook.engine.batching.status import BatchingStatus, BatchTally
from tfs_notebook.engine.batching.tensors import count_rows, joined, merged, split
from tfs_notebook.engine.metrics.batches import BatchCounts
from tfs_notebook.errors import Code, ServingError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from pathlib import Path

    import numpy as np

    from tfs_notebook.engine.batching.queue import Queue
    from tfs_notebook.engine.models.servable import Servable
    from tfs_notebook.engine.models.signature import Signature

_log = logging.getLogger(__name__)
_SHORTEST_SECONDS = 0.001


class BatchedModel:
    """`model` with its calls batched. `run` may be called from any number of threads, which wait in it."""

    def __init__(
        self, model: Servable, parameters: BatchingParameters, scheduler: Scheduler, counts: BatchCounts
    ) -> None:
        self.signatures = model.signatures
        self.signature_def = model.signature_def
        self.composites = getattr(model, "composites", {})
        self._model = model
        self._may_be_batched = getattr(model, "may_be_batched", None)
        self._parameters = parameters
        self._scheduler = scheduler
        self._counts = counts
        self._tally = BatchTally()
        self._queues: dict[object, Queue] = {}
        self._queue_of: dict[tuple[str, frozenset[str] | None], Queue] = {}
        self._opening = threading.Lock()
        self._hurried = False

    def expected_seconds(self, signature: Signature, inputs: Mapping[str, np.ndarray]) -> float | None:  # noqa: ARG002
        """None: a call waits for others, and must not do so where requests are read."""
        return None

    def run(
        self,
        signature: Signature,
        inputs: Mapping[str, np.ndarray],
        outputs: Sequence[str] | None,
        timeout: float | None,
    ) -> dict[str, np.ndarray]:
        """The outputs by alias, as the model's own `run` gives them, for rows that ran in a batch.

        Raises ServingError: what the batch failed with, or RESOURCE_EXHAUSTED when it did not begin within `timeout`
        seconds, DEADLINE_EXCEEDED when it did not end.
        """
        waiting = self.begin(signature, inputs, outputs, timeout)
        if waiting is None:
            return self._model.run(signature, inputs, outputs, timeout)
        waiting.wait()
        return waiting.end()

    def begin(
        self,
        signature: Signature,
        inputs: Mapping[str, np.ndarray],
        outputs: Sequence[str] | None,
        timeout: float | None,
        when_over: Callable[[Waiting], object] | None = None,
    ) -> Waiting | None:
        """`run` for those who do not wait: `when_over` is given, on any thread, what is returned when its `end` is due.

        None for inputs that the model will refuse: they are to be refused alone, by `run`, and not with a whole batch.
        None also for those that no rows of others may join, like row splits.
        """
        if self._may_be_batched is not None and not self._may_be_batched(signature, inputs):
            return None
        rows = count_rows(inputs.values())
        specs = signature.inputs
        for alias, array in inputs.items():
            if array.dtype != specs[alias].numpy_dtype:
                return None
        queue = self._queue(signature, outputs)
        waiting = Waiting(queue, inputs, rows, signature.outputs if outputs is None else outputs, timeout, when_over)
        waiting.begin()
        return waiting

    def _queue(self, signature: Signature, outputs: Sequence[str] | None) -> Queue:
        asked = signature.name, None if outputs is None else frozenset(outputs)
        queue = self._queue_of.get(asked)
        if queue is None:
            with self._opening:
                queue = self._queue_of[asked] = self._open(signature, outputs)
        return queue

    def _open(self, signature: Signature, outputs: Sequence[str] | None) -> Queue:
        """The queue of all calls that feed the same tensors and fetch the same ones, in whatever order."""
        fetched = {alias: signature.outputs[alias] for alias in (signature.outputs if outputs is None else outputs)}
        key = tuple(frozenset((alias, spec.name) for alias, spec in by.items()) for by in (signature.inputs, fetched))
        if key not in self._queues:
            kept = None if len(fetched) == len(signature.outputs) else tuple(fetched)
            run = partial(self._run, signature, kept)
            self._queues[key] = self._scheduler.queue(self._parameters, run)
            if self._hurried:
                self._queues[key].hurry()
        return self._queues[key]

    def _run(
        self, signature: Signature, outputs: Sequence[str] | None, parts: list[Part]
    ) -> list[Mapping[str, np.ndarray]]:
        """What each of `parts` gets; raises ServingError for all of them."""
        now = time.perf_counter()
        for part in parts:
            part.request.started = part.request.started or now
        rows = sum(part.rows for part in parts)
        rounded = self._rounded(rows)
        self._counts.add(parts, rounded)
        self._tally.add(rows)
        pad = self._parameters.pad_variable_length_inputs
        inputs = {
            alias: merged(parts, alias, spec.name, rows=rounded, pad=pad) for alias, spec in signature.inputs.items()
        }
        latest = max(part.request.deadline for part in parts)
        timeout = None if latest == inf else max(latest - time.monotonic(), _SHORTEST_SECONDS)
        return [*split(self._model.run(signature, inputs, outputs, timeout), parts, rounded)]

    def _rounded(self, rows: int) -> int:
        allowed = self._parameters.allowed_batch_sizes
        if not rows or not allowed:
            return rows
        rounded = min((size for size in allowed if size >= rows), default=0)
        if not rounded:
            _log.warning("Maximum batch size greater than largest allowed size; ignoring allowed sizes constraint")
        return rounded or rows

    def batching(self) -> BatchingStatus:
        """How it is batched at this moment. Any thread may ask."""
        return self._tally.status(sum(queue.count_waiting() for queue in list(self._queues.values())))

    def hurry(self) -> None:
        """From now on, as no more requests come, let batches wait for nothing but a thread."""
        with self._opening:
            self._hurried = True
            queues = list(self._queues.values())
        for queue in queues:
            queue.hurry()

    def close(self) -> None:
        """Run what still waits, then free the memory."""
        for queue in self._queues.values():
            queue.close()
        self._model.close()


class Waiting:
    """A call that has begun and will have its batch."""

    __slots__ = ("_outputs", "_queue", "_request")

    def __init__(
        self,
        queue: Queue,
        inputs: Mapping[str, np.ndarray],
        rows: int,
        outputs: Collection[str],
        timeout: float | None,
        when_over: Callable[[Waiting], object] | None,
    ) -> None:
        self._queue = queue
        self._outputs = outputs
        self._request = Request(inputs, rows, timeout, None if when_over is None else partial(when_over, self))

    def begin(self) -> None:
        """Take its place in the queue. Raises ServingError when there is none."""
        self._queue.submit(self._request)

    def wait(self) -> None:
        """Return when `end` is due: when it is over, or its time is."""
        self._request.wait()

    def give_up(self) -> bool:
        """Take it out of its queue; True when it will not be, or has not wholly been, run."""
        return self._queue.give_up(self._request)

    @property
    def moments(self) -> tuple[float | None, float | None]:
        """When its batch began and was over, in seconds of `time.perf_counter`; None for what was not yet."""
        return self._request.started, self._request.ended

    def end(self) -> dict[str, np.ndarray]:
        """The outputs by alias. Raises ServingError, also when it is not over yet, and takes it out then."""
        shares = self._request.answers()
        if shares is not None:
            return joined(shares, self._outputs)
        if self.give_up():
            raise expired()
        raise ServingError(Code.DEADLINE_EXCEEDED, "Timed out waiting for notification")


@dataclass(frozen=True, slots=True)
class BatchingLoader:
    """`load` with batching around what it loads; equal ones load a version in the same way.

    With `per_model` only versions that bring `batching_params.pbtxt` are batched, by what it says but for the threads.
    """

    load: Callable[[Path], Servable]
    scheduler: Scheduler
    parameters: BatchingParameters
    per_model: bool = False
    counts: BatchCounts = field(default_factory=BatchCounts, compare=False)

    def __call__(self, directory: Path) -> Servable:
        """Load the version in `directory`. Raises ServingError INVALID_ARGUMENT for parameters that cannot be."""
        parameters = parameters_of_version(directory) if self.per_model else self.parameters
        if parameters is None:
            return self.load(directory)
        parameters.check_queue()
        return BatchedModel(self.load(directory), parameters, self.scheduler, self.counts)
