"""One root in OSS and its local copy, kept in step by a thread of its own.

A turn of the thread looks (one listing of everything below the root), judges and brings what is wanted, and publishes,
withdraws and prunes. Whatever goes wrong leaves what is published as it is.
"""

from __future__ import annotations

import math
import threading
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from tfs_notebook.engine.supply import Outlook, SourceStatus
from tfs_notebook.errors import Code, ServingError
from tfs_notebook.oss import prospect
from tfs_notebook.oss.cache import Cache
from tfs_notebook.oss.crew import Crew
from tfs_notebook.oss.herald import Herald
from tfs_notebook.oss.holdings import Holdings, MirrorOptions
from tfs_notebook.oss.intake import Intake
from tfs_notebook.oss.keys import told
from tfs_notebook.oss.messages import Bulletin, Report, Wants
from tfs_notebook.oss.plan import base_of, number_of
from tfs_notebook.oss.trouble import Trouble
from tfs_notebook.oss.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tfs_notebook.oss.address import OssAddress
    from tfs_notebook.oss.store import ObjectStore

_FOLLOW_SECONDS = 1.0
_KEYS_SECONDS = 10.0
"""How often the credentials are looked at while the source refuses those there were."""
_STOP_SECONDS = 0.3


class Sync:
    """Keeps the copy of `root` in `directory`. Base paths are relative to the root, "" being the root itself.

    It begins at once, and what `wants` does not ask for may be deleted.
    `changed` is called, from the thread, with each base path in which something changed, or on which the outlook did;
    `in_use` tells whether a version of a base path is taken up.
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
        self.root = root
        self.cache = Cache(directory)
        self._options = options
        self._open_store = open_store
        self._herald = Herald(root, self.cache, changed)
        self._trouble = Trouble(root, directory, options.poll_seconds, options.refused_seconds)
        self._in_use = in_use
        self._holdings = Holdings(root, self.cache, options, self._herald.tell, self._may_be_used)
        self._crew = Crew(self.cache.private)
        self._store: ObjectStore | None = None
        self._intake: Intake | None = None
        self._wants = wants
        self._all_wants: Wants = {}
        self._watch = Watch(root, options)
        self._follow_seconds = min(options.poll_seconds, _FOLLOW_SECONDS)
        self._look_time: float | None = None
        """When the last look was of which everything has been told."""
        self._warnings: tuple[str, ...] = ()
        self._outlooks: dict[str, Outlook] = {}
        self._taken: Wants = {}
        self._judged: Wants = {}
        """What was wanted when the outlooks were made."""
        self._uses: frozenset[str] = frozenset()
        """What of the copy this process uses, as long as it does not write."""
        self._bulletin: Bulletin | None = None
        """What the writer last said, as long as that is another process."""
        self._asked_time = 0.0
        """When somebody last asked for a look, in seconds since the epoch."""
        self._paused = paused
        self._closed = False
        self._asked = False
        self._replace: set[tuple[str, int]] = set()
        self._wake = threading.Event()
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
        self._replace.add((base, number))
        self.now()

    def stop(self) -> None:
        """End soon; see `join`."""
        self._closed = True
        self._wake.set()
        intake = self._intake
        if intake is not None:
            intake.stop()
        if (store := self._store) is not None:
            store.close()

    def join(self, deadline: float) -> None:
        """Wait until (monotonic) `deadline` at most for the end of its threads and processes."""
        self._thread.join(max(deadline - time.monotonic(), 0.0))

    def outlook(self, base: str) -> Outlook:
        """What is known of a base path."""
        judged, found = self._judged, self._outlooks.get(base)
        if found is not None and not self._trouble.is_passing:  # which may be newer than the outlook
            found = replace(found, problem=self._trouble.problem or found.problem)
        if found is None or judged.get(base) != self._wants.get(base):
            waiting = found.waiting if found is not None else {}
            paused = _is_paused(self.root) if self._paused else None
            found = Outlook(self._trouble.is_passing, waiting, self._trouble.problem or paused)
        return replace(found, coming=False) if self._paused or self._trouble.stops else found

    def status(self) -> SourceStatus:
        """How it is going."""
        intake = self._intake
        transfers = intake.transfers() if intake is not None else ()
        waiting = {
            f"{base}/{number}".lstrip("/"): why
            for base, outlook in self._outlooks.items()
            for number, why in outlook.waiting.items()
        }
        looks_again = not (self._paused or self._bulletin)
        return SourceStatus(
            address=str(self.root),
            directory=str(self.cache.directory),
            state=self._state(bool(transfers), bool(waiting)),
            last_look=self._look_time,
            next_look=self._watch.next_time if looks_again else None,
            transfers=transfers,
            waiting=waiting,
            problem=self._trouble.problem or (self._bulletin.problem if self._bulletin is not None else None),
            warnings=self._warnings,
        )

    def _state(self, transferring: bool, waiting: bool) -> str:
        if self._paused:
            return "paused"
        if self._trouble.stops:
            return "stopped"
        if self._bulletin is not None:
            return "following"
        if self._watch.last is None or self._judged != self._wants:
            return "waiting" if self._trouble.problem is not None else "starting"
        if transferring:
            return "transferring"
        return "waiting" if waiting or self._trouble.problem is not None else "in step"

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
        """Whether other processes report something else than before; a disk that cannot be read is told elsewhere."""
        try:
            return self._crew.attend()
        except OSError:
            return False

    def _turn(self) -> None:
        if self._crew.writes:
            self._crew.attend()
        if self._crew.is_asked() or self._asked or self._has_other_keys():
            self._take_note_of_request()
        if not self._crew.writes:
            self._report()
        if self._paused:
            self._let_go()
        elif not self._trouble.forbids:
            self._work(self._opened())
            self._trouble.is_over()

    def _opened(self) -> ObjectStore:
        """The bucket. Raises ServingError, also when this ended while it was opened, which nothing can cut short."""
        if self._store is None:
            self._store = self._open_store(self.root.bucket)
        if self._closed:
            self._store.close()
            raise ServingError(Code.CANCELLED, f"{self.root} is not looked at any more")
        return self._store

    def _work(self, store: ObjectStore) -> None:
        if self._crew.has_lost_lock:
            self._let_go()
        if self._intake is None:
            self._try_to_write(store)
        if self._intake is not None:
            self._keep_in_step(store, self._intake)

    def _has_other_keys(self) -> bool:
        """Whether what was refused may be granted now, as somebody else asks."""
        may_help = self._trouble.is_about_keys and not self._paused
        return may_help and self._store is not None and self._store.has_other_keys()

    def _take_note_of_request(self) -> None:
        self._asked, self._asked_time, self._watch.due = False, time.time(), 0.0
        self._trouble.retry()
        if self._intake is not None:
            self._intake.retry_now()

    def _try_to_write(self, store: ObjectStore) -> None:
        """Begin to bring versions, unless another process does that for this one."""
        self.cache.prepare()  # somebody may have cleared it
        if not self._crew.try_to_write():
            self._bulletin = self._crew.hear()
            return
        self._bulletin = None
        self._crew.attend()
        self.cache.recover()
        self._watch.forget()
        self._intake = Intake(self.cache, store, self._options, self._holdings.make_room, self._wake.set)

    def _let_go(self) -> None:
        """Bring nothing any more, so that another process may."""
        intake, self._intake, self._bulletin = self._intake, None, None
        if intake is not None:
            intake.stop()
            intake.join(time.monotonic() + _STOP_SECONDS)
        if not self._closed:
            self._report()
        self._crew.yield_lock()

    def _report(self) -> None:
        """Let the process that writes know what this one wants, and what of the copy it uses."""
        published = self._crew.hear().published
        self._uses = frozenset(filter(self._uses_version, self._uses | published | self.cache.known))
        wants = {} if self._paused or self._trouble.stops else self._wants
        with suppress(OSError):  # a disk that cannot be written, which is told elsewhere
            self.cache.prepare()  # somebody may have cleared it
            self._crew.report(Report(wants, self._uses, published, self._asked_time))

    def _uses_version(self, path: str) -> bool:
        return self._in_use(base_of(path), number_of(path))

    def _may_be_used(self, path: str) -> bool:
        return self._uses_version(path) or self._crew.may_use(path, self.cache.published.keys())

    def _keep_in_step(self, store: ObjectStore, intake: Intake) -> None:
        while self._replace:
            intake.replace(*self._replace.pop())
        wants = self._everybodys_wants()
        if self._watch.is_due:
            self.cache.prepare()  # somebody may have cleared it
            self._watch.look(store)
            self._take_up(intake, wants)
        elif wants != self._all_wants:
            self._take_up(intake, wants)
        self._holdings.wanted = intake.choose(wants)
        for path in intake.advance():
            self._herald.tell(base_of(path))
        self._crew.attend()  # it may have taken long
        self._holdings.wanted = intake.choose(self._crew.wants(self._wants))
        self._holdings.prune()
        self._holdings.empty_trash()
        self._watch.plan(confirm=intake.needs_look, expects_more=intake.expects_more or self._holdings.has_doubts)

    def _take_up(self, intake: Intake, wants: Wants) -> None:
        """See what the last look means for what is published, and for what is on its way."""
        self._all_wants, look = wants, self._watch.last
        if look is None:
            return
        warnings = [
            *told(look.tree.refused),
            *(line for base in sorted(wants) for line in look.tree.outdone(base)),
            *self._holdings.compare(look, intake.replacing),
            *(why for path, why in intake.unverified.items() if path in self.cache.published),
        ]
        if self._watch.was_empty:
            warnings.append(f"the last listing of {self.root} was empty: nothing is changed because of it")
        self._warnings = tuple(warnings)
        self._herald.log(self._warnings)
        intake.saw(look, self._watch.before, wants)

    def _everybodys_wants(self) -> Wants:
        self._taken = self._wants
        return self._crew.wants(self._taken)

    def _take_note_of(self, error: Exception) -> None:
        if self._closed:
            return
        # A store that cannot be opened lacks an option, or a package
        self._trouble.take(error, stops=self._store is None and isinstance(error, ServingError))
        self._watch.due = self._trouble.until
        if self._trouble.stops:
            self._let_go()

    def _tell(self) -> None:
        """Let everybody know what is different by now."""
        looked = self._watch.time or self._look_time
        if (heard := self._bulletin) is not None:
            self._outlooks, looked = dict(heard.outlooks), heard.last_look
            self._judged = heard.judged(self._wants)
        else:
            taken = self._taken
            self._outlooks = {base: self._outlook(base) for base in self._all_wants | taken}
            self._judged = taken
            if self._intake is not None:
                published, problem = frozenset(self.cache.published), self._trouble.problem
                with suppress(OSError):  # a full disk perhaps, which is told
                    self._crew.say(Bulletin(self._outlooks, self._all_wants, published, looked, problem))
        self._herald.tell_changes({base: (self.outlook(base), self._judged.get(base)) for base in self._wants})
        self._look_time = looked

    def _outlook(self, base: str) -> Outlook:
        look = self._watch.last
        if look is None or self._intake is None:
            return Outlook(coming=self._trouble.is_passing, problem=self._trouble.problem)
        address = self.root.join(base).directory
        policies = self._all_wants.get(base, ())
        found = prospect.outlook(address, base, policies, look.tree, self._intake, self.cache.published)
        coming = found.coming and self._trouble.is_passing
        return Outlook(coming, found.waiting, self._trouble.problem or found.problem)

    def _pause(self) -> float | None:
        """Seconds until there is something to do, None when that is when somebody asks."""
        if self._paused:
            return None
        if self._bulletin is not None:
            return self._follow_seconds
        due = [self._watch.due]
        if self._trouble.is_about_keys:
            due.append(time.monotonic() + min(self._options.poll_seconds, _KEYS_SECONDS))
        if self._intake is not None and self._trouble.problem is None and (retry := self._intake.due()) is not None:
            due.append(retry)
        if self.cache.has_trash:
            due.append(time.monotonic() + _FOLLOW_SECONDS)
        return max(min(due) - time.monotonic(), 0.0) if math.isfinite(min(due)) else None


def _is_paused(root: OssAddress) -> ServingError:
    return ServingError(
        Code.UNAVAILABLE, f"{root} is not looked at: the synchronisation is paused", hint="%tfs_sync resume goes on."
    )
