"""What a version's state means to a person: when it is tried again, what answers meanwhile, what it waits for."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from tfs_notebook.engine.events import State
from tfs_notebook.oss.address import is_oss

if TYPE_CHECKING:
    from tfs_notebook.engine.lifecycle.version import VersionStatus
    from tfs_notebook.engine.status import ModelStatus

NEUTRAL_SECONDS = 10.0
"""How long a version on this machine's disk may wait for its files before that looks like a problem."""
_REASON_LENGTH = 80


def state_of(version: VersionStatus, model: ModelStatus | None = None) -> str:
    """The state in words, with what a person wants to know besides; `model` tells what else answers."""
    if version.error is None:
        return version.state.name
    parts = [f"FAILED{_retry(version)}"]
    others = model.versions if model is not None else ()
    serving = [other.number for other in others if other.state is State.AVAILABLE and other.number != version.number]
    if serving and version.wanted:
        parts.append(f"version {max(serving)} keeps answering")
    return "; ".join(parts)


def _retry(version: VersionStatus) -> str:
    if version.state is not State.LOADING:
        return ""
    if version.retry_at is None:
        return ", being tried again"
    return f", retry in {max(0, math.ceil(version.retry_at - time.time()))} s"


def waiting_state(reason: str) -> str:
    """The state of a version that is not taken up, with as much of the `reason` as keeps the table narrow."""
    return f"WAITING: {reason if is_brief(reason) else f'{reason[: _REASON_LENGTH - 1]}…'}"


def is_brief(reason: str) -> bool:
    """Whether the whole `reason` stands in the row, so that it need not be told below the table."""
    return len(reason) <= _REASON_LENGTH


def waits_too_long(model: ModelStatus, number: int) -> bool:
    """Whether a version waits for longer than a copy that is under way takes; of OSS the table of places tells that."""
    since = model.waits_since.get(number)
    return since is not None and not is_oss(model.place) and time.time() - since >= NEUTRAL_SECONDS


def policy_of(model: ModelStatus, version: VersionStatus | None = None) -> str:
    """The version policy; of a version that serves though it is not selected any more, for how long it does."""
    if model.config is None:
        return "removed"
    if version is None or version.wanted or version.state is not State.AVAILABLE:
        return str(model.config.policy)
    if version.number in model.labels.values():
        return "until its label moves"
    return f"{model.config.policy}; until a newer one serves"
