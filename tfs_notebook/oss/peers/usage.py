"""Which versions of one root's copy are in use, in this process or in another that shares the copy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfs_notebook.oss.sync.plan import base_of, number_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Set as AbstractSet

    from tfs_notebook.oss.cache.cache import Cache
    from tfs_notebook.oss.peers.coordinator import Coordinator


class Usage:
    """The use of the versions in `cache`, each named by its path from the root.

    `in_use` says whether the engine of this process uses a version of a base path. `coordinator` knows the others.
    """

    def __init__(self, cache: Cache, coordinator: Coordinator, in_use: Callable[[str, int], bool]) -> None:
        self._cache = cache
        self._coordinator = coordinator
        self._in_use = in_use
        self._in_use_here: frozenset[str] = frozenset()

    def in_use_here(self, published: AbstractSet[str]) -> frozenset[str]:
        """The versions that this process uses, among those `published`, those in the copy, and those it used before."""
        self._in_use_here = frozenset(filter(self._is_in_use_here, self._in_use_here | published | self._cache.known))
        return self._in_use_here

    def may_be_in_use(self, path: str) -> bool:
        """Whether this process uses the version `path`, or any other process may."""
        return self._is_in_use_here(path) or self._coordinator.may_use(path, self._cache.published.keys())

    def _is_in_use_here(self, path: str) -> bool:
        return self._in_use(base_of(path), number_of(path))
