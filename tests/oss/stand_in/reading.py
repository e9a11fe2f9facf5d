"""How an object is read: conditions on its ETag, ranges in both of OSS's behaviours, and the headers it comes with."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import TYPE_CHECKING

from tests.oss.stand_in.errors import RefusalError
from tests.oss.stand_in.storage import Content

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.oss.stand_in.storage import OssObject


@dataclass
class Reply:
    """An answer: the bytes of `body` from `start` to before `end`, which HEAD announces but does not send."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: Content = field(default_factory=lambda: Content.of(b""))
    start: int = 0
    end: int | None = None

    @property
    def length(self) -> int:
        """Bytes of the body."""
        return (self.body.size if self.end is None else self.end) - self.start


def check_conditions(stored: OssObject, headers: Mapping[str, str]) -> None:
    """Raises RefusalError PreconditionFailed or NotModified, as If-Match and If-None-Match have it."""
    match, none_match = headers.get("if-match"), headers.get("if-none-match")
    if match is not None and match.strip('"') not in ("*", stored.etag):
        raise RefusalError("PreconditionFailed", Condition="If-Match")
    if none_match is not None and none_match.strip('"') in ("*", stored.etag):
        raise RefusalError("NotModified", etag=f'"{stored.etag}"')


def read(stored: OssObject, headers: Mapping[str, str]) -> Reply:
    """The object, or the range asked for: one that ends too late is cut only with the standard behaviour."""
    described = {
        "Content-Type": stored.content_type,
        "Accept-Ranges": "bytes",
        "ETag": f'"{stored.etag}"',
        "Last-Modified": formatdate(stored.modified, usegmt=True),
        "x-oss-object-type": stored.kind,
        "x-oss-hash-crc64ecma": str(stored.body.crc64),
        "x-oss-storage-class": stored.storage_class,
        **({"Content-Encoding": stored.content_encoding} if stored.content_encoding else {}),
    }
    if stored.kind == "Normal":
        described["Content-MD5"] = base64.b64encode(stored.body.md5).decode()
    span = _span(headers.get("range", ""), stored.size)
    if span is None:
        return Reply(200, described, stored.body)
    start, end = span
    if not 0 <= start < end <= stored.size:
        if headers.get("x-oss-range-behavior") != "standard":
            return Reply(200, described, stored.body)
        if start >= stored.size or not stored.size:
            raise RefusalError("InvalidRange", ActualObjectSize=stored.size, RangeHeader=headers["range"])
        start, end = max(start, 0), min(end, stored.size)
    described["Content-Range"] = f"bytes {start}-{end - 1}/{stored.size}"
    return Reply(206, described, stored.body, start, end)


def _span(header: str, size: int) -> tuple[int, int] | None:
    """Where a Range header begins and ends in an object of `size` bytes, perhaps outside; None for no range."""
    asked = re.fullmatch(r"bytes=(\d*)-(\d*)", header)
    if asked is None or not any(asked.groups()):
        return None
    first, last = asked.groups()
    if not first:
        return size - int(last), size
    if not last:
        return int(first), max(size, int(first) + 1)
    return (int(first), int(last) + 1) if int(first) <= int(last) else None
