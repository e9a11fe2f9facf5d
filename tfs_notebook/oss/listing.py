"""From the keys of a listing to paths below a directory: which are taken, and which are refused and why.

A key may be anything that UTF-8 can spell, a path may not: whatever could leave its directory, or not stand beside
the others on somebody's disk, is refused. Keys that end in `/` are how consoles draw directories: they are no files.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_left
from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import islice, takewhile
from typing import TYPE_CHECKING

from tfs_notebook.engine.storage.scan import parse_version

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from tfs_notebook.oss.client.store import StoredObject

MAX_NAME_BYTES = 255
"""Bytes that one name may have on the file systems in use."""


@dataclass(frozen=True, slots=True)
class Tree:
    """What stands below a prefix: objects by their path relative to it, and why other keys were not taken."""

    files: Mapping[str, StoredObject]
    refused: Mapping[str, str]
    paths: Sequence[str]
    """Those of `files`, sorted."""

    @classmethod
    def of(cls, objects: Iterable[StoredObject], prefix: str) -> Tree:
        """The tree of `objects`, whose keys begin with `prefix`: "" or a directory with its `/` at the end."""
        found = {stored.key[len(prefix) :]: stored for stored in objects if not stored.key.endswith("/")}
        refused = {path: reason for path in found if (reason := refusal(path))}
        paths = sorted(found.keys() - refused.keys())
        refused |= _files_that_are_directories(paths)
        refused |= _collisions(path for path in paths if path not in refused)
        taken = [path for path in paths if path not in refused]
        return cls({path: found[path] for path in taken}, refused, taken)

    def has(self, base: str) -> bool:
        """Whether anything stands below the directory `base`, "" being the whole tree."""
        return next(self.below(base), None) is not None

    def versions(self, base: str) -> dict[int, Version]:
        """The versions in the directory `base` by number; of several spellings of one number the last in byte order."""
        return {version.number: version for version in self._spellings(base)}

    def outdone(self, base: str) -> Iterator[str]:
        """A line for each version in `base` that does not count, as another name spells the same number."""
        versions = self.versions(base)
        for version in self._spellings(base):
            number, taken = version.number, versions[version.number].path
            if version.path != taken:
                yield f"{version.path} and {taken} are one version, {number}: {taken}, the last by name, is taken"

    def _spellings(self, base: str) -> Iterator[Version]:
        """The version directories in `base` by name, in byte order."""
        start = f"{base}/" if base else ""
        files: defaultdict[str, dict[str, StoredObject]] = defaultdict(dict)
        for path in self.below(base):
            name, slash, rest = path[len(start) :].partition("/")
            if slash and parse_version(name) is not None:
                files[name][rest] = self.files[path]
        for name in sorted(files):
            if (number := parse_version(name)) is not None:
                yield Version(start + name, number, files[name])

    def below(self, base: str) -> Iterator[str]:
        """The paths in the directory `base`, sorted."""
        start = f"{base}/" if base else ""
        return takewhile(lambda path: path.startswith(start), islice(self.paths, bisect_left(self.paths, start), None))


@dataclass(frozen=True, slots=True)
class Version:
    """A version directory as a listing shows it: `path` from the root's prefix, and its objects by path in it."""

    path: str
    number: int
    files: Mapping[str, StoredObject]

    @property
    def content(self) -> Content:
        """What must stay the same for the version to be the same."""
        return frozenset((path, stored.size, stored.etag) for path, stored in self.files.items())

    @property
    def size(self) -> int:
        """Bytes in all."""
        return sum(stored.size for stored in self.files.values())


Content = frozenset[tuple[str, int, str]]
"""Path, size and ETag of every file."""


def refusal(path: str) -> str:
    """Why `path` cannot be a path below a directory, "" when it can."""
    if "\\" in path:
        return "has a backslash in it"
    if _has_control_character(path):
        return "has a control character in it"
    for part in path.split("/"):
        if not part:
            return "has an empty part"
        if part in (".", ".."):
            return f"has the part {part!r}"
        if len(part.encode()) > MAX_NAME_BYTES:
            return f"has a part of more than {MAX_NAME_BYTES} bytes"
    return ""


def _has_control_character(path: str) -> bool:
    if path.isascii():  # most keys, and each is looked at in every listing
        return not path.isprintable()
    return any(unicodedata.category(character) in ("Cc", "Cs") for character in path)


def _files_that_are_directories(paths: Iterable[str]) -> dict[str, str]:
    directories = {directory for path in paths for directory in _above(path)}
    return {path: "is a directory of other keys as well" for path in paths if path in directories}


def _collisions(paths: Iterable[str]) -> dict[str, str]:
    """Every path in which a name differs from one earlier in byte order in nothing but case or composition."""
    spellings: dict[str, str] = {}
    refused = {}
    for path in paths:
        for name in (*_above(path), path):
            known = spellings.setdefault(unicodedata.normalize("NFC", name).casefold(), name)
            if known != name:
                refused[path] = f"is the same as {known!r} on a disk that does not tell upper from lower case"
                break
    return refused


def _above(path: str) -> list[str]:
    """The directories that `path` is in, from the top."""
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def told(refused: Mapping[str, str]) -> list[str]:
    """A line for each reason, with how many keys it keeps out and the first of them."""
    first: dict[str, str] = {}
    for path, reason in refused.items():
        first.setdefault(reason, path)
    counts = Counter(refused.values())
    return [
        f"the key {path!r} {reason}: not taken"
        if counts[reason] == 1
        else f"{counts[reason]} keys are not taken, such as {path!r}, which {reason}"
        for reason, path in first.items()
    ]
