"""Looking at a directory that another thread or process changes meanwhile: what vanishes is passed over.

`Path.rglob` raises when a directory goes that it was about to read, and `Path.stat` when a file goes that was listed.
"""

from __future__ import annotations

import os
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path


def names(directory: Path) -> list[str]:
    """The names in `directory`, sorted; none when it is not there."""
    try:
        return sorted(path.name for path in directory.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def files(directory: Path, pattern: str = "*") -> list[Path]:
    """All files below `directory` whose path from there matches `pattern`, of which `*` also matches a slash."""
    found = [Path(parent, name) for parent, _, children in os.walk(directory) for name in children]
    return sorted(path for path in found if fnmatchcase(path.relative_to(directory).as_posix(), pattern))


def status(path: Path) -> os.stat_result | None:
    """What `Path.stat` says, None when it is not there."""
    try:
        return path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None


def sizes(directory: Path, pattern: str = "*") -> dict[Path, int]:
    """The bytes of each such file that is still there when its turn comes."""
    return {path: found.st_size for path in files(directory, pattern) if (found := status(path))}


def content(path: Path) -> bytes:
    """The bytes of a file; empty when it is not there."""
    with suppress(FileNotFoundError, NotADirectoryError):
        return path.read_bytes()
    return b""
