"""The batches of one function of one model: which request goes into which, and when each is due."""

from __future__ import annotations

import time
from collections import deque
from math import inf
from typing import TYPE_CHECKING

from tfs_notebook.errors import Code, ServingError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np

    from tfs_notebook.engine.batching.parameters import BatchingParameters
    from tfs_notebook.engine.batching.request import Part, Request
    from tfs_notebook.engine.batching.scheduler import Scheduler

    Run = Callable[[list[Part]], list[Mapping[str, np.ndarray]]]

_LARGER = "A larger max_batch_size in the batching parameters admits more rows in a request."


class _Batch:
    """Parts that run together; `since` is when the first one came."""

    __slots__ = ("parts", "rows", "since")

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.rows = 0
        self.since = 0.0


class Queue:
    """The batches of one function of one model.

    A queue's last batch is open: it takes requests until it is full, or until it has waited long enough and a thread is
    free. `submit`, `give_up`, `count_waiting`, `hurry` and `close` take the scheduler's lock; for all else it must be
    held.
    """

    def __init__(self, scheduler: Scheduler, parameters: BatchingParameters, run: Run) -> None:
        """`run` gives the outputs of every part of a batch, or raises; any of the scheduler's threads calls it."""
        self.run = run
        self.running = 0
        self._scheduler = scheduler
        self._parameters = parameters
        self._limit = parameters.largest_batch
        self.patience = parameters.batch_timeout_micros / 1e6
        """Seconds that a batch waits to be full."""
        self._batches = deque([_Batch()])
        self.hurried = False

    def submit(self, request: Request) -> None:
        """Let `request` wait for its batch. Raises ServingError INVALID_ARGUMENT or UNAVAILABLE when it may not."""
        most = self._parameters.max_batch_size
        if request.rows > most:
            message = f"Task size {request.rows} is larger than maximum input batch size {most}"
            raise ServingError(Code.INVALID_ARGUMENT, message, hint=_LARGER)
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
        return first.since + self.patience if first.parts else inf

    def take(self) -> list[Part]:
        """Take the next batch out."""
        if len(self._batches) == 1:
            self._batches.append(_Batch())
        self.running += 1
        return self._batches.popleft().parts

    @property
    def waiting(self) -> set[Request]:
        """The requests that wait, or a part of them."""
        return {part.request for batch in self._batches for part in batch.parts}

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
                batch.since = kept[0].request.began if kept else 0.0
                if not kept and batch is not self._batches[-1]:
                    self._batches.remove(batch)
        return found

    def give_up(self, request: Request) -> bool:
        """`discard`, for those without the lock."""
        return self._scheduler.give_up(self, request)

    def count_waiting(self) -> int:
        """How many requests wait, for those without the lock."""
        return self._scheduler.count_waiting(self)

    def hurry(self) -> None:
        """From now on let batches wait for nothing but a thread."""
        self._scheduler.hurry(self)

    def close(self) -> None:
        """Return when everything that waited has run."""
        self._scheduler.remove(self)
