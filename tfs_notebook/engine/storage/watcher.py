"""One model's base path, and what the last look at it found.

Each model has a lookout of its own: a directory that does not answer holds back nobody but its own model. When the
next look is due, a `Poller` tells.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from tfs_notebook.engine.storage.remote import FetchStatus
from tfs_notebook.engine.storage.scan import Scan, Storage
from tfs_notebook.errors import Code, ServingError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import Executor

    from tfs_notebook.engine.config import ModelConfig
    from tfs_notebook.engine.storage.scan import Fingerprint

_log = logging.getLogger(__name__)


class Lookout:
    """Looks at a base path for the versions that `config` asks for, and hands each `Scan` to `take_up`."""

    def __init__(
        self,
        config: ModelConfig,
        base_path: str,
        *,
        settle_seconds: float,
        disk: Executor,
        known: Callable[[], tuple[set[int], Mapping[int, Fingerprint | None]]],
        take_up: Callable[[Scan], None],
        fetch_status: Callable[[], FetchStatus] = FetchStatus,
    ) -> None:
        """`known` tells which versions were taken up, and which of them could not be loaded; `take_up` is given the
        scan; `fetch_status` tells what is on its way to the base path. They are called on the loop; the looks
        themselves run on `disk`.
        """
        self.config = config
        self.base_path = base_path
        self.name = base_path
        """What people know the base path by: an address where it is a copy of something that is elsewhere."""
        self.scan = Scan()
        self.fetch_status = FetchStatus()
        """What was on its way when the look for `scan` began: what has arrived since is found by a later look."""
        self.looked = False
        """Whether `scan` is of this `config` and this `base_path`."""
        self.told: tuple[Mapping[int, str], object, bool] | None = None
        """What was last told of the scan and the fetch status: what versions wait for, the problem, whether all
        settled.
        """
        self.waits_since: dict[int, float] = {}
        """Since when versions wait to be taken up, in seconds since the epoch."""
        self.changed = asyncio.Event()
        """Set when anything about the model may be different; whoever waits for the model clears it."""
        self.closed = False
        self._storage, self._settle_seconds = Storage(settle_seconds), settle_seconds
        self._disk = disk
        self._known = known
        self._take_up = take_up
        self._fetch_status = fetch_status
        self._under_way: asyncio.Task[None] | None = None
        self._following: asyncio.Task[None] | None = None
        self._known_before: object = None
        """What was known when the look for `scan` began."""
        self._when_settled: asyncio.TimerHandle | None = None

    def turn_to(self, config: ModelConfig, base_path: str, *, name: str = "", prefer_tflite: bool = False) -> None:
        """From now on look for what `config` asks for, in `base_path`, known as `name`; see `Storage.prefer_tflite`."""
        self._storage.prefer_tflite, self.name = prefer_tflite, name or base_path
        self._storage.settle_seconds = (
            self._settle_seconds if self.name == base_path else 0.0
        )  # a copy is there at once
        if (config, base_path) != (self.config, self.base_path):
            self.config, self.base_path, self.looked = config, base_path, False

    @property
    def is_looking(self) -> bool:
        """Whether a look is under way."""
        return any(look is not None and not look.done() for look in (self._under_way, self._following))

    @property
    def names(self) -> frozenset[str] | None:
        """The names in `base_path`, if a look finds nothing new as long as they stay; None when only a look tells."""
        if not self.looked or self.scan.names is None:
            return None
        is_as_before = self._known() == self._known_before and self._fetch_status() == self.fetch_status
        return self.scan.names if is_as_before else None

    async def look(self) -> None:
        """Look now, after a look that is under way; goes on when the caller is cancelled."""
        await asyncio.shield(self.begin_look())

    def begin_look(self) -> asyncio.Task[None]:
        """The next look to begin; all who ask for one while another is under way share it."""
        if self._following is None:
            self._following = asyncio.get_running_loop().create_task(self._look_after(self._under_way))
        return self._following

    async def _look_after(self, other: asyncio.Task[None] | None) -> None:
        if other is not None:
            await asyncio.wait([other])
        self._under_way, self._following = self._following, None
        config, base_path, fetch_status = self.config, self.base_path, FetchStatus()
        known_before: object = None
        name = "" if self.name == base_path else self.name
        loop = asyncio.get_running_loop()
        try:
            known_before = known, failed = self._known()
            fetch_status = self._fetch_status()
            scan = await loop.run_in_executor(
                self._disk, self._storage.scan, config.name, base_path, config.policy, known, failed, name
            )
        except ServingError as error:
            scan = Scan(problem=error, readable=False)
        except Exception as error:
            _log.exception("a look at %s failed", base_path)
            message = f"Could not look at base path {self.name} for servable {config.name}: {error!r}"
            scan = Scan(problem=ServingError(Code.INTERNAL, message), readable=False)
        if self.closed or (config, base_path) != (self.config, self.base_path):
            return
        self.scan, self.looked, self.fetch_status, self._known_before = scan, True, fetch_status, known_before
        self._take_up(scan)
        self._look_when_settled(scan.settles_in)

    def _look_when_settled(self, seconds: float | None) -> None:
        if self._when_settled is not None:
            self._when_settled.cancel()
            self._when_settled = None
        if seconds is not None:
            self._when_settled = asyncio.get_running_loop().call_later(seconds, self.begin_look)

    def close(self) -> None:
        """Look no more."""
        self.closed = True
        self.changed.set()
        self._look_when_settled(None)
