"""How one root stands, as others are told: the engine, whoever asks for the status, and processes that share its copy.

What a turn of the thread found out is told once, when it is different from before; what is asked for between two turns
is told at once, with the trouble and the transfers that there are at that moment.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from tfs_notebook.engine.storage.remote import FetchStatus, SourceStatus
from tfs_notebook.errors import Code, ServingError
from tfs_notebook.oss.peers.messages import Bulletin, Wants

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tfs_notebook.oss.address import OssAddress
    from tfs_notebook.oss.cache.cache import Cache
    from tfs_notebook.oss.peers.coordinator import Crew
    from tfs_notebook.oss.sync.backoff import Trouble
    from tfs_notebook.oss.sync.cycle import Upkeep
    from tfs_notebook.oss.sync.notify import Herald


class Standing:
    """How `root` stands, by its `upkeep` here or else by what the writer in the `crew` says, and the `trouble` with it.

    Whoever asks says what is wanted at that moment, by this process, and whether that is `paused`.
    """

    def __init__(
        self, root: OssAddress, cache: Cache, upkeep: Upkeep, trouble: Trouble, crew: Crew, herald: Herald
    ) -> None:
        self._root = root
        self._cache = cache
        self._upkeep = upkeep
        self._trouble = trouble
        self._crew = crew
        self._herald = herald
        self._look_time: float | None = None
        """When the last look was of which everything has been told."""
        self._fetch_statuses: Mapping[str, FetchStatus] = {}
        self._judged: Wants = {}
        """What was wanted when the fetch statuses were made."""

    # From any thread

    def fetch_status(self, base: str, wants: Wants, *, paused: bool) -> FetchStatus:
        """What is known of a base path."""
        judged, found = (
            self._judged,
            self._fetch_statuses.get(base),
        )  # in this order, as the fetch statuses are told first
        trouble = self._trouble
        if found is not None and not trouble.is_passing:  # which may be newer than the fetch status
            found = replace(found, problem=trouble.problem or found.problem)
        if found is None or judged.get(base) != wants.get(base):
            waiting = found.waiting if found is not None else {}
            found = FetchStatus(trouble.is_passing, waiting, trouble.problem or (self._is_paused() if paused else None))
        return replace(found, expects_more=False) if paused or trouble.stops else found

    def _is_paused(self) -> ServingError:
        return ServingError(
            Code.UNAVAILABLE,
            f"{self._root} is not looked at: the synchronisation is paused",
            hint="%tfs_sync resume goes on.",
        )

    def status(self, wants: Wants, *, paused: bool) -> SourceStatus:
        """How it is going."""
        transfers, followed = self._upkeep.transfers(), self._crew.followed
        waiting = {
            f"{base}/{number}".lstrip("/"): why
            for base, fetch_status in self._fetch_statuses.items()
            for number, why in fetch_status.waiting.items()
        }
        return SourceStatus(
            address=str(self._root),
            directory=str(self._cache.directory),
            state="paused" if paused else self._state(wants, bool(transfers), bool(waiting)),
            last_listing=self._look_time,
            next_listing=self._upkeep.watch.next_time if not paused and followed is None else None,
            transfers=transfers,
            begun=self._upkeep.begun,
            waiting=waiting,
            problem=self._trouble.problem or (followed.problem if followed is not None else None),
            warnings=self._herald.warnings,
        )

    def _state(self, wants: Wants, transferring: bool, waiting: bool) -> str:
        if self._trouble.stops:
            return "stopped"
        if self._crew.followed is not None:
            return "following"
        if self._upkeep.watch.last is None or self._judged != wants:
            return "waiting" if self._trouble.problem is not None else "starting"
        if transferring:
            return "transferring"
        return "waiting" if waiting or self._trouble.problem is not None else "in step"

    # From the thread of the synchronisation

    def tell(self, wants: Wants, judged: Wants, *, paused: bool) -> None:
        """Let everybody know what is different by now; `judged` is what was wanted at the last turn of the upkeep."""
        looked = self._upkeep.watch.time or self._look_time
        if (followed := self._crew.followed) is not None:
            self._fetch_statuses, looked = followed.fetch_statuses, followed.last_listing
            self._judged = followed.judged(wants)
        else:
            self._fetch_statuses = {base: self._found(base) for base in self._upkeep.wants | judged}
            self._judged = judged
            if self._upkeep.is_under_way:
                self._tell_crew(looked)
        self._herald.tell_changes(
            {base: (self.fetch_status(base, wants, paused=paused), self._judged.get(base)) for base in wants}
        )
        self._look_time = looked

    def _found(self, base: str) -> FetchStatus:
        found, trouble = self._upkeep.fetch_status(base), self._trouble
        return replace(
            found, expects_more=found.expects_more and trouble.is_passing, problem=trouble.problem or found.problem
        )

    def _tell_crew(self, looked: float | None) -> None:
        published = frozenset(self._cache.published)
        with suppress(OSError):  # a full disk perhaps, which is told
            self._crew.say(Bulletin(self._fetch_statuses, self._upkeep.wants, published, looked, self._trouble.problem))
