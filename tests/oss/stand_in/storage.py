"""What the OSS server of the tests keeps: buckets of objects, whose content is in memory or in files."""

from __future__ import annotations

import hashlib
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from fastcrc import crc64

from tests import trees
from tests.oss.stand_in.errors import RefusalError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PIECE = 1 << 20
ARCHIVED = frozenset({"Archive", "ColdArchive", "DeepColdArchive"})


@dataclass(frozen=True)
class Content:
    """Bytes, in memory or in a file that nobody changes; `md5` and `crc64` (CRC-64/XZ) are those of all of them."""

    source: bytes | Path
    size: int
    md5: bytes
    crc64: int

    @classmethod
    def of(cls, source: bytes | Path) -> Content:
        """The content with its checksums, which reads it once."""
        md5, crc, size = hashlib.md5(), 0, 0
        for piece in _pieces(source, 0, None):
            md5.update(piece)
            crc = crc64.xz(piece, crc)
            size += len(piece)
        return cls(source, size, md5.digest(), crc)

    def pieces(self, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """The bytes from `start` to before `end`, at most 1 MiB at once."""
        return _pieces(self.source, start, self.size if end is None else end)


def _pieces(source: bytes | Path, start: int, end: int | None) -> Iterator[bytes]:
    if isinstance(source, bytes):
        for at in range(start, len(source) if end is None else end, PIECE):
            yield source[at : min(at + PIECE, len(source) if end is None else end)]
        return
    with source.open("rb") as file:
        file.seek(start)
        left = float("inf") if end is None else end - start
        while piece := file.read(int(min(PIECE, left))):
            left -= len(piece)
            yield piece


@dataclass(frozen=True)
class OssObject:
    """An object; `etag` is without quotes, `modified` in epoch seconds."""

    body: Content
    etag: str
    modified: float
    storage_class: str = "Standard"
    content_encoding: str = ""
    content_type: str = "application/octet-stream"
    kind: str = "Normal"

    @property
    def size(self) -> int:
        """Bytes."""
        return self.body.size

    @property
    def content(self) -> bytes:
        """All bytes, for a test to look at."""
        return b"".join(self.body.pieces())


@dataclass(frozen=True)
class Part:
    """A part of a multipart upload."""

    body: Content
    modified: float

    @property
    def etag(self) -> str:
        """The MD5 in capitals, as OSS has it."""
        return self.body.md5.hex().upper()


@dataclass
class Upload:
    """A multipart upload that is neither completed nor aborted."""

    key: str
    started: float
    headers: dict[str, str]
    parts: dict[int, Part] = field(default_factory=dict)


class Bucket:
    """Objects and uploads by key. Thread-safe: what it gives out never changes afterwards.

    With a `directory`, its files are the objects: they are looked for whenever the bucket is asked, and what is
    stored by key is stored as a file.
    """

    def __init__(self, name: str, *, public: bool = False, directory: Path | None = None) -> None:
        self.name, self.public, self.directory = name, public, directory
        self.uploads: dict[str, Upload] = {}
        self.lock = threading.RLock()
        self._objects: dict[str, OssObject] = {}
        self._files: dict[str, tuple[int, int]] = {}

    def objects(self) -> dict[str, OssObject]:
        """All objects, in the order of their keys' UTF-8 bytes."""
        with self.lock:
            self._look()
            return dict(sorted(self._objects.items(), key=lambda item: item[0].encode()))

    def get(self, key: str) -> OssObject:
        """The object, or NoSuchKey."""
        with self.lock:
            self._look()
            try:
                return self._objects[key]
            except KeyError:
                raise RefusalError("NoSuchKey", Key=key) from None

    def put(self, key: str, stored: OssObject, *, overwrite: bool = True) -> None:
        """Store an object, or refuse with FileAlreadyExists."""
        with self.lock:
            self._look()
            if not overwrite and key in self._objects:
                raise RefusalError("FileAlreadyExists", Key=key)
            if self.directory is not None:
                path = self._write(self.directory, key, stored)
                stored = replace(stored, body=replace(stored.body, source=path))
            self._objects[key] = stored

    def delete(self, key: str) -> None:
        """Forget an object; no error when there is none."""
        with self.lock:
            self._look()
            if self._objects.pop(key, None) and self.directory is not None:
                (self.directory / key).unlink(missing_ok=True)
                self._files.pop(key, None)

    def _write(self, directory: Path, key: str, stored: OssObject) -> Path:
        path = directory / key
        if key.endswith("/") or not path.resolve().is_relative_to(directory.resolve()):
            raise RefusalError("InvalidObjectName", ObjectName=key)
        path.parent.mkdir(parents=True, exist_ok=True)
        writing = path.with_name(f".{path.name}.writing")
        with writing.open("wb") as file:
            file.writelines(stored.body.pieces())
        writing.replace(path)
        self._files[key] = _stamp(path)
        return path

    def _look(self) -> None:
        """Take up what changed in the directory."""
        if self.directory is None:
            return
        found: dict[str, tuple[int, int]] = {}
        for path in trees.files(self.directory):
            key = path.relative_to(self.directory).as_posix()
            with suppress(FileNotFoundError):  # it may vanish while it is looked at
                if not path.name.endswith(".writing"):
                    stamp = _stamp(path)
                    if self._files.get(key) != stamp:
                        self._objects[key] = new_object(path, stamp[0] / 1e9)
                    found[key] = stamp
        for key in self._files.keys() - found.keys():
            self._objects.pop(key, None)
        self._files = found


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_size


def new_object(
    source: bytes | Path,
    modified: float = 0.0,
    *,
    storage_class: str = "Standard",
    content_encoding: str = "",
    content_type: str = "application/octet-stream",
) -> OssObject:
    """An object with the ETag that OSS gives to what was uploaded in one request."""
    body = Content.of(source)
    return OssObject(
        body, body.md5.hex().upper(), modified or time.time(), storage_class, content_encoding, content_type
    )
