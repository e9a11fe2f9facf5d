"""The fetch status of a base path, from the last listing and the downloads under way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfs_notebook.engine.config import Specific
from tfs_notebook.engine.storage.remote import FetchStatus
from tfs_notebook.errors import ServingError, not_found
from tfs_notebook.oss.sync.plan import base_of, number_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tfs_notebook.engine.config import VersionPolicy
    from tfs_notebook.oss.address import OssAddress
    from tfs_notebook.oss.listing import Tree
    from tfs_notebook.oss.sync.downloads import Downloads

_MAX_SHOWN_NAMES = 8


def fetch_status(
    address: OssAddress,
    base: str,
    policies: Iterable[VersionPolicy],
    tree: Tree,
    downloads: Downloads,
    published: Iterable[str],
) -> FetchStatus:
    """The fetch status of the base path `base`, which is `address` in OSS, as `tree` lists it."""
    on_their_way = sorted(
        path for path in downloads.wanted & downloads.pending_versions.keys() if base_of(path) == base
    )
    pending_versions = {number_of(path): downloads.pending_versions[path] for path in on_their_way}
    waiting = {number: pending.describe() for number, pending in pending_versions.items()}
    there = {number_of(path) for path in published if base_of(path) == base}
    for policy in policies:
        if isinstance(policy, Specific):
            absent = set(policy.versions) - there - pending_versions.keys()
            waiting |= dict.fromkeys(sorted(absent), f"{address} does not hold it")
    return FetchStatus(
        expects_more=any(pending.may_arrive for pending in pending_versions.values()),
        waiting=waiting,
        problem=None if waiting or there else _nothing(address, base, tree),
    )


def _nothing(address: OssAddress, base: str, tree: Tree) -> ServingError | None:
    """Why no version is listed below `base`, None when one is."""
    if tree.versions(base):
        return None
    if tree.has(base):
        start = len(base) + 1 if base else 0
        return not_found(
            f"No versions found under {address}. Did you forget to name your leaf directory as a number (eg. '/1/')?",
            hint=f"It holds {_first_parts(path[start:] for path in tree.below(base))}.",
        )
    return not_found(
        f"Nothing is below {address}.",
        hint=f"Beside it there are {_first_parts(tree.paths)}." if base and tree.paths else "Is the address right?",
    )


def _first_parts(paths: Iterable[str]) -> str:
    names = sorted({path.partition("/")[0] for path in paths})
    more = f" and {len(names) - _MAX_SHOWN_NAMES} more" if len(names) > _MAX_SHOWN_NAMES else ""
    return ", ".join(names[:_MAX_SHOWN_NAMES]) + more
