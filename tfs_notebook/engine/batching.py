"""Requests wait in queues, and a few threads run them in batches: TensorFlow's SharedBatchScheduler.

A queue's last batch is open: it takes requests until it is full, or until it has waited long enough and a thread is
free. All queues share the threads, which serve them in turn, exist while there are queues, and sleep until the next
batch is due. Times are `time.monotonic()` seconds.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from math import inf
from typing import TYPE_CHECKING

from tfs_notebook.errors import Code, ServingError, invalid_argument

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np

    from tfs_notebook.engine.batching_parameters import BatchingParameters
    from tfs_notebook.engine.batching_request import Part, Request

    Run = Callable[[list[Part]], list[Mapping[str, np.ndarray]]]

_log = logging.getLogger(__name__)


class _Batch:
    """Parts that run together; `since` is when the first one came."""

    __slots__ = ("parts", "rows", "since")

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.rows = 0
        self.since = 0.0


class Queue:
    """The batches of one function of one model. Everything but `submit` and `close` needs the scheduler's lock."""

    def __init__(self, scheduler: Scheduler, parameters: BatchingParameters, run: Run) -> None:
        """`run` gives the outputs of every part of a batch, or raises; any of the scheduler's threads calls it."""
        self.run = run
        self.running = 0
        self._scheduler = scheduler
        self._parameters = parameters
        self._limit = parameters.largest_batch
        self._patience = parameters.batch_timeout_micros / 1e6
        self._batches = deque([_Batch()])
        self.hurried = False

    def submit(self, request: Request) -> None:
        """Let `request` wait for its batch. Raises ServingError INVALID_ARGUMENT or UNAVAILABLE when it may not."""
        most = self._parameters.max_batch_size
        if request.rows > most:
            raise invalid_argument(f"Task size {request.rows} is larger than maximum input batch size {most}")
        self._scheduler.submit(self, request)

    def add(self, request: Request) -> bool:
        """Put `request` into batches; tells whether a thread has something new to do or to wait for."""
        room = self._limit - self._batches[-1].rows
        sizes = self._split_sizes(request.rows, room)
        if self._parameters.enable_large_batch_splitting:
            self._check_capacity(request.rows, room)
        elif request.rows > room and len(self._batches) >= self._parameters.max_enqueued_batches:
            raise ServingError(
                Code.UNAVAILABLE,
                "The batch scheduling queue to which this task was submitted is full; currently "
                f"{len(self._batches)} batches enqueued and max_enqueued_batches is "
                f"{self._parameters.max_enqueued_batches}",
            )
        changed = False
        for part in request.split(sizes):
            if self._batches[-1].rows + part.rows > self._limit:
                self._batches.append(_Batch())
            batch = self._batches[-1]
            if not batch.parts:
                batch.since = time.monotonic()
                changed = True
            batch.parts.append(part)
            batch.rows += part.rows
            changed |= batch.rows >= self._limit
        return changed

    def _split_sizes(self, rows: int, room: int) -> list[int]:
        """Into parts of how many rows a request goes: first what the open batch still holds, then whole batches."""
        if rows <= room or not self._parameters.enable_large_batch_splitting:
            return [rows]
        first = [room] if room else []
        whole, rest = divmod(rows - room, self._limit)
        return first + [self._limit] * whole + ([rest] if rest else [])

    def _check_capacity(self, rows: int, room: int) -> None:
        most = self._parameters.max_enqueued_batches
        capacity = (most - len(self._batches)) * self._limit + room
        if rows > capacity:
            raise ServingError(
                Code.UNAVAILABLE,
                f"The batch scheduling queue to which this task was submitted is full; task size is {rows} but "
                f"scheduling capacity is only {capacity} (num_enqueued_batches={len(self._batches)}, "
                f"max_enqueued_batches={most}, open_batch_size={self._batches[-1].rows}, "
                f"max_execution_batch_size={self._limit})",
            )

    def due(self) -> float:
        """From when on its next batch may run: a time that is past for one that is full, infinity without any."""
        first = self._batches[0]
        if len(self._batches) > 1 or (first.parts and (self.hurried or first.rows >= self._limit)):
            return 0.0
        return first.since + self._patience if first.parts else inf

    def take(self) -> list[Part]:
        """Take the next batch out."""
        if len(self._batches) == 1:
            self._batches.append(_Batch())
        self.running += 1
        return self._batches.popleft().parts

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return len(self._batches) == 1 and not self._batches[0].parts

    def discard(self, request: Request) -> bool:
        """Take out what still waits of `request`; tells whether anything did."""
        found = False
        for batch in list(self._batches):
            kept = [part for part in batch.parts if part.request is not request]
            if len(kept) < len(batch.parts):
                found = True
                batch.parts, batch.rows = kept, sum(part.rows for part in kept)
                if not kept and batch is not self._batches[-1]:
                    self._batches.remove(batch)
        return found

    def give_up(self, request: Request) -> bool:
        """`discard`, for those without the lock."""
        return self._scheduler.give_up(self, request)

    def hurry(self) -> None:
        """From now on let batches wait for nothing but a thread."""
        self._scheduler.hurry(self)

    def close(self) -> None:
        """Return when everything that waited has run."""
        self._scheduler.remove(self)


