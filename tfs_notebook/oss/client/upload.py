"""Files on their way to OSS: streamed, sent again after network troubles, in parts when large, checksums compared.

Parts that an earlier, interrupted upload of the same file has left with the service are found there by their MD5 and
not sent again; nothing is noted on this machine.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from tfs_notebook.oss.client.body import stored_object
from tfs_notebook.oss.client.checksum import Crc64, combine
from tfs_notebook.oss.client.store import Fault, StoredObject, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tfs_notebook.oss.client.oss2_client import Client

T = TypeVar("T")

PART_SIZE = 16 << 20
"""Bytes of a part; smaller files go in one request."""

_MAX_PARTS = 10_000
_ATTEMPTS = 5
_PAUSE = 0.2
_CONTENT_TYPE = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Upload:
    """`size` bytes of `file` for the object `key`; `sent` is told bytes as they go, negative when they go again.

    `send` raises StoreError: EXISTS when the key is taken (perhaps by this very upload, when its answer was lost) and
    `overwrite` is not set, DAMAGED when the service keeps something else than was sent.
    """

    client: Client
    key: str
    file: BinaryIO
    size: int
    sent: Callable[[int], None]
    overwrite: bool = False
    part_size: int = PART_SIZE

    def send(self) -> StoredObject:
        """Upload it all, and return what the service keeps now."""
        return self._in_parts() if self.size > self.part_size else self._whole()

    def _whole(self) -> StoredObject:
        put = self.client.api.put_object

        def send(data: _Outgoing, before: Fault | None) -> Any:
            # What arrived damaged is this upload's own, and must be replaced.
            headers = self._headers(overwrite=self.overwrite or before is Fault.DAMAGED)
            return put(self.key, data if self.size else b"", headers={"Content-Type": _CONTENT_TYPE, **headers})

        reply, _ = self._again(0, self.size, send)
        return StoredObject(self.key, self.size, reply.etag, crc64=reply.crc)

    def _in_parts(self) -> StoredObject:
        upload_id, kept = self._begun()
        upload_id = upload_id or _persist(lambda _: self._begin())
        parts, crc = [], 0
        step = max(self.part_size, -(-self.size // _MAX_PARTS))
        for number, start in enumerate(range(0, self.size, step), start=1):
            length = min(step, self.size - start)
            etag, part_crc = self._part(upload_id, number, start, length, kept.get(number, ""))
            parts.append(self.client.oss2.models.PartInfo(number, etag))
            crc = combine(crc, part_crc, length)
        return self._complete(upload_id, parts, crc)

    def _part(self, upload_id: str, number: int, start: int, length: int, kept: str) -> tuple[str, int]:
        """ETag and checksum of one part, which is sent unless the service has it already, its ETag being `kept`."""
        if kept:
            digest, crc = _digests(self.file, start, length)
            if digest == kept.lower():
                self.sent(length)
                return kept, crc
        put = self.client.api.upload_part
        reply, crc = self._again(start, length, lambda data, _: put(self.key, upload_id, number, data))
        return reply.etag, crc

    def _begun(self) -> tuple[str, dict[int, str]]:
        """The last upload of this key that was begun, with the ETags of its parts; none where asking is not allowed."""
        oss2, api = self.client.oss2, self.client.api
        try:
            uploads = self.client.ask(self.key, lambda: list(oss2.ObjectUploadIterator(api, self.key)))
            if not uploads:
                return "", {}
            last = max(uploads, key=lambda upload: upload.initiation_date).upload_id
            parts = self.client.ask(self.key, lambda: list(oss2.PartIterator(api, self.key, last)))
        except StoreError as error:
            if error.fault in (Fault.FORBIDDEN, Fault.MISSING):
                return "", {}
            raise
        return last, {part.part_number: part.etag for part in parts}

    def _begin(self) -> str:
        init, headers = self.client.api.init_multipart_upload, self._headers(overwrite=self.overwrite)
        headers["Content-Type"] = _CONTENT_TYPE
        reply = self.client.ask(self.key, lambda: init(self.key, headers=headers))
        return str(reply.upload_id)

    def _complete(self, upload_id: str, parts: list[Any], crc: int) -> StoredObject:
        api, headers = self.client.api, self._headers(overwrite=self.overwrite)

        def ask(_: Fault | None) -> StoredObject:
            reply = self.client.ask(
                self.key, lambda: api.complete_multipart_upload(self.key, upload_id, parts, headers=headers)
            )
            self._compare(reply.crc, crc)
            return StoredObject(self.key, self.size, reply.etag, crc64=reply.crc)

        try:
            return _persist(ask)
        except StoreError as error:
            if error.fault is Fault.MISSING:  # an answer was lost: the upload has ended, and the object is there
                return self._there(crc)
            if error.fault is Fault.EXISTS:
                self.client.ask(self.key, lambda: api.abort_multipart_upload(self.key, upload_id))
            raise

    def _there(self, crc: int) -> StoredObject:
        stored = self.client.ask(self.key, lambda: stored_object(self.key, self.client.api.head_object(self.key)))
        self._compare(stored.crc64, crc)
        return stored

    def _again(self, start: int, length: int, put: Callable[[_Outgoing, Fault | None], Any]) -> tuple[Any, int]:
        """The reply to a PUT of some bytes of the file, and their checksum, however often they must be sent."""

        def ask(before: Fault | None) -> tuple[Any, int]:
            self.file.seek(start)
            data = _Outgoing(self.file, length, self.sent)
            try:
                reply = self.client.ask(self.key, lambda: put(data, before))
                self._compare(reply.crc, data.crc.value)
            except StoreError:
                self.sent(-data.came)
                raise
            return reply, data.crc.value

        return _persist(ask)

    def _compare(self, kept: int | None, crc: int) -> None:
        if kept not in (None, crc):
            raise StoreError(
                Fault.DAMAGED, f"{self.client.where(self.key)} arrived damaged: its CRC-64 is {kept}, not {crc}"
            )

    def _headers(self, *, overwrite: bool) -> dict[str, str]:
        return {} if overwrite else {"x-oss-forbid-overwrite": "true"}


class _Outgoing:
    """The next `len` bytes of a file, read by the HTTP library as it sends them."""

    def __init__(self, file: BinaryIO, length: int, sent: Callable[[int], None]) -> None:
        self.len = length
        self.crc = Crc64()
        self.came = 0
        self._file = file
        self._sent = sent

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes, b"" at the end. Raises StoreError REFUSED when the file has become shorter."""
        left = self.len - self.came
        data = self._file.read(left if size < 0 else min(size, left))
        if left and not data:
            raise StoreError(Fault.REFUSED, f"{self._file.name} became shorter while it was uploaded")
        self.came += len(data)
        self.crc.update(data)
        self._sent(len(data))
        return data


def _persist(ask: Callable[[Fault | None], T]) -> T:
    """What `ask`, told the fault before, returns; asked again after trouble with the network or the bytes."""
    before: Fault | None = None
    for pause in (_PAUSE * 2**attempt for attempt in range(_ATTEMPTS - 1)):
        try:
            return ask(before)
        except StoreError as error:
            if error.fault not in (Fault.UNREACHABLE, Fault.DAMAGED):
                raise
            before = error.fault
        time.sleep(pause)
    return ask(before)


def _digests(file: BinaryIO, start: int, length: int) -> tuple[str, int]:
    """MD5, which is a part's ETag, and CRC-64 of some bytes of a file."""
    md5, crc = hashlib.md5(usedforsecurity=False), Crc64()
    file.seek(start)
    while length and (data := file.read(min(length, 1 << 20))):
        md5.update(data)
        crc.update(data)
        length -= len(data)
    return md5.hexdigest(), crc.value
