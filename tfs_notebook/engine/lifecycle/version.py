"""One version of a model on its way from START to END, and the frozen view of it that others see."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tfs_notebook.engine.events import State
from tfs_notebook.engine.metrics.stats import merged
from tfs_notebook.errors import Code, ServingError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tfs_notebook.engine.batching.status import BatchingStatus
    from tfs_notebook.engine.metrics.stats import CallStats, CallSummary
    from tfs_notebook.engine.models.servable import Loaded, Servable
    from tfs_notebook.engine.storage.scan import Fingerprint


@dataclass(frozen=True, slots=True)
class VersionStatus:
    """A version as GetModelStatus shows it, with what a person wants to know besides.

    `error` is the load error of a version in END, or of the last attempt of one that is still retrying;
    `exchange_error` is why a version that serves could not be exchanged for what now stands on disk. `since` is seconds
    since the epoch; `load_seconds` is None until it has loaded; `batching` is None unless it serves and is batched;
    `retry_at` is when the next attempt to load it begins (seconds since the epoch), None when none is waited for.
    `calls` counts the calls by signature, `recent_calls` those of the last minute.
    """

    number: int
    state: State
    error: ServingError | None
    wanted: bool
    path: Path
    since: float
    attempts: int
    load_seconds: float | None
    calls: dict[str, CallSummary]
    exchange_error: ServingError | None = None
    batching: BatchingStatus | None = None
    retry_at: float | None = None
    recent_calls: dict[str, CallSummary] = field(default_factory=dict)

    @property
    def all_calls(self) -> CallSummary:
        """The calls of all signatures, since it was loaded."""
        return merged(self.calls.values(), max((calls.seconds for calls in self.calls.values()), default=0.0))

    @property
    def last_minute(self) -> CallSummary:
        """Those of the last minute."""
        recent = self.recent_calls.values()
        return merged(recent, max((calls.seconds for calls in recent), default=0.0))

    @property
    def error_code(self) -> Code:
        """The status code that GetModelStatus reports: an error only once the version has ended by it."""
        return self.error.code if self.error is not None and self.state is State.END else Code.OK


@dataclass(slots=True, eq=False)
class Version:
    """The manager's own record of a version; only the serving loop touches it."""

    model: str
    number: int
    path: Path
    state: State = State.START
    aspired: bool = True
    error: ServingError | None = None
    exchange_error: ServingError | None = None
    loaded: Loaded | None = None
    past_calls: Mapping[str, CallStats] = field(default_factory=dict)
    """What was asked of it until it was unloaded."""
    attempts: int = 0
    load_seconds: float | None = None
    since: float = field(default_factory=time.time)
    files: Fingerprint | None = None
    """What was on disk when it was last loaded, or failed to."""
    load: Callable[[Path], Servable] | None = None
    """What it was last loaded by, or failed to."""
    waits: bool = False
    """Whether it is loaded, and withheld from requests."""
    retry_at: float | None = None
    """When its next attempt begins, None when it does not pause."""
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    """Set to end the pause before the next attempt: nobody wants the version any more, or there is something new."""

    @property
    def failed(self) -> bool:
        """Whether it ended because it could not be loaded."""
        return self.state is State.END and self.error is not None

    def status(self) -> VersionStatus:
        """The frozen view."""
        loaded = self.loaded  # once: the serving loop may let go of it at any moment
        stats = loaded.stats if loaded is not None else self.past_calls
        return VersionStatus(
            number=self.number,
            state=self.state,
            error=self.error,
            wanted=self.aspired,
            path=self.path,
            since=self.since,
            attempts=self.attempts,
            load_seconds=self.load_seconds,
            calls={name: calls.summary() for name, calls in stats.items()},
            recent_calls={name: calls.last_minute() for name, calls in stats.items()},
            exchange_error=self.exchange_error if self.state is State.AVAILABLE else None,
            retry_at=self.retry_at,
            batching=loaded.batching() if loaded is not None and loaded.batching is not None else None,
        )
