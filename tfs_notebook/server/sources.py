"""Where a server's models are brought from: directories are there already, and what is in OSS gets a mirror here.

The mirror, and with it everything that reaches for OSS, begins with the first model that needs it.
"""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from tfs_notebook.engine.storage.remote import FetchStatus
from tfs_notebook.errors import ServingError
from tfs_notebook.oss.address import OssAddress, is_oss
from tfs_notebook.oss.client.endpoint import Endpoint
from tfs_notebook.settings.oss import open_store, store_options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tfs_notebook.engine.config import ModelConfig
    from tfs_notebook.engine.storage.remote import SourceStatus
    from tfs_notebook.options import Options
    from tfs_notebook.oss.sync.mirror import Mirror


class Sources:
    """The fetcher of one server: base paths in OSS are mirrored, all others are left alone."""

    def __init__(
        self,
        changed: Callable[[str], None],
        in_use: Callable[[str, int], bool],
        credentials: Any = None,
    ) -> None:
        """`changed` is told, on any thread, the directory that changed; `in_use` whether a version must stay."""
        self.credentials = credentials
        self._changed = changed
        self._in_use = in_use
        self._options: Options | None = None
        self._mirror: Mirror | None = None
        self._problem: ServingError | None = None
        """Why there is no mirror though one is needed."""
        self.paused = False

    def turn_to(self, options: Options) -> Callable[[], None]:
        """Go by `options` from now on; the result, which blocks, ends a mirror that went by others."""
        before, self._options = self._options, options
        if self._mirror is None or before is None or _settings(before) == _settings(options):
            return _nothing
        ended, self._mirror = self._mirror, None
        return ended.close

    # Fetcher

    def check(self, base_path: str) -> None:
        """Raise ServingError for an address in OSS that is none."""
        if is_oss(base_path):
            OssAddress.parse(base_path)

    def directory(self, base_path: str) -> str:
        """Where the copy of `base_path` is; a path that is not in OSS is its own directory."""
        return self._mirror.directory(base_path) if self._mirror is not None and is_oss(base_path) else base_path

    def want(self, models: Iterable[ModelConfig]) -> None:
        """Bring those of `models` that are in OSS."""
        in_oss = [model for model in models if is_oss(model.base_path)]
        if in_oss and self._mirror is None:
            self._begin()
        if self._mirror is not None:
            self._mirror.want(in_oss)

    def fetch_status(self, base_path: str) -> FetchStatus:
        """What is known of `base_path` now."""
        if not is_oss(base_path):
            return _THERE
        return self._mirror.fetch_status(base_path) if self._mirror is not None else FetchStatus(problem=self._problem)

    def status(self) -> tuple[SourceStatus, ...]:
        """Every source."""
        return self._mirror.status() if self._mirror is not None else ()

    def _begin(self) -> None:
        from tfs_notebook.oss.sync.mirror import Mirror, MirrorOptions

        options = self._options
        assert options is not None, "turn_to comes first"  # noqa: S101
        follows = options.oss_poll_wait_seconds > 0
        try:
            mirror = Mirror(
                MirrorOptions(
                    poll_seconds=options.oss_poll_wait_seconds if follows else _QUIET_SECONDS,
                    on_demand=not follows,
                    cache_dir=options.oss_cache_dir,
                    marker=options.oss_marker,
                    keep_versions=options.oss_keep_versions if options.oss_keep_versions >= 0 else None,
                    disk_budget=options.oss_disk_budget_mb << 20 if options.oss_disk_budget_mb > 0 else None,
                    endpoint=Endpoint.of(store_options(options)).url,
                ),
                partial(open_store, options=options, credentials=self.credentials),
                self._changed,
                self._in_use,
            )
            if options.mount and is_oss(options.model_root):
                mirror.mount(OssAddress.parse(options.model_root).directory)
        except ServingError as error:
            self._problem = error
            return
        self._mirror, self._problem = mirror, None
        if self.paused:
            mirror.pause()

    # What people ask for

    async def look_now(self) -> None:
        """Look at every source at once, and wait until that has been done, or has failed."""
        if self._mirror is None:
            return
        asked, before = time.time(), {source.address: source.problem for source in self.status()}
        self._mirror.sync_now()
        while not all(_has_looked(source, asked, before.get(source.address)) for source in self.status()):  # noqa: ASYNC110
            await asyncio.sleep(_LOOK_SECONDS)

    def pause(self) -> None:
        """Bring nothing more until `resume`; what is here stays."""
        self.paused = True
        if self._mirror is not None:
            self._mirror.pause()

    def resume(self) -> None:
        """Go on."""
        self.paused = False
        if self._mirror is not None:
            self._mirror.resume()

    def close(self) -> None:
        """End the mirror; blocks until its threads have let go."""
        if self._mirror is not None:
            self._mirror.close()


_THERE = FetchStatus()


_LOOK_SECONDS = 0.05
_QUIET_SECONDS = 5.0
"""How long files must have been left alone where nobody looks at them regularly."""


def _nothing() -> None:
    pass


def _has_looked(source: SourceStatus, since: float, problem: ServingError | None) -> bool:
    """Whether it has been looked at `since`, or could not be: for another reason than the earlier `problem`."""
    if source.state == "paused" or (source.last_listing or 0.0) >= since:
        return True
    return source.problem is not None and source.problem is not problem


def _settings(options: Options) -> tuple[object, ...]:
    """What a mirror is made of."""
    return (
        store_options(options), options.oss_poll_wait_seconds, options.oss_cache_dir, options.oss_marker,
        options.oss_keep_versions, options.oss_disk_budget_mb, options.model_root if options.mount else "",
    )  # fmt: skip
