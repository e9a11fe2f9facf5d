"""Whether there is nothing more to wait for after a model's configuration changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfs_notebook.engine.config import AllVersions, ModelConfig, Specific
from tfs_notebook.engine.events import State

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from tfs_notebook.engine.lifecycle.manager import Manager
    from tfs_notebook.engine.storage.watcher import Lookout


def has_settled(lookout: Lookout, manager: Manager, *, patient: bool, must_serve: bool = True) -> bool:
    """Whether the model that `lookout` looks for is as it will stay: see `ServerCore.apply`.

    `patient` waits for a version to serve, if one `must_serve`, and for those with labels; else for all, or for what
    keeps them from it.
    """
    if not lookout.looked:
        return False
    scan, aspired, coming = lookout.scan, lookout.scan.aspired.keys(), lookout.fetch_status.expects_more
    settled = _settled(lookout, manager, patient=patient)
    if not patient:
        lacks = coming and _asks_for_more(lookout.config, settled)
        return scan.settles_in is None and settled == aspired and not lacks
    if not labelled_have_settled(lookout, manager, lookout.config.labels.values(), patient=True):
        return False
    return bool(settled) or not must_serve


def labelled_have_settled(lookout: Lookout, manager: Manager, labelled: Iterable[int], *, patient: bool) -> bool:
    """Whether the versions `labelled` of the model that `lookout` looks for serve, or cannot: after all retries, if
    `patient`.
    """
    if not lookout.looked:
        return False
    scan, numbers, settled = lookout.scan, set(labelled), _settled(lookout, manager, patient=patient)
    if not numbers & scan.aspired.keys() <= settled or (scan.settles_in is not None and numbers & scan.waiting.keys()):
        return False
    return not lookout.fetch_status.expects_more or numbers <= settled


def _settled(lookout: Lookout, manager: Manager, *, patient: bool) -> set[int]:
    """The versions on disk that serve, or could not be loaded."""
    return {
        number
        for number, state, error in manager.states(lookout.config.name, lookout.scan.aspired.keys())
        if state is State.AVAILABLE or (error is not None and (state is State.END or not patient))
    }


def _asks_for_more(config: ModelConfig, numbers: Collection[int]) -> bool:
    """Whether more versions may have to be served than `numbers`, by the policy and labels of `config`."""
    policy, labelled = config.policy, set(config.labels.values())
    if isinstance(policy, Specific):
        return not labelled | set(policy.versions) <= set(numbers)
    return isinstance(policy, AllVersions) or len(numbers) < policy.num_versions or not labelled <= set(numbers)
