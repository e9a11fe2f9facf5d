"""One version on its way from the bucket: what is known of it, what it waits for, and what is to be done next."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING

from tfs_notebook.engine.storage.completeness import Parts
from tfs_notebook.oss.cache.disk import explained
from tfs_notebook.oss.client.store import Fault, StoreError
from tfs_notebook.oss.sync.backoff import Backoff
from tfs_notebook.oss.sync.completeness import Evidence, Look, Marker, Quiet, graph_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from tfs_notebook.oss.client.store import StoredObject
    from tfs_notebook.oss.fetch.process import Download
    from tfs_notebook.oss.listing import Content, Version


class Step(Enum):
    """What a draft needs next."""

    WAIT = "more must be uploaded, or time must pass"
    READ = "its graph, or its marker, must be read"
    BRING = "all of it must be brought"
    CONFIRM = "another look must show that it still is what was brought"
    PUBLISH = "it may be published"


@dataclass(slots=True)
class Failure:
    """Why the last attempt failed, and when (monotonic) the next one is due."""

    error: Exception
    due: float
    content: Content


@dataclass
class Draft:
    """A version that is to come to `directory`. `marker` is the name of the file that has to be there, "" for none."""

    version: Version
    directory: Path
    marker: str
    poll: float
    quiet: Quiet = field(default_factory=Quiet)
    evidence: Evidence = field(default_factory=Evidence)
    failure: Failure | None = None
    download: Download | None = None
    look: Look | None = None
    brought: Content = frozenset()
    brought_at: float = 0.0
    by_size_only: tuple[str, ...] = ()
    replaces: bool = False

    def __post_init__(self) -> None:
        self.backoff = Backoff(self.poll)

    def saw(self, version: Version, look: Look, before: Look | None) -> None:
        """Take note of how `look` shows it."""
        changed = version.content != self.version.content
        self.version, self.look = version, look
        self.quiet.saw(version, look, before, self.poll)
        self.evidence.forget_changed(version, self.marker)
        if changed:
            self.failure, self.backoff = None, Backoff(self.poll)
            if self.download is not None and not self._is_of(self.download.files):
                self.download.cancel()

    def _is_of(self, files: Mapping[str, StoredObject]) -> bool:
        """Whether `files` still are listed like that."""
        listed = self.version.files
        return all(path in listed and listed[path].etag == stored.etag for path, stored in files.items())

    @property
    def waits_for(self) -> str:
        """What of it is not there yet, "" when all is."""
        return self.evidence.waits_for(self.version, self.marker)

    @property
    def settled(self) -> bool:
        """Whether it has been the same for a poll."""
        return self.look is not None and self.quiet.lasts(self.look, self.poll)

    @property
    def is_candidate(self) -> bool:
        """Whether it may be counted upon: everything is there and at rest, or it is not known yet."""
        if self.failure is not None:
            return False
        return bool(self.to_read()) or (not self.waits_for and self.settled)

    @property
    def may_arrive(self) -> bool:
        """Whether it may be here soon without anybody doing anything."""
        return self.failure is None and (bool(self.to_read()) or not self.waits_for)

    @property
    def has_changed(self) -> bool:
        """Whether it was found to be another than was listed, so that only other looks can tell what it is now."""
        unknown = self.quiet.content != self.version.content
        return self.failure is not None and (unknown or not (self.waits_for or self.settled))

    @property
    def size_under_way(self) -> int:
        """Bytes that it takes: those that are here, or that the download under way brings."""
        if self.download is not None:
            return sum(stored.size for stored in self.download.files.values())
        return sum(size for _, size, _ in self.brought)

    def to_read(self) -> list[str]:
        """The files that must be read before it can be judged."""
        return self.evidence.wanted(self.version, self.marker)

    def step(self, now: float) -> Step:
        """What is to be done next, at `now` (monotonic), when no download is under way."""
        if self.failure is not None and now < self.failure.due:
            return Step.WAIT
        if self.to_read():
            return Step.READ
        if self.waits_for or not self.settled or self.look is None:
            return Step.WAIT
        if self.brought != self.version.content:
            return Step.BRING
        return Step.PUBLISH if self.look.asked >= self.brought_at else Step.CONFIRM

    def files(self, names: Iterable[str]) -> dict[str, StoredObject]:
        """The objects `names` of it, each with the checksum that its marker tells."""
        marker = self.evidence.marker or Marker()
        return {name: replace(self.version.files[name], crc64=marker.crc64(name)) for name in names}

    def finish_download(self, staging: Path) -> None:
        """Take note of how the download that has ended went; its files are in `staging`."""
        download, self.download = self.download, None
        if download is None or download.cancelled:
            return
        if download.error is not None:
            self.fail(download.error)
            return
        self.failure = None
        self._read(download, staging)
        if download.files.keys() == self.version.files.keys():
            self.brought = frozenset((path, stored.size, stored.etag) for path, stored in download.files.items())
            self.brought_at = time.monotonic()
            self.by_size_only = tuple(download.by_size_only)

    def _read(self, download: Download, staging: Path) -> None:
        graph = graph_file(self.version.files)
        try:
            if graph in download.files and self.evidence.parts is None:
                self.evidence.parts = Parts.of(staging / "content" / graph)
                self.evidence.etags[graph] = download.files[graph].etag
            if self.marker in download.files and self.evidence.marker is None:
                self.evidence.marker = Marker.parse((staging / "content" / self.marker).read_bytes())
                self.evidence.etags[self.marker] = download.files[self.marker].etag
        except OSError as error:
            self.fail(error)

    def fail(self, error: Exception) -> None:
        """It did not work; try again later, and as soon as it is another content."""
        pause = self.backoff.next()
        if isinstance(error, StoreError) and error.fault in (Fault.CHANGED, Fault.MISSING):
            self.quiet, pause = Quiet(), max(pause, self.poll)
        self.failure = Failure(explained(error, self.directory), time.monotonic() + pause, self.version.content)
        self.brought = frozenset()

    def told(self) -> str:
        """What it waits for, in words."""
        if self.failure is not None:
            return _told(self.failure.error)
        if self.to_read():
            return f"{self.to_read()[0]} is being read"
        if self.waits_for:
            return self.waits_for
        if not self.settled:
            return f"its files have not been the same for {self.poll:g} s yet"
        return "it is being brought"


def _told(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{error.filename or 'the copy'} cannot be written ({error.strerror or error})"
    message, hint = getattr(error, "message", str(error)), getattr(error, "hint", "")
    return f"{message} ({hint})" if hint else str(message)