class Scheduler:
    """So many threads for all queues."""

    def __init__(self, threads: int, name: str = "batch_threads") -> None:
        self.threads = threads
        self.name = name
        lock = threading.Lock()
        self._changed, self._emptied = threading.Condition(lock), threading.Condition(lock)
        self._queues: set[Queue] = set()
        self._waiting: deque[Queue] = deque()
        self._workers: set[threading.Thread] = set()

    def queue(self, parameters: BatchingParameters, run: Run) -> Queue:
        """A new queue, whose batches `run` is called with; to be closed."""
        queue = Queue(self, parameters, run)
        with self._changed:
            self._queues.add(queue)
            while len(self._workers) < self.threads:
                name = f"tfs-{self.name}-{len(self._workers)}"
                worker = threading.Thread(target=self._work, name=name, daemon=True)
                self._workers.add(worker)
                worker.start()
        return queue

    def submit(self, queue: Queue, request: Request) -> None:
        """See `Queue.submit`."""
        with self._changed:
            was_empty = queue.is_empty
            changed = queue.add(request)
            if was_empty:
                self._waiting.append(queue)
            if changed:
                self._changed.notify()

    def give_up(self, queue: Queue, request: Request) -> bool:
        """See `Queue.give_up`."""
        with self._changed:
            found = queue.discard(request)
            self._forget_if_empty(queue)
            return found

    def _forget_if_empty(self, queue: Queue) -> None:
        if queue.is_empty and queue in self._waiting:
            self._waiting.remove(queue)
            self._emptied.notify_all()

    def hurry(self, queue: Queue) -> None:
        """See `Queue.hurry`."""
        with self._changed:
            queue.hurried = True
            self._changed.notify()

    def remove(self, queue: Queue) -> None:
        """See `Queue.close`."""
        with self._changed:
            queue.hurried = True
            self._changed.notify_all()
            while queue.running or not queue.is_empty:
                self._emptied.wait()
            self._queues.discard(queue)
            self._changed.notify_all()

    def _work(self) -> None:
        while True:
            with self._changed:
                taken = self._next()
                while taken is None:
                    if not self._queues:
                        self._workers.discard(threading.current_thread())
                        return
                    self._changed.wait(self._seconds_to_next())
                    taken = self._next()
                if self._waiting:
                    self._changed.notify()  # somebody else is to see when the next one is due
            queue, parts = taken
            _run(queue, parts)
            with self._changed:
                queue.running -= 1
                if queue.hurried:
                    self._emptied.notify_all()
            del queue, parts, taken

    def _next(self) -> tuple[Queue, list[Part]] | None:
        """The first batch that is due, of the queue that has not been served for longest."""
        now = time.monotonic()
        for queue in self._waiting:
            if queue.due() <= now:
                self._waiting.remove(queue)
                parts = queue.take()
                if not queue.is_empty:
                    self._waiting.append(queue)
                return queue, parts
        return None

    def _seconds_to_next(self) -> float | None:
        due = min((queue.due() for queue in self._waiting), default=inf)
        return None if due == inf else max(due - time.monotonic(), 0)


def _run(queue: Queue, parts: list[Part]) -> None:
    """Run what is still in time, and answer the rest."""
    now = time.monotonic()
    in_time = [part for part in parts if part.request.deadline > now]
    _finish([part for part in parts if part.request.deadline <= now], expired())
    if not in_time:
        return
    try:
        outcomes = queue.run(in_time)
    except ServingError as error:
        _finish(in_time, error)
    except MemoryError:
        _finish(in_time, ServingError(Code.RESOURCE_EXHAUSTED, "Not enough memory for this batch"))
    except Exception as error:
        _log.exception("a batch failed")
        _finish(in_time, ServingError(Code.INTERNAL, f"{type(error).__name__}: {error}"))
    else:
        for part, outcome in zip(in_time, outcomes, strict=True):
            part.finish(outcome)


def _finish(parts: list[Part], error: ServingError) -> None:
    for part in parts:
        part.finish(error)


def expired() -> ServingError:
    """What a request is told whose time was over before its batch began."""
    return ServingError(Code.RESOURCE_EXHAUSTED, "Run() timeout exceeded while waiting in batching queue")
