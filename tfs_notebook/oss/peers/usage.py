"""Which versions of one root's copy are in use, by this process or by another that shares it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfs_notebook.oss.sync.plan import base_of, number_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Set as AbstractSet

    from tfs_notebook.oss.cache.cache import Cache
    from tfs_notebook.oss.peers.coordinator import Crew


class Usage:
    """The use of the versions in `cache`, each named by its path from the root.

    `in_use` tells whether this process has taken up a version of a base path, and `crew` what all others may have.
    """

    def __init__(self, cache: Cache, crew: Crew, in_use: Callable[[str, int], bool]) -> None:
        self._cache = cache
        self._crew = crew
        self._in_use = in_use
        self._here: frozenset[str] = frozenset()

    def here(self, published: AbstractSet[str]) -> frozenset[str]:
        """What this process uses, of what another one has `published`, of the copy, and of what it used before."""
        self._here = frozenset(filter(self._is_here, self._here | published | self._cache.known))
        return self._here

    def may_be_anywhere(self, path: str) -> bool:
        """Whether this process uses a version, or any other may."""
        return self._is_here(path) or self._crew.may_use(path, self._cache.published.keys())

    def _is_here(self, path: str) -> bool:
        return self._in_use(base_of(path), number_of(path))
