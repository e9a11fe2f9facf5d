"""Requests wait in queues, and a few threads run them in batches: TensorFlow's SharedBatchScheduler.

All queues share the threads, which serve them in turn, exist while there are queues, and sleep until the next batch is
due. Times are `time.monotonic()` seconds.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from math import inf
from typing import TYPE_CHECKING

from tfs_notebook.engine.batching.queue import Queue
from tfs_notebook.errors import Code, ServingError
from tfs_notebook.threads import NoThreadError, start_daemon_thread

if TYPE_CHECKING:
    from tfs_notebook.engine.batching.parameters import BatchingParameters
    from tfs_notebook.engine.batching.queue import Run
    from tfs_notebook.engine.batching.request import Part, Request

_log = logging.getLogger(__name__)


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
        self._watch = inf
        """When a thread looks by itself whether a batch is due."""

    def queue(self, parameters: BatchingParameters, run: Run) -> Queue:
        """A new queue, whose batches `run` is called with; to be closed. Raises NoThreadError."""
        queue = Queue(self, parameters, run)
        with self._changed:
            self._queues.add(queue)
            try:
                self._start_workers()
            except NoThreadError:
                if not self._workers:
                    self._queues.discard(queue)
                    raise
        return queue

    def _start_workers(self) -> None:
        while len(self._workers) < self.threads:
            self._workers.add(start_daemon_thread(self._work, f"tfs-{self.name}-{len(self._workers)}"))

    def submit(self, queue: Queue, request: Request) -> None:
        """See `Queue.submit`."""
        with self._changed:
            was_empty = queue.is_empty
            changed = queue.add(request)
            if was_empty:
                self._waiting.append(queue)
            if changed and queue.due() < self._watch:
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

    def count_waiting(self, queue: Queue) -> int:
        """See `Queue.count_waiting`."""
        with self._changed:
            return len(queue.waiting)

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
        patience = inf
        while True:
            with self._changed:
                while (taken := self._next()) is None:
                    if not self._queues:
                        self._workers.discard(threading.current_thread())
                        return
                    self._wait(time.monotonic() + patience)
                    patience = inf
                if self._waiting:
                    self._changed.notify()  # somebody else is to see when the next one is due
            queue, parts = taken
            patience = queue.patience
            try:
                _run(queue, parts)
            finally:
                with self._changed:
                    queue.running -= 1
                    if queue.hurried:
                        self._emptied.notify_all()
            del queue, parts, taken  # else this thread keeps the arrays until the next batch

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

    def _wait(self, latest: float) -> None:
        """Wait for something to do, or to wait for, and if nobody else does so in time, until the next batch is due.

        Until `latest` at most: while requests come, who looks in time by itself need not be woken for the first of each
        batch.
        """
        due = min([latest, *(queue.due() for queue in self._waiting)])
        if due >= self._watch:
            self._changed.wait()
            return
        self._watch = due
        try:
            self._changed.wait(max(due - time.monotonic(), 0))
        finally:
            self._watch = inf


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
