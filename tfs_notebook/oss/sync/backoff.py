"""What is wrong with a root at the moment, and when it is retried."""

from __future__ import annotations

import logging
import random
import time
from typing import TYPE_CHECKING

from tfs_notebook.errors import Code, ServingError
from tfs_notebook.oss.cache.disk import explain_full_disk
from tfs_notebook.oss.client.store import Fault, StoreError

if TYPE_CHECKING:
    from pathlib import Path

    from tfs_notebook.oss.address import OssAddress

_log = logging.getLogger(__name__)
REFUSED_RETRY_SECONDS = 300.0
"""Between two attempts while OSS refuses: only a person can change that, and nothing says when it has happened."""
_MAX_PAUSE_SECONDS = 300.0
_MAX_FIRST_PAUSE_SECONDS = 5.0
_MAX_TRANSIENT_ATTEMPTS = 2
"""Failures in a row up to which a problem counts as transient."""


class Backoff:
    """Pauses that double up to five minutes, each shortened at random so that many clients do not retry together.

    The first is at most `poll` seconds, and at most five.
    """

    def __init__(self, poll: float) -> None:
        self.attempts = 0
        self._first = min(poll, _MAX_FIRST_PAUSE_SECONDS)

    def next(self) -> float:
        """Seconds to wait after one more failed attempt."""
        pause = min(self._first * 2.0**self.attempts, _MAX_PAUSE_SECONDS)
        self.attempts = min(self.attempts + 1, 40)
        return pause * random.uniform(0.5, 1.0)  # noqa: S311


class RetryState:
    """The present problem with `root`, whose copy is in `directory`, and when the next attempt is due.

    `poll` are the seconds between two listings, and `refused` those between two attempts while OSS refuses.
    """

    def __init__(self, root: OssAddress, directory: Path, poll: float, refused: float = REFUSED_RETRY_SECONDS) -> None:
        self.problem: ServingError | None = None
        self.is_permanent = False
        """True when a retry cannot help until a person has changed something."""
        self.retry_at = 0.0
        """When the next attempt is due (monotonic seconds)."""
        self._root = root
        self._directory = directory
        self._refused = refused
        self._backoff = Backoff(poll)

    @property
    def is_transient(self) -> bool:
        """True while there is no problem, or one that may soon pass."""
        return self._backoff.attempts <= _MAX_TRANSIENT_ATTEMPTS and not self.is_permanent

    @property
    def must_wait(self) -> bool:
        """True while the pause after a failure lasts."""
        return self.problem is not None and time.monotonic() < self.retry_at

    @property
    def is_about_credentials(self) -> bool:
        """True when other credentials may solve the problem."""
        return isinstance(self.problem, StoreError) and self.problem.fault in (Fault.FORBIDDEN, Fault.EXPIRED)

    def record(self, error: Exception, *, is_permanent: bool = False) -> None:
        """Keep `error` as the present problem, and plan the next attempt."""
        self.problem = self._as_serving_error(error)
        self.is_permanent = is_permanent or (isinstance(error, StoreError) and error.fault is Fault.FORBIDDEN)
        pause = self._refused * random.uniform(1.0, 1.1) if self.is_permanent else self._backoff.next()  # noqa: S311
        self.retry_at = time.monotonic() + pause
        _log.warning("%s: %s (asked again in %.0f s)", self._root, self.problem.told, pause)

    def _as_serving_error(self, error: Exception) -> ServingError:
        error = explain_full_disk(error, self._directory)
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

    def retry_now(self) -> None:
        """End the pause, whatever the problem is."""
        self.is_permanent, self.retry_at, self._backoff.attempts = False, 0.0, 0

    def clear(self) -> None:
        """There is no problem any more."""
        self.problem, self.is_permanent, self._backoff.attempts = None, False, 0
