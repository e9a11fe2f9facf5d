"""The versions of one root that are on their way: seen in listings, judged, brought, and published.

Everything here happens in the thread of the root's synchronisation, but for the downloads and `transfers`.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tfs_notebook.errors import ServingError
from tfs_notebook.oss.client.store import Fault, StoreError
from tfs_notebook.oss.fetch.process import Download
from tfs_notebook.oss.sync.pending_version import Draft, Step
from tfs_notebook.oss.sync.plan import base_of, number_of, picks

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tfs_notebook.engine.config import VersionPolicy
    from tfs_notebook.engine.storage.remote import Transfer
    from tfs_notebook.oss.cache.cache import Cache
    from tfs_notebook.oss.client.store import ObjectStore
    from tfs_notebook.oss.listing import Version
    from tfs_notebook.oss.sync.completeness import Look
    from tfs_notebook.oss.sync.retention import MirrorOptions

_AT_ONCE = 4


class Intake:
    """Brings into `cache` what is wanted of `store`.

    `make_room` is called before anything is brought, with the bytes of all that is under way then, and with how many of
    them are here already; it says why they cannot be brought. `wake` is called from other threads when a download has
    ended.
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
        """The versions that the policies want, as far as is known, by their path from the root."""
        self.drafts: dict[str, Draft] = {}
        self.replacing: set[str] = set()
        """Published versions that are to be brought again, as somebody asked for it."""
        self.begun = 0
        """How many downloads have begun."""
        self.unverified: dict[str, str] = {}
        """What is to be said of versions whose content could not be compared by checksums."""
        self._cache = cache
        self._store = store
        self._options = options
        self._make_room = make_room
        self._wake = wake
        self._versions: dict[str, dict[int, Version]] = {}
        self._leaving: list[tuple[str, Download]] = []

    def saw(self, look: Look, before: Look | None, wants: Mapping[str, tuple[VersionPolicy, ...]]) -> None:
        """Take note of a listing."""
        self._versions = {base: look.tree.versions(base) for base in wants}
        listed = {version.path: version for versions in self._versions.values() for version in versions.values()}
        self.replacing &= listed.keys()
        for path, version in listed.items():
            if path in self._cache.published and path not in self.replacing:
                continue
            draft = self.drafts.get(path)
            if draft is None:
                draft = self.drafts[path] = Draft(
                    version,
                    self._cache.directory,
                    self._options.marker,
                    self._options.poll_seconds,
                    replaces=path in self.replacing,
                )
            draft.saw(version, look, before)
        for path in self.drafts.keys() - listed.keys():
            self._drop(path)

    def _drop(self, path: str) -> None:
        """The version has vanished: forget it, and what was brought of it."""
        download = self.drafts.pop(path).download
        if download is not None:
            download.cancel()
            self._leaving.append((path, download))
        else:
            self._cache.drop_staging(path)

    def replace(self, base: str, number: int) -> None:
        """Bring a published version again, from the next look on."""
        self.replacing |= {path for path in self._cache.published if (base_of(path), number_of(path)) == (base, number)}

    def choose(self, wants: Mapping[str, tuple[VersionPolicy, ...]]) -> set[str]:
        """Find out which versions are wanted, by what is known of them now; also kept as `wanted`.

        Returns these, and the published ones that serve until those are here.
        """
        self.wanted, kept = set(), set()
        for base, policies in wants.items():
            there = {number_of(path): path for path in sorted(self._cache.published) if base_of(path) == base}
            paths = there | {number: version.path for number, version in self._versions.get(base, {}).items()}
            counting = {number for number, path in paths.items() if self._counts(path)}
            for policy in policies:
                self.wanted |= {paths[number] for number in picks(policy, paths, counting.__contains__)}
                kept |= {there[number] for number in picks(policy, there, there.__contains__)}
        self._cache.keep_staging(
            [*self.wanted, *self.replacing, *(path for path, _ in self._leaving), *self._at_work()]
        )
        return self.wanted | kept

    def _at_work(self) -> list[str]:
        return [path for path, draft in self.drafts.items() if draft.download is not None]

    def _counts(self, path: str) -> bool:
        return path in self._cache.published or (path in self.drafts and self.drafts[path].is_candidate)

    def advance(self) -> list[str]:
        """Do what can be done now for every wanted version; returns the paths of those that were published.

        Raises StoreError FORBIDDEN: nothing can be brought then.
        """
        self._end_downloads()
        published = []
        for path in sorted(self._wanted_drafts(), key=lambda path: (-number_of(path), path)):
            draft = self.drafts[path]
            step = Step.WAIT if draft.download else draft.step(time.monotonic())
            if step is Step.READ:
                self._download(path, draft, draft.to_read())
            elif step is Step.BRING:
                self._download(path, draft, list(draft.version.files))
            elif step is Step.PUBLISH and self._publish(path, draft):
                published.append(path)
        return published

    def _wanted_drafts(self) -> set[str]:
        return (self.wanted | self.replacing) & self.drafts.keys()

    def _end_downloads(self) -> None:
        for leaving in [leaving for leaving in self._leaving if leaving[1].finished.is_set()]:
            self._leaving.remove(leaving)
            if leaving[0] not in self.drafts:
                self._cache.drop_staging(leaving[0])
        for path, draft in self.drafts.items():
            if draft.download is None:
                continue
            if path not in self._wanted_drafts():
                draft.download.cancel()
            if not draft.download.finished.is_set():
                continue
            draft.finish_download(self._cache.staging(path))
            error = draft.failure.error if draft.failure is not None else None
            if isinstance(error, StoreError) and error.fault is Fault.MISSING:
                self._cache.drop_staging(path)
            if isinstance(error, StoreError) and error.fault is Fault.FORBIDDEN:
                raise error

    def _download(self, path: str, draft: Draft, names: list[str]) -> None:
        if len(self._at_work()) >= _AT_ONCE or any(leaving == path for leaving, _ in self._leaving):
            return
        files = draft.files(names)
        under_way = {other: draft.size_under_way for other, draft in self.drafts.items()}
        under_way[path] = sum(stored.size for stored in files.values())
        here = sum(self._cache.size_staged(other) for other, size in under_way.items() if size)
        problem = self._make_room(sum(under_way.values()), here)
        if problem is not None:
            draft.fail(problem)
            return
        self.begun += 1
        draft.download = Download(path, self._store, files, self._cache.staging(path), self._wake)

    def _publish(self, path: str, draft: Draft) -> bool:
        try:
            self._cache.publish(path, draft.version.content, replace=draft.replaces)
        except (ServingError, OSError) as error:
            draft.fail(error)
            return False
        del self.drafts[path]
        self.replacing.discard(path)
        self.unverified.pop(path, None)
        if draft.by_size_only:
            files = f"{len(draft.by_size_only)} of {len(draft.version.files)} files"
            self.unverified[path] = f"{path} was verified by size only in {files}: the store tells no checksum of them"
        return True

    @property
    def needs_look(self) -> bool:
        """Whether a version waits for nothing but another listing."""
        now = time.monotonic()
        return any(
            self.drafts[path].download is None and self.drafts[path].step(now) is Step.CONFIRM
            for path in self._wanted_drafts()
        )

    @property
    def expects_more(self) -> bool:
        """Whether a version that is wanted may be here soon without anybody doing anything."""
        drafts = [self.drafts[path] for path in self.wanted & self.drafts.keys()]
        return any(draft.may_arrive or draft.has_changed for draft in drafts)

    def due(self) -> float | None:
        """When (monotonic) the next failed version is to be tried again."""
        drafts = [self.drafts[path] for path in self._wanted_drafts()]
        failures = (draft.failure for draft in drafts if draft.download is None)
        return min((failure.due for failure in failures if failure is not None), default=None)

    def retry_now(self) -> None:
        """Wait for no pause between attempts."""
        for draft in self.drafts.values():
            if draft.failure is not None:
                draft.failure.due = 0.0

    def transfers(self) -> tuple[Transfer, ...]:
        """What is being brought; any thread may ask."""
        downloads = [draft.download for draft in list(self.drafts.values())]
        return tuple(download.progress() for download in downloads if download is not None)

    def stop(self) -> None:
        """End all downloads soon; what has arrived is kept."""
        for draft in list(self.drafts.values()):
            if draft.download is not None:
                draft.download.cancel()

    def join(self, deadline: float) -> None:
        """Wait until (monotonic) `deadline` at most for downloads to end."""
        downloads = [draft.download for draft in list(self.drafts.values())] + [
            download for _, download in self._leaving
        ]
        for download in downloads:
            if download is not None:
                download.join(max(deadline - time.monotonic(), 0.0))
