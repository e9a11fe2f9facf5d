"""One cycle of the synchronisation of a root, in the process that writes the copy.

A cycle lists everything below the root when a listing is due, starts or continues downloads of what is wanted,
publishes complete versions, and withdraws and prunes others. When a cycle fails, published versions stay as they are.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tfs_notebook.engine.storage.remote import FetchStatus
from tfs_notebook.oss.listing import told
from tfs_notebook.oss.sync import availability
from tfs_notebook.oss.sync.downloads import Downloads
from tfs_notebook.oss.sync.listings import Listings
from tfs_notebook.oss.sync.plan import base_of
from tfs_notebook.oss.sync.retention import MirrorOptions, Retention

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tfs_notebook.engine.storage.remote import Transfer
    from tfs_notebook.oss.address import OssAddress
    from tfs_notebook.oss.cache.cache import Cache
    from tfs_notebook.oss.client.store import ObjectStore
    from tfs_notebook.oss.peers.messages import Wants
    from tfs_notebook.oss.sync.completeness import RootListing
    from tfs_notebook.oss.sync.notify import Notifier

_STOP_SECONDS = 0.3


class SyncCycle:
    """Keeps in `cache` what is wanted of `root`, and calls `notifier` when versions come or go.

    It is active from the first `run` to `end`, and may become active again. `in_use` says whether a version, given by
    its path from the root, may be loaded anywhere. Other threads call `wake` when there is more to do.
    """

    def __init__(
        self,
        root: OssAddress,
        cache: Cache,
        options: MirrorOptions,
        notifier: Notifier,
        in_use: Callable[[str], bool],
        wake: Callable[[], None],
    ) -> None:
        self.listings = Listings(root, options)
        self.wants: Wants = {}
        """What was wanted when the last listing was evaluated."""
        self._root = root
        self._cache = cache
        self._options = options
        self._notifier = notifier
        self._retention = Retention(root, cache, options, notifier.notify, in_use)
        self._wake = wake
        self._downloads: Downloads | None = None
        self._replace: set[tuple[str, int]] = set()

    # From any thread

    def replace(self, base: str, number: int) -> None:
        """Fetch a published version again, from the next cycle on."""
        self._replace.add((base, number))

    def transfers(self) -> tuple[Transfer, ...]:
        """The transfers under way."""
        downloads = self._downloads
        return downloads.transfers() if downloads is not None else ()

    @property
    def begun(self) -> int:
        """How many transfers have begun."""
        downloads = self._downloads
        return downloads.begun if downloads is not None else 0

    def stop(self) -> None:
        """Cancel all downloads, without waiting; what has arrived is kept."""
        downloads = self._downloads
        if downloads is not None:
            downloads.stop()

    # From the thread of the synchronisation

    @property
    def is_active(self) -> bool:
        """True from the first `run` to `end`."""
        return self._downloads is not None

    def run(self, store: ObjectStore, wants: Wants, current_wants: Callable[[], Wants]) -> None:
        """Fetch what can be fetched now of `wants`, which may take long, then prune by what `current_wants` returns.

        Raises StoreError and OSError; the next cycle continues.
        """
        downloads = self._downloads or self._begin(store)
        while self._replace:
            downloads.replace(*self._replace.pop())
        self._update_listing(store, downloads, wants)
        self._retention.wanted = downloads.select(wants)
        for path in downloads.advance():
            self._notifier.notify(base_of(path))
        self._retention.wanted = downloads.select(current_wants())
        self._retention.prune()
        self._retention.empty_trash()
        self.listings.plan(
            confirm=downloads.needs_listing,
            expects_more=downloads.expects_more or self._retention.has_unconfirmed_removals,
        )

    def _begin(self, store: ObjectStore) -> Downloads:
        self._cache.recover()
        self.listings.forget()
        self._downloads = Downloads(self._cache, store, self._options, self._retention.make_room, self._wake)
        return self._downloads

    def _update_listing(self, store: ObjectStore, downloads: Downloads, wants: Wants) -> None:
        """List the root if that is due, and evaluate the listing when it or `wants` is new."""
        if self.listings.is_due:
            self._cache.prepare()  # somebody may have cleared it
            self.listings.update(store)
        elif wants == self.wants:
            return
        self.wants = wants
        if (listing := self.listings.last) is not None:
            self._notifier.warn(tuple(self._warnings(listing, downloads)))
            downloads.on_listing(listing, self.listings.previous, wants)

    def _warnings(self, listing: RootListing, downloads: Downloads) -> Iterator[str]:
        yield from told(listing.tree.refused)
        for base in sorted(self.wants):
            yield from listing.tree.outdone(base)
        yield from self._retention.withdraw_removed(listing, downloads.replacing)
        yield from (why for path, why in downloads.unverified.items() if path in self._cache.published)
        if self.listings.was_empty:
            yield f"the last listing of {self._root} was empty: nothing is changed because of it"

    def list_now(self) -> None:
        """Let the next cycle list the root and retry what has failed."""
        self.listings.due = 0.0
        if self._downloads is not None:
            self._downloads.retry_now()

    def retry_due(self) -> float | None:
        """When the next failed version is retried (monotonic seconds), None for never."""
        return self._downloads.due() if self._downloads is not None else None

    def fetch_status(self, base: str) -> FetchStatus:
        """The fetch status of a base path while there is no problem with the root."""
        listing = self.listings.last
        if listing is None or self._downloads is None:
            return FetchStatus(expects_more=True)
        address, policies = self._root.join(base).directory, self.wants.get(base, ())
        return availability.fetch_status(address, base, policies, listing.tree, self._downloads, self._cache.published)

    def end(self) -> None:
        """Cancel all downloads and become inactive; what has arrived is kept."""
        downloads, self._downloads = self._downloads, None
        if downloads is not None:
            downloads.stop()
            downloads.join(time.monotonic() + _STOP_SECONDS)
