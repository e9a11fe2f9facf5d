"""Notifies the engine when a base path's files or its fetch status change, and logs new warnings."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from tfs_notebook.oss.peers.messages import fetch_status_as_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tfs_notebook.engine.storage.remote import FetchStatus
    from tfs_notebook.oss.address import OssAddress
    from tfs_notebook.oss.cache.cache import Cache

_log = logging.getLogger(__name__)


class Notifier:
    """Calls `changed` with base paths below `root`, whose copies are in `cache`."""

    def __init__(self, root: OssAddress, cache: Cache, changed: Callable[[str], None]) -> None:
        self._root = root
        self._cache = cache
        self._changed = changed
        self.warnings: tuple[str, ...] = ()
        """The present warnings."""
        self._snapshots: dict[str, tuple[object, ...]] = {}

    def notify(self, base: str) -> None:
        """Call `changed` with `base`; an error of the listener is logged."""
        try:
            self._changed(base)
        except Exception:
            _log.exception("a listener failed on a change below %s", self._root.join(base))

    def notify_changes(self, fetch_statuses: Mapping[str, tuple[FetchStatus, object]]) -> None:
        """Notify of every base path whose fetch status, policies or versions are not those of the last call.

        `fetch_statuses` maps each base path to its fetch status and its policies.
        """
        before = self._snapshots
        self._snapshots = {base: self._snapshot(base, *found) for base, found in fetch_statuses.items()}
        for base, snapshot in self._snapshots.items():
            if before.get(base) != snapshot:
                self.notify(base)

    def _snapshot(self, base: str, fetch_status: FetchStatus, policies: object) -> tuple[object, ...]:
        try:
            stamp = self._cache.directory_of(base).stat().st_mtime_ns
        except OSError:
            stamp = 0
        return fetch_status_as_json(fetch_status), policies, stamp

    def warn(self, warnings: tuple[str, ...]) -> None:
        """Replace the present warnings, and log those that are new."""
        before, self.warnings = self.warnings, warnings
        for warning in warnings:
            if warning not in before:
                _log.warning("%s: %s", self._root, warning)
