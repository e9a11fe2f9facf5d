"""The one stream of state changes that everything which shows state listens to.

Listeners are called in order on the thread that publishes (the serving loop), so they must return at once; one that
raises is logged and keeps its place, and the others still hear.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from tfs_notebook.errors import ServingError

_log = logging.getLogger(__name__)
_KEPT = 200


class State(IntEnum):
    """A version's life, numbered as ModelVersionStatus.State."""

    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


class Kind(Enum):
    """What an event tells."""

    VERSION = "version"
    """A version changed state, or an attempt to load it failed."""
    REPLACED = "replaced"
    """A served version was exchanged for another copy of the same number."""
    STORAGE = "storage"
    """What a scan of a model's base path found is not what the scan before it found."""
    FETCH = "fetch"
    """The fetch status of a model's base path changed, or files arrived there (`error`: nothing can be fetched)."""
    CONFIG = "config"
    """A configuration was applied, or refused (then `error` is set)."""
    LABELS = "labels"
    """The labels of a model changed, or were refused (then `error` is set)."""
    LOGGING = "logging"
    """The requests to a model cannot be written down any more (`error` is set), or can again."""
    SERVER = "server"
    """The server's ports opened or closed; one of them against its will when `error` is set."""


@dataclass(frozen=True, slots=True)
class Event:
    """One change at `time` (seconds since the epoch); what does not apply to its kind is None."""

    kind: Kind
    model: str = ""
    version: int | None = None
    state: State | None = None
    error: ServingError | None = None
    message: str = ""
    time: float = field(default_factory=time.time)


class EventStream:
    """Publishes events to listeners, and keeps the latest for who comes later."""

    def __init__(self) -> None:
        self._recent: deque[Event] = deque(maxlen=_KEPT)
        self._lock = threading.Lock()
        self._listeners: tuple[Callable[[Event], None], ...] = ()

    def listen(self, listener: Callable[[Event], None]) -> Callable[[], None]:
        """Call `listener` for every event from now on; the returned function ends that."""
        with self._lock:
            self._listeners = (*self._listeners, listener)

        def end() -> None:
            with self._lock:
                self._listeners = tuple(other for other in self._listeners if other is not listener)

        return end

    @property
    def recent(self) -> tuple[Event, ...]:
        """The latest events, oldest first. Any thread may ask."""
        return tuple(self._recent.copy())  # copied in one step, whatever is published meanwhile

    def publish(self, event: Event) -> None:
        """Tell every listener."""
        self._recent.append(event)
        for listener in self._listeners:
            try:
                listener(event)
            except Exception:
                _log.exception("a listener failed on %s", event)
