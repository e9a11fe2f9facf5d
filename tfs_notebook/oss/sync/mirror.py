"""All that a server serves from OSS: the base paths, their roots, and one synchronisation for each root.

Base paths below a mounted root share that root's one listing; any other address in OSS is a root of its own.
"""

from __future__ import annotations

import time
from collections import defaultdict
from pathlib import PurePosixPath
from threading import Lock
from typing import TYPE_CHECKING

from tfs_notebook.engine.storage.remote import FetchStatus, SourceStatus
from tfs_notebook.errors import ServingError, invalid_argument
from tfs_notebook.oss.address import OssAddress, is_oss
from tfs_notebook.oss.cache.cache import cache_directory, root_directory
from tfs_notebook.oss.listing import refusal
from tfs_notebook.oss.sync.retention import MirrorOptions
from tfs_notebook.oss.sync.root_sync import RootSync

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from tfs_notebook.engine.config import ModelConfig, VersionPolicy
    from tfs_notebook.oss.client.store import ObjectStore
    from tfs_notebook.oss.peers.messages import Wants

__all__ = ["Mirror", "MirrorOptions"]

_CLOSE_SECONDS = 0.8


class Mirror:
    """A Fetcher of what is in OSS.

    `open_store` opens a bucket; a thread calls it, and it may raise ServingError. A thread calls `changed` with a base
    path's local directory when its files or its fetch status have changed. `in_use` says whether the engine uses a
    version of the base path with this local directory: other versions may be deleted.
    """

    def __init__(
        self,
        options: MirrorOptions,
        open_store: Callable[[str], ObjectStore],
        changed: Callable[[str], None],
        in_use: Callable[[str, int], bool] = lambda _directory, _version: False,
    ) -> None:
        self.in_use = in_use
        self._options = options
        self._cache = cache_directory(options.cache_dir)
        self._open_store = open_store
        self._changed = changed
        self._mounts: dict[str, OssAddress] = {}
        self._syncs: dict[OssAddress, RootSync] = {}
        self._lock = Lock()
        self._closed = False
        self._paused = False

    def mount(self, root: OssAddress, path: str = "") -> None:
        """Let all base paths below `root` share its listing. Base paths below `path`, if given, stand for those."""
        self._mounts[path] = root.directory

    def directory(self, base_path: str) -> str:
        """Where the versions of `base_path` appear; a path that is not in OSS is its own directory."""
        try:
            place = self._place(base_path)
        except ServingError:
            return base_path
        return base_path if place is None else str(self._directory_of(*place))

    def want(self, models: Iterable[ModelConfig]) -> None:
        """From now on fetch what these models' policies ask for; the synchronisation of other roots ends."""
        wants: defaultdict[OssAddress, defaultdict[str, list[VersionPolicy]]] = defaultdict(lambda: defaultdict(list))
        for model in models:
            try:
                place = self._place(model.base_path)
            except ServingError:
                continue
            if place is not None:
                wants[place[0]][place[1]].append(model.policy)
        with self._lock:
            if self._closed:
                return
            ended = [self._syncs.pop(root) for root in self._syncs.keys() - wants.keys()]
            for root, bases in wants.items():
                wanted = {base: tuple(policies) for base, policies in bases.items()}
                if root in self._syncs:
                    self._syncs[root].set_wants(wanted)
                else:
                    self._syncs[root] = self._sync(root, wanted)
        for sync in ended:
            sync.stop()

    def _sync(self, root: OssAddress, wants: Wants) -> RootSync:
        return RootSync(
            root,
            self._root_directory(root),
            wants,
            self._options,
            self._open_store,
            lambda base: self._changed(str(self._directory_of(root, base))),
            lambda base, number: self.in_use(str(self._directory_of(root, base)), number),
            paused=self._paused,
        )

    def fetch_status(self, base_path: str) -> FetchStatus:
        """What is known of `base_path` now."""
        try:
            place = self._place(base_path)
        except ServingError as error:
            return FetchStatus(problem=error)
        sync = self._syncs.get(place[0]) if place is not None else None
        return sync.fetch_status(place[1]) if sync is not None and place is not None else FetchStatus()

    def status(self) -> tuple[SourceStatus, ...]:
        """Every root, by its address."""
        with self._lock:
            syncs = sorted(self._syncs.items())
        return tuple(sync.status() for _, sync in syncs)

    def sync_now(self) -> None:
        """List every root at once, and retry what has failed or was refused."""
        for sync in self._all_syncs():
            sync.sync_now()

    def pause(self) -> None:
        """List and fetch nothing until `resume`."""
        self._paused = True
        for sync in self._all_syncs():
            sync.pause()

    def resume(self) -> None:
        """Go on."""
        self._paused = False
        for sync in self._all_syncs():
            sync.resume()

    def replace(self, base_path: str, version: int) -> None:
        """Fetch a published version again, whose content in the bucket has changed since.

        Raises ServingError when `base_path` is not in OSS, or not kept in step.
        """
        place = self._place(base_path)
        sync = self._syncs.get(place[0]) if place is not None else None
        if place is None or sync is None:
            raise invalid_argument(f"{base_path} is not kept in step with anything in OSS")
        sync.replace(place[1], version)

    def close(self) -> None:
        """End all threads and processes; what has been fetched stays."""
        with self._lock:
            self._closed = True
            syncs = list(self._syncs.values())
            self._syncs.clear()
        deadline = time.monotonic() + _CLOSE_SECONDS
        for sync in syncs:
            sync.stop()
        for sync in syncs:
            sync.join(deadline)

    def _all_syncs(self) -> list[RootSync]:
        with self._lock:
            return list(self._syncs.values())

    # Addresses

    def _place(self, base_path: str) -> tuple[OssAddress, str] | None:
        """The root of `base_path` and the rest of it, None when it is not in OSS. Raises ServingError."""
        address = self._address(base_path)
        if address is None:
            return None
        address = OssAddress(address.bucket, address.key.rstrip("/"))
        if address.key and (reason := refusal(address.key)):
            raise invalid_argument(f"{address} cannot be a base path: it {reason}")
        roots = [root for root in self._mounts.values() if address.below(root) is not None]
        root = max(roots, key=lambda root: len(root.key), default=address.directory)
        return root, address.below(root) or ""

    def _address(self, base_path: str) -> OssAddress | None:
        if is_oss(base_path):
            return OssAddress.parse(base_path)
        asked = PurePosixPath(base_path)
        for path, root in self._mounts.items():
            if path and asked.is_relative_to(path):
                rest = asked.relative_to(path).as_posix()
                return root if rest == "." else root.join(rest)
        return None

    def _root_directory(self, root: OssAddress) -> Path:
        return root_directory(self._cache, self._options.endpoint, root)

    def _directory_of(self, root: OssAddress, base: str) -> Path:
        directory = self._root_directory(root)
        return directory.joinpath(*base.split("/")) if base else directory
