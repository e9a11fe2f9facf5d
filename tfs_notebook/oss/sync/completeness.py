"""Whether a version in a bucket is complete. All of these must hold:

* Its files: the graph, and all that the graph names, are listed (`not_uploaded`).
* Its stability: the set of (path, size, ETag) was the same in two listings at least one poll apart (`StabilityCheck`).
* Its marker, when there is to be one: written last, and true to what is listed (`Marker`).

A fourth rule, that the listing is still the same after the download, is part of `PendingVersion.step`.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tfs_notebook.engine.storage.completeness import GRAPH_FILES, TFLITE_FILE
from tfs_notebook.errors import invalid_argument
from tfs_notebook.oss.listing import refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tfs_notebook.engine.storage.completeness import Parts
    from tfs_notebook.oss.client.store import StoredObject
    from tfs_notebook.oss.listing import Content, Tree, Version

_CLOCK_RESOLUTION_SECONDS = 1.0
"""Stores give times in whole seconds."""


def graph_file(files: Mapping[str, StoredObject]) -> str:
    """The name of the listed graph file, whose content says what else is needed; "" when there is none."""
    return next((name for name in GRAPH_FILES if name in files), "")


def not_uploaded(version: Version, parts: Parts | None) -> str:
    """The first part of `version` that is not listed yet, "" when it is complete; `parts` is what its graph names."""
    files = version.files
    graph = graph_file(files)
    if not graph:
        if TFLITE_FILE in files:
            return "" if files[TFLITE_FILE].size else f"{TFLITE_FILE} is empty"
        return f"{GRAPH_FILES[0]} not uploaded yet"
    if not files[graph].size:
        return f"{graph} is empty"
    if parts is None:
        return f"{graph} has not been read yet"
    in_variables = [path.removeprefix("variables/") for path in files if path.startswith("variables/")]
    missing = next(parts.missing(files.__contains__, lambda: in_variables), "")
    return f"{missing.removeprefix('variables/')} not uploaded yet" if missing else ""


@dataclass(frozen=True, slots=True)
class RootListing:
    """Everything below a root, as listed at `time` by the store's clock.

    `requested_at` and `received_at` are times of this machine's monotonic clock.
    """

    tree: Tree
    time: float
    requested_at: float
    received_at: float


@dataclass(slots=True)
class StabilityCheck:
    """How long one version has been listed with the same content."""

    content: Content = frozenset()
    since: float = math.inf
    """When the first look with this content arrived."""
    is_old_enough: bool = False

    def on_listing(self, version: Version, listing: RootListing, before: RootListing | None, poll: float) -> None:
        """Record `version` as `listing` shows it; `before` is the listing before, if there was one.

        Files that are all older than one poll count as stable at once, as two listings one poll apart would agree on
        them: models that were there before this process started are served by the first listing. The objects' times
        are believed only as long as they agree with the listing before. An object that is new since then, but says
        that it is older, was moved or replicated here with its time, and its neighbours may still be on their way.
        When an object was removed since then, nothing says when.
        """
        if version.content == self.content:
            return
        newest = max(stored.modified for stored in version.files.values())
        self.is_old_enough = listing.time - newest >= poll + _CLOCK_RESOLUTION_SECONDS and (
            before is None or _times_agree(version, before)
        )
        self.content, self.since = version.content, listing.received_at

    def is_stable(self, listing: RootListing, poll: float) -> bool:
        """Whether `listing`, which shows the same content, proves that the upload has ended."""
        return self.is_old_enough or listing.requested_at - self.since >= poll


def _times_agree(version: Version, before: RootListing) -> bool:
    """Whether the times of the objects explain why `before` showed others, if it did."""
    start, tree = len(version.path) + 1, before.tree
    if any(path[start:] not in version.files for path in tree.below(version.path)):
        return False
    for path, stored in version.files.items():
        other = tree.files.get(f"{version.path}/{path}")
        is_new = other is None or (other.size, other.etag) != (stored.size, stored.etag)
        if is_new and stored.modified < before.time - _CLOCK_RESOLUTION_SECONDS:
            return False
    return True


def check_marker(name: str) -> None:
    """Raise ServingError when a marker cannot have this `name`; "" stands for no marker."""
    if name and ("/" in name or not name.strip() or name in (*GRAPH_FILES, TFLITE_FILE) or refusal(name)):
        raise invalid_argument(
            f"--oss_marker={name} is no name of a marker: it is the name of one object beside a version's "
            f"{GRAPH_FILES[0]}, like _SUCCESS"
        )


@dataclass(frozen=True, slots=True)
class Marker:
    """What a marker object says of the files beside it: by path, the size and, where given, the CRC-64 of each.

    An empty marker (`_SUCCESS`) says that all is there, and must not be older than anything it speaks of. Any other is
    JSON, `{"files": [{"path": "saved_model.pb", "size": 123, "crc64": "11051210869376104954"}, …]}`, and names every
    file of the version except itself; `crc64` may be left out.
    """

    files: Mapping[str, tuple[int, int | None]] | None = None
    unreadable: str = ""

    @classmethod
    def parse(cls, content: bytes) -> Marker:
        """The marker with this content; one that cannot be understood says so in `unreadable`."""
        if not content.strip():
            return cls()
        try:
            return cls(
                {
                    str(entry["path"]): (int(entry["size"]), int(entry["crc64"]) if "crc64" in entry else None)
                    for entry in json.loads(content)["files"]
                }
            )
        except (ValueError, LookupError, TypeError) as error:
            return cls(unreadable=f"no manifest ({error!r})")

    def mismatch(self, name: str, version: Version) -> str:
        """How `version` differs from what this marker, its file `name`, says; "" when it does not."""
        if self.unreadable:
            return f"{name} is {self.unreadable}"
        others = {path: stored for path, stored in version.files.items() if path != name}
        if self.files is None:
            marked = version.files[name].modified
            newer = next((path for path, stored in others.items() if stored.modified > marked), "")
            return f"{name} is older than {newer}" if newer else ""
        for path, (size, _) in self.files.items():
            if path not in others:
                return f"{path} not uploaded yet"
            if others[path].size != size:
                return f"{path} has {others[path].size} bytes, and {name} says {size}"
        extra = next((path for path in others if path not in self.files), "")
        return f"{extra} is not in {name}" if extra else ""

    def crc64(self, path: str) -> int | None:
        """The checksum that the file `path` must have, None when the marker gives none."""
        return self.files[path][1] if self.files is not None and path in self.files else None


@dataclass(slots=True)
class ParsedFiles:
    """What has been read of one version so far: its graph and its marker, each with its ETag."""

    parts: Parts | None = None
    marker: Marker | None = None
    etags: dict[str, str] = field(default_factory=dict)

    def forget_changed(self, version: Version, marker: str) -> None:
        """Drop what was read of objects whose listed ETag has changed."""
        graph = graph_file(version.files)
        if self.etags.get(graph) != _etag(version, graph):
            self.parts = None
        if self.etags.get(marker) != _etag(version, marker):
            self.marker = None

    def to_parse(self, version: Version, marker: str) -> list[str]:
        """The files to read before it is known whether the version is complete."""
        graph = graph_file(version.files)
        wanted = [graph] if graph and self.parts is None and version.files[graph].size else []
        return [*wanted, marker] if marker in version.files and self.marker is None else wanted

    def missing_part(self, version: Version, marker: str) -> str:
        """The first part that `version` lacks, "" when its files are complete."""
        missing = not_uploaded(version, self.parts)
        if missing or not marker:
            return missing
        if marker not in version.files:
            return f"{marker} not uploaded yet"
        return self.marker.mismatch(marker, version) if self.marker else f"{marker} has not been read yet"


def _etag(version: Version, name: str) -> str | None:
    return version.files[name].etag if name in version.files else None
