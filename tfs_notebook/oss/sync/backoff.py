"""What is wrong with a source at the moment, and when it is tried again."""

from __future__ import annotations

import logging
import random
import time
from typing import TYPE_CHECKING

from tfs_notebook.errors import Code, ServingError
from tfs_notebook.oss.cache.disk import explained
from tfs_notebook.oss.client.store import Fault, StoreError

if TYPE_CHECKING:
    from pathlib import Path

    from tfs_notebook.oss.address import OssAddress

_log = logging.getLogger(__name__)
REFUSED_SECONDS = 300.0
"""How long a source that refuses is left alone: only somebody else can change that, who does not tell when."""
_LONGEST_PAUSE = 300.0
_LONGEST_FIRST_PAUSE = 5.0
_HOPEFUL_ATTEMPTS = 2
"""Failures after which trouble is no longer a bad moment."""


class Backoff:
    """Pauses that double up to five minutes, each somewhat random so that many do not meet.

    The first is `poll` seconds, or five if those are fewer.
    """

    def __init__(self, poll: float) -> None:
        self.attempts = 0
        self._first = min(poll, _LONGEST_FIRST_PAUSE)

    def next(self) -> float:
        """Seconds until the next attempt, after one more has failed."""
        pause = min(self._first * 2.0**self.attempts, _LONGEST_PAUSE)
        self.attempts = min(self.attempts + 1, 40)
        return pause * random.uniform(0.5, 1.0)  # noqa: S311


class Trouble:
    """The trouble with the source `root`, whose copy is in `directory`.

    It is looked at every `poll` seconds when there is none, and every `refused` seconds when it refuses.
    """

    def __init__(self, root: OssAddress, directory: Path, poll: float, refused: float = REFUSED_SECONDS) -> None:
        self.problem: ServingError | None = None
        self.stops = False
        """Whether asking again cannot help before somebody does something."""
        self.until = 0.0
        """When (monotonic) it is to be tried again."""
        self._root = root
        self._directory = directory
        self._refused = refused
        self._backoff = Backoff(poll)

    @property
    def is_passing(self) -> bool:
        """Whether there is none, or it may be over in a moment."""
        return self._backoff.attempts <= _HOPEFUL_ATTEMPTS and not self.stops

    @property
    def forbids(self) -> bool:
        """Whether nothing is to be tried now."""
        return self.problem is not None and time.monotonic() < self.until

    @property
    def is_about_keys(self) -> bool:
        """Whether other credentials may end it."""
        return isinstance(self.problem, StoreError) and self.problem.fault in (Fault.FORBIDDEN, Fault.EXPIRED)

    def take(self, error: Exception, *, stops: bool = False) -> None:
        """Take note of `error`."""
        self.problem = self._told(error)
        self.stops = stops or (isinstance(error, StoreError) and error.fault is Fault.FORBIDDEN)
        pause = self._refused * random.uniform(1.0, 1.1) if self.stops else self._backoff.next()  # noqa: S311
        self.until = time.monotonic() + pause
        _log.warning("%s: %s (asked again in %.0f s)", self._root, self.problem.told, pause)

    def _told(self, error: Exception) -> ServingError:
        error = explained(error, self._directory)
        if isinstance(error, ServingError):
            return error
        if isinstance(error, OSError):
            return ServingError(
                Code.UNAVAILABLE,
                f"{error.filename or self._directory} cannot be used ({error.strerror or error})",
                hint=f"{self._root} is copied there.",
            )
        _log.error("synchronising %s failed", self._root, exc_info=error)
        return ServingError(Code.INTERNAL, f"synchronising {self._root} failed: {error!r}")

    def retry(self) -> None:
        """Try again now, whatever it is."""
        self.stops, self.until, self._backoff.attempts = False, 0.0, 0

    def is_over(self) -> None:
        """It works."""
        self.problem, self.stops, self._backoff.attempts = None, False, 0
