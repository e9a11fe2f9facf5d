"""One root in OSS and its local copy, kept in step by a thread of its own.

Here is when the thread takes a turn: what others ask of it, who of several processes does the work, and what trouble
there is. The work itself is the upkeep's, and what others are told of it is the standing's.
"""

from __future__ import annotations

import math
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from tfs_notebook.errors import Code, ServingError
from tfs_notebook.oss.cache.cache import Cache
from tfs_notebook.oss.peers.coordinator import Crew
from tfs_notebook.oss.peers.messages import Report, Wants
from tfs_notebook.oss.peers.usage import Usage
from tfs_notebook.oss.sync.backoff import Trouble
from tfs_notebook.oss.sync.cycle import Upkeep
from tfs_notebook.oss.sync.notify import Herald
from tfs_notebook.oss.sync.status import Standing

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tfs_notebook.engine.storage.remote import FetchStatus, SourceStatus
    from tfs_notebook.oss.address import OssAddress
    from tfs_notebook.oss.client.store import ObjectStore
    from tfs_notebook.oss.sync.retention import MirrorOptions

_FOLLOW_SECONDS = 1.0
_KEYS_SECONDS = 10.0
"""How often the credentials are looked at while the source refuses those there were."""


class Sync:
    """Keeps the copy of `root` in `directory`. Base paths are relative to the root, "" being the root itself.

    It begins at once, and what `wants` does not ask for may be deleted. `changed` is called, from the thread, with each
    base path in which something changed, or on which the fetch status did; `in_use` tells whether a version of a base
    path is taken up.
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
        self._keys_seconds = min(options.poll_seconds, _KEYS_SECONDS)
        self._open_store = open_store
        self._store: ObjectStore | None = None
        self._wants = wants
        self._judged: Wants = {}
        """What was wanted at the last turn of the upkeep."""
        self._asked_time = 0.0
        """When somebody last asked for a look, in seconds since the epoch."""
        self._paused = paused
        self._closed = False
        self._asked = False
        self._wake = threading.Event()
        self._cache = Cache(directory)
        self._crew = Crew(self._cache.private)
        self._usage = Usage(self._cache, self._crew, in_use)
        self._trouble = Trouble(root, directory, options.poll_seconds, options.refused_seconds)
        herald = Herald(root, self._cache, changed)
        self._upkeep = Upkeep(root, self._cache, options, herald, self._usage.may_be_anywhere, self._wake.set)
        self._standing = Standing(root, self._cache, self._upkeep, self._trouble, self._crew, herald)
        self._thread = threading.Thread(target=self._run, daemon=True, name="tfs-oss-sync")
        self._thread.start()

    # What others ask of it, from any thread

    def want(self, wants: Wants) -> None:
        """Bring what these policies ask for from now on."""
        if wants != self._wants:
            self._wants = wants
            self._wake.set()

    def now(self) -> None:
        """Look at once, and try again what has failed or was refused."""
        self._asked = True
        self._wake.set()

    def pause(self) -> None:
        """Neither look nor bring anything until `resume`."""
        self._paused = True
        self._wake.set()

    def resume(self) -> None:
        """Go on."""
        self._paused = False
        self.now()

    def replace(self, base: str, number: int) -> None:
        """Bring a published version again, as it is in the bucket by now."""
        self._upkeep.replace(base, number)
        self.now()

    def stop(self) -> None:
        """End soon; see `join`."""
        self._closed = True
        self._wake.set()
        self._upkeep.stop()
        if (store := self._store) is not None:
            store.close()

    def join(self, deadline: float) -> None:
        """Wait until (monotonic) `deadline` at most for the end of its threads and processes."""
        self._thread.join(max(deadline - time.monotonic(), 0.0))

    def fetch_status(self, base: str) -> FetchStatus:
        """What is known of a base path."""
        return self._standing.fetch_status(base, self._wants, paused=self._paused)

    def status(self) -> SourceStatus:
        """How it is going."""
        return self._standing.status(self._wants, paused=self._paused)

    # The thread

    def _run(self) -> None:
        while not self._closed:
            for step in (self._turn, self._tell):
                try:
                    step()
                except Exception as error:
                    self._take_note_of(error)
            if not self._closed:
                self._rest(self._pause())
        self._let_go()
        self._crew.leave()

    def _rest(self, pause: float | None) -> None:
        """Wait until there is something to do here, or another process wants it; let that know of this one."""
        end = math.inf if pause is None else time.monotonic() + pause
        while (left := end - time.monotonic()) > 0 and not self._wake.wait(min(left, self._follow_seconds)):
            if not self._crew.writes:
                self._report()
            elif self._attend():
                break
        self._wake.clear()

    def _attend(self) -> bool:
        """Whether other processes report something that no turn has begun with."""
        with suppress(OSError):  # a disk that cannot be read, which is told elsewhere
            self._crew.attend()
        return self._crew.has_news

    def _turn(self) -> None:
        if self._crew.writes:
            self._crew.attend()
            self._crew.has_news = False
        if self._crew.is_asked() or self._asked or self._has_other_keys():
            self._take_note_of_request()
        if not self._crew.writes:
            self._report()
        if self._paused:
            self._let_go()
        elif not self._trouble.forbids:
            self._work(self._opened())
            self._trouble.is_over()

    def _has_other_keys(self) -> bool:
        """Whether what was refused may be granted now, as somebody else asks."""
        may_help = self._trouble.is_about_keys and not self._paused
        return may_help and self._store is not None and self._store.has_other_keys()

    def _take_note_of_request(self) -> None:
        self._asked, self._asked_time = False, time.time()
        self._trouble.retry()
        self._upkeep.look_at_once()

    def _opened(self) -> ObjectStore:
        """The bucket. Raises ServingError, also when this ended while it was opened, which nothing can cut short."""
        if self._store is None:
            self._store = self._open_store(self._root.bucket)
        if self._closed:
            self._store.close()
            raise ServingError(Code.CANCELLED, f"{self._root} is not looked at any more")
        return self._store

    def _work(self, store: ObjectStore) -> None:
        """Do what there is to do, unless another process does that for this one."""
        if self._crew.has_lost_lock:
            self._let_go()
        if not self._upkeep.is_under_way:
            self._cache.prepare()  # somebody may have cleared it
            if self._crew.try_to_write():
                self._crew.attend()
        if self._crew.writes:
            self._judged = self._wants
            self._upkeep.turn(store, self._crew.wants(self._judged), self._wants_by_now)

    def _wants_by_now(self) -> Wants:
        """What all processes want, who may have changed their minds meanwhile."""
        self._crew.attend()
        return self._crew.wants(self._wants)

    def _let_go(self) -> None:
        """Bring nothing any more, so that another process may."""
        self._upkeep.end()
        if not self._closed:
            self._report()
        self._crew.yield_lock()

    def _report(self) -> None:
        """Let the process that writes know what this one wants, and what of the copy it uses."""
        published = self._crew.hear().published
        uses = self._usage.here(published)
        wants = {} if self._paused or self._trouble.stops else self._wants
        with suppress(OSError):  # a disk that cannot be written, which is told elsewhere
            self._cache.prepare()  # somebody may have cleared it
            self._crew.report(Report(wants, uses, published, self._asked_time))

    def _tell(self) -> None:
        self._standing.tell(self._wants, self._judged, paused=self._paused)

    def _take_note_of(self, error: Exception) -> None:
        if self._closed:
            return
        # A store that cannot be opened lacks an option, or a package
        self._trouble.take(error, stops=self._store is None and isinstance(error, ServingError))
        self._upkeep.watch.due = self._trouble.until
        if self._trouble.stops:
            self._let_go()

    def _pause(self) -> float | None:
        """Seconds until there is something to do, None when that is when somebody asks."""
        if self._paused:
            return None
        if self._crew.followed is not None:
            return self._follow_seconds
        due = [self._upkeep.watch.due]
        if self._trouble.is_about_keys:
            due.append(time.monotonic() + self._keys_seconds)
        if self._trouble.problem is None and (retry := self._upkeep.retry_due()) is not None:
            due.append(retry)
        if self._cache.has_trash:
            due.append(time.monotonic() + _FOLLOW_SECONDS)
        return max(min(due) - time.monotonic(), 0.0) if math.isfinite(min(due)) else None
