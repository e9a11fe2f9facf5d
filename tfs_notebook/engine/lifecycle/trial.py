"""A configuration with labels for versions that do not serve yet, tried beside the configuration in force.

Refused means that nothing has changed: until it is known whether those versions come up, everything that serves goes
on, and they are loaded beside it, but answer no requests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tfs_notebook.engine.events import State
from tfs_notebook.engine.lifecycle.settled import labelled_have_settled

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tfs_notebook.engine.config import ModelConfig
    from tfs_notebook.engine.lifecycle.manager import Manager
    from tfs_notebook.engine.storage.watcher import Lookout
    from tfs_notebook.errors import ServingError


@dataclass(frozen=True, slots=True)
class Adoption:
    """A configuration that has come into force.

    `coming` ends when the models that are `awaited` have settled; of them those that `must_serve` have to. When it
    `exchanges` versions too, it goes on though nobody waits for it any more.
    """

    coming: asyncio.Future[Any]
    awaited: frozenset[str] = frozenset()
    must_serve: frozenset[str] = frozenset()
    exchanges: bool = False


class Trial:
    """Finds out whether the versions that the labels of `models` lack can serve. Lives on the manager's event loop."""

    def __init__(
        self,
        models: Mapping[str, ModelConfig],
        lacking: Mapping[str, frozenset[int]],
        lookouts: Mapping[str, Lookout],
        manager: Manager,
        outcome: asyncio.Future[Adoption],
        *,
        patient: bool,
    ) -> None:
        """`lacking` has those versions by model, and `lookouts` look for them; `patient` waits for all their retries.
        Whoever asked for `models` waits for the `outcome`.
        """
        self.outcome = outcome
        self.models = models
        self._lacking = lacking
        self.lookouts = lookouts
        self._manager = manager
        self._patient = patient
        self._serving = {name: self._served(name) for name in lacking}
        self._loads = False

    @property
    def names(self) -> frozenset[str]:
        """The models with a label that lacks its version."""
        return frozenset(self._lacking)

    def _served(self, name: str) -> dict[int, Path]:
        serving, versions = self._manager.registry.serving.get(name, {}), self._manager.versions(name)
        return {v.number: v.path for v in versions if v.state is State.AVAILABLE and v.number in serving}

    def serving(self, name: str) -> Mapping[int, Path]:
        """What served of a model when this began, and is to go on."""
        return self._serving.get(name, {})

    def tried(self, name: str) -> Mapping[int, Path]:
        """What is to be loaded of a model, and not to serve unless the configuration in force asks for it, too."""
        found = self.lookouts[name].scan.aspired if self._loads and name in self.lookouts else {}
        return {number: path for number, path in found.items() if number in self._lacking[name]}

    @property
    def loadable(self) -> Mapping[str, frozenset[int]]:
        """The versions, by model, that were loaded, or could be and were not, as others are not there."""
        if self._loads:
            return {name: self._lacking[name] & self._manager.waiting(name) for name in self.lookouts}
        return {name: self._lacking[name] & lookout.scan.aspired.keys() for name, lookout in self.lookouts.items()}

    async def run(self, aspire: Callable[[str], None]) -> None:
        """Return once those versions serve or cannot; `aspire` is called with each model of which more is `tried`.

        Nothing is loaded when one of them is not there to be loaded.
        """
        for lookout in self.lookouts.values():
            lookout.begin_look()
        await self._until(self._has_found)
        if all(self._lacking[name] <= lookout.scan.aspired.keys() for name, lookout in self.lookouts.items()):
            self._loads = True
            for name in self.lookouts:
                aspire(name)
            await self._until(self._has_settled)

    async def _until(self, condition: Callable[[str, Lookout], bool]) -> None:
        for name, lookout in self.lookouts.items():
            while not (lookout.closed or condition(name, lookout)):
                lookout.changed.clear()
                await lookout.changed.wait()

    def _has_found(self, name: str, lookout: Lookout) -> bool:
        """Whether all versions of a model stand there, or are not on their way."""
        if not lookout.looked:
            return False
        may_still_come = lookout.fetch_status.expects_more or lookout.scan.settles_in is not None
        return not may_still_come or self._lacking[name] <= lookout.scan.aspired.keys()

    def _has_settled(self, name: str, lookout: Lookout) -> bool:
        open_ = self._lacking[name] - self._manager.waiting(name)
        return labelled_have_settled(lookout, self._manager, open_, patient=self._patient)

    def wake(self, model: str) -> None:
        """Something about a model has changed."""
        if model in self.lookouts:
            self.lookouts[model].changed.set()

    def look_again(self, directory: str) -> None:
        """What stands in `directory` has changed."""
        for lookout in self.lookouts.values():
            if lookout.base_path == directory:
                lookout.begin_look()

    def close(self, why: ServingError) -> None:
        """Look no more; when nothing has been decided yet, nothing will be, and `why` is told."""
        for lookout in self.lookouts.values():
            lookout.close()
        if not self.outcome.done():
            self.outcome.set_exception(why)
