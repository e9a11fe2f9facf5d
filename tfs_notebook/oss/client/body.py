"""What a GET brings: the object as its headers describe it, and its bytes, counted and checked.

What is read is what is stored, byte for byte: a stored `Content-Encoding` is not undone on the way. Many a one is set
by mistake, or says nothing of the bytes (`utf-8`, `aws-chunked`); only what really is encoded is refused.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from tfs_notebook.oss.client.checksum import Crc64
from tfs_notebook.oss.client.errors import unreachable
from tfs_notebook.oss.client.store import Fault, StoredObject, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tfs_notebook.oss.client.oss2_client import Client

PIECE = 512 * 1024
"""Bytes at most of one piece."""
_ENCODED = {
    **dict.fromkeys(("gzip", "x-gzip"), re.compile(rb"\x1f\x8b")),
    **dict.fromkeys(("compress", "x-compress"), re.compile(rb"\x1f\x9d")),
    "zstd": re.compile(rb"\x28\xb5\x2f\xfd"),
    "aws-chunked": re.compile(rb"[0-9a-fA-F]+;chunk-signature="),
    **dict.fromkeys(("br", "deflate"), re.compile(b"")),  # their bytes begin with anything
}
"""What content begins with that has such an encoding."""


def stored_object(key: str, reply: Any) -> StoredObject:
    """The object that oss2's `reply` to a HEAD or a GET, of all of it or of a part, describes."""
    headers = reply.headers
    _, _, total = headers.get("Content-Range", "").partition("/")
    return StoredObject(
        key=key,
        size=int(total or headers["Content-Length"]),
        etag=reply.etag or "",
        modified=float(reply.last_modified or 0),
        storage_class=headers.get("x-oss-storage-class", "Standard"),
        crc64=reply.server_crc,
        encoding=headers.get("Content-Encoding", "").lower(),
    )


def _reader(raw: Any) -> Callable[[memoryview], int]:
    """What fills memory with the bytes that follow in a urllib3 response: its own `readinto` copies them twice."""
    read_into: Callable[[memoryview], int] = getattr(raw, "_fp", raw).readinto
    return read_into


class OssBody:
    """The bytes from `start` to before `end` that `reply` brings; the whole object's are checked by its checksum.

    Raises StoreError when the reply is not what was asked for; so does the iteration when the bytes are not.
    """

    def __init__(self, client: Client, key: str, reply: Any, *, etag: str, start: int, end: int | None) -> None:
        self._client = client
        self._where = client.where(key)
        self.stored = client.ask(key, lambda: stored_object(key, reply))
        self.raw = reply.resp.response.raw
        last = self.stored.size if end is None else min(end, self.stored.size)
        self._length = last - start
        self.piece_size = PIECE
        self._begins_object = start == 0
        self._check_reply(etag)
        if start or end is not None:
            self._check_range(reply, start, last)

    def __iter__(self) -> Iterator[memoryview]:
        """Pieces of at most `piece_size` bytes; each is released when the next is asked for: they share memory."""
        from http.client import HTTPException

        from urllib3.exceptions import HTTPError

        came, crc, memory = 0, Crc64(), memoryview(bytearray(max(min(PIECE, self._length), 1)))
        read_into = _reader(self.raw)
        while True:
            try:
                size = read_into(memory[: self.piece_size])
            except (HTTPError, HTTPException, OSError) as error:
                problem = unreachable(error, self._where, self._client.endpoint)
                break
            if not size:
                self._check_bytes(came, crc.value)
                self.raw.release_conn()
                return
            if self._begins_object and not came:
                self._check_encoding(memory[:size])
            came += size
            with memory[:size] as piece:
                crc.update(piece)
                yield piece
        raise problem

    def _check_reply(self, etag: str) -> None:
        if etag and self.stored.etag != etag:
            raise StoreError(Fault.CHANGED, f"{self._where} has changed: its ETag is {self.stored.etag}, not {etag}")

    def _check_encoding(self, beginning: memoryview) -> None:
        """Refuse content that is not the file's, but for a file that is meant to be compressed."""
        told = [name.strip() for name in self.stored.encoding.split(",")]
        encoded = any(name in _ENCODED and _ENCODED[name].match(beginning) for name in told)
        if encoded and not self.stored.key.endswith(".gz"):
            raise StoreError(
                Fault.REFUSED,
                f"{self._where} is stored with Content-Encoding: {self.stored.encoding}: its bytes are not the file's",
                hint="upload it again as it is, uncompressed and without that header",
            )

    def _check_range(self, reply: Any, start: int, end: int) -> None:
        expected, told = f"bytes {start}-{end - 1}/{self.stored.size}", reply.headers.get("Content-Range", "all of it")
        if reply.status != 206 or told != expected:
            raise StoreError(Fault.DAMAGED, f"{self._where}: {expected} were asked for, but {told} came")

    def _check_bytes(self, came: int, crc: int) -> None:
        """A body that ends too early, or has other bytes than the service keeps, must not pass for the object."""
        if came < self._length:
            raise StoreError(Fault.UNREACHABLE, f"{self._where}: the reply ended after {came} of {self._length} bytes")
        if came == self.stored.size and self.stored.crc64 not in (None, crc):
            raise StoreError(
                Fault.DAMAGED, f"{self._where} arrived damaged: its CRC-64 is {self.stored.crc64}, not {crc}"
            )
