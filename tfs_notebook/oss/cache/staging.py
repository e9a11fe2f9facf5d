"""Where the files of one version are put together: whole ones in `content/`, those on their way in `parts/`.

Each file on its way has a note of what it is a copy of: the object's ETag and size, its checksum as soon as the store
has told it, and the checksum of every part that has arrived. A file gets into `content/` by a rename, after it was
compared; what stands there is compared again before it is relied on, as another process may have left it.
"""

from __future__ import annotations

import json
import os
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote

from tfs_notebook.oss.cache.cache import write_atomically
from tfs_notebook.oss.client.checksum import Crc64

if TYPE_CHECKING:
    from pathlib import Path

    from tfs_notebook.oss.client.store import StoredObject

_READ_BYTES = 1 << 20


@dataclass(slots=True)
class Note:
    """What a file on its way is a copy of; `parts` holds the checksums of its arrived parts by their number."""

    etag: str
    size: int
    crc64: int | None = None
    parts: dict[int, int] = field(default_factory=dict)

    def is_of(self, stored: StoredObject) -> bool:
        """Whether it is a copy of this object's content."""
        return (self.etag, self.size) == (stored.etag, stored.size)


class StagedFile:
    """One file of the version that is put together in `directory`; `path` has `/` between its parts."""

    def __init__(self, directory: Path, path: str) -> None:
        self.path = path
        self.content = directory.joinpath("content", *path.split("/"))
        name = quote(path, safe="")
        if len(name) > 200:
            import hashlib

            name = hashlib.sha256(path.encode()).hexdigest()
        self.part = directory / "parts" / f"{name}.part"
        self._note = directory / "parts" / f"{name}.json"
        self._lock = threading.Lock()

    def begin(self, stored: StoredObject) -> Note:
        """The note to continue with; of another content than `stored`, everything that is there goes first."""
        self.part.parent.mkdir(parents=True, exist_ok=True)
        self.content.parent.mkdir(parents=True, exist_ok=True)
        note = self._read_note()
        if note is not None and note.is_of(stored):
            return note
        self.discard()
        note = Note(stored.etag, stored.size)
        self.write_note(note)
        return note

    def discard(self) -> None:
        """Forget what is there of the file."""
        for path in (self.content, self.part, self._note):
            path.unlink(missing_ok=True)

    def write_note(self, note: Note) -> None:
        """Keep `note` for whoever continues; any thread may call."""
        with self._lock:
            told = {"etag": note.etag, "size": note.size, "crc64": note.crc64, "parts": dict(note.parts)}
            write_atomically(self._note, json.dumps(told).encode())

    def _read_note(self) -> Note | None:
        try:
            told = json.loads(self._note.read_bytes())
            return Note(
                str(told["etag"]),
                int(told["size"]),
                None if told["crc64"] is None else int(told["crc64"]),
                {int(number): int(crc64) for number, crc64 in told["parts"].items()},
            )
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            return None

    def finish(self) -> None:
        """Move the part, which is all there and correct, to where it belongs."""
        descriptor = os.open(self.part, os.O_RDWR)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        self.part.replace(self.content)


def checksum_of(path: Path, start: int = 0, end: int | None = None) -> Crc64:
    """The checksum of the bytes of a file from `start` to before `end`, read piece by piece. Raises OSError."""
    crc64 = Crc64()
    with path.open("rb", buffering=0) as file:
        file.seek(start)
        left = float("inf") if end is None else end - start
        while left > 0 and (piece := file.read(int(min(_READ_BYTES, left)))):
            crc64.update(piece)
            left -= len(piece)
    return crc64
