"""From an object to a file, continued where it was broken off, and compared before it counts.

The loop is our own: clients of OSS empty a good file on an error, or accept one that was damaged between two runs.
Every request asks for the very content (ETag) that was listed. Bytes go to the disk as they arrive; a large object is
read in ranges, a few at once, each with a checksum of its own, from which that of the whole follows.
"""

from __future__ import annotations

import os
import threading
from concurrent.futures import FIRST_EXCEPTION, wait
from functools import partial
from io import FileIO
from typing import TYPE_CHECKING, Protocol

from tfs_notebook.oss.cache.staging import Note, StagedFile, checksum_of
from tfs_notebook.oss.client.checksum import Crc64, combine
from tfs_notebook.oss.client.store import Fault, StoreError
from tfs_notebook.threads import Pool

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from tfs_notebook.oss.client.store import Body, StoredObject
    from tfs_notebook.oss.fetch.throttle import Throttle

PART_BYTES = 16 << 20
"""Bytes of one range, and the size from which an object is read in ranges."""
MAX_PARALLEL_PARTS = 4
_RESUMPTIONS = 8
_MAX_FRUITLESS = 2
"""Answers in a row that may bring nothing: a connection that is reset can lose all that was on its way."""


class Source(Protocol):
    """What a download needs of an ObjectStore."""

    bucket: str

    def read(self, key: str, *, etag: str = "", start: int = 0, end: int | None = None) -> AbstractContextManager[Body]:
        """See ObjectStore."""
        ...


class Progress(Protocol):
    """Hears how far a download is, from several threads; raises to end it."""

    def received(self, size: int) -> None:
        """So many bytes more have arrived, or were there already; negative when they turned out to be bad."""
        ...

    def done(self, path: str, *, verified: bool) -> None:
        """The file is there, and correct by its checksum, or by its size only."""
        ...


def fetch(
    store: Source,
    files: Mapping[str, StoredObject],
    directory: Path,
    progress: Progress,
    throttle: Throttle | None = None,
) -> None:
    """Bring `files`, by their path, into the staging `directory`; what is there and correct is kept.

    A `crc64` that an object of `files` has is one that it must have. `throttle` lets another process go first.
    Raises StoreError, OSError, and what `progress` raises; the next attempt goes on from there.
    """
    for path, stored in files.items():
        progress.done(path, verified=_Download(store, stored, StagedFile(directory, path), progress, throttle).run())


