"""The serving core: a configuration goes in, models are found, loaded, labelled, and stay so as disk and config change.

One lock orders configuration changes; the wait for their models happens outside it, so a model that does not come up
never holds back the next change.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tfs_notebook.engine.completeness import missing_part
from tfs_notebook.engine.config import ModelConfig, validate_config
from tfs_notebook.engine.events import Event, EventStream, Kind, State
from tfs_notebook.engine.labels import refusal
from tfs_notebook.engine.manager import Manager
from tfs_notebook.engine.storage import SETTLE_SECONDS, Fingerprint, Scan, Storage
from tfs_notebook.errors import Code, ServingError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from pathlib import Path

    from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

    from tfs_notebook.engine.version import VersionStatus

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """Everything there is to know about a model.

    `config` is None for a model that is no longer configured. `waiting` says of versions on disk that are not taken up
    what is missing; `problem` is why nothing could be found, `label_problem` why its labels are not in force.
    """

    name: str
    config: ModelConfig | None
    versions: tuple[VersionStatus, ...]
    labels: Mapping[str, int]
    waiting: Mapping[int, str]
    problem: ServingError | None
    label_problem: ServingError | None

    @property
    def problems(self) -> list[ServingError]:
        """Why the model does not serve what its configuration asks for; empty when all is well."""
        if self.config is None:
            return []
        failed = [version.error for version in self.versions if version.error is not None and version.wanted]
        waiting = [_not_taken_up(self.name, number, reason) for number, reason in self.waiting.items()]
        return [*failed, *waiting, *filter(None, (self.problem, self.label_problem))]


@dataclass(frozen=True, slots=True)
class CoreOptions:
    """`poll_seconds` ≤ 0 looks at the disk only when a configuration is applied.

    Files must have been left alone for `settle_seconds` before a version is taken up.
    """

    poll_seconds: float = 1.0
    settle_seconds: float = SETTLE_SECONDS
    allow_labels_for_unavailable: bool = False


class ServerCore:
    """Keeps a `Manager` in step with a configuration and the disk. Lives on one event loop."""

    def __init__(
        self,
        manager: Manager,
        events: EventStream,
        options: CoreOptions | None = None,
        *,
        resolve: Callable[[str], str] = str,
    ) -> None:
        """`resolve` turns a configured base path into the directory it stands for (a mount); it may be replaced."""
        self.manager = manager
        self.events = events
        self.configs: dict[str, ModelConfig] = {}
        self.options = options or CoreOptions()
        self.resolve = resolve
        self._storage = Storage(self.options.settle_seconds)
        self._scans: dict[str, Scan] = {}
        self._label_problems: dict[str, ServingError] = {}
        self._lock = asyncio.Lock()
        self._scanning = asyncio.Lock()
        self._changed = asyncio.Event()
        self._look_again = asyncio.Event()
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="tfs-disk")
        self._poller: asyncio.Task[None] | None = None
        self._closed = False
        self._end_listening = events.listen(self._on_event)

    # Configuration

    async def apply(self, config: ModelServerConfig, *, timeout: float | None = 60.0, patient: bool = True) -> None:
        """Serve exactly the models of `config`; returns once they have settled.

        `patient` waits until failing loads have used up their retries and for directories that have no complete
        version yet, up to `timeout` seconds; otherwise a first failure is an outcome. Raises ServingError with the
        reason of every model that did not become available or whose labels were refused; what could be applied stays
        applied. An invalid configuration changes nothing.
        """
        async with self._lock:
            try:
                models = validate_config(config, self.configs)
            except ServingError as error:
                self.events.publish(Event(Kind.CONFIG, error=error))
                raise
            if models is None:
                _log.info("Taking no action for empty config.")
                return
            changed = {name for name, model in models.items() if self.configs.get(name) != model}
            await self._adopt(models)
        try:
            await asyncio.wait_for(self._until_settled(changed, patient=patient), timeout)
        except asyncio.TimeoutError:
            _log.warning("some models did not settle within %s s", timeout)
        self._update_labels(changed, final=True)
        self._raise_problems(changed)

    async def _adopt(self, models: dict[str, ModelConfig]) -> None:
        for name in models.keys() - self.configs.keys():
            _log.info("(Re-)adding model: %s", name)
        removed = self.configs.keys() - models.keys()
        self.configs = models
        for name in removed:
            self._scans.pop(name, None)
            self._label_problems.pop(name, None)
            self.manager.aspire(name, {})
        labels = self.manager.registry.labels
        kept = {name: of for name, of in labels.items() if name in models and models[name].labels}
        self.manager.registry.set_labels(kept)
        if self.options.allow_labels_for_unavailable:
            self._update_labels(models, final=False)
        self.events.publish(Event(Kind.CONFIG))
        if self._poller is None:
            self._poller = asyncio.get_running_loop().create_task(self._poll_for_ever())
        await self.poll()
        self._look_again.set()

    async def refresh(self) -> None:
        """Try failed versions again, and exchange served ones for what has since been written under their number.

        Raises ServingError when a changed version cannot be loaded; the copy that was loaded before keeps serving.
        """
        await self.poll()
        for version in self.manager.failed():
            self.manager.retry(version)
        paths = {name: scan.aspired for name, scan in self._scans.items()}
        loop = asyncio.get_running_loop()
        current = await loop.run_in_executor(self._disk, _fingerprints, paths)
        errors = []
        for name, number in self.manager.stale(current):
            try:
                await self._replace(name, number, paths[name][number])
            except ServingError as error:
                errors.append(error)
        if errors:
            raise errors[0]

    async def _replace(self, name: str, number: int, path: Path) -> None:
        loop = asyncio.get_running_loop()
        if missing := await loop.run_in_executor(self._disk, missing_part, path):
            raise _not_taken_up(name, number, missing)
        await self.manager.replace(name, number, path)

    # Disk

    async def poll(self) -> None:
        """Look at every base path once and aspire what stands there."""
        async with self._scanning:
            loop = asyncio.get_running_loop()
            configs = dict(self.configs)
            known = {name: self.manager.taken_up(name) for name in configs}
            failed = [(version, version.path, version.files) for version in self.manager.failed()]
            scans, repaired = await loop.run_in_executor(
                self._disk,
                lambda: (
                    self._scan(configs, known),
                    [version for version, path, files in failed if self._storage.repaired(path, files)],
                ),
            )
        for name, scan in scans.items():
            if self.configs.get(name) == configs[name]:
                self._take_up(name, scan)
        for version in repaired:
            if version.aspired and version.error is not None:
                self.manager.retry(version)

    def _scan(self, configs: Mapping[str, ModelConfig], known: Mapping[str, set[int]]) -> dict[str, Scan]:
        return {
            name: self._storage.scan(name, self.resolve(config.base_path), config.policy, known[name])
            for name, config in configs.items()
        }

    def _take_up(self, name: str, scan: Scan) -> None:
        before = self._scans.get(name, Scan())
        self._scans[name] = scan
        if scan.readable:
            self.manager.aspire(name, scan.aspired)
        if _outlook(scan) != _outlook(before):
            for number, reason in scan.waiting.items():
                _log.warning("waiting for version %d of %s: %s", number, name, reason)
            if scan.problem is not None:
                _log.warning("%s", scan.problem.message)
            self.events.publish(Event(Kind.STORAGE, name, error=scan.problem))

    async def _poll_for_ever(self) -> None:
        while not self._closed:  # until Python 3.12 wait_for swallows a cancellation that meets its event
            self._look_again.clear()
            pauses = [scan.settles_in for scan in self._scans.values() if scan.settles_in is not None]
            if self.options.poll_seconds > 0:
                pauses.append(self.options.poll_seconds)
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._look_again.wait(), min(pauses, default=None))
                continue
            try:
                await self.poll()
            except Exception:
                _log.exception("a poll of the model directories failed")

    # Waiting

    def _on_event(self, event: Event) -> None:
        if event.kind is Kind.SERVER:  # published by whichever thread starts or stops the server
            return
        self._changed.set()
        if event.state is State.AVAILABLE:
            self._update_labels([event.model], final=event.model in self._label_problems)

    async def _until_settled(self, names: Collection[str], *, patient: bool) -> None:
        while any(not self._settled(name, patient=patient) for name in names):
            self._changed.clear()
            await self._changed.wait()

    def _settled(self, name: str, *, patient: bool) -> bool:
        config, scan = self.configs.get(name), self._scans.get(name, Scan())
        if config is None or self._closed:
            return True
        wanted = [version for version in self.manager.versions(name) if version.number in scan.aspired]
        failed = {v.number for v in wanted if v.error is not None and (v.state is State.END or not patient)}
        settled = {v.number for v in wanted if v.state is State.AVAILABLE} | failed
        if not patient:
            return scan.settles_in is None and len(settled) == len(scan.aspired)
        labelled = set(config.labels.values()) & scan.aspired.keys()
        return bool(settled) and labelled <= settled

    # Labels

    def _update_labels(self, names: Collection[str], *, final: bool) -> None:
        """Give all labels of a model or none; unless `final`, a refusal may still turn out otherwise and is not told.

        On the very event that makes a version available, so that a label moves before its old version is unloaded.
        """
        registry = self.manager.registry
        before, labels = registry.labels, dict(registry.labels)
        problems_before = dict(self._label_problems)
        for name in names:
            config = self.configs.get(name)
            if config is None:
                continue
            problem = refusal(
                name,
                config.labels,
                current=labels.get(name, {}),
                available=registry.serving.get(name, {}).keys(),
                allow_unavailable=self.options.allow_labels_for_unavailable,
            )
            if problem is None:
                labels[name] = config.labels
                self._label_problems.pop(name, None)
            elif final:
                self._label_problems[name] = problem
        registry.set_labels(labels)
        for name in names:
            problem = self._label_problems.get(name)
            if before.get(name, {}) != registry.labels.get(name, {}) or problem is not problems_before.get(name):
                self.events.publish(Event(Kind.LABELS, name, error=problem))

    # Outcome

    def _raise_problems(self, names: Collection[str]) -> None:
        unavailable = {name: why for name in sorted(names) if (why := self.why_unavailable(name))}
        if unavailable:
            reasons = "".join(f"{why}, " for why in unavailable.values())
            raise ServingError(Code.UNKNOWN, f"{len(unavailable)} model(s) did not become available: {{{reasons}}}")
        for name in sorted(names):
            if (problem := self._label_problems.get(name)) is not None:
                raise problem

    def why_unavailable(self, name: str) -> str:
        """Why the newest settled version of `name` does not serve, in TensorFlow Serving's form; "" when it does."""
        if name not in self.configs:
            return ""
        aspired = self._scans.get(name, Scan()).aspired
        versions = [version for version in self.manager.versions(name) if version.number in aspired]
        settled = [v for v in versions if v.state is State.AVAILABLE or (v.state is State.END and v.error is not None)]
        retrying = [version for version in versions if version.error is not None]
        for version in settled or retrying:
            if version.state is State.AVAILABLE:
                return ""
            return f"{{{{name: {name} version: {version.number}}} due to error: {version.error}}}"
        return f"{{{{name: {name}}} due to error: {self._why_nothing(name)}}}"

    def _why_nothing(self, name: str) -> str:
        scan = self._scans.get(name, Scan())
        if scan.problem is not None:
            return str(scan.problem)
        reasons = "; ".join(f"version {number}: {why}" for number, why in scan.waiting.items())
        return f"DEADLINE_EXCEEDED: {reasons or 'still loading'}"

    def status(self) -> tuple[ModelStatus, ...]:
        """Every configured model, and those that were and still have a history, by name."""
        return tuple(self.model_status(name) for name in sorted({*self.configs, *self.manager.models}))

    def model_status(self, name: str) -> ModelStatus:
        """What is known about one model; empty for one never heard of."""
        scan = self._scans.get(name, Scan())
        return ModelStatus(
            name=name,
            config=self.configs.get(name),
            versions=tuple(self.manager.versions(name)),
            labels=self.manager.registry.labels.get(name, {}),
            waiting=scan.waiting,
            problem=scan.problem,
            label_problem=self._label_problems.get(name),
        )

    async def close(self) -> None:
        """Stop polling and unload everything after the requests under way."""
        self._closed = True
        self._changed.set()
        try:
            if self._poller is not None:
                self._poller.cancel()
                await asyncio.wait([self._poller])
            await self.manager.close()
        finally:
            self._end_listening()
            self._disk.shutdown(wait=False)


def _not_taken_up(name: str, number: int, reason: str) -> ServingError:
    return ServingError(Code.UNAVAILABLE, f"Version {number} of model {name} is not taken up yet: {reason}")


def _fingerprints(paths: Mapping[str, Mapping[int, Path]]) -> dict[str, dict[int, Fingerprint]]:
    return {name: {number: Fingerprint.of(path) for number, path in of.items()} for name, of in paths.items()}


def _outlook(scan: Scan) -> tuple[object, ...]:
    return scan.waiting, scan.problem and scan.problem.message, scan.settles_in is None
