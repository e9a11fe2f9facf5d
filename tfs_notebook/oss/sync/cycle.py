"""The upkeep of the copy of one root, by the process that writes: one turn of work after the other.

A turn looks (one listing of everything below the root), judges and brings what is wanted, and publishes, withdraws and
prunes. Whatever goes wrong leaves what is published as it is.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tfs_notebook.engine.storage.remote import FetchStatus
from tfs_notebook.oss.listing import told
from tfs_notebook.oss.sync import availability
from tfs_notebook.oss.sync.downloads import Intake
from tfs_notebook.oss.sync.listings import Watch
from tfs_notebook.oss.sync.plan import base_of
from tfs_notebook.oss.sync.retention import Holdings, MirrorOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tfs_notebook.engine.storage.remote import Transfer
    from tfs_notebook.oss.address import OssAddress
    from tfs_notebook.oss.cache.cache import Cache
    from tfs_notebook.oss.client.store import ObjectStore
    from tfs_notebook.oss.peers.messages import Wants
    from tfs_notebook.oss.sync.completeness import Look
    from tfs_notebook.oss.sync.notify import Herald

_STOP_SECONDS = 0.3


class Upkeep:
    """Keeps in `cache` what is wanted of `root`, and lets `herald` tell what comes, goes, or is odd.

    It is under way from its first turn to its end, and may begin again. `in_use` tells of a version, by its path from
    the root, whether anything may have it loaded; `wake` is called from other threads when there is more to do.
    """

    def __init__(
        self,
        root: OssAddress,
        cache: Cache,
        options: MirrorOptions,
        herald: Herald,
        in_use: Callable[[str], bool],
        wake: Callable[[], None],
    ) -> None:
        self.watch = Watch(root, options)
        self.wants: Wants = {}
        """What was wanted when a look was last taken up."""
        self._root = root
        self._cache = cache
        self._options = options
        self._herald = herald
        self._holdings = Holdings(root, cache, options, herald.tell, in_use)
        self._wake = wake
        self._intake: Intake | None = None
        self._replace: set[tuple[str, int]] = set()

    # From any thread

    def replace(self, base: str, number: int) -> None:
        """Bring a published version again, from the next turn on."""
        self._replace.add((base, number))

    def transfers(self) -> tuple[Transfer, ...]:
        """What is being brought."""
        intake = self._intake
        return intake.transfers() if intake is not None else ()

    @property
    def begun(self) -> int:
        """How many transfers have begun."""
        intake = self._intake
        return intake.begun if intake is not None else 0

    def stop(self) -> None:
        """End all downloads soon; what has arrived is kept."""
        intake = self._intake
        if intake is not None:
            intake.stop()

    # From the thread of the synchronisation

    @property
    def is_under_way(self) -> bool:
        """Whether it has begun, and not ended."""
        return self._intake is not None

    def turn(self, store: ObjectStore, wants: Wants, wants_by_now: Callable[[], Wants]) -> None:
        """Bring what can be brought now of `wants`, which may take long, and prune by what `wants_by_now` tells then.

        Raises StoreError and OSError; the next turn goes on.
        """
        intake = self._intake or self._begin(store)
        while self._replace:
            intake.replace(*self._replace.pop())
        self._look(store, intake, wants)
        self._holdings.wanted = intake.choose(wants)
        for path in intake.advance():
            self._herald.tell(base_of(path))
        self._holdings.wanted = intake.choose(wants_by_now())
        self._holdings.prune()
        self._holdings.empty_trash()
        self.watch.plan(confirm=intake.needs_look, expects_more=intake.expects_more or self._holdings.has_doubts)

    def _begin(self, store: ObjectStore) -> Intake:
        self._cache.recover()
        self.watch.forget()
        self._intake = Intake(self._cache, store, self._options, self._holdings.make_room, self._wake)
        return self._intake

    def _look(self, store: ObjectStore, intake: Intake, wants: Wants) -> None:
        """See what a look, or what is wanted of the last one, means for what is published, or on its way."""
        if self.watch.is_due:
            self._cache.prepare()  # somebody may have cleared it
            self.watch.look(store)
        elif wants == self.wants:
            return
        self.wants = wants
        if (look := self.watch.last) is not None:
            self._herald.warn(tuple(self._warnings(look, intake)))
            intake.saw(look, self.watch.before, wants)

    def _warnings(self, look: Look, intake: Intake) -> Iterator[str]:
        yield from told(look.tree.refused)
        for base in sorted(self.wants):
            yield from look.tree.outdone(base)
        yield from self._holdings.compare(look, intake.replacing)
        yield from (why for path, why in intake.unverified.items() if path in self._cache.published)
        if self.watch.was_empty:
            yield f"the last listing of {self._root} was empty: nothing is changed because of it"

    def look_at_once(self) -> None:
        """Let the next turn look, and try again what has failed."""
        self.watch.due = 0.0
        if self._intake is not None:
            self._intake.retry_now()

    def retry_due(self) -> float | None:
        """When (monotonic) the next failed version is to be tried again."""
        return self._intake.due() if self._intake is not None else None

    def fetch_status(self, base: str) -> FetchStatus:
        """What is to be expected of a base path as long as nothing is wrong with the source."""
        look = self.watch.last
        if look is None or self._intake is None:
            return FetchStatus(expects_more=True)
        address, policies = self._root.join(base).directory, self.wants.get(base, ())
        return availability.fetch_status(address, base, policies, look.tree, self._intake, self._cache.published)

    def end(self) -> None:
        """Bring nothing any more; what has arrived is kept."""
        intake, self._intake = self._intake, None
        if intake is not None:
            intake.stop()
            intake.join(time.monotonic() + _STOP_SECONDS)
