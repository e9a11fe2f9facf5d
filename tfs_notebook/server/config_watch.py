"""What a running server follows: its config file, or config object, and what its models come from in OSS.

Everything is called on the serving loop.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from tfs_notebook.oss.address import is_oss

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from tfs_notebook.engine.config_file import ConfigFile
    from tfs_notebook.engine.core import ServerCore
    from tfs_notebook.options import Options
    from tfs_notebook.server.sources import Sources


class Following:
    """Applies a config file's changes, and lets `sources` be looked at, paused and resumed with it."""

    def __init__(
        self, core: ServerCore, sources: Sources, options: Options, apply: Callable[..., Coroutine[Any, Any, None]]
    ) -> None:
        """`apply` makes a ModelServerConfig the configuration in force, and takes a `timeout`."""
        self._core = core
        self._apply = apply
        self._sources = sources
        self._options = options
        self._file: ConfigFile | None = None
        self._watcher: asyncio.Task[None] | None = None

    @property
    def follows_oss(self) -> bool:
        """Whether a model, or the configuration, comes from OSS."""
        return bool(self._sources.status()) or self._config_is_in_oss

    @property
    def _config_is_in_oss(self) -> bool:
        return self._file is not None and is_oss(self._file.path)

    @property
    def followed_file(self) -> str:
        """The file, or the object in OSS, whose changes are applied; "" for none."""
        return self._file.path if self._file is not None and self._watcher is not None else ""

    def turn_to(self, file: ConfigFile | None, options: Options) -> None:
        """From now on apply `file`, and no other, whenever its content changes."""
        self.stop()
        self._file, self._options = file, options
        period = options.model_config_file_poll_wait_seconds
        if self._config_is_in_oss:
            period = 0 if self._sources.paused else period if period > 0 else options.oss_poll_wait_seconds
        if file is not None and (period > 0 or self._config_is_in_oss):
            core, apply = self._core, partial(self._apply, timeout=None)
            watching = file.watch(period, apply, core.events, lambda refusal: core.config_problem is refusal)
            self._watcher = asyncio.get_running_loop().create_task(watching)

    async def look_now(self) -> None:
        """Look at what is in OSS, the configuration first, and wait until what is new serves."""
        if self._file is not None and self._config_is_in_oss:
            await self._file.look_now()
        await self._sources.look_now()
        await self._core.settle()

    async def pause(self) -> None:
        """Bring nothing more from OSS; what is served stays."""
        self._sources.pause()
        self.turn_to(self._file, self._options)

    async def resume(self) -> None:
        """Go on, beginning with a look."""
        self._sources.resume()
        self.turn_to(self._file, self._options)

    def stop(self) -> None:
        """Apply nothing more."""
        if self._watcher is not None:
            self._watcher.cancel()
            self._watcher = None
