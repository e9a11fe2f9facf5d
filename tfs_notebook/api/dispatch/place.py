"""The decision of the dispatcher, for REST and gRPC alike: `thresholds` explains it."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tfs_notebook.api.dispatch.thresholds import CallLimits


class Place(Enum):
    """Where a call runs."""

    AT_ONCE = "on the thread that read its request, now"
    IN_TURN = "on the thread that read its request, once everything that has come is read"
    THREADS = "on one of few threads for calls whose time is known"
    POOL = "on one of many threads for all other calls"
    BATCH = "with other calls, on a thread of the batch scheduler"


def place(seconds: float | None, limits: CallLimits, *, alone: bool, is_batched: bool) -> Place:
    """Where a call runs that takes about `seconds`, None when that is not known.

    `alone` tells that no other request waits for the thread that read this one; `is_batched` that it may wait for
    others to run with.
    """
    if seconds is None:
        return Place.BATCH if is_batched else Place.POOL
    if seconds < (limits.alone_seconds if alone else limits.crowded_seconds):
        return Place.AT_ONCE
    return Place.IN_TURN if seconds < limits.in_turn_seconds else Place.THREADS
