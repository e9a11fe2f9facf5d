"""The thread that keeps the local copy of one root in OSS in step.

This module decides when the thread works, and whether this process or another one writes the copy. `SyncCycle` does the
work, and `RootStatus` publishes how it went.
"""

from __future__ import annotations

import math
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from tfs_notebook.errors import Code, ServingError
from tfs_notebook.oss.cache.cache import Cache
from tfs_notebook.oss.peers.coordinator import Coordinator
from tfs_notebook.oss.peers.messages import FollowerState, Wants
from tfs_notebook.oss.peers.usage import Usage
from tfs_notebook.oss.sync.backoff import RetryState
from tfs_notebook.oss.sync.cycle import SyncCycle
from tfs_notebook.oss.sync.notify import Notifier
from tfs_notebook.oss.sync.status import RootStatus
from tfs_notebook.threads import start_daemon_thread

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tfs_notebook.engine.storage.remote import FetchStatus, SourceStatus
    from tfs_notebook.oss.address import OssAddress
    from tfs_notebook.oss.client.store import ObjectStore
    from tfs_notebook.oss.sync.retention import MirrorOptions

_FOLLOW_SECONDS = 1.0
_CREDENTIALS_SECONDS = 10.0
"""Between two looks for new credentials while OSS refuses the present ones."""


