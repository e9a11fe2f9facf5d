"""The serving core: a configuration goes in, models are found, loaded, labelled, and stay so as disk and config change.

A configuration is adopted at once and as a whole; what it brings about, and the wait for it, is each model's own, so
that a model that does not come up never holds back another one, nor the next change.
"""

from __future__ import annotations

import asyncio
import copy
import logging
import math
import time
from collections import deque
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tfs_notebook.engine.config import ModelConfig, validate_config
from tfs_notebook.engine.events import Event, EventStream, Kind, State
from tfs_notebook.engine.lifecycle.arrivals import Arrivals
from tfs_notebook.engine.lifecycle.label_keeper import LabelKeeper
from tfs_notebook.engine.lifecycle.manager import Manager
from tfs_notebook.engine.lifecycle.outcome import found, problem_of, waiting_of, why_unavailable
from tfs_notebook.engine.lifecycle.settled import has_settled
from tfs_notebook.engine.lifecycle.trial import Adoption, Trial
from tfs_notebook.engine.status import ModelStatus
from tfs_notebook.engine.storage.poller import Poller
from tfs_notebook.engine.storage.remote import Fetcher, FetchStatus, LocalDirectories
from tfs_notebook.engine.storage.scan import SETTLE_SECONDS, Fingerprint, Scan
from tfs_notebook.engine.storage.watcher import Lookout
from tfs_notebook.errors import Code, ServingError
from tfs_notebook.threads import Pool

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig


_log = logging.getLogger(__name__)
_DISK_THREADS = 16
_MAX_UNDONE = 10
"""How many configurations there is a way back to."""


@dataclass(frozen=True, slots=True)
class CoreOptions:
    """`poll_seconds` ≤ 0 looks at the disk only when a configuration is applied.

    Files must have been left alone for `settle_seconds` before a version is taken up.
    """

    poll_seconds: float = 1.0
    settle_seconds: float = SETTLE_SECONDS
    allow_labels_for_unavailable: bool = False
    prefer_tflite: bool = False


