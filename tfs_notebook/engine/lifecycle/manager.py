"""The lifecycle of versions: aspired → loading → available → unloading → end.

All state belongs to the serving loop. Loads and unloads run on a small pool of their own, a pause between two attempts
holds no thread, and each model moves on its own, so that no transition ever waits for another model's.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from tfs_notebook.engine.events import Event, EventStream, Kind, State
from tfs_notebook.engine.lifecycle.load_slots import LoadSlots
from tfs_notebook.engine.lifecycle.policy import VersionView, next_actions
from tfs_notebook.engine.lifecycle.registry import Registry
from tfs_notebook.engine.lifecycle.version import Version, VersionStatus
from tfs_notebook.engine.models.servable import Loaded, Servable
from tfs_notebook.engine.storage.scan import Fingerprint
from tfs_notebook.errors import Code, ServingError
from tfs_notebook.threads import NoThreadError, Pool

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine, Iterator, Mapping
    from pathlib import Path

T = TypeVar("T")

_log = logging.getLogger(__name__)
_MAX_READINGS = 3
"""How often a version is loaded whose files change meanwhile, until that is an error."""
HISTORY = 100
"""Ended versions that a model's status keeps listing (TensorFlow Serving keeps them all, for ever)."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often a failing load is tried again, and after how many seconds (negative: at once)."""

    max_retries: int = 5
    interval: float = 60.0


