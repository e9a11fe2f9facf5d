"""The versions of one root that are not published yet: found complete, downloaded, and published.

Everything here runs on the synchronisation's thread, except the downloads themselves, `transfers` and `stop`.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tfs_notebook.errors import ServingError
from tfs_notebook.oss.client.store import Fault, StoreError
from tfs_notebook.oss.fetch.process import Download
from tfs_notebook.oss.sync.pending_version import PendingVersion, Step
from tfs_notebook.oss.sync.plan import base_of, number_of, selected_by
from tfs_notebook.threads import NoThreadError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tfs_notebook.engine.config import VersionPolicy
    from tfs_notebook.engine.storage.remote import Transfer
    from tfs_notebook.oss.cache.cache import Cache
    from tfs_notebook.oss.client.store import ObjectStore
    from tfs_notebook.oss.listing import Version
    from tfs_notebook.oss.sync.completeness import RootListing
    from tfs_notebook.oss.sync.retention import MirrorOptions

_MAX_DOWNLOADS = 4


class Downloads:
    """Fetches what is wanted from `store` into `cache`.

    `make_room` is called before each download, with the bytes of all downloads including it, and with how many of them
    are on the disk already; it returns why there is no room, or None. Other threads call `wake` when a download ends.
    """

    def __init__(
        self,
        cache: Cache,
        store: ObjectStore,
        options: MirrorOptions,
        make_room: Callable[[int, int], ServingError | None],
        wake: Callable[[], None],
    ) -> None:
        self.wanted: set[str] = set()
        """The paths, from the root, of the versions that the policies want by what is known now."""
        self.pending_versions: dict[str, PendingVersion] = {}
        self.replacing: set[str] = set()
        """Published versions that somebody has asked to fetch again."""
        self.begun = 0
        """How many downloads have begun."""
        self.unverified: dict[str, str] = {}
        """A warning for each version with files that could not be verified by a checksum."""
        self._cache = cache
        self._store = store
        self._options = options
        self._make_room = make_room
        self._wake = wake
        self._versions: dict[str, dict[int, Version]] = {}
        self._cancelled: list[tuple[str, Download]] = []

    def on_listing(
        self, listing: RootListing, before: RootListing | None, wants: Mapping[str, tuple[VersionPolicy, ...]]
    ) -> None:
        """Update the pending versions by a new listing, or by new `wants`."""
        self._versions = {base: listing.tree.versions(base) for base in wants}
        listed = {version.path: version for versions in self._versions.values() for version in versions.values()}
        self.replacing &= listed.keys()
        for path, version in listed.items():
            if path in self._cache.published and path not in self.replacing:
                continue
            pending = self.pending_versions.get(path)
            if pending is None:
                pending = self.pending_versions[path] = PendingVersion(
                    version,
                    self._cache.directory,
                    self._options.marker,
                    self._options.poll_seconds,
                    replaces=path in self.replacing,
                )
            pending.on_listing(version, listing, before)
        for path in self.pending_versions.keys() - listed.keys():
            self._drop(path)

    def _drop(self, path: str) -> None:
        """Forget a version that is not listed any more, and what was downloaded of it."""
        download = self.pending_versions.pop(path).download
        if download is not None:
            download.cancel()
            self._cancelled.append((path, download))
        else:
            self._cache.drop_staging(path)

    def replace(self, base: str, number: int) -> None:
        """Fetch a published version again, from the next listing on."""
        self.replacing |= {path for path in self._cache.published if (base_of(path), number_of(path)) == (base, number)}

    def select(self, wants: Mapping[str, tuple[VersionPolicy, ...]]) -> set[str]:
        """Select the versions that are wanted, by what is known now, and keep them as `wanted`.

        Returns these, and the published versions that serve until those have arrived.
        """
        self.wanted, kept = set(), set()
        for base, policies in wants.items():
            there = {number_of(path): path for path in sorted(self._cache.published) if base_of(path) == base}
            paths = there | {number: version.path for number, version in self._versions.get(base, {}).items()}
            counting = {number for number, path in paths.items() if self._is_usable(path)}
            for policy in policies:
                self.wanted |= {paths[number] for number in selected_by(policy, paths, counting.__contains__)}
                kept |= {there[number] for number in selected_by(policy, there, there.__contains__)}
        self._cache.keep_staging(
            [*self.wanted, *self.replacing, *(path for path, _ in self._cancelled), *self._downloading()]
        )
        return self.wanted | kept

    def _downloading(self) -> list[str]:
        return [path for path, pending in self.pending_versions.items() if pending.download is not None]

    def _is_usable(self, path: str) -> bool:
        return path in self._cache.published or (
            path in self.pending_versions and self.pending_versions[path].is_candidate
        )

    def advance(self) -> list[str]:
        """Take the next step of every wanted version; returns the paths of those that were published.

        Raises StoreError FORBIDDEN: nothing can be fetched then.
        """
        self._end_downloads()
        published = []
        for path in sorted(self._wanted_pending(), key=lambda path: (-number_of(path), path)):
            pending = self.pending_versions[path]
            step = Step.WAIT if pending.download else pending.step(time.monotonic())
            if step is Step.READ:
                self._download(path, pending, pending.to_read())
            elif step is Step.DOWNLOAD:
                self._download(path, pending, list(pending.version.files))
            elif step is Step.PUBLISH and self._publish(path, pending):
                published.append(path)
        return published

    def _wanted_pending(self) -> set[str]:
        return (self.wanted | self.replacing) & self.pending_versions.keys()

    def _end_downloads(self) -> None:
        for cancelled in [cancelled for cancelled in self._cancelled if cancelled[1].finished.is_set()]:
            self._cancelled.remove(cancelled)
            if cancelled[0] not in self.pending_versions:
                self._cache.drop_staging(cancelled[0])
        for path, pending in self.pending_versions.items():
            if pending.download is None:
                continue
            if path not in self._wanted_pending():
                pending.download.cancel()
            if not pending.download.finished.is_set():
                continue
            pending.finish_download(self._cache.staging(path))
            error = pending.failure.error if pending.failure is not None else None
            if isinstance(error, StoreError) and error.fault is Fault.MISSING:
                self._cache.drop_staging(path)
            if isinstance(error, StoreError) and error.fault is Fault.FORBIDDEN:
                raise error

    def _download(self, path: str, pending: PendingVersion, names: list[str]) -> None:
        if len(self._downloading()) >= _MAX_DOWNLOADS or any(cancelled == path for cancelled, _ in self._cancelled):
            return
        files = pending.files(names)
        under_way = {other: pending.size_under_way for other, pending in self.pending_versions.items()}
        under_way[path] = sum(stored.size for stored in files.values())
        here = sum(self._cache.size_staged(other) for other, size in under_way.items() if size)
        problem = self._make_room(sum(under_way.values()), here)
        if problem is not None:
            pending.fail(problem)
            return
        try:
            pending.download = Download(path, self._store, files, self._cache.staging(path), self._wake)
        except NoThreadError as error:
            pending.fail(error)
        else:
            self.begun += 1

    def _publish(self, path: str, pending: PendingVersion) -> bool:
        try:
            self._cache.publish(path, pending.version.content, replace=pending.replaces)
        except (ServingError, OSError) as error:
            pending.fail(error)
            return False
        del self.pending_versions[path]
        self.replacing.discard(path)
        self.unverified.pop(path, None)
        if pending.by_size_only:
            files = f"{len(pending.by_size_only)} of {len(pending.version.files)} files"
            self.unverified[path] = f"{path} was verified by size only in {files}: the store tells no checksum of them"
        return True

    @property
    def needs_listing(self) -> bool:
        """Whether another listing is all that a version waits for."""
        now = time.monotonic()
        return any(
            self.pending_versions[path].download is None and self.pending_versions[path].step(now) is Step.CONFIRM
            for path in self._wanted_pending()
        )

    @property
    def expects_more(self) -> bool:
        """Whether a wanted version may arrive soon without anybody's help."""
        wanted = [self.pending_versions[path] for path in self.wanted & self.pending_versions.keys()]
        return any(pending.may_arrive or pending.has_changed for pending in wanted)

    def due(self) -> float | None:
        """When the next failed version is retried (monotonic seconds), None for never."""
        wanted = [self.pending_versions[path] for path in self._wanted_pending()]
        failures = (pending.failure for pending in wanted if pending.download is None)
        return min((failure.due for failure in failures if failure is not None), default=None)

    def retry_now(self) -> None:
        """End the pauses of all failed versions."""
        for pending in self.pending_versions.values():
            if pending.failure is not None:
                pending.failure.due = 0.0

    def transfers(self) -> tuple[Transfer, ...]:
        """The downloads under way; any thread may call."""
        downloads = [pending.download for pending in list(self.pending_versions.values())]
        return tuple(download.progress() for download in downloads if download is not None)

    def stop(self) -> None:
        """Cancel all downloads, without waiting; what has arrived is kept."""
        for pending in list(self.pending_versions.values()):
            if pending.download is not None:
                pending.download.cancel()

    def join(self, deadline: float) -> None:
        """Wait until all downloads have ended, at most until `deadline` (monotonic seconds)."""
        downloads = [pending.download for pending in list(self.pending_versions.values())] + [
            download for _, download in self._cancelled
        ]
        for download in downloads:
            if download is not None:
                download.join(max(deadline - time.monotonic(), 0.0))
