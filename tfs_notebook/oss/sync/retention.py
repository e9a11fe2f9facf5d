"""Which published versions of one root stay on the disk: withdrawn when they leave the bucket, pruned for room."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tfs_notebook.errors import Code, ServingError
from tfs_notebook.oss.cache.disk import mb, no_space
from tfs_notebook.oss.sync.backoff import REFUSED_RETRY_SECONDS
from tfs_notebook.oss.sync.plan import base_of, prunable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from tfs_notebook.oss.address import OssAddress
    from tfs_notebook.oss.cache.cache import Cache
    from tfs_notebook.oss.sync.completeness import RootListing

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class MirrorOptions:
    """How copies of what is in OSS are kept.

    * `poll_seconds`: between two listings of a root.
    * `on_demand`: list a root only at the start and on request, and then until everything found has been fetched.
    * `refused_seconds`: between two attempts while OSS refuses; other credentials are tried at once.
    * `cache_dir`: where the copies are, "" for the user's cache directory. Each `endpoint` has a directory of its own,
      as a bucket's name may mean two buckets.
    * `marker`: a file that a version must have to be complete (see `completeness.Marker`), "" for none.
    * `keep_versions`: how many versions that no policy wants stay in each base path, the newest; None for all.
    * `disk_budget`: bytes that all published versions of a root may have, None for no limit.
    """

    poll_seconds: float = 30.0
    on_demand: bool = False
    cache_dir: str = ""
    marker: str = ""
    keep_versions: int | None = 2
    disk_budget: int | None = None
    endpoint: str = ""
    refused_seconds: float = REFUSED_RETRY_SECONDS


class Retention:
    """The published versions in `cache`.

    `changed` is called with a base path whose versions have changed; `in_use` says of a version, given by its path
    from the root, whether anything may have it loaded.
    """

    def __init__(
        self,
        root: OssAddress,
        cache: Cache,
        options: MirrorOptions,
        changed: Callable[[str], None],
        in_use: Callable[[str], bool],
    ) -> None:
        self.wanted: set[str] = set()
        """The versions that are never pruned: those that policies want, and those that serve until these arrive."""
        self._root = root
        self._cache = cache
        self._options = options
        self._changed = changed
        self._in_use = in_use
        self._missing_since: dict[str, float] = {}

    def withdraw_removed(self, listing: RootListing, replacing: Collection[str]) -> Iterator[str]:
        """Withdraw versions missing from two listings one poll apart, if their model still lists another version.

        Yields warnings about other differences, which change nothing. Versions in `replacing` are being fetched again.
        """
        self._cache.notice_losses()
        self._missing_since = {
            path: since for path, since in self._missing_since.items() if path in self._cache.published
        }
        versions = {base: listing.tree.versions(base) for base in {base_of(path) for path in self._cache.published}}
        listed = {version.path: version for numbers in versions.values() for version in numbers.values()}
        without_versions = set()
        for path, published in sorted(self._cache.published.items()):
            base = base_of(path)
            if listing.tree.has(path) or any(key.startswith(f"{path}/") for key in listing.tree.refused):
                self._missing_since.pop(path, None)
                if path in listed and listed[path].content != published.content and path not in replacing:
                    yield f"{path} was written again in the bucket: what was brought first stays (use a new number)"
            elif not versions[base]:
                without_versions.add(base)
            elif (
                listing.requested_at - self._missing_since.setdefault(path, listing.received_at)
                >= self._options.poll_seconds
            ):
                del self._missing_since[path]
                self._withdraw(path, "is gone from the bucket")
        for base in sorted(without_versions):
            yield f"no version is listed below {self._root.join(base)} any more: what was brought stays in place"

    @property
    def has_unconfirmed_removals(self) -> bool:
        """Whether another listing must confirm that a version was removed."""
        return bool(self._missing_since)

    def _withdraw(self, path: str, why: str) -> None:
        self._cache.withdraw(path)
        _log.warning("%s %s: withdrawn", self._root.join(path), why)
        self._changed(base_of(path))

    def prune(self, size: int = 0) -> None:
        """Withdraw versions that no policy wants and nothing uses, so that `size` more bytes fit the budget."""
        budget = self._options.disk_budget
        over = self._cache.size + size - budget if budget is not None else 0
        may_go = {
            path: published
            for path, published in self._cache.published.items()
            if path in self.wanted or not self._in_use(path)
        }
        for path in list(prunable(may_go, self.wanted, self._options.keep_versions, over)):
            self._withdraw(path, "is not wanted any more")

    def empty_trash(self) -> None:
        """Delete the withdrawn versions that nothing uses."""
        self._cache.empty_trash(self._in_use)

    def make_room(self, size: int, here: int) -> ServingError | None:
        """Prune so that `size` bytes fit, of which `here` are on the disk already. Returns why they do not, or None."""
        budget = self._options.disk_budget
        if budget is not None:
            self.prune(size)
            if self._cache.size + size > budget:
                return ServingError(
                    Code.RESOURCE_EXHAUSTED,
                    f"{mb(size)} do not fit: {mb(self._cache.size)} of the disk budget of {mb(budget)} are wanted "
                    "or in use",
                    hint="Serve fewer versions, or raise the budget.",
                )
        return no_space(self._cache.directory, self._cache.free(), max(size - here, 0))