class Manager:
    """Brings every model to the versions that are aspired for it."""

    def __init__(
        self,
        load: Callable[[Path], Servable],
        events: EventStream,
        *,
        retry_policy: RetryPolicy | None = None,
        load_threads: int = 0,
        unload_threads: int = 0,
    ) -> None:
        """`load` turns a version directory into a servable; it runs on one of `load_threads` (0: see `LoadSlots`) and
        may raise anything. `unload_threads` (0: two) close what is not served any more.

        `load` and `retry_policy` may be replaced at any time; they hold for the attempts that begin afterwards.
        """
        self.registry = Registry()
        self.load = load
        self.retry_policy = retry_policy or RetryPolicy()
        self._events = events
        self._models: dict[str, dict[int, Version]] = {}
        self._aspired: dict[str, dict[int, Path]] = {}
        self._withheld: dict[str, frozenset[int]] = {}
        self._held: dict[str, frozenset[int]] = {}
        self._advancing: set[str] = set()
        self._places = LoadSlots(load_threads)
        load_threads = load_threads if load_threads > 0 else 4 * (os.cpu_count() or 1)
        self._loaders = Pool(load_threads, thread_name_prefix="tfs-load")
        self._closers = Pool(unload_threads if unload_threads > 0 else 2, thread_name_prefix="tfs-unload")
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False

    # What others ask

    def versions(self, model: str) -> list[VersionStatus]:
        """All known versions of `model`, highest first; empty for a model never heard of. Any thread may ask."""
        versions = list(self._models.get(model, {}).values())
        return [version.status() for version in sorted(versions, key=lambda v: v.number, reverse=True)]

    @property
    def models(self) -> list[str]:
        """Every model with a version, ended ones included."""
        return [model for model, versions in list(self._models.items()) if versions]

    def in_use(self, directory: Path, number: int) -> bool:
        """Whether a version in `directory` is loaded, or on its way to or from it, as any model's; for any thread."""
        return any(
            version.number == number and version.path.parent == directory and version.state is not State.END
            for versions in list(self._models.values())
            for version in list(versions.values())
        )

    def taken_up(self, model: str) -> set[int]:
        """The numbers of the versions that are on their way or serving, the wanted and the unwanted."""
        return {n for n, version in self._models.get(model, {}).items() if version.state is not State.END}

    def failed(self, model: str) -> list[Version]:
        """The versions that are wanted but could not be loaded, whether they will be tried again or not."""
        return [v for v in self._models.get(model, {}).values() if v.aspired and v.error is not None]

    def waiting(self, model: str) -> set[int]:
        """The numbers of the versions that are loaded, and withheld from requests."""
        return {version.number for version in self._models.get(model, {}).values() if version.waits}

    def states(self, model: str, numbers: Collection[int]) -> Iterator[tuple[int, State, ServingError | None]]:
        """State and load error of each of the versions `numbers` that is known."""
        versions = self._models.get(model, {})
        return ((n, versions[n].state, versions[n].error) for n in numbers if n in versions)

    # What others want

    def aspire(self, model: str, versions: Mapping[int, Path], *, withheld: Collection[int] = ()) -> None:
        """Make exactly `versions` (number → directory) the ones that `model` is to serve.

        Those `withheld` that do not serve yet are loaded, but answer no request until a later call lets them; meanwhile
        they are LOADING, and `waiting` tells when they are loaded.
        """
        if self._closed:
            return
        self._aspired[model], self._withheld[model] = dict(versions), frozenset(withheld)
        known = self._models.setdefault(model, {})
        for version in list(known.values()):
            path = versions.get(version.number)
            if path is None:
                version.aspired = False
                version.wake.set()
            else:
                self._want(version, path)
        self._advance(model)

    def _want(self, version: Version, path: Path) -> None:
        dropped, version.aspired = not version.aspired, True
        if version.error is not None and version.path != path:
            version.path = path
            self._begin_anew(version)
        elif version.failed and dropped:
            self._begin_anew(version)

    def hold(self, model: str, numbers: Collection[int]) -> None:
        """Do not unload the versions `numbers`, though nobody wants them any more, until the next call."""
        if self._held.get(model, frozenset()) != frozenset(numbers) and not self._closed:
            self._held[model] = frozenset(numbers)
            self._advance_soon(model)

    def stale(self, model: str, current: Mapping[int, Fingerprint]) -> list[int]:
        """The served versions that were not loaded from the files `current` (version → fingerprint) by this `load`."""
        return [
            version.number
            for version in self._models.get(model, {}).values()
            if version.state is State.AVAILABLE
            and (now := current.get(version.number)) is not None
            and (now != version.files or version.load != self.load)
        ]

    def retry(self, version: Version) -> None:
        """Begin anew, at once, with a version that has failed or pauses before its next attempt."""
        if self._models[version.model].get(version.number) is version:
            self._begin_anew(version)
            self._advance(version.model)

    def _begin_anew(self, version: Version) -> None:
        if version.failed:
            del self._models[version.model][version.number]
        else:
            version.attempts, version.error = 0, None
            version.wake.set()

    async def replace(self, model: str, number: int, path: Path) -> None:
        """Exchange a served version for what now stands in `path`, without an unanswered request in between.

        The old copy keeps serving, and the version's status says why, when the new one cannot be loaded. Goes on when
        the caller is cancelled.
        """
        version = self._models[model].get(number)
        if version is not None and version.state is State.AVAILABLE and not self._closed:
            await asyncio.shield(self._spawn(self._replace(version, path)))

    async def _replace(self, version: Version, path: Path) -> None:
        before = version.files, version.load, version.load_seconds
        try:
            loaded = await self._attempt(version, path)
        except ServingError as error:
            version.files, version.load, version.load_seconds = before
            self.cannot_replace(version.model, version.number, error)
            return
        retired = loaded
        if version.state is State.AVAILABLE and version.loaded is not None:
            retired, version.loaded, version.path, version.exchange_error = version.loaded, loaded, path, None
            self.registry.publish(loaded)
            self._events.publish(Event(Kind.REPLACED, version.model, version.number, version.state))
        await self._retire(retired)

    def cannot_replace(self, model: str, number: int, error: ServingError | None) -> None:
        """Tell with a served version why it is not the one that stands on disk now, None when it is."""
        version = self._models[model].get(number)
        if version is not None and version.exchange_error is not error:
            version.exchange_error = error
            self._publish(version)

    async def close(self) -> None:
        """Unload everything, after the requests under way; then nothing can be loaded any more."""
        self._held.clear()
        for model in list(self._models):
            self.aspire(model, {})
        self._closed = True
        try:
            while self._tasks:
                await asyncio.wait(set(self._tasks))
        finally:
            self._loaders.shutdown(wait=False)
            self._closers.shutdown(wait=False)

    # How it comes about

    def _advance(self, model: str) -> None:
        """Start every transition of `model` that is possible now."""
        versions = self._models[model]
        for number, path in self._aspired[model].items():
            known = versions.get(number)
            if known is None or (known.state is State.END and not known.failed):
                versions[number] = Version(model, number, path)
                self._publish(versions[number])
        for version in [v for v in versions.values() if v.state is State.START and not v.aspired]:
            self._move(version, State.END)
        for version in [v for v in versions.values() if v.waits]:
            self._let_serve(version)
        held = self._held.get(model, frozenset())
        views = [VersionView(v.number, v.state, v.aspired, v.number in held) for v in versions.values()]
        for action in next_actions(views):
            version = versions[action.number]
            if action.verb == "load":
                self._move(version, State.LOADING)
                self._spawn(self._load(version))
            else:
                self._move(version, State.UNLOADING)
                self._spawn(self._unload(version))
        self._forget(versions)

    def _advance_soon(self, model: str) -> None:
        """Once, however many events ask for it meanwhile."""
        if model in self._models and model not in self._advancing:
            self._advancing.add(model)
            asyncio.get_running_loop().call_soon(self._advance_now, model)

    def _advance_now(self, model: str) -> None:
        self._advancing.discard(model)
        self._advance(model)

    @staticmethod
    def _forget(versions: dict[int, Version]) -> None:
        ended = [v for v in versions.values() if v.state is State.END and not v.aspired]
        for version in sorted(ended, key=lambda v: v.since)[:-HISTORY]:
            del versions[version.number]

    async def _load(self, version: Version) -> None:
        while True:
            try:
                loaded = await self._attempt(version, version.path)
            except ServingError as error:
                version.error = error
                last = version.attempts > self.retry_policy.max_retries or not version.aspired
                if last or not await self._pause(version):
                    break
            else:
                self._loaded(version, loaded)
                return
        self._move(version, State.END)

    def _loaded(self, version: Version, loaded: Loaded) -> None:
        version.loaded, version.error, version.waits = loaded, None, True
        self._let_serve(version)
        if version.waits:
            self._publish(version)

    def _let_serve(self, version: Version) -> None:
        """Let a version that is loaded serve unless it is withheld, and unload it when nobody wants it any more."""
        if not version.aspired or self._aspired[version.model].get(version.number) != version.path:
            version.waits = False
            self._spawn(self._unload(version))
        elif version.loaded is not None and version.number not in self._withheld[version.model]:
            version.waits = False
            self.registry.publish(version.loaded)
            _log.info("Successfully loaded servable version {name: %s version: %d}", version.model, version.number)
            self._move(version, State.AVAILABLE)

    async def _attempt(self, version: Version, path: Path) -> Loaded:
        """One attempt to load `path` as `version`; raises ServingError."""
        version.wake.clear()
        version.attempts += 1
        async with self._places.taken():
            if not version.aspired:  # not any more
                raise _cancelled()
            version.load, started = self.load, time.monotonic()
            try:
                servable = await self._read_whole(version, version.load, path)
            except Exception as cause:
                error = _as_serving_error(cause)
                _log.warning(
                    "Loading servable: {name: %s version: %d} failed: %s", version.model, version.number, error
                )
                raise error from None
        version.load_seconds = time.monotonic() - started
        return Loaded(version.model, version.number, servable)

    async def _read_whole(self, version: Version, load: Callable[[Path], Servable], path: Path) -> Servable:
        """What `load` makes of files that stayed the same meanwhile: others may be of two versions."""
        run = partial(asyncio.get_running_loop().run_in_executor, self._loaders)
        version.files = await run(Fingerprint.of, path)
        for _ in range(_MAX_READINGS):
            before, servable = version.files, await run(load, path)
            version.files = await run(Fingerprint.of, path)
            if version.files == before:
                return servable
            await run(servable.close)
        raise ServingError(
            Code.UNAVAILABLE,
            f"The files of {path} changed while they were loaded",
            hint="A new version belongs in a new directory, moved into place when it is complete.",
        )

    async def _pause(self, version: Version) -> bool:
        """Wait until the next attempt is due; False when the version is unwanted then."""
        interval = max(self.retry_policy.interval, 0.0)
        version.retry_at = time.time() + interval
        self._publish(version)
        _log.info(
            "Retrying of Loading servable: {name: %s version: %d} retry: %d",
            version.model, version.number, version.attempts,
        )  # fmt: skip
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(version.wake.wait(), interval)
        version.retry_at = None
        return version.aspired

    async def _unload(self, version: Version) -> None:
        self.registry.withdraw(version.model, version.number)
        if version.loaded is not None:
            loaded, version.past_calls, version.loaded = version.loaded, version.loaded.stats, None
            await self._retire(loaded)
        if version.state is State.LOADING and not version.aspired:
            version.error = _cancelled()
        self._move(version, State.END)

    async def _retire(self, loaded: Loaded) -> None:
        loop = asyncio.get_running_loop()
        idle = asyncio.Event()
        loaded.retire(partial(loop.call_soon_threadsafe, idle.set))
        try:
            await idle.wait()
        except asyncio.CancelledError:  # the loop ends before the last request does
            loaded.retire(loaded.servable.close)
            raise
        try:
            await loop.run_in_executor(self._closers, loaded.servable.close)
        except NoThreadError:
            loaded.servable.close()
        except RuntimeError:  # the interpreter ends, and begins no more threads
            return
        except Exception:
            _log.exception("Unloading servable: {name: %s version: %d} failed", loaded.model, loaded.version)

    def _move(self, version: Version, state: State) -> None:
        version.state, version.since = state, time.time()
        self._publish(version)
        if state in {State.AVAILABLE, State.END}:
            self._advance_soon(version.model)

    def _publish(self, version: Version) -> None:
        self._events.publish(Event(Kind.VERSION, version.model, version.number, version.state, version.error))

    def _spawn(self, coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a transition failed", exc_info=error)


def _cancelled() -> ServingError:
    return ServingError(Code.CANCELLED, "Loading of servable cancelled")


def _as_serving_error(error: Exception) -> ServingError:
    if isinstance(error, ServingError):
        return error
    code = Code.RESOURCE_EXHAUSTED if isinstance(error, MemoryError) else Code.UNKNOWN
    return ServingError(code, f"{type(error).__name__}: {error}")
