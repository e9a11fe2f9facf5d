"""Tells whoever is interested of every base path on which something is different."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from tfs_notebook.oss.peers.messages import as_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tfs_notebook.engine.storage.remote import FetchStatus
    from tfs_notebook.oss.address import OssAddress
    from tfs_notebook.oss.cache.cache import Cache

_log = logging.getLogger(__name__)


class Herald:
    """Calls `changed` with base paths below `root`, whose copies are in `cache`."""

    def __init__(self, root: OssAddress, cache: Cache, changed: Callable[[str], None]) -> None:
        self._root = root
        self._cache = cache
        self._changed = changed
        self.warnings: tuple[str, ...] = ()
        """What is odd at the moment."""
        self._sights: dict[str, tuple[object, ...]] = {}

    def tell(self, base: str) -> None:
        """Tell of `base`; whoever listens and fails does no harm."""
        try:
            self._changed(base)
        except Exception:
            _log.exception("telling of a change below %s failed", self._root.join(base))

    def tell_changes(self, fetch_statuses: Mapping[str, tuple[FetchStatus, object]]) -> None:
        """Tell of every base path on which the fetch status, or what it is for, is another than last time, or its
        versions.

        The fetch status of each base path comes with what it is for, the policies.
        """
        before, self._sights = (
            self._sights,
            {base: self._sight(base, *fetch_status) for base, fetch_status in fetch_statuses.items()},
        )
        for base, sight in self._sights.items():
            if before.get(base) != sight:
                self.tell(base)

    def _sight(self, base: str, fetch_status: FetchStatus, purpose: object) -> tuple[object, ...]:
        try:
            stamp = self._cache.directory_of(base).stat().st_mtime_ns
        except OSError:
            stamp = 0
        return as_json(fetch_status), purpose, stamp

    def warn(self, warnings: tuple[str, ...]) -> None:
        """Warn of this from now on, and of nothing else; what was not among the last warnings is logged."""
        before, self.warnings = self.warnings, warnings
        for warning in warnings:
            if warning not in before:
                _log.warning("%s: %s", self._root, warning)
