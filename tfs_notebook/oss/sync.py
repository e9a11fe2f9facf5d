"""One root in OSS and its local copy, kept in step by a thread of its own.

A turn of the thread looks (one listing of everything below the root), judges and brings what is wanted, and publishes,
withdraws and prunes. Whatever goes wrong leaves what is published as it is.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tfs_notebook.engine.config import Specific
from tfs_notebook.engine.supply import Outlook, SourceStatus
from tfs_notebook.errors import Code, ServingError, not_found
from tfs_notebook.oss.cache import Cache
from tfs_notebook.oss.complete import Look
from tfs_notebook.oss.crew import Crew, Wants
from tfs_notebook.oss.intake import Intake, no_space
from tfs_notebook.oss.keys import Tree, told
from tfs_notebook.oss.plan import Backoff, base_of, number_of, superfluous
from tfs_notebook.oss.store import Fault, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tfs_notebook.oss.address import OssAddress
    from tfs_notebook.oss.store import ObjectStore

_log = logging.getLogger(__name__)
_JITTER = 0.1
_FOLLOW_SECONDS = 1.0
_HOPEFUL_ATTEMPTS = 2
"""Failed looks after which trouble is no longer a bad moment."""


@dataclass(frozen=True, slots=True)
class MirrorOptions:
    """How copies of what is in OSS are kept.

    `poll_seconds` lie between two listings of a root. `cache_dir` ("": under the user's cache directory) holds the
    copies, apart for each `endpoint`, as one bucket name may mean two. `marker` is the name of a file that has to be in
    a version before it is complete (see `complete.Marker`), "" for none. Of versions that no policy wants the
    `keep_versions` newest of each base path stay (None: all), while all published versions of a root have at most
    `disk_budget` bytes (None: no limit).
    """

    poll_seconds: float = 30.0
    cache_dir: str = ""
    marker: str = ""
    keep_versions: int | None = 2
    disk_budget: int | None = None
    endpoint: str = ""


class Sync:
    """Keeps the copy of `root` in `directory`. Base paths are relative to the root, "" being the root itself.

    `changed` is called, from the thread, with each base path in which something changed, or on which the outlook did;
    `in_use` tells whether a version of a base path is taken up.
    """

    def __init__(
        self,
        root: OssAddress,
        directory: Path,
        options: MirrorOptions,
        open_store: Callable[[str], ObjectStore],
        changed: Callable[[str], None],
        in_use: Callable[[str, int], bool],
    ) -> None:
        self.root = root
        self.cache = Cache(directory)
        self._options = options
        self._open_store = open_store
        self._changed = changed
        self._in_use = in_use
        self._crew = Crew(self.cache.private)
        self._store: ObjectStore | None = None
        self._intake: Intake | None = None
        self._wants: Wants = {}
        self._all_wants: Wants = {}
        self._look: Look | None = None
        self._before: Look | None = None
        self._look_time: float | None = None
        self._absent: dict[str, float] = {}
        self._due = 0.0
        self._backoff = Backoff(min(options.poll_seconds, 5.0))
        self._problem: ServingError | None = None
        self._warnings: tuple[str, ...] = ()
        self._logged: set[str] = set()
        self._outlooks: dict[str, Outlook] = {}
        self._seen: dict[str, tuple[Outlook, int]] = {}
        self._stopped = False
        self._paused = False
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
        """Look at once, and try again what has failed, also when this had stopped."""
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
        if self._intake is not None:
            self._intake.stop()
        close = getattr(self._store, "close", None)
        if close is not None:
            close()

    def join(self, deadline: float) -> None:
        """Wait until (monotonic) `deadline` at most for the end of its threads and processes."""
        self._thread.join(max(deadline - time.monotonic(), 0.0))
        if self._intake is not None:
            self._intake.join(deadline)

    def outlook(self, base: str) -> Outlook:
        """What is known of a base path."""
        return self._outlooks.get(base) or Outlook(coming=not (self._paused or self._stopped), problem=self._problem)

    def status(self) -> SourceStatus:
        """How it is going."""
        transfers = self._intake.transfers() if self._intake is not None else ()
        waiting = {
            f"{base}/{number}".lstrip("/"): why
            for base, outlook in self._outlooks.items()
            for number, why in outlook.waiting.items()
        }
        looks_again = not (self._paused or self._stopped) and self._crew.writes
        return SourceStatus(
            address=str(self.root),
            directory=str(self.cache.directory),
            state=self._state(bool(transfers), bool(waiting)),
            last_look=self._look_time,
            next_look=time.time() + max(self._due - time.monotonic(), 0.0) if looks_again else None,
            transfers=transfers,
            waiting=waiting,
            problem=self._problem,
            warnings=self._warnings,
        )

    def _state(self, transferring: bool, waiting: bool) -> str:
        if self._paused:
            return "paused"
        if self._stopped:
            return "stopped"
        if self._intake is not None and not self._crew.writes:
            return "following"
        if self._look is None:
            return "waiting" if self._problem is not None else "starting"
        if transferring:
            return "transferring"
        return "waiting" if waiting or self._problem is not None else "in step"

    # The thread

    def _run(self) -> None:
        try:
            while not self._closed:
                self._wake.clear()
                try:
                    self._turn()
                    self._tell()
                except Exception as error:
                    self._recover_from(error)
                self._wake.wait(self._pause())
        finally:
            if self._intake is not None:
                self._intake.stop()
            self._crew.leave()

    def _turn(self) -> None:
        if self._asked:
            self._take_note_of_request()
        if self._stopped or (self._problem is not None and time.monotonic() < self._due):
            return
        if self._intake is None or self._store is None:
            self._begin()
        elif not self._crew.writes and self._crew.try_to_write():
            self.cache.recover()
        if not self._crew.writes:
            self._crew.ask(self._wants)
        elif self._paused and self._intake is not None:
            self._intake.stop()
        elif self._intake is not None and self._store is not None:
            self._keep_in_step(self._store, self._intake)

    def _begin(self) -> None:
        self.cache.prepare()
        self._store = store = self._open_store(self.root.bucket)
        intake = Intake(self.cache, store, self._options.poll_seconds, self._options.marker, self._wake.set)
        intake.make_room = self._make_room
        if self._crew.try_to_write():
            self.cache.recover()
        self._intake = intake

    def _take_note_of_request(self) -> None:
        self._asked = self._stopped = False
        self._due = 0.0
        self._backoff = Backoff(min(self._options.poll_seconds, 5.0))
        if self._intake is not None:
            self._intake.retry_now()

    def _keep_in_step(self, store: ObjectStore, intake: Intake) -> None:
        intake.replacing |= {path for path in self.cache.published if (base_of(path), number_of(path)) in self._replace}
        self._replace.clear()
        if time.monotonic() >= self._due:
            self._look_at(store)
            self._take_up(intake)
        elif self._all_wants != (wants := self._everybodys_wants()) and self._look is not None:
            self._all_wants = wants
            self._take_up(intake)
        intake.choose(self._all_wants)
        for path in intake.advance():
            self._changed(base_of(path))
            intake.choose(self._all_wants)
        if intake.needs_look:
            self._due = 0.0
            self._wake.set()
        self._prune(intake)
        self.cache.empty_trash(lambda path: self._in_use(base_of(path), number_of(path)))

    def _look_at(self, store: ObjectStore) -> None:
        asked = time.monotonic()
        listing = store.list(self.root.directory.key)
        arrived, self._look_time = time.monotonic(), time.time()
        self._problem, self._backoff.attempts = None, 0
        self._due = asked + self._options.poll_seconds * random.uniform(1.0, 1.0 + _JITTER)  # noqa: S311
        tree = Tree.of(listing.objects, self.root.directory.key)
        self._before, self._look = self._look, Look(tree, listing.time, asked, arrived)
        self._all_wants = self._everybodys_wants()
        self.cache.notice_losses()

    def _take_up(self, intake: Intake) -> None:
        """See what the last look means for what is published, and for what is on its way."""
        if self._look is None:
            return
        self._warnings = (*told(self._look.tree.refused), *self._judge_published(self._look, intake))
        for warning in self._warnings:
            if warning not in self._logged:
                _log.warning("%s: %s", self.root, warning)
        self._logged = set(self._warnings)
        intake.saw(self._look, self._before, self._all_wants)

    def _judge_published(self, look: Look, intake: Intake) -> Iterator[str]:
        """Withdraw what has gone; warnings about what else differs."""
        listed = {
            version.path: version
            for base in {base_of(path) for path in self.cache.published} | self._all_wants.keys()
            for version in look.tree.versions(base).values()
        }
        bereft = set()
        for path, published in sorted(self.cache.published.items()):
            base = base_of(path)
            if path in listed:
                self._absent.pop(path, None)
                if listed[path].content != published.content and path not in intake.replacing:
                    yield f"{path} was written again in the bucket: what was brought first stays in place"
            elif look.tree.has(path) or any(key.startswith(f"{path}/") for key in look.tree.refused):
                self._absent.pop(path, None)
            elif not look.tree.has(base):
                bereft.add(base)
            elif look.asked - self._absent.setdefault(path, look.arrived) >= self._options.poll_seconds:
                del self._absent[path]
                self.cache.withdraw(path)
                _log.warning("%s%s is gone from the bucket: withdrawn", self.root, path)
                self._changed(base)
        for base in sorted(bereft):
            yield f"nothing is listed below {self.root.join(base)} any more: what was brought stays in place"

    def _everybodys_wants(self) -> Wants:
        wants = dict(self._wants)
        for base, policies in self._crew.wants().items():
            wants[base] = (*wants.get(base, ()), *policies)
        return wants

    # Room

    def _prune(self, intake: Intake, size: int = 0) -> None:
        """Withdraw what no policy wants and nothing uses, so that `size` bytes more keep to the budget."""
        if self._look is None:
            return
        budget = self._options.disk_budget
        over = self.cache.size + size - budget if budget is not None else 0
        unused = {
            path: published
            for path, published in self.cache.published.items()
            if path in intake.wanted or not self._in_use(base_of(path), number_of(path))
        }
        for path in list(superfluous(unused, intake.wanted, self._options.keep_versions, over)):
            self.cache.withdraw(path)
            self._changed(base_of(path))

    def _make_room(self, size: int) -> ServingError | None:
        budget = self._options.disk_budget
        if self._intake is not None and budget is not None:
            self._prune(self._intake, size)
            if self.cache.size + size > budget:
                return ServingError(
                    Code.RESOURCE_EXHAUSTED,
                    f"{size / 1e6:,.0f} MB do not fit: {self.cache.size / 1e6:,.0f} MB of the disk budget of "
                    f"{budget / 1e6:,.0f} MB are wanted or in use",
                    hint="Serve fewer versions, or raise the budget.",
                )
        return no_space(self.cache, size)

    # Telling

    def _recover_from(self, error: Exception) -> None:
        if not self._closed:
            self._trouble(error)
            self._tell()

    def _trouble(self, error: Exception) -> None:
        """Say what is wrong, and when to try again."""
        if isinstance(error, ServingError):
            self._problem = error
        elif isinstance(error, OSError):
            self._problem = ServingError(
                Code.UNAVAILABLE,
                f"{error.filename or self.cache.directory} cannot be used ({error.strerror or error})",
                hint=f"{self.root} is copied there.",
            )
        else:
            _log.exception("synchronising %s failed", self.root)
            self._problem = ServingError(Code.INTERNAL, f"synchronising {self.root} failed: {error!r}")
        _log.warning("%s: %s", self.root, self._problem.told)
        fault = error.fault if isinstance(error, StoreError) else None
        self._stopped = fault is Fault.FORBIDDEN or (self._store is None and isinstance(error, ServingError))
        if self._stopped and self._intake is not None:
            self._intake.stop()
        self._due = time.monotonic() + self._backoff.next()

    def _tell(self) -> None:
        """Let everybody know of a base path on which the outlook, or whose directory, changed."""
        if self._crew.writes:
            self._outlooks = {base: self._outlook(base) for base in self._all_wants | self._wants}
            self._crew.say(self._outlooks)
        elif self._intake is not None:
            self._outlooks = self._crew.hear()
        seen = {base: (self.outlook(base), self._stamp(base)) for base in self._wants}
        changed = [base for base, sight in seen.items() if self._seen.get(base) != sight]
        self._seen = seen
        for base in changed:
            self._changed(base)

    def _stamp(self, base: str) -> int:
        """Something else whenever the versions in a base path's directory are others."""
        try:
            return self.cache.directory_of(base).stat().st_mtime_ns
        except OSError:
            return 0

    def _outlook(self, base: str) -> Outlook:
        look, intake = self._look, self._intake
        if look is None or intake is None:
            hopeful = self._backoff.attempts <= _HOPEFUL_ATTEMPTS
            return Outlook(coming=hopeful and not (self._paused or self._stopped), problem=self._problem)
        drafts = {number_of(path): draft for path, draft in intake.drafts.items() if base_of(path) == base}
        drafts = {number: draft for number, draft in drafts.items() if draft.version.path in intake.wanted}
        coming = any(draft.failure is None and (draft.to_read() or not draft.waits_for) for draft in drafts.values())
        waiting = {number: draft.told() for number, draft in sorted(drafts.items())}
        published = {number_of(path) for path in self.cache.published if base_of(path) == base}
        for policy in self._all_wants.get(base, ()):
            if isinstance(policy, Specific):
                absent = f"{self.root.join(base)} does not hold it"
                waiting |= {n: absent for n in policy.versions if n not in published and n not in drafts}
        problem = self._problem or (None if drafts or published else self._nothing(base, look))
        return Outlook(coming and not (self._paused or self._stopped), waiting, problem)

    def _nothing(self, base: str, look: Look) -> ServingError | None:
        """Why there is no version below `base`, None when there is one."""
        address = self.root.join(base).directory
        start = f"{base}/" if base else ""
        if look.tree.versions(base):
            return None
        if look.tree.has(base):
            names = {path[len(start) :].partition("/")[0] for path in look.tree.paths if path.startswith(start)}
            return not_found(
                f"No versions found under {address}. "
                "Did you forget to name your leaf directory as a number (eg. '/1/')?",
                hint=f"It holds {_some(names)}.",
            )
        names = {path.partition("/")[0] for path in look.tree.paths}
        holds = f"{self.root} holds {_some(names)}." if base else ""
        return not_found(f"Nothing is below {address}.", hint=holds or "A model's files lie in PREFIX/NUMBER/.")

    def _pause(self) -> float | None:
        """Seconds until there is something to do, None when that is when somebody asks."""
        if self._stopped or (self._paused and self._crew.writes):
            return None
        if self._intake is not None and not self._crew.writes:
            return min(self._options.poll_seconds, _FOLLOW_SECONDS)
        due = [self._due]
        if self._intake is not None and (retry := self._intake.due()) is not None and self._problem is None:
            due.append(retry)
        if self.cache.has_trash:
            due.append(time.monotonic() + _FOLLOW_SECONDS)
        return max(min(due) - time.monotonic(), 0.0)


def _some(names: set[str]) -> str:
    shown = sorted(names)[:8]
    more = f" and {len(names) - len(shown)} more" if len(names) > len(shown) else ""
    return (", ".join(shown) or "nothing") + more