class RootSync:
    """Keeps the copy of `root` in `directory`. Base paths are relative to the root; "" is the root itself.

    The thread starts at once and may delete what `wants` does not ask for. It calls `changed` with each base path whose
    files or fetch status changed. `in_use` says whether the engine uses a version of a base path.
    """

    def __init__(
        self,
        root: OssAddress,
        directory: Path,
        wants: Wants,
        options: MirrorOptions,
        open_store: Callable[[str], ObjectStore],
        changed: Callable[[str], None],
        in_use: Callable[[str, int], bool],
        *,
        paused: bool = False,
    ) -> None:
        self._root = root
        self._follow_seconds = min(options.poll_seconds, _FOLLOW_SECONDS)
        self._credentials_seconds = min(options.poll_seconds, _CREDENTIALS_SECONDS)
        self._open_store = open_store
        self._store: ObjectStore | None = None
        self._wants = wants
        self._handled_wants: Wants = {}
        """What was wanted when the last cycle began."""
        self._requested_time = 0.0
        """When a listing was last requested, in seconds since the epoch."""
        self._paused = paused
        self._closed = False
        self._is_requested = False
        self._wake = threading.Event()
        self._cache = Cache(directory)
        self._coordinator = Coordinator(self._cache.private)
        self._usage = Usage(self._cache, self._coordinator, in_use)
        self._retry_state = RetryState(root, directory, options.poll_seconds, options.refused_seconds)
        notifier = Notifier(root, self._cache, changed)
        self._cycle = SyncCycle(root, self._cache, options, notifier, self._usage.may_be_in_use, self._wake.set)
        self._root_status = RootStatus(root, self._cache, self._cycle, self._retry_state, self._coordinator, notifier)
        self._thread = start_daemon_thread(self._run, "tfs-oss-sync")

    # From any thread

    def set_wants(self, wants: Wants) -> None:
        """From now on fetch what these policies ask for."""
        if wants != self._wants:
            self._wants = wants
            self._wake.set()

    def sync_now(self) -> None:
        """List the root at once, and retry what has failed or was refused."""
        self._is_requested = True
        self._wake.set()

    def pause(self) -> None:
        """List and fetch nothing until `resume`."""
        self._paused = True
        self._wake.set()

    def resume(self) -> None:
        """Go on."""
        self._paused = False
        self.sync_now()

    def replace(self, base: str, number: int) -> None:
        """Fetch a published version again, as it is in the bucket now."""
        self._cycle.replace(base, number)
        self.sync_now()

    def stop(self) -> None:
        """Begin to end, without waiting; see `join`."""
        self._closed = True
        self._wake.set()
        self._cycle.stop()
        if (store := self._store) is not None:
            store.close()

    def join(self, deadline: float) -> None:
        """Wait until its threads and processes have ended, at most until `deadline` (monotonic seconds)."""
        self._thread.join(max(deadline - time.monotonic(), 0.0))

    def fetch_status(self, base: str) -> FetchStatus:
        """What is known of a base path."""
        return self._root_status.fetch_status(base, self._wants, paused=self._paused)

    def status(self) -> SourceStatus:
        """The status of the root."""
        return self._root_status.status(self._wants, paused=self._paused)

    # The thread

    def _run(self) -> None:
        while not self._closed:
            for step in (self._run_cycle, self._publish_status):
                try:
                    step()
                except Exception as error:
                    self._record_failure(error)
            if not self._closed:
                self._wait(self._seconds_to_next_cycle())
        self._stop_writing()
        self._coordinator.leave()

    def _wait(self, pause: float | None) -> None:
        """Wait `pause` seconds, or until this process or another one needs a cycle; meanwhile publish what it uses."""
        end = math.inf if pause is None else time.monotonic() + pause
        while (left := end - time.monotonic()) > 0 and not self._wake.wait(min(left, self._follow_seconds)):
            if not self._coordinator.is_writer:
                self._publish_follower_state()
            elif self._have_followers_changed():
                break
        self._wake.clear()

    def _have_followers_changed(self) -> bool:
        """Whether another process has published something since the last cycle began."""
        with suppress(OSError):  # a disk that cannot be read is reported elsewhere
            self._coordinator.read_follower_states()
        return self._coordinator.followers_changed

    def _run_cycle(self) -> None:
        if self._coordinator.is_writer:
            self._coordinator.read_follower_states()
            self._coordinator.followers_changed = False
        if self._coordinator.is_listing_requested() or self._is_requested or self._has_new_credentials():
            self._on_request()
        if not self._coordinator.is_writer:
            self._publish_follower_state()
        if self._paused:
            self._stop_writing()
        elif not self._retry_state.must_wait:
            self._write_or_follow(self._open_bucket())
            self._retry_state.clear()

    def _has_new_credentials(self) -> bool:
        """Whether OSS refused the last credentials and there are others now."""
        may_help = self._retry_state.is_about_credentials and not self._paused
        return may_help and self._store is not None and self._store.has_new_credentials()

    def _on_request(self) -> None:
        self._is_requested, self._requested_time = False, time.time()
        self._retry_state.retry_now()
        self._cycle.list_now()

    def _open_bucket(self) -> ObjectStore:
        """The bucket, opened once. Raises ServingError, also when `stop` was called meanwhile."""
        if self._store is None:
            self._store = self._open_store(self._root.bucket)
        if self._closed:
            self._store.close()
            raise ServingError(Code.CANCELLED, f"{self._root} is not looked at any more")
        return self._store

    def _write_or_follow(self, store: ObjectStore) -> None:
        """Run one cycle, unless another process writes the copy."""
        if self._coordinator.has_lost_lock:
            self._stop_writing()
        if not self._cycle.is_active:
            self._cache.prepare()  # somebody may have cleared it
            if self._coordinator.try_to_lock():
                self._coordinator.read_follower_states()
        if self._coordinator.is_writer:
            self._handled_wants = self._wants
            self._cycle.run(store, self._coordinator.wants(self._handled_wants), self._current_wants)

    def _current_wants(self) -> Wants:
        """What all processes want now."""
        self._coordinator.read_follower_states()
        return self._coordinator.wants(self._wants)

    def _stop_writing(self) -> None:
        """Stop fetching, and release the lock so that another process may write."""
        self._cycle.end()
        if not self._closed:
            self._publish_follower_state()
        self._coordinator.release_lock()

    def _publish_follower_state(self) -> None:
        """Tell the writer what this process wants, and which versions it uses."""
        published = self._coordinator.read_writer_state().published
        uses = self._usage.in_use_here(published)
        wants = {} if self._paused or self._retry_state.is_permanent else self._wants
        with suppress(OSError):  # a disk that cannot be written is reported elsewhere
            self._cache.prepare()  # somebody may have cleared it
            self._coordinator.publish_follower_state(FollowerState(wants, uses, published, self._requested_time))

    def _publish_status(self) -> None:
        self._root_status.publish(self._wants, self._handled_wants, paused=self._paused)

    def _record_failure(self, error: Exception) -> None:
        if self._closed:
            return
        # When the bucket cannot be opened, an option or a package is missing: retrying does not help
        self._retry_state.record(error, is_permanent=self._store is None and isinstance(error, ServingError))
        self._cycle.listings.due = self._retry_state.retry_at
        if self._retry_state.is_permanent:
            self._stop_writing()

    def _seconds_to_next_cycle(self) -> float | None:
        """Seconds until the next cycle is due, None when only a request starts one."""
        if self._paused:
            return None
        if self._coordinator.other_writer is not None:
            return self._follow_seconds
        due = [self._cycle.listings.due]
        if self._retry_state.is_about_credentials:
            due.append(time.monotonic() + self._credentials_seconds)
        if self._retry_state.problem is None and (retry := self._cycle.retry_due()) is not None:
            due.append(retry)
        if self._cache.has_trash:
            due.append(time.monotonic() + _FOLLOW_SECONDS)
        return max(min(due) - time.monotonic(), 0.0) if math.isfinite(min(due)) else None
