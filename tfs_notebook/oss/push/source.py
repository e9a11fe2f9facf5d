"""A model version on this machine, as it will be pushed: which files, in which order, and what is in them."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tfs_notebook.engine.storage.completeness import TFLITE_FILE, has_model, missing_part
from tfs_notebook.engine.storage.hints import for_file, for_missing, for_no_version
from tfs_notebook.engine.storage.scan import list_versions
from tfs_notebook.errors import Code, ServingError, not_found
from tfs_notebook.oss.client.checksum import Crc64

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

GRAPHS = (TFLITE_FILE, "saved_model.pbtxt", "saved_model.pb")
"""What makes a directory a version, in the order in which they are pushed, after everything else."""


@dataclass(frozen=True, slots=True)
class OutgoingFile:
    """A file and its `name` in the version, with `/` between the parts; `size` in bytes."""

    path: Path
    name: str
    size: int
    crc64: int


@dataclass(frozen=True, slots=True)
class OutgoingVersion:
    """A complete version; `files` are in the order in which they are pushed, the graph last."""

    directory: Path
    files: tuple[OutgoingFile, ...]

    @classmethod
    def of(cls, source: Path, marker: str = "") -> OutgoingVersion:
        """The version that `source` is, or the newest of the model directory `source`; every byte of it is read.

        A file named `marker` is left out: it spoke of another place. Raises ServingError when there is no version, or
        when it is not complete.
        """
        try:
            return cls._of(source, marker)
        except OSError as error:
            raise ServingError(
                Code.FAILED_PRECONDITION, f"{error.filename or source} cannot be read ({error.strerror})"
            ) from error

    @classmethod
    def _of(cls, source: Path, marker: str) -> OutgoingVersion:
        directory = _version_in(source)
        only_tflite = not has_model(directory)
        if missing := missing_part(directory, prefer_tflite=only_tflite):
            raise ServingError(
                Code.FAILED_PRECONDITION, f"{directory} is not complete: {missing}", hint=_hint(source, directory)
            )
        paths = {_name(path, directory): path for path in _files(directory)}
        names = sorted(paths.keys() - {marker}, key=lambda name: (name in GRAPHS and GRAPHS.index(name) + 1, name))
        return cls(directory, tuple(_read(paths[name], name) for name in names))

    @property
    def size(self) -> int:
        """Bytes in all."""
        return sum(file.size for file in self.files)

    def manifest(self) -> bytes:
        """The files with size and checksum as JSON; the same for the same files."""
        entries = sorted((file.name, file.size, str(file.crc64)) for file in self.files)
        files = [{"path": name, "size": size, "crc64": crc64} for name, size, crc64 in entries]
        return json.dumps({"files": files}, indent=1).encode()


def _version_in(source: Path) -> Path:
    if not source.exists():
        raise not_found(f"{source} does not exist", hint=for_missing(source))
    if not source.is_dir():
        raise not_found(f"{source} is no directory of a model", hint=for_file(source))
    if has_model(source, prefer_tflite=True):
        return source
    versions = list_versions(source)
    if not versions:
        raise not_found(f"{source} is neither a SavedModel nor a directory of versions", hint=for_no_version(source))
    return versions[max(versions)]


def _hint(source: Path, directory: Path) -> str:
    if directory == source:
        return "is it still being written?"
    return "it is the newest version: wait until it is there, or name the directory of another one"


def _files(directory: Path, above: frozenset[tuple[int, int]] = frozenset()) -> Iterator[Path]:
    """Every file below `directory`; a link back to a directory `above` is not followed."""
    stat = directory.stat()
    identity = stat.st_dev, stat.st_ino
    if identity in above:
        return
    for child in directory.iterdir():
        if child.is_dir():
            yield from _files(child, above | {identity})
        else:
            yield child


def _name(path: Path, directory: Path) -> str:
    name = path.relative_to(directory).as_posix()
    if not name.isprintable() or "\\" in name:
        raise ServingError(
            Code.INVALID_ARGUMENT,
            f"{name!r} in {directory} cannot be the name of an object that is taken again",
            hint="rename it: letters, digits, spaces and -_.+@ are fine everywhere",
        )
    return name


def _read(path: Path, name: str) -> OutgoingFile:
    crc = Crc64()
    with path.open("rb") as file:
        while data := file.read(1 << 20):
            crc.update(data)
        return OutgoingFile(path, name, os.fstat(file.fileno()).st_size, crc.value)
