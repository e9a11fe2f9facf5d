"""HTTP's two messages as the REST front end sees them: a request with its head and body, and a reply."""

from __future__ import annotations

import re
import time
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING

from tfs_notebook.api.metrics.requests import UNCOUNTED

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tfs_notebook.api.calls.call import Call
    from tfs_notebook.api.metrics.requests import CountedRequest, Uncounted

JSON = b"application/json"
_REASONS = {429: "Client Error", 499: "Client Error", 504: "Gateway Time-out"}
"""Where libevent's words are not the standard's."""
_OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\nDate: %s\r\n\r\n"
_ORIGIN = re.compile(r"https?://[^/?#]*", re.IGNORECASE)
_SMALL_PIECE = 4 << 10
"""Bytes up to which a piece of a body is joined to the one before it."""
_LISTS = frozenset({b"accept-encoding", b"content-encoding"})
"""Fields of which a second one continues the first; of all others the first counts."""


class Request:
    """One request: from `headed` on it has its head, and from `whole` on its body, too."""

    __slots__ = (
        "_headers", "_pieces", "call", "compressed", "counted", "expects", "fields", "headed", "held", "inflated",
        "keep_alive", "keeps_body", "method", "newest", "over", "path", "received", "refusal", "size", "whole",
    )  # fmt: skip

    def __init__(self) -> None:
        self.method = ""
        self.path = ""
        """What it asks for, path and query, as it was sent."""
        self.newest = True
        """Whether it speaks HTTP/1.1, not 1.0."""
        self.keep_alive = True
        """Whether the client wants to ask more on this connection."""
        self.fields = 0
        """How many fields it has, in its head and behind its body."""
        self.size = 0
        """Bytes of the body that have come."""
        self.keeps_body = True
        """Whether anybody wants the body; if not, it is thrown away as it comes."""
        self.held = self.inflated = 0
        """Bytes of its body that count as being in memory, as they came and inflated."""
        self.compressed = self.over = False
        """Whether its body is inflated, and whether nobody waits for the reply any more."""
        self.expects = False
        """Whether the client waits for a word before it sends the body."""
        self.headed = self.whole = False
        self.counted: CountedRequest | Uncounted = UNCOUNTED
        """Where the metrics note how it ends."""
        self.call: Call | None = None
        """What it asks of a model, which is told how it ends."""
        self.received = 0.0
        """When the last byte had come, in seconds of `time.perf_counter`."""
        self.refusal: Reply | None = None
        """What is answered without looking at the body."""
        self._headers: dict[bytes, bytes] = {}
        self._pieces: list[bytes | bytearray] = []

    def name_path(self) -> None:
        """Make a path of what was asked for, which is a whole URL when a proxy asks."""
        if self.path[:1] != "/":
            self.path = _ORIGIN.sub("", self.path, count=1)

    def add_field(self, name: bytes, value: bytes) -> None:
        """Note one more header field."""
        self.fields += 1
        name = name.lower()
        if name not in self._headers:
            self._headers[name] = value
        elif name in _LISTS:
            self._headers[name] += b", " + value

    def add_body(self, piece: bytes) -> None:
        """Note one more piece of the body."""
        size = len(piece)
        self.size += size
        if not self.keeps_body:
            return
        pieces = self._pieces
        if not pieces or size > _SMALL_PIECE:
            pieces.append(piece)
        elif isinstance(pieces[-1], bytearray):
            pieces[-1] += piece
        else:
            pieces.append(bytearray(piece))  # an object for each chunk of a byte would take fifty times as much

    def drop_body(self) -> None:
        """Forget what has come of the body."""
        self._pieces = []

    def header(self, name: bytes) -> str | None:
        """The value of a header field, None when it was not sent. `name` is in lower case."""
        value = self._headers.get(name)
        return None if value is None else value.decode("utf-8", "surrogateescape")

    @property
    def announced(self) -> int:
        """Bytes of the body by its head; 0 when that does not tell."""
        return int(self._headers.get(b"content-length", b"0"))

    @property
    def length_digits(self) -> int:
        """How many digits `announced` was written with."""
        return len(self._headers.get(b"content-length", b""))

    @property
    def body_fields(self) -> bytes:
        """The line of the head that tells how long the body is; empty when there is none."""
        if self.announced:
            return b"Content-Length: %d\r\n" % self.announced
        coding = self._headers.get(b"transfer-encoding")
        return b"" if coding is None else b"Transfer-Encoding: %s\r\n" % coding

    def take_body(self) -> bytes:
        """What has come of the body, which the request forgets: only the caller keeps it in memory."""
        pieces, self._pieces = self._pieces, []
        return bytes(pieces[0]) if len(pieces) == 1 else b"".join(pieces)


class Reply:
    """What is answered; the connection ends after the `last` one."""

    __slots__ = ("body", "content_type", "headers", "last", "status")

    def __init__(
        self,
        status: int,
        body: bytes,
        content_type: bytes = JSON,
        *,
        headers: Iterable[tuple[bytes, bytes]] = (),
        last: bool = False,
    ) -> None:
        self.status = status
        self.body = body
        self.content_type = content_type
        self.headers = tuple(headers)
        self.last = last

    @property
    def reason(self) -> str:
        """The words behind the status, which are libevent's."""
        return _REASONS.get(self.status) or HTTPStatus(self.status).phrase

    def head(self, request: Request, *, last: bool) -> bytes:
        """The bytes before the body, to `request`; whether it is the connection's `last` reply."""
        date, length = _date(int(time.time())), len(self.body)
        if self.status == 200 and not last and self.content_type is JSON and request.newest and not self.headers:
            return _OK % (length, date)
        lines = [
            b"HTTP/1.%d %d %s" % (request.newest, self.status, self.reason.encode()),
            b"Content-Type: " + self.content_type,
            b"Content-Length: %d" % length,
            b"Date: " + date,
            *(name + b": " + value for name, value in self.headers),
        ]
        if last:
            lines.append(b"Connection: close")
        elif not request.newest:
            lines.append(b"Connection: keep-alive")
        return b"\r\n".join(lines) + b"\r\n\r\n"


@lru_cache(maxsize=2)
def _date(second: int) -> bytes:
    return formatdate(second, usegmt=True).encode()
