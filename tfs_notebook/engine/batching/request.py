"""One call that waits for its batch, and the parts of it that may run in different ones."""

from __future__ import annotations

import threading
import time
from math import inf
from typing import TYPE_CHECKING

from tfs_notebook.errors import ServingError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np

    Outcome = Mapping[str, np.ndarray] | ServingError

_joining = threading.Lock()


class Request:
    """`inputs` with `rows` rows each that wait until `timeout` seconds from now.

    Its end is told to `when_over`, on any thread, or else to the thread that waits.
    """

    __slots__ = ("_is_over", "_outcomes", "_tell", "began", "deadline", "ended", "inputs", "rows", "started")

    def __init__(
        self,
        inputs: Mapping[str, np.ndarray],
        rows: int,
        timeout: float | None,
        when_over: Callable[[], object] | None = None,
    ) -> None:
        self.inputs = inputs
        self.rows = rows
        self.began = time.monotonic()
        self.deadline = inf if timeout is None else self.began + timeout
        self.started: float | None = None
        """When the first of its batches began, in seconds of `time.perf_counter`."""
        self.ended: float | None = None
        """When the last one was over."""
        self._outcomes: list[Outcome | None] = [None]
        self._is_over = threading.Lock()
        self._is_over.acquire()
        self._tell = when_over

    def split(self, sizes: Sequence[int]) -> list[Part]:
        """Its parts of so many rows; they may run in different batches."""
        self._outcomes = [None] * len(sizes)
        parts, start = [], 0
        for index, size in enumerate(sizes):
            parts.append(Part(self, index, start, start + size))
            start += size
        return parts

    def finish(self, index: int, outcome: Outcome) -> None:
        """What came of one part."""
        if len(self._outcomes) == 1:
            self._outcomes[0] = outcome
        else:
            with _joining:
                self._outcomes[index] = outcome
                if any(outcome is None for outcome in self._outcomes):
                    return
        self.ended = time.perf_counter()
        self._is_over.release()
        tell, self._tell = self._tell, None  # which may hold this
        if tell is not None:
            tell()

    def wait(self) -> None:
        """Wait until it is over, or its time is."""
        self._is_over.acquire(timeout=-1 if self.deadline == inf else max(self.deadline - time.monotonic(), 0))

    def answers(self) -> list[Mapping[str, np.ndarray]] | None:
        """The outputs of its parts, in order; None unless it is over. Raises what a part failed with."""
        answers = []
        for outcome in self._outcomes:
            if outcome is None:
                return None
            if isinstance(outcome, ServingError):  # each thread raises an error of its own
                raise ServingError(outcome.code, outcome.message, where=outcome.where, hint=outcome.hint)
            answers.append(outcome)
        return answers


class Part:
    """The rows `start` to `stop` of a request."""

    __slots__ = ("index", "request", "rows", "start", "stop")

    def __init__(self, request: Request, index: int, start: int, stop: int) -> None:
        self.request = request
        self.index = index
        self.start, self.stop = start, stop
        self.rows = stop - start

    def input(self, alias: str) -> np.ndarray:
        """Its rows of an input."""
        array = self.request.inputs[alias]
        return array if self.rows == self.request.rows else array[self.start : self.stop]

    def finish(self, outcome: Outcome) -> None:
        """Answer it, with outputs or an error."""
        self.request.finish(self.index, outcome)
