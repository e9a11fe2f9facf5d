"""What a client sends, read by llhttp into requests, each of which is bounded before it is stored.

* Bytes that are no body (heads, sizes and extensions of chunks, trailers) are counted as they come, whatever the parser
  makes of them: it would put together a field of any length.
* A body counts for its own request and for all connections together; one that nobody wants is not stored.
* A little is read at a time, so that a few bytes never become very many requests.
"""

from __future__ import annotations

from collections import deque
from time import perf_counter
from typing import TYPE_CHECKING, Any

import httptools

from tfs_notebook.api.http.messages import Request

if TYPE_CHECKING:
    from tfs_notebook.api.http.handler import Handler
    from tfs_notebook.api.http.messages import Reply
    from tfs_notebook.api.http.timeouts import ClientTimer

MAX_FIELDS = 128
MAX_LINE_BYTES = 64 << 10
"""Bytes of a request line or header; a browser sends the cookies of every port of localhost."""
MAX_HEAD_BYTES = 512 << 10
"""Bytes of a request that are no body."""
_CHUNK_FRAMING_BYTES = 16
"""Bytes that may stand around a chunk beside those."""
_UNCOUNTED_BYTES = 4 << 10
"""Bytes up to which a body is not worth to be counted: those of all connections are less than one large body."""
_MAX_LENGTH_DIGITS = 19
"""Digits of a body's length; the parser takes any number of zeros before them."""
_HEAD_SHARE_BYTES = 4 << 10
_CHUNKS_SHARE_BYTES = 16 << 10
_WHOLE_SHARE_BYTES = 64 << 10
_END_OF_HEAD = b"\r\n\r\n"


