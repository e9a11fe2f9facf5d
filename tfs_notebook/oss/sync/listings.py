"""The last two listings of one root, and when the next is due."""

from __future__ import annotations

import math
import random
import time
from typing import TYPE_CHECKING

from tfs_notebook.oss.listing import Tree
from tfs_notebook.oss.sync.completeness import RootListing

if TYPE_CHECKING:
    from tfs_notebook.oss.address import OssAddress
    from tfs_notebook.oss.client.store import ObjectStore
    from tfs_notebook.oss.sync.retention import MirrorOptions

_JITTER = 0.1


class Listings:
    """Lists everything below `root`, and keeps the last two listings."""

    def __init__(self, root: OssAddress, options: MirrorOptions) -> None:
        self.last: RootListing | None = None
        """The last listing that was not empty, or the first of all."""
        self.previous: RootListing | None = None
        """The one before `last`."""
        self.was_empty = False
        """True when the most recent listing was empty. It is not believed when there was anything before."""
        self.time: float | None = None
        """When the most recent listing was requested, in seconds since the epoch: it shows what was uploaded by then.
        """
        self.due = 0.0
        """When the next listing is due (monotonic seconds)."""
        self._prefix = root.directory.key
        self._poll = options.poll_seconds
        self._on_demand = options.on_demand

    @property
    def is_due(self) -> bool:
        """Whether the next listing is due."""
        return time.monotonic() >= self.due

    @property
    def next_time(self) -> float | None:
        """When the next listing is due, in seconds since the epoch; None when only a request starts one."""
        return time.time() + max(self.due - time.monotonic(), 0.0) if math.isfinite(self.due) else None

    def update(self, store: ObjectStore) -> None:
        """List now. Raises StoreError, and keeps the listings there were."""
        requested_at, asked_time = time.monotonic(), time.time()
        found = store.list(self._prefix)
        received_at, self.time = time.monotonic(), asked_time
        self.due = requested_at + self._poll * random.uniform(1.0, 1.0 + _JITTER)  # noqa: S311
        self.was_empty = not found.objects
        if self.last is None or not self.was_empty:
            tree = Tree.of(found.objects, self._prefix)
            self.previous, self.last = self.last, RootListing(tree, found.time, requested_at, received_at)

    def plan(self, *, confirm: bool, expects_more: bool) -> None:
        """Plan the next listing: at once to `confirm` a download; on demand only while more is expected."""
        if confirm and not self.was_empty:
            self.due = 0.0
        elif self._on_demand:
            self.due = min(self.due, time.monotonic() + self._poll) if expects_more else math.inf

    def forget(self) -> None:
        """Drop both listings; the next is due at once."""
        self.last = self.previous = None
        self.due = 0.0