class ServerCore:
    """Keeps a `Manager` in step with a configuration and the disk. Lives on one event loop."""

    def __init__(
        self,
        manager: Manager,
        events: EventStream,
        options: CoreOptions | None = None,
        *,
        resolve: Callable[[str], str] = str,
        fetcher: Fetcher | None = None,
    ) -> None:
        """`resolve` turns a configured base path into the directory or address it stands for (a mount), and `fetcher`
        that into a directory; both may be replaced, and hold for the configurations that are applied afterwards.
        """
        self.manager = manager
        self.events = events
        self.configs: Mapping[str, ModelConfig] = {}
        self.config: ModelServerConfig | None = None
        """What is in force, as it was asked for; not to be changed."""
        self.history: deque[ModelServerConfig] = deque(maxlen=_MAX_UNDONE)
        """What was in force before, the oldest first."""
        self.config_problem: ServingError | None = None
        """Why the last configuration was refused, so that the one before is in force; None when it was not."""
        self.options = options or CoreOptions()
        self.resolve = resolve
        self.fetcher: Fetcher = fetcher or LocalDirectories()
        self._has_config = False
        self._lookouts: dict[str, Lookout] = {}
        self._aspired: dict[str, Mapping[int, Path]] = {}
        """What the last look of each model found to serve."""
        self._trial: Trial | None = None
        self._deciding: asyncio.Task[None] | None = None
        self._poller = Poller(self._all_lookouts, lambda: self.options.poll_seconds)
        self._labels = LabelKeeper(manager, events, allow_unavailable=lambda: self.options.allow_labels_for_unavailable)
        self._disk = Pool(_DISK_THREADS, thread_name_prefix="tfs-disk")
        self.arrivals = Arrivals(manager, self._disk, lambda: self.options.prefer_tflite)
        self._closed = False
        self._end_listening = events.listen(self._on_event)

    # Configuration

    async def apply(
        self,
        config: ModelServerConfig,
        *,
        timeout: float | None = 60.0,
        patient: bool = True,
        afresh: bool = False,
    ) -> None:
        """Serve exactly the models of `config`; returns once they have settled, or after `timeout` seconds.

        See `begin` for when it comes into force, and `wait` for the errors.
        """
        await self.wait(self.begin(config, patient=patient, afresh=afresh), timeout)

    def begin(
        self, config: ModelServerConfig, *, patient: bool = True, afresh: bool = False, is_undo: bool = False
    ) -> asyncio.Future[Adoption]:
        """Let `config` come into force: at once, or, when labels name versions that do not serve yet, as soon as these
        do. The result tells that it has, or raises why it was refused.

        `patient`, as TensorFlow Serving, waits for models that are new: until failing loads have used up their retries,
        and for directories that have no complete version yet. Otherwise all that changed is waited for,
        what is on its way here too, and a first failure is an outcome. `afresh` also tries again what had failed, and
        exchanges served versions for what has since been written under their number. `is_undo` tells that `config` is
        the last of the `history`, which ends before it then.

        Raises ServingError for an invalid configuration. Refused means, then or later, that nothing has changed. What
        still waits for versions of its labels when the next configuration comes is given up for that.
        """
        loop = asyncio.get_running_loop()
        models = self._validated(config)
        outcome: asyncio.Future[Adoption] = loop.create_future()
        outcome.add_done_callback(lambda ended: ended.cancelled() or ended.exception())  # also when nobody waits
        if models is None or self._closed:
            _log.info("Taking no action for empty config.")
            outcome.set_result(Adoption(asyncio.gather()))
            return outcome
        earlier, self._trial, adopted = self._trial, None, frozenset[str]()
        adopt = partial(self._adopt, copy.deepcopy(config), models, patient=patient, afresh=afresh, is_undo=is_undo)
        try:
            lacking = self._labels.lacking({name: model.labels for name, model in models.items()})
            if lacking and self._has_config:  # without one there is nothing that a refusal could leave as it is
                self._trial = self._trial_of(models, lacking, outcome, patient=patient)
                self._deciding = loop.create_task(self._decide(self._trial, adopt))
                for name in lacking:
                    self._aspire(name)  # what serves stays
            else:
                outcome.set_result(adopt())
                adopted = frozenset(models)
        finally:
            self._end(earlier, adopted)
        return outcome

    async def wait(self, outcome: asyncio.Future[Adoption], timeout: float | None) -> None:
        """Wait until what was begun is in force and its models have settled, or for `timeout` seconds.

        Raises ServingError: why it was refused; DEADLINE_EXCEEDED while that is open; or the reason of every model that
        did not become available. Goes on when the caller is cancelled.
        """
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        try:
            adoption = await asyncio.wait_for(asyncio.shield(outcome), timeout)
        except asyncio.TimeoutError:
            raise self.undecided(timeout) from None
        await self.settled(adoption, None if timeout is None else max(deadline - time.monotonic(), 0.0))

    @property
    def is_trying(self) -> bool:
        """Whether a configuration waits for versions that its labels name, so that it may still be refused."""
        return self._trial is not None and not self._trial.outcome.done()

    async def decided(self) -> None:
        """Wait until every configuration that was begun is in force or refused."""
        while self._trial is not None and not self._trial.outcome.done():
            await asyncio.wait([self._trial.outcome])

    @staticmethod
    def undecided(timeout: float | None) -> ServingError:
        """What there is to tell of a configuration that is neither in force nor refused after `timeout` seconds."""
        message = f"Versions that labels name have not settled within {timeout} s"
        hint = "The configuration before stays in force until they have; %tfs_status shows it."
        return ServingError(Code.DEADLINE_EXCEEDED, message, hint=hint)

    async def settled(self, adoption: Adoption, timeout: float | None) -> None:
        """Wait until the models of a configuration in force have settled, or for `timeout` seconds.

        Raises ServingError with the reason of every model that did not become available.
        """
        try:
            await asyncio.wait([adoption.coming], timeout=timeout)
        finally:
            if not adoption.coming.done() and not adoption.exchanges:
                adoption.coming.cancel()
        if not adoption.coming.done():
            _log.warning("some models did not settle within %s s", timeout)
        self._raise_problems(adoption)

    def _validated(self, config: ModelServerConfig) -> Mapping[str, ModelConfig] | None:
        try:
            models = validate_config(config, self.configs)
            for model in (models or {}).values():
                self.fetcher.check(self.resolve(model.base_path))
        except ServingError as error:
            self.events.publish(Event(Kind.CONFIG, error=error))
            raise
        return models

    def _adopt(
        self,
        config: ModelServerConfig,
        models: Mapping[str, ModelConfig],
        *,
        patient: bool,
        afresh: bool,
        is_undo: bool,
    ) -> Adoption:
        """Make `config`, which has these `models`, the configuration in force, and let them come up."""
        failed = {name: self.manager.failed(name) if afresh else [] for name in models}
        before, changed = self.configs.keys(), self._turn_to(models)
        self._remember(config, is_undo=is_undo)
        awaited = frozenset(models if afresh else changed)
        must_serve = frozenset(name for name in awaited if not (patient and name in before))
        for name in models.keys() - awaited:
            self._lookouts[name].begin_look()
        coming = [
            self.arrivals.bring_up_afresh(self._lookouts[name], failed[name])
            if afresh
            else self.arrivals.bring_up(self._lookouts[name], patient=patient, must_serve=name in must_serve)
            for name in awaited
        ]
        all_of_them = asyncio.gather(*coming)
        all_of_them.add_done_callback(lambda ended: ended.cancelled() or ended.exception())  # also when nobody waits
        return Adoption(all_of_them, awaited, must_serve, exchanges=afresh)

    def _remember(self, config: ModelServerConfig, *, is_undo: bool) -> None:
        before, self.config = self.config, config
        if is_undo:
            self.history.pop()
        elif before is not None and before != config:
            self.history.append(before)

    def _turn_to(self, models: Mapping[str, ModelConfig]) -> set[str]:
        """Make `models` the configuration in force; the names of those that are not as they were, or lack a label."""
        places = {name: self.resolve(model.base_path) for name, model in models.items()}
        self._want_brought(models.values())
        before, self.configs, self._has_config = self.configs, models, True
        for name in models.keys() - before.keys():
            _log.info("(Re-)adding model: %s", name)
        self._labels.turn_to({name: model.labels for name, model in models.items()})
        for name in before.keys() - models.keys():
            self._lookouts.pop(name).close()
            self._aspired.pop(name, None)
            self.manager.aspire(name, {})
        changed = {name for name, model in models.items() if before.get(name) != model or self._labels.problem(name)}
        for name, model in models.items():
            base_path = self.fetcher.directory(places[name])
            if name not in self._lookouts:
                self._lookouts[name] = self._lookout(model, base_path, partial(self._take_up, name))
            if self._lookouts[name].base_path != base_path:
                changed.add(name)
            self._lookouts[name].turn_to(model, base_path, name=places[name], prefer_tflite=self.options.prefer_tflite)
        self._poller.restart()
        self.events.publish(Event(Kind.CONFIG))
        return changed

    def _want_brought(self, models: Iterable[ModelConfig]) -> None:
        self.fetcher.want([replace(model, base_path=self.resolve(model.base_path)) for model in models])

    # Labels that name versions which do not serve yet

    def _trial_of(
        self,
        models: Mapping[str, ModelConfig],
        lacking: Mapping[str, frozenset[int]],
        outcome: asyncio.Future[Adoption],
        *,
        patient: bool,
    ) -> Trial:
        tried = [models[name] for name in lacking]
        self._want_brought([*self.configs.values(), *tried])
        lookouts = {}
        for model in tried:
            place = self.resolve(model.base_path)
            base_path, name = self.fetcher.directory(place), model.name
            fetch_status = partial(self.fetcher.fetch_status, place)
            lookouts[name] = self._lookout(model, base_path, partial(self._take_up_tried, name), fetch_status)
            lookouts[name].turn_to(model, base_path, name=place, prefer_tflite=self.options.prefer_tflite)
        return Trial(models, lacking, lookouts, self.manager, outcome, patient=patient)

    def _take_up_tried(self, name: str, _scan: Scan) -> None:
        if self._trial is not None:
            try:
                self._aspire(name)
            finally:
                self._trial.wake(name)

    async def _decide(self, trial: Trial, adopt: Callable[[], Adoption]) -> None:
        """Let the configuration on `trial` come into force or refuse it, once that is known. Whatever goes wrong, it
        is refused: somebody waits for an answer.
        """
        try:
            await trial.run(self._aspire)
            if self._trial is not trial:  # given up for another
                return
            labels = {name: model.labels for name, model in trial.models.items()}
            refusal = self._labels.refusal(labels, trial.loadable)
            if refusal is None:
                self._adopt_tried(trial, adopt)
        except Exception as error:
            _log.exception("a configuration whose labels name versions that do not serve yet could not be tried")
            refusal = ServingError(Code.INTERNAL, f"The configuration could not be applied: {error!r}")
        if refusal is not None and not trial.outcome.done():
            trial.outcome.set_exception(refusal)
            self._trial = None
            self.events.publish(Event(Kind.CONFIG, error=refusal))
            self._end(trial)

    def _adopt_tried(self, trial: Trial, adopt: Callable[[], Adoption]) -> None:
        for name in trial.names:  # before the labels, which are only given to what serves
            self.manager.aspire(name, self._wanted(name))
        self._trial = None
        trial.outcome.set_result(adopt())
        self._end(trial, trial.models)

    def _end(self, trial: Trial | None, adopted: Collection[str] = ()) -> None:
        """End a trial, and let its models be as before, but for those that were `adopted` since."""
        if trial is None:
            return
        message = "Another configuration came before the versions that labels name had settled"
        trial.close(ServingError(Code.ABORTED, message))
        for name in trial.names - set(adopted):
            self._aspire(name)
        if not adopted and self._trial is None:
            self._want_brought(self.configs.values())

    def _aspire(self, name: str) -> None:
        """Let serve what the last look found, and load what is tried beside it."""
        found, tried = self._aspired.get(name, {}), self._trial.tried(name) if self._trial is not None else {}
        withheld = {number for number, path in tried.items() if found.get(number) != path}
        self.manager.aspire(name, self._wanted(name), withheld=withheld)

    def _wanted(self, name: str) -> Mapping[int, Path]:
        found, trial = self._aspired.get(name, {}), self._trial
        return {**found, **trial.serving(name), **trial.tried(name)} if trial is not None else found

    def _all_lookouts(self) -> list[Lookout]:
        tried = self._trial.lookouts.values() if self._trial is not None else ()
        return [*self._lookouts.values(), *tried]

    def _lookout(
        self,
        config: ModelConfig,
        base_path: str,
        take_up: Callable[[Scan], None],
        fetch_status: Callable[[], FetchStatus] | None = None,
    ) -> Lookout:
        return Lookout(
            config,
            base_path,
            settle_seconds=self.options.settle_seconds,
            disk=self._disk,
            known=partial(self._known, config.name),
            take_up=take_up,
            fetch_status=fetch_status or partial(self._fetch_status, config.name),
        )

    # Disk

    async def settle(self) -> None:
        """Wait until everything that is on its way here has come, and serves or cannot."""
        for lookout in list(self._lookouts.values()):
            await self.arrivals.settle(lookout)

    async def poll(self) -> None:
        """Look at every base path once and aspire what stands there."""
        await asyncio.gather(*(lookout.look() for lookout in self._lookouts.values()))

    def look_again(self, directory: str) -> None:
        """The files in `directory`, or its fetch status, changed: see `Fetcher`. Called on the serving loop."""
        for name, lookout in self._lookouts.items():
            if lookout.base_path == directory and not self._closed:
                lookout.begin_look()
                self.events.publish(Event(Kind.FETCH, name, error=self._fetch_status(name).problem))
        if self._trial is not None:
            self._trial.look_again(directory)

    def in_use(self, directory: str, number: int) -> bool:
        """Whether a version in `directory` is loaded, or on its way to or from it, as any model's.

        Any thread may ask.
        """
        return self.manager.in_use(Path(directory), number)

    def _fetch_status(self, name: str) -> FetchStatus:
        """What is on its way to the base path of a model, and what is not."""
        lookout = self._lookouts.get(name)
        return self.fetcher.fetch_status(lookout.name) if lookout is not None else FetchStatus()

    def _known(self, name: str) -> tuple[set[int], Mapping[int, Fingerprint | None]]:
        return self.manager.taken_up(name), {version.number: version.files for version in self.manager.failed(name)}

    def _take_up(self, name: str, scan: Scan) -> None:
        lookout = self._lookouts[name]
        fetch_status = lookout.fetch_status
        may_still_come = (
            fetch_status.expects_more
            or fetch_status.waiting
            or fetch_status.problem
            or (scan.waiting and not scan.problem)
        )
        if scan.readable and (scan.aspired or not may_still_come):  # else what serves stays until there is another
            self._aspired[name] = scan.aspired
            self._aspire(name)
        for version in self.manager.failed(name):
            if version.number in scan.repaired:
                self.manager.retry(version)
        waiting, problem = waiting_of(scan, fetch_status), problem_of(scan, fetch_status)
        lookout.waits_since = {number: lookout.waits_since.get(number, time.time()) for number in waiting}
        # The words of what brings the versions may differ each time, like the number of a request
        of_problem = problem and (problem.message if problem is scan.problem else (problem.code, problem.hint))
        prospect = waiting, of_problem, scan.settles_in is None
        told = lookout.told or ({}, None, True)
        if prospect != told:
            lookout.told = prospect
            for number, reason in waiting.items():
                if told[0].get(number) != reason:
                    _log.warning("waiting for version %d of %s: %s", number, name, reason)
            if problem is not None:
                _log.warning("%s", problem.message)
            self.events.publish(Event(Kind.STORAGE, name, error=problem))
        lookout.changed.set()

    # Settling

    def _on_event(self, event: Event) -> None:
        if event.kind is Kind.SERVER:  # published by whichever thread starts or stops the server
            return
        if event.kind is Kind.CONFIG:
            self.config_problem = event.error
        if event.state is State.AVAILABLE:
            # On this very event, so that a label moves before its old version is unloaded
            self._labels.update([event.model])
        if event.model in self._lookouts:
            self._lookouts[event.model].changed.set()
        if self._trial is not None:
            self._trial.wake(event.model)

    # Outcome

    def _raise_problems(self, adoption: Adoption) -> None:
        unavailable = {name: why for name in sorted(adoption.must_serve) if (why := self.why_unavailable(name))}
        if unavailable:
            reasons = "".join(f"{why}, " for why in unavailable.values())
            raise ServingError(Code.UNKNOWN, f"{len(unavailable)} model(s) did not become available: {{{reasons}}}")
        for name in sorted(adoption.awaited):
            if (problem := self._labels.problem(name)) is not None:
                raise problem

    def why_unavailable(self, name: str) -> str:
        """Why the newest settled version of `name` does not serve, in TensorFlow Serving's form; "" when it does."""
        if name not in self.configs:
            return ""
        return why_unavailable(self._lookouts[name], self._fetch_status(name), self.manager)

    def status(self) -> tuple[ModelStatus, ...]:
        """Every configured model, and those that were and still have a history, by name. Any thread may ask."""
        return tuple(self.model_status(name) for name in sorted({*self.configs, *self.manager.models}))

    def model_status(self, name: str) -> ModelStatus:
        """What is known about one model; empty for one never heard of. Any thread may ask."""
        lookout, fetch_status = self._lookouts.get(name), self._fetch_status(name)
        scan = found(lookout)
        is_settled = lookout is not None and has_settled(lookout, self.manager, patient=False)
        return ModelStatus(
            name=name,
            config=self.configs.get(name),
            versions=tuple(self.manager.versions(name)),
            labels=self.manager.registry.labels.get(name, {}),
            waiting=waiting_of(scan, fetch_status),
            waits_since=dict(lookout.waits_since) if lookout is not None else {},
            problem=problem_of(scan, fetch_status),
            label_problem=self._labels.problem(name) if is_settled else None,
            base_path=Path(lookout.base_path) if lookout is not None else None,
            place=lookout.name if lookout is not None else "",
        )

    async def close(self) -> None:
        """Stop looking and unload everything after the requests under way."""
        self._closed = True
        self._poller.stop()
        try:
            for lookout in self._lookouts.values():
                lookout.close()
            trial, self._trial = self._trial, None
            if trial is not None:
                trial.close(ServingError(Code.UNAVAILABLE, "The server has been stopped"))
            await self.manager.close()
        finally:
            self._end_listening()
            self._disk.shutdown(wait=False)