class RequestReader:
    """The requests of one connection. The parser calls what begins with `on_`."""

    def __init__(self, handler: Handler, timer: ClientTimer) -> None:
        self.waiting: deque[Request] = deque()
        """What is to be answered or is being answered, from the end of its head to its reply."""
        self.deaf = False
        """True while nothing that still comes is looked at."""
        self._handler = handler
        self._timer = timer
        self._parser: Any = httptools.HttpRequestParser(self)
        self._coming = Request()
        """What is being read, or was read last."""
        self._is_upgrade = False
        """Whether the parser stops behind the head that it reads, for another protocol."""
        self._surplus = 0
        """Bytes of the request that is being read that are no body."""

    def share(self, data: bytes | memoryview) -> int:
        """How many bytes of `data` are to be fed at once."""
        coming = self._coming
        if not coming.headed or coming.whole:
            size = len(data)
            if size <= _HEAD_SHARE_BYTES:
                return size
            if size <= _WHOLE_SHARE_BYTES and isinstance(data, bytes):
                # In one piece a body need not be joined. No line ends in it, so no further request begins there
                end = data.find(_END_OF_HEAD)
                if end > 0 and data.find(b"\r", end + len(_END_OF_HEAD)) < 0:
                    return size
            return _HEAD_SHARE_BYTES
        left = coming.announced - coming.size
        return left if left > 0 else _CHUNKS_SHARE_BYTES

    def feed(self, data: bytes | memoryview) -> None:
        """Read `data`."""
        left = self._feed(data)
        while left and not self.deaf:
            left = self._feed(left)
        if self._surplus > MAX_HEAD_BYTES:
            place = "chunks and trailer" if self._coming.headed else "head"
            self.give_up(400, f"The {place} of the request are longer than {MAX_HEAD_BYTES >> 10} KiB")

    def close(self) -> None:
        """Let go of what was read, but for the request that is being answered."""
        self.deaf = True
        self._parser = None

    def let_go(self, request: Request) -> None:
        """`request` is over: its body is no longer in memory."""
        request.drop_body()
        if request.held or request.compressed:
            self._handler.bodies.give_back(request)

    def _feed(self, data: bytes | memoryview) -> bytes | memoryview:
        """Let the parser read `data`; returns what is left for the next one."""
        self._surplus += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if self.deaf:
                return b""
            left = data[upgrade.args[0] :]
            self._surplus -= len(left)
            self._decline_upgrade()
            return left
        except httptools.HttpParserError as error:
            self._refuse_malformed(error)
        return b""

    def _decline_upgrade(self) -> None:
        """Go on in HTTP/1.1. Clients that offer HTTP/2 send a body, which the parser has taken for the new protocol."""
        self._parser = httptools.HttpRequestParser(self)
        try:
            if self._coming.body_fields:
                self._parser.feed_data(b"POST / HTTP/1.1\r\n" + self._coming.body_fields + b"\r\n")
        except httptools.HttpParserError as error:  # a coding that it looks at only now
            self._refuse_malformed(error)
        self._is_upgrade = False

    def on_message_begin(self) -> None:
        """A request begins."""
        if not self._is_upgrade:
            self._coming = Request()
            self._surplus = 0

    def on_url(self, piece: bytes) -> None:
        """A piece of what it asks for."""
        if self._is_upgrade:
            return
        self._coming.path += piece.decode("utf-8", "surrogateescape")
        if len(self._coming.path) > MAX_LINE_BYTES:
            self.give_up(400, f"The request line is longer than {MAX_LINE_BYTES >> 10} KiB")

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header field, or one behind the body, which nobody asked for."""
        request = self._coming
        if self._is_upgrade:
            return
        if request.headed:
            request.fields += 1
        else:
            request.add_field(name, value)
        if len(name) + len(value) > MAX_LINE_BYTES:
            self.give_up(400, f"A header is longer than {MAX_LINE_BYTES >> 10} KiB")
        elif request.fields > MAX_FIELDS:
            self.give_up(400, f"There are more than {MAX_FIELDS} headers")

    def on_headers_complete(self) -> None:
        """The head is whole."""
        request, parser = self._coming, self._parser
        if self.deaf or request.headed:
            return
        if request.length_digits > _MAX_LENGTH_DIGITS:
            self.give_up(400, f"Malformed request: Content-Length of {request.length_digits} digits")
            return
        request.headed = True
        self._is_upgrade = parser.should_upgrade()
        request.name_path()
        request.method = parser.get_method().decode()
        request.newest = parser.get_http_version() == "1.1"
        request.keep_alive = parser.should_keep_alive()
        request.expects = (request.header(b"expect") or "").lower() == "100-continue"
        self._timer.body_began = self._timer.heard
        request.refusal = self._handler.admit(request)
        self.waiting.append(request)

    def on_body(self, piece: bytes) -> None:
        """A piece of the body."""
        request, handler = self._coming, self._handler
        self._surplus = max(0, self._surplus - len(piece) - _CHUNK_FRAMING_BYTES)
        if request.refusal is not None or self.deaf:
            return
        request.add_body(piece)
        size = request.size
        if size > handler.max_body_bytes:
            self._refuse(request, handler.refuse_size(request))
        elif size > _UNCOUNTED_BYTES and request.keeps_body and not handler.bodies.take(request):
            self._refuse(request, handler.refuse_sum(request))

    def on_message_complete(self) -> None:
        """The request is whole."""
        if not self.deaf and not (self._is_upgrade and self._coming.body_fields):
            self._coming.whole = True
            self._coming.received = perf_counter()
            self._surplus = 0

    def _refuse_malformed(self, error: httptools.HttpParserError) -> None:
        self.give_up(400, f"Malformed request: {error}")

    def give_up(self, status: int, message: str) -> None:
        """Listen to nothing more, and tell why when it is that request's turn."""
        if self.deaf:
            return
        self.deaf = True
        request = Request() if self._coming.whole else self._coming
        if request.refusal is None:
            self._refuse(request, self._handler.refuse(request, status, message))
        if not request.headed:
            self.waiting.append(request)

    def _refuse(self, request: Request, refusal: Reply) -> None:
        request.refusal = refusal
        self.let_go(request)
