"""The listings of one root, one after the other, and when the next is due."""

from __future__ import annotations

import math
import random
import time
from typing import TYPE_CHECKING

from tfs_notebook.oss.listing import Tree
from tfs_notebook.oss.sync.completeness import Look

if TYPE_CHECKING:
    from tfs_notebook.oss.address import OssAddress
    from tfs_notebook.oss.client.store import ObjectStore
    from tfs_notebook.oss.sync.retention import MirrorOptions

_JITTER = 0.1


class Watch:
    """Looks at `root`: each look is one listing of everything below it, and what is done with it is up to others."""

    def __init__(self, root: OssAddress, options: MirrorOptions) -> None:
        self.last: Look | None = None
        """The last look that showed anything."""
        self.before: Look | None = None
        """The one before that."""
        self.was_empty = False
        """Whether the very last listing was empty: then it is not believed, if there was anything before."""
        self.time: float | None = None
        """When that was asked for, in seconds since the epoch: what was there before is in it."""
        self.due = 0.0
        """When (monotonic) the next is due."""
        self._prefix = root.directory.key
        self._poll = options.poll_seconds
        self._on_demand = options.on_demand

    @property
    def is_due(self) -> bool:
        """Whether it is time for the next look."""
        return time.monotonic() >= self.due

    @property
    def next_time(self) -> float | None:
        """When the next look is due, in seconds since the epoch; None: when somebody asks for it."""
        return time.time() + max(self.due - time.monotonic(), 0.0) if math.isfinite(self.due) else None

    def look(self, store: ObjectStore) -> None:
        """Look now. Raises StoreError, and nothing is different then."""
        asked, asked_time = time.monotonic(), time.time()
        listing = store.list(self._prefix)
        arrived, self.time = time.monotonic(), asked_time
        self.due = asked + self._poll * random.uniform(1.0, 1.0 + _JITTER)  # noqa: S311
        self.was_empty = not listing.objects
        if self.last is None or not self.was_empty:
            tree = Tree.of(listing.objects, self._prefix)
            self.before, self.last = self.last, Look(tree, listing.time, asked, arrived)

    def plan(self, *, confirm: bool, expects_more: bool) -> None:
        """Plan the next look: at once to `confirm` what was brought; on demand only as long as more is expected."""
        if confirm and not self.was_empty:
            self.due = 0.0
        elif self._on_demand:
            self.due = min(self.due, time.monotonic() + self._poll) if expects_more else math.inf

    def forget(self) -> None:
        """Begin anew, with a look at once."""
        self.last = self.before = None
        self.due = 0.0
