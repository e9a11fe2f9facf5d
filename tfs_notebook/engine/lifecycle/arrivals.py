"""How the versions of a model come up after its configuration changed, and are exchanged for what stands there now."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tfs_notebook.engine.lifecycle.settled import has_settled
from tfs_notebook.engine.storage.completeness import missing_part
from tfs_notebook.engine.storage.scan import Fingerprint
from tfs_notebook.errors import Code, ServingError
from tfs_notebook.threads import NoThreadError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from concurrent.futures import Executor
    from pathlib import Path

    from tfs_notebook.engine.lifecycle.manager import Manager
    from tfs_notebook.engine.lifecycle.version import Version
    from tfs_notebook.engine.storage.watcher import Lookout


class Arrivals:
    """Waits for the versions that lookouts look for, until they serve or cannot. Lives on the manager's event loop."""

    def __init__(self, manager: Manager, disk: Executor, prefer_tflite: Callable[[], bool]) -> None:
        """Files are read on `disk`; see `Storage` for `prefer_tflite`."""
        self._manager = manager
        self._disk = disk
        self._prefer_tflite = prefer_tflite

    async def bring_up(self, lookout: Lookout, *, patient: bool, must_serve: bool = True) -> None:
        """Look for one model's versions, and wait until they have settled."""
        await lookout.look()
        while not (lookout.closed or has_settled(lookout, self._manager, patient=patient, must_serve=must_serve)):
            lookout.changed.clear()
            await lookout.changed.wait()

    async def bring_up_afresh(self, lookout: Lookout, failed: Iterable[Version]) -> None:
        """The same, and try again what had `failed`, and load what has been written under served numbers since."""
        await lookout.look()
        for version in failed:
            if version.aspired and version.error is not None:
                self._manager.retry(version)
        await self.bring_up(lookout, patient=False)
        if not lookout.closed:
            await self._exchange(lookout.config.name, lookout.scan.aspired)

    async def _exchange(self, name: str, aspired: Mapping[int, Path]) -> None:
        try:
            await self._exchange_stale(name, aspired)
        except NoThreadError as error:
            for number in aspired:
                self._manager.cannot_replace(name, number, error)

    async def _exchange_stale(self, name: str, aspired: Mapping[int, Path]) -> None:
        loop = asyncio.get_running_loop()
        stale = self._manager.stale(name, await loop.run_in_executor(self._disk, _fingerprints, aspired))
        for number, path in aspired.items():
            if number not in stale:
                self._manager.cannot_replace(name, number, None)
            elif missing := await loop.run_in_executor(self._disk, self._missing_part, path):
                self._manager.cannot_replace(name, number, ServingError(Code.UNAVAILABLE, f"{path}: {missing}"))
            else:
                await self._manager.replace(name, number, path)

    def _missing_part(self, path: Path) -> str:
        return missing_part(path, prefer_tflite=self._prefer_tflite())

    async def settle(self, lookout: Lookout) -> None:
        """Wait until everything of a model that is on its way here has come, and serves or cannot."""
        await lookout.look()
        while not lookout.closed and (
            lookout.fetch_status.expects_more or not has_settled(lookout, self._manager, patient=False)
        ):
            lookout.changed.clear()
            await lookout.changed.wait()


def _fingerprints(paths: Mapping[int, Path]) -> dict[int, Fingerprint]:
    return {number: Fingerprint.of(path) for number, path in paths.items()}
