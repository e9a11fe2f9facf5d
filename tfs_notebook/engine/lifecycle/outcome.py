"""What came of a model: what its versions wait for, why none was found, and why none serves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfs_notebook.engine.events import State
from tfs_notebook.engine.storage.scan import Scan

if TYPE_CHECKING:
    from tfs_notebook.engine.lifecycle.manager import Manager
    from tfs_notebook.engine.storage.remote import FetchStatus
    from tfs_notebook.engine.storage.watcher import Lookout
    from tfs_notebook.errors import ServingError


def found(lookout: Lookout | None) -> Scan:
    """What the last look found for the model's configuration of the moment; nothing before the first."""
    return lookout.scan if lookout is not None and lookout.looked else Scan()


def problem_of(scan: Scan, fetch_status: FetchStatus) -> ServingError | None:
    """Why nothing was found: nothing can be, as long as it is still on its way."""
    return fetch_status.problem or (None if fetch_status.expects_more or fetch_status.waiting else scan.problem)


def waiting_of(scan: Scan, fetch_status: FetchStatus) -> dict[int, str]:
    """Why versions are not taken up; of one that is not here, whatever brings it knows best."""
    return {**scan.waiting, **fetch_status.waiting}


def why_unavailable(lookout: Lookout, fetch_status: FetchStatus, manager: Manager) -> str:
    """Why the newest settled version of a model does not serve, in TensorFlow Serving's form; "" when it does."""
    name, retrying = lookout.config.name, None
    for number, state, error in manager.states(name, sorted(found(lookout).aspired, reverse=True)):
        if state is State.AVAILABLE:
            return ""
        if error is not None:
            why = f"{{{{name: {name} version: {number}}} due to error: {error}}}"
            if state is State.END:
                return why
            retrying = retrying or why
    return retrying or f"{{{{name: {name}}} due to error: {_why_nothing(lookout, fetch_status)}}}"


def _why_nothing(lookout: Lookout, fetch_status: FetchStatus) -> str:
    scan = found(lookout)
    if not lookout.looked:
        return f"DEADLINE_EXCEEDED: {lookout.name} has not answered yet"
    if (problem := problem_of(scan, fetch_status)) is not None:
        return str(problem)
    reasons = "; ".join(f"version {number}: {why}" for number, why in waiting_of(scan, fetch_status).items())
    coming = f"{lookout.name} is still being fetched" if fetch_status.expects_more else "still loading"
    return f"DEADLINE_EXCEEDED: {reasons or coming}"
