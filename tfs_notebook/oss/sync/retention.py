"""What of one root stands published: kept as the bucket has it, within the room that there is for it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tfs_notebook.errors import Code, ServingError
from tfs_notebook.oss.cache.disk import mb, no_space
from tfs_notebook.oss.sync.backoff import REFUSED_SECONDS
from tfs_notebook.oss.sync.plan import base_of, superfluous

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from tfs_notebook.oss.address import OssAddress
    from tfs_notebook.oss.cache.cache import Cache
    from tfs_notebook.oss.sync.completeness import Look

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class MirrorOptions:
    """How copies of what is in OSS are kept.

    `poll_seconds` lie between two listings of a root; `on_demand` it is only listed at the beginning and when asked to,
    and then until what was found there has been brought. One that refuses is only asked again after `refused_seconds`,
    or when there are other credentials. `cache_dir` ("": under the user's cache directory) holds the
    copies, apart for each `endpoint`, as one bucket name may mean two. `marker` is the name of a file that has to be in
    a version before it is complete (see `complete.Marker`), "" for none. Of versions that no policy wants the
    `keep_versions` newest of each base path stay (None: all), while all published versions of a root have at most
    `disk_budget` bytes (None: no limit).
    """

    poll_seconds: float = 30.0
    on_demand: bool = False
    cache_dir: str = ""
    marker: str = ""
    keep_versions: int | None = 2
    disk_budget: int | None = None
    endpoint: str = ""
    refused_seconds: float = REFUSED_SECONDS


class Holdings:
    """The published versions in `cache`.

    `changed` is called with a base path whose versions have become others; `in_use` tells of a version, by its path
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
        """The versions that are not pruned: those that policies want, and those that serve in their place."""
        self._root = root
        self._cache = cache
        self._options = options
        self._changed = changed
        self._in_use = in_use
        self._absent: dict[str, float] = {}

    def compare(self, look: Look, replacing: Collection[str]) -> Iterator[str]:
        """Withdraw what was gone from two looks, one poll apart, while its model still lists another version.

        Returns warnings about what else differs, and stays as it is; `replacing` is about to be exchanged.
        """
        self._cache.notice_losses()
        self._absent = {path: since for path, since in self._absent.items() if path in self._cache.published}
        versions = {base: look.tree.versions(base) for base in {base_of(path) for path in self._cache.published}}
        listed = {version.path: version for numbers in versions.values() for version in numbers.values()}
        bereft = set()
        for path, published in sorted(self._cache.published.items()):
            base = base_of(path)
            if look.tree.has(path) or any(key.startswith(f"{path}/") for key in look.tree.refused):
                self._absent.pop(path, None)
                if path in listed and listed[path].content != published.content and path not in replacing:
                    yield f"{path} was written again in the bucket: what was brought first stays (use a new number)"
            elif not versions[base]:
                bereft.add(base)
            elif look.asked - self._absent.setdefault(path, look.arrived) >= self._options.poll_seconds:
                del self._absent[path]
                self._withdraw(path, "is gone from the bucket")
        for base in sorted(bereft):
            yield f"no version is listed below {self._root.join(base)} any more: what was brought stays in place"

    @property
    def has_doubts(self) -> bool:
        """Whether another look must tell if a version has gone."""
        return bool(self._absent)

    def _withdraw(self, path: str, why: str) -> None:
        self._cache.withdraw(path)
        _log.warning("%s %s: withdrawn", self._root.join(path), why)
        self._changed(base_of(path))

    def prune(self, size: int = 0) -> None:
        """Withdraw what no policy wants and nothing uses, so that `size` bytes more keep to the budget."""
        budget = self._options.disk_budget
        over = self._cache.size + size - budget if budget is not None else 0
        may_go = {
            path: published
            for path, published in self._cache.published.items()
            if path in self.wanted or not self._in_use(path)
        }
        for path in list(superfluous(may_go, self.wanted, self._options.keep_versions, over)):
            self._withdraw(path, "is not wanted any more")

    def empty_trash(self) -> None:
        """Delete the withdrawn versions that nothing uses any more."""
        self._cache.empty_trash(self._in_use)

    def make_room(self, size: int, here: int) -> ServingError | None:
        """Make room for so many bytes, of which `here` are on the disk already; why that cannot be done, else None."""
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