class _Download:
    def __init__(
        self,
        store: Source,
        stored: StoredObject,
        file: StagedFile,
        progress: Progress,
        throttle: Throttle | None,
    ) -> None:
        self._store = store
        self._stored = stored
        self._file = file
        self._progress = progress
        self._courtesy = throttle
        self._note = Note(stored.etag, stored.size)
        self._stop = threading.Event()

    def run(self) -> bool:
        """Bring the file; whether it was verified by a checksum."""
        self._note = self._file.begin(self._stored)
        if self._is_there():
            self._progress.received(self._stored.size)
            return bool(self._expected())
        for last in (False, True):
            crc64 = self._all_parts() if self._stored.size >= PART_BYTES else self._only_part()
            expected = self._expected()
            if expected <= {crc64} and self._file.part.stat().st_size == self._stored.size:
                self._file.finish()
                return bool(expected)
            self._file.discard()
            self._note = self._file.begin(self._stored)
            if not last:
                self._progress.received(-self._stored.size)
        raise StoreError(
            Fault.DAMAGED,
            f"{self._name} arrives with the checksum {crc64}, twice, and is stored with {sorted(expected)}",
            hint="A proxy on the way may change content; else upload the object again.",
        )

    @property
    def _name(self) -> str:
        return f"oss://{self._store.bucket}/{self._stored.key}"

    def _expected(self) -> set[int]:
        """The checksums that it must have: the store's, and the one that was asked for."""
        return {crc64 for crc64 in (self._note.crc64, self._stored.crc64) if crc64 is not None}

    def _is_there(self) -> bool:
        content, size = self._file.content, self._stored.size
        if not content.is_file():
            return False
        if content.stat().st_size == size and self._expected() <= {checksum_of(content).value}:
            return True
        self._file.discard()
        self._note = self._file.begin(self._stored)
        return False

    def _only_part(self) -> int:
        """The whole object in one; its checksum."""
        with self._open() as file:
            there = os.fstat(file.fileno()).st_size
            if there > self._stored.size:
                there = file.truncate(0)
            crc64 = checksum_of(self._file.part)
            self._progress.received(there)
            self._read(file.fileno(), there, self._stored.size, crc64)
        return crc64.value

    def _all_parts(self) -> int:
        """The object in ranges, several at once; its checksum."""
        size = self._stored.size
        ranges = [(start, min(start + PART_BYTES, size)) for start in range(0, size, PART_BYTES)]
        self._stop.clear()
        pool = Pool(MAX_PARALLEL_PARTS, thread_name_prefix="tfs-oss-range")
        with self._open() as file:
            file.truncate(size)
            try:
                coming = [
                    pool.submit(self._fetch_part, file.fileno(), number, *ends) for number, ends in enumerate(ranges)
                ]
                ended, _ = wait(coming, return_when=FIRST_EXCEPTION)
            finally:
                self._stop.set()
                pool.shutdown(cancel_futures=True)
        error = next((error for part in ended if (error := part.exception())), None)
        if error is not None:
            raise error
        crc64 = 0
        for number, (start, end) in enumerate(ranges):
            crc64 = combine(crc64, self._note.parts[number], end - start)
        return crc64

    def _open(self) -> FileIO:
        return FileIO(os.open(self._file.part, os.O_RDWR | os.O_CREAT, 0o644), "r+")

    def _fetch_part(self, descriptor: int, number: int, start: int, end: int) -> None:
        part = partial(self._part, descriptor, number, start, end)
        if self._courtesy:
            self._courtesy.run(part)
        else:
            part()

    def _part(self, descriptor: int, number: int, start: int, end: int) -> None:
        noted = self._note.parts.get(number)
        if noted is not None and checksum_of(self._file.part, start, end).value == noted:
            self._progress.received(end - start)
            return
        crc64 = Crc64()
        self._read(descriptor, start, end, crc64)
        self._note.parts[number] = crc64.value
        self._file.write_note(self._note)

    def _read(self, descriptor: int, start: int, end: int, crc64: Crc64) -> None:
        """Write the bytes from `start` to before `end` where they belong, asking again when an answer is cut short."""
        at, fruitless = start, 0
        for _ in range(_RESUMPTIONS):
            if at == end and end:
                return
            before = at
            try:
                at = self._read_once(descriptor, at, end, crc64)
            except _CutShortError as cut:
                at = cut.at
                fruitless = fruitless + 1 if at == before else 0
                if fruitless > _MAX_FRUITLESS or self._stop.is_set():
                    raise cut.error from cut
            if at == end:
                return
        raise StoreError(Fault.UNREACHABLE, f"{self._name} ends at {at} of {end} bytes, again and again")

    def _read_once(self, descriptor: int, at: int, end: int, crc64: Crc64) -> int:
        """Where the bytes that one answer brought end."""
        stored = self._stored
        whole = at == 0 and end == stored.size
        try:
            with self._store.read(stored.key, etag=stored.etag, start=at, end=None if whole else end) as body:
                self._note_checksum(body.stored)
                self._give_way(body)
                for piece in body:
                    if at + len(piece) > end:
                        raise StoreError(Fault.DAMAGED, f"{self._name} has more bytes than were listed")
                    _write(descriptor, piece, at)
                    crc64.update(piece)
                    at += len(piece)
                    self._progress.received(len(piece))
                    self._give_way(body)
                    if self._stop.is_set():
                        raise StoreError(Fault.UNREACHABLE, f"another part of {self._name} cannot be had")
        except StoreError as error:
            if at < end and error.fault in (Fault.UNREACHABLE, Fault.DAMAGED):
                raise _CutShortError(at, error) from error
            if at < end or error.fault is not Fault.DAMAGED:
                raise
        return at

    def _give_way(self, body: Body) -> None:
        if self._courtesy:
            body.piece_size = self._courtesy.pause()

    def _note_checksum(self, answered: StoredObject) -> None:
        if answered.crc64 is not None and self._note.crc64 != answered.crc64:
            self._note.crc64 = answered.crc64
            self._file.write_note(self._note)


def _write(descriptor: int, piece: memoryview, at: int) -> None:
    """Write all of it; a disk that is nearly full takes what it can, and says so only when it is asked again."""
    while piece:
        written = os.pwrite(descriptor, piece, at)
        piece, at = piece[written:], at + written


class _CutShortError(Exception):
    """An answer that ended, or never came, after the bytes up to `at`."""

    def __init__(self, at: int, error: StoreError) -> None:
        super().__init__(str(error))
        self.at = at
        self.error = error
