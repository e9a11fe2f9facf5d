"""One version that is listed but not published yet: what is known of it, what it lacks, and its next step."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING

from tfs_notebook.engine.storage.completeness import Parts
from tfs_notebook.oss.cache.disk import explain_full_disk
from tfs_notebook.oss.client.store import Fault, StoreError
from tfs_notebook.oss.sync.backoff import Backoff
from tfs_notebook.oss.sync.completeness import Marker, ParsedFiles, RootListing, StabilityCheck, graph_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from tfs_notebook.oss.client.store import StoredObject
    from tfs_notebook.oss.fetch.process import Download
    from tfs_notebook.oss.listing import Content, Version


class Step(Enum):
    """The next step of a pending version."""

    WAIT = "more must be uploaded, or time must pass"
    READ = "its graph, or its marker, must be read"
    DOWNLOAD = "all of it must be downloaded"
    CONFIRM = "another listing must show that it still is what was downloaded"
    PUBLISH = "it may be published"


@dataclass(slots=True)
class Failure:
    """Why the last attempt failed, and when the next one is `due` (monotonic seconds)."""

    error: Exception
    due: float
    content: Content


@dataclass
class PendingVersion:
    """A version that is to be published in `directory`. `marker` is the name of the file it must have, "" for none."""

    version: Version
    directory: Path
    marker: str
    poll: float
    stability: StabilityCheck = field(default_factory=StabilityCheck)
    parsed: ParsedFiles = field(default_factory=ParsedFiles)
    failure: Failure | None = None
    download: Download | None = None
    listing: RootListing | None = None
    downloaded: Content = frozenset()
    downloaded_at: float = 0.0
    by_size_only: tuple[str, ...] = ()
    replaces: bool = False

    def __post_init__(self) -> None:
        self.backoff = Backoff(self.poll)

    def on_listing(self, version: Version, listing: RootListing, before: RootListing | None) -> None:
        """Update what is known of the version by a new `listing`; `before` is the one before it."""
        changed = version.content != self.version.content
        self.version, self.listing = version, listing
        self.stability.on_listing(version, listing, before, self.poll)
        self.parsed.forget_changed(version, self.marker)
        if changed:
            self.failure, self.backoff = None, Backoff(self.poll)
            if self.download is not None and not self._is_of(self.download.files):
                self.download.cancel()

    def _is_of(self, files: Mapping[str, StoredObject]) -> bool:
        """Whether `files` are still listed with the same ETags."""
        listed = self.version.files
        return all(path in listed and listed[path].etag == stored.etag for path, stored in files.items())

    @property
    def missing_part(self) -> str:
        """The first part that is not uploaded yet, "" when none is missing."""
        return self.parsed.missing_part(self.version, self.marker)

    @property
    def settled(self) -> bool:
        """Whether its files have been the same for one poll interval."""
        return self.listing is not None and self.stability.is_stable(self.listing, self.poll)

    @property
    def is_candidate(self) -> bool:
        """Whether a policy may count on it: it is complete and settled, or its graph has not been read yet."""
        if self.failure is not None:
            return False
        return bool(self.to_read()) or (not self.missing_part and self.settled)

    @property
    def may_arrive(self) -> bool:
        """Whether it may arrive soon without anybody's help."""
        return self.failure is None and (bool(self.to_read()) or not self.missing_part)

    @property
    def has_changed(self) -> bool:
        """Whether its objects were not those that were listed: only further listings can show what it is now."""
        unknown = self.stability.content != self.version.content
        return self.failure is not None and (unknown or not (self.missing_part or self.settled))

    @property
    def size_under_way(self) -> int:
        """Bytes of the download under way, or of what was downloaded."""
        if self.download is not None:
            return sum(stored.size for stored in self.download.files.values())
        return sum(size for _, size, _ in self.downloaded)

    def to_read(self) -> list[str]:
        """The files to read before it is known whether the version is complete."""
        return self.parsed.to_parse(self.version, self.marker)

    def step(self, now: float) -> Step:
        """The next step at `now` (monotonic seconds), when no download is under way."""
        if self.failure is not None and now < self.failure.due:
            return Step.WAIT
        if self.to_read():
            return Step.READ
        if self.missing_part or not self.settled or self.listing is None:
            return Step.WAIT
        if self.downloaded != self.version.content:
            return Step.DOWNLOAD
        return Step.PUBLISH if self.listing.requested_at >= self.downloaded_at else Step.CONFIRM

    def files(self, names: Iterable[str]) -> dict[str, StoredObject]:
        """The objects of the files `names`, each with the checksum that the marker gives."""
        marker = self.parsed.marker or Marker()
        return {name: replace(self.version.files[name], crc64=marker.crc64(name)) for name in names}

    def finish_download(self, staging: Path) -> None:
        """Evaluate the download that has ended; its files are in `staging`."""
        download, self.download = self.download, None
        if download is None or download.cancelled:
            return
        if download.error is not None:
            self.fail(download.error)
            return
        self.failure = None
        self._read(download, staging)
        if download.files.keys() == self.version.files.keys():
            self.downloaded = frozenset((path, stored.size, stored.etag) for path, stored in download.files.items())
            self.downloaded_at = time.monotonic()
            self.by_size_only = tuple(download.by_size_only)

    def _read(self, download: Download, staging: Path) -> None:
        graph = graph_file(self.version.files)
        try:
            if graph in download.files and self.parsed.parts is None:
                self.parsed.parts = Parts.of(staging / "content" / graph)
                self.parsed.etags[graph] = download.files[graph].etag
            if self.marker in download.files and self.parsed.marker is None:
                self.parsed.marker = Marker.parse((staging / "content" / self.marker).read_bytes())
                self.parsed.etags[self.marker] = download.files[self.marker].etag
        except OSError as error:
            self.fail(error)

    def fail(self, error: Exception) -> None:
        """Record a failure: retry after a pause, or as soon as the version's content changes."""
        pause = self.backoff.next()
        if isinstance(error, StoreError) and error.fault in (Fault.CHANGED, Fault.MISSING):
            self.stability, pause = StabilityCheck(), max(pause, self.poll)
        self.failure = Failure(explain_full_disk(error, self.directory), time.monotonic() + pause, self.version.content)
        self.downloaded = frozenset()

    def describe(self) -> str:
        """What the version waits for, as shown to users."""
        if self.failure is not None:
            return _describe_error(self.failure.error)
        if self.to_read():
            return f"{self.to_read()[0]} is being read"
        if self.missing_part:
            return self.missing_part
        if not self.settled:
            return f"its files have not been the same for {self.poll:g} s yet"
        return "it is being brought"


def _describe_error(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{error.filename or 'the copy'} cannot be written ({error.strerror or error})"
    message, hint = getattr(error, "message", str(error)), getattr(error, "hint", "")
    return f"{message} ({hint})" if hint else str(message)
