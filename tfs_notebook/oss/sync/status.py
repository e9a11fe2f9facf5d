"""The status of one root: for the engine, for `%tfs_sync status`, and for processes that share the copy.

After each cycle of the synchronisation the status is published if it has changed. Between two cycles `fetch_status` and
`status` add the problem and the transfers of the moment.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from tfs_notebook.engine.storage.remote import FetchStatus, SourceStatus
from tfs_notebook.errors import Code, ServingError
from tfs_notebook.oss.peers.messages import Wants, WriterState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tfs_notebook.oss.address import OssAddress
    from tfs_notebook.oss.cache.cache import Cache
    from tfs_notebook.oss.peers.coordinator import Coordinator
    from tfs_notebook.oss.sync.backoff import RetryState
    from tfs_notebook.oss.sync.cycle import SyncCycle
    from tfs_notebook.oss.sync.notify import Notifier


class RootStatus:
    """The status of `root`: by its `cycle` when this process writes, else by what the writer has published.

    Callers pass what this process wants now, and whether it is `paused`.
    """

    def __init__(
        self,
        root: OssAddress,
        cache: Cache,
        cycle: SyncCycle,
        retry_state: RetryState,
        coordinator: Coordinator,
        notifier: Notifier,
    ) -> None:
        self._root = root
        self._cache = cache
        self._cycle = cycle
        self._retry_state = retry_state
        self._coordinator = coordinator
        self._notifier = notifier
        self._listing_time: float | None = None
        """When the last listing was requested whose results have been published."""
        self._fetch_statuses: Mapping[str, FetchStatus] = {}
        self._handled_wants: Wants = {}
        """What was wanted when `_fetch_statuses` was made."""

    # From any thread

    def fetch_status(self, base: str, wants: Wants, *, paused: bool) -> FetchStatus:
        """What is known of a base path."""
        # In this order: `publish` sets the fetch statuses first
        handled, found = self._handled_wants, self._fetch_statuses.get(base)
        retry_state = self._retry_state
        if found is not None and not retry_state.is_transient:  # the problem may be newer than the fetch status
            found = replace(found, problem=retry_state.problem or found.problem)
        if found is None or handled.get(base) != wants.get(base):
            waiting = found.waiting if found is not None else {}
            found = FetchStatus(
                retry_state.is_transient, waiting, retry_state.problem or (self._is_paused() if paused else None)
            )
        return replace(found, expects_more=False) if paused or retry_state.is_permanent else found

    def _is_paused(self) -> ServingError:
        return ServingError(
            Code.UNAVAILABLE,
            f"{self._root} is not looked at: the synchronisation is paused",
            hint="%tfs_sync resume goes on.",
        )

    def status(self, wants: Wants, *, paused: bool) -> SourceStatus:
        """The status of the root now."""
        transfers, other_writer = self._cycle.transfers(), self._coordinator.other_writer
        waiting = {
            f"{base}/{number}".lstrip("/"): why
            for base, fetch_status in self._fetch_statuses.items()
            for number, why in fetch_status.waiting.items()
        }
        return SourceStatus(
            address=str(self._root),
            directory=str(self._cache.directory),
            state="paused" if paused else self._state(wants, bool(transfers), bool(waiting)),
            last_listing=self._listing_time,
            next_listing=self._cycle.listings.next_time if not paused and other_writer is None else None,
            transfers=transfers,
            begun=self._cycle.begun,
            waiting=waiting,
            problem=self._retry_state.problem or (other_writer.problem if other_writer is not None else None),
            warnings=self._notifier.warnings,
        )

    def _state(self, wants: Wants, transferring: bool, waiting: bool) -> str:
        if self._retry_state.is_permanent:
            return "stopped"
        if self._coordinator.other_writer is not None:
            return "following"
        if self._cycle.listings.last is None or self._handled_wants != wants:
            return "waiting" if self._retry_state.problem is not None else "starting"
        if transferring:
            return "transferring"
        return "waiting" if waiting or self._retry_state.problem is not None else "in step"

    # From the thread of the synchronisation

    def publish(self, wants: Wants, handled: Wants, *, paused: bool) -> None:
        """Publish what has changed; `handled` is what was wanted when the last cycle began."""
        looked = self._cycle.listings.time or self._listing_time
        if (other_writer := self._coordinator.other_writer) is not None:
            self._fetch_statuses, looked = other_writer.fetch_statuses, other_writer.last_listing
            self._handled_wants = other_writer.handled(wants)
        else:
            self._fetch_statuses = {base: self._own_fetch_status(base) for base in self._cycle.wants | handled}
            self._handled_wants = handled
            if self._cycle.is_active:
                self._publish_writer_state(looked)
        self._notifier.notify_changes(
            {base: (self.fetch_status(base, wants, paused=paused), self._handled_wants.get(base)) for base in wants}
        )
        self._listing_time = looked

    def _own_fetch_status(self, base: str) -> FetchStatus:
        found, retry_state = self._cycle.fetch_status(base), self._retry_state
        return replace(
            found,
            expects_more=found.expects_more and retry_state.is_transient,
            problem=retry_state.problem or found.problem,
        )

    def _publish_writer_state(self, looked: float | None) -> None:
        published = frozenset(self._cache.published)
        with suppress(OSError):  # a full disk perhaps, which is reported elsewhere
            self._coordinator.publish_writer_state(
                WriterState(self._fetch_statuses, self._cycle.wants, published, looked, self._retry_state.problem)
            )
