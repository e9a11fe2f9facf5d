"""One HTTP/1.1 connection: llhttp reads the requests, which are answered in their order.

* What can be answered at once is answered where its last byte was read: no task, no other thread. A general HTTP
  server takes several times as long for a request as a small model does.
* One request is answered at a time. While many wait, or the client does not read, nothing more is read.
* A refusal is written before the body has come; what comes of it then is thrown away. When a client may still be
  sending to a connection that ends, it is read on for a while, as closing it at once would take the reply with it.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol, cast

import httptools

from tfs_notebook.api.http_messages import Reply, Request

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from tfs_notebook.api.http_server import HttpServer

MOST_FIELDS = 128
LONGEST_LINE = 64 << 10
"""Bytes of a request line or header; a browser sends the cookies of every port of localhost."""
LONGEST_HEAD = 512 << 10
SILENT_SECONDS = 75.0
"""How long a connection may be silent, or take to send the head of a request."""
PAUSE_SECONDS = 30.0
"""How long a client may pause in the middle of a body."""
BODY_SECONDS = 600.0
"""How long a client may take to send a body."""
LINGERING_SECONDS = 10.0
_MOST_WAITING = 16
_MUCH = 1 << 20
"""Bytes of waiting requests from which no more are read. Up to then reading also tells when the client goes."""
_ONE_PIECE = 64 << 10
"""Bytes of a body that are sooner copied behind its head than written on their own."""


class Handler(Protocol):
    """Who answers. Its methods raise nothing."""

    @property
    def longest_body(self) -> int:
        """How many bytes a body may have."""

    @property
    def closing(self) -> bool:
        """Whether every reply is the last of its connection."""

    def admit(self, request: Request) -> Reply | None:
        """A look at the head: a reply refuses the request, None lets the body come."""

    def answer(self, request: Request) -> Reply | Awaitable[Any]:
        """The reply to a whole request, or what is cancelled when the client goes and else handed to `answered`."""

    def answered(self, request: Request, answer: asyncio.Future[Any]) -> Reply | Awaitable[Any]:
        """The same once the `answer` is there."""

    def abandoned(self, request: Request) -> None:
        """The client has gone before it was answered."""

    def refuse(self, request: Request, status: int, message: str) -> Reply:
        """The reply to a request that did not come as it should. It is the last of its connection."""

    def refuse_size(self, request: Request) -> Reply:
        """The same for a body that became longer than `longest_body`."""


class Connection(asyncio.Protocol):
    """The server's end of a connection. The parser calls what begins with `on_`."""

    def __init__(self, server: HttpServer) -> None:
        self._server = server
        self._handler: Handler = server.handler
        self._loop = server.loop
        self._parser: Any = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._coming = Request()
        """What is being read, or was read last."""
        self._waiting: deque[Request] = deque()
        """What is to be answered or is being answered, from the end of its head to its reply."""
        self._answering: asyncio.Future[Any] | None = None
        self._blocked = False
        """Whether the client does not read what was written."""
        self._reads = True
        self._deaf = False
        """Whether nothing that still comes is looked at."""
        self._ended = False
        """Whether the last reply has been written."""
        self._is_upgrade = False
        """Whether the parser stops behind the head that it reads, for another protocol."""
        self._head_bytes = 0
        self._free_since = self._heard = self._body_began = 0.0

    @property
    def busy(self) -> bool:
        """Whether a request is answered, or its body is on the way."""
        return bool(self._waiting)

    def close(self) -> None:
        """End it once everything is written."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """End it at once."""
        if self._transport is not None:
            self._transport.abort()

    # What the transport tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)
        self._free_since = self._heard = self._loop.time()
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        # Whatever the client takes is sent at once: later, the interpreter's lock may be a busy cell's
        self._transport.set_write_buffer_limits(high=0)
        self._server.opened(self)

    def connection_lost(self, _error: Exception | None) -> None:
        """Let go of everything; what is being answered is cancelled."""
        self._server.lost(self)
        self._transport = self._parser = None
        while len(self._waiting) > (self._answering is not None):
            self._waiting.pop()
        if self._answering is not None:
            self._loop.call_soon(self._answering.cancel)  # not before it has begun, and can let go of what it holds

    def data_received(self, data: bytes) -> None:
        """Read, and answer what has become whole."""
        self._heard = now = self._loop.time()
        self._server.heard(self, now)
        left = data
        while left and not self._deaf:
            left = self._feed(left)
        if self._deaf and self._ended:
            return
        self._head_bytes = 0 if self._coming.headed else self._head_bytes + len(data)
        if self._head_bytes > LONGEST_HEAD:
            self._break(f"The head of the request is longer than {LONGEST_HEAD >> 10} KiB")
        self._go_on()

    def pause_writing(self) -> None:
        """The client does not read."""
        self._blocked = True

    def resume_writing(self) -> None:
        """The client reads again."""
        self._blocked = False
        self._go_on()

    # What the parser tells

    def _feed(self, data: bytes) -> bytes:
        """Let the parser read `data`; returns what is left for the next one."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._decline_upgrade()
            return data[upgrade.args[0] :]
        except httptools.HttpParserError as error:
            self._break(f"Malformed request: {error}")
        return b""

    def _decline_upgrade(self) -> None:
        """Go on in HTTP/1.1. Clients that offer HTTP/2 send a body, which the parser has taken for the new protocol."""
        self._parser = httptools.HttpRequestParser(self)
        if self._coming.body_fields:
            self._parser.feed_data(b"POST / HTTP/1.1\r\n" + self._coming.body_fields + b"\r\n")
        self._is_upgrade = False

    def on_message_begin(self) -> None:
        """A request begins."""
        if not self._is_upgrade:
            self._coming = Request()

    def on_url(self, piece: bytes) -> None:
        """A piece of what it asks for."""
        if self._is_upgrade:
            return
        self._coming.path += piece.decode("utf-8", "surrogateescape")
        if len(self._coming.path) > LONGEST_LINE:
            self._break(f"The request line is longer than {LONGEST_LINE >> 10} KiB")

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header field, or one behind the body, which nobody asked for."""
        request = self._coming
        if request.headed:
            return
        request.add_field(name, value)
        if len(name) + len(value) > LONGEST_LINE:
            self._break(f"A header is longer than {LONGEST_LINE >> 10} KiB")
        elif request.fields > MOST_FIELDS:
            self._break(f"There are more than {MOST_FIELDS} headers")

    def on_headers_complete(self) -> None:
        """The head is whole."""
        request, parser = self._coming, self._parser
        if self._deaf or request.headed:
            return
        request.headed = True
        self._is_upgrade = parser.should_upgrade()
        request.name_path()
        request.method = parser.get_method().decode()
        request.newest = parser.get_http_version() == "1.1"
        request.keep_alive = parser.should_keep_alive()
        request.expects = (request.header(b"expect") or "").lower() == "100-continue"
        self._body_began = self._heard
        request.refusal = self._handler.admit(request)
        self._waiting.append(request)

    def on_body(self, piece: bytes) -> None:
        """A piece of the body."""
        request = self._coming
        if request.refusal is not None or self._deaf:
            return
        request.add_body(piece)
        if request.size > self._handler.longest_body:
            request.refuse(self._handler.refuse_size(request))

    def on_message_complete(self) -> None:
        """The request is whole."""
        if not self._deaf and not (self._is_upgrade and self._coming.body_fields):
            self._coming.whole = True

    def _break(self, message: str) -> None:
        """Listen to nothing more, and tell why when it is that request's turn."""
        if self._deaf:
            return
        self._deaf = True
        request = Request() if self._coming.whole else self._coming
        if request.refusal is None:
            request.refuse(self._handler.refuse(request, 400, message))
        if not request.headed:
            self._waiting.append(request)

    # Answering

    def _go_on(self) -> None:
        """Answer what can be answered, and read more when that was all."""
        waiting = self._waiting
        while waiting and self._answering is None and not self._blocked:
            request = waiting[0]
            reply = request.refusal
            if reply is None:
                if not request.whole:
                    self._let_the_body_come(request)
                    break
                answer = self._handler.answer(request)
                if not isinstance(answer, Reply):
                    self._wait_for(answer)
                    break
                reply = answer
            self._write(request, reply)
        if self._deaf and not waiting and not self._ended:
            self._end(lingers=True)
        self._read_or_not()

    def _wait_for(self, answer: Awaitable[Any]) -> None:
        self._answering = asyncio.ensure_future(answer)
        self._answering.add_done_callback(self._answered)

    def _answered(self, answer: asyncio.Future[Any]) -> None:
        request = self._waiting[0]
        if answer.cancelled():
            self._waiting.clear()
            self._handler.abandoned(request)
            self.abort()
            return
        reply = self._handler.answered(request, answer)
        if not isinstance(reply, Reply):
            self._wait_for(reply)
            return
        self._answering = None
        self._write(request, reply)
        self._go_on()

    def _let_the_body_come(self, request: Request) -> None:
        if request.expects and not request.size and self._transport is not None:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.expects = False

    def _write(self, request: Request, reply: Reply) -> None:
        self._waiting.popleft()
        self._server.answered += 1
        transport = self._transport
        if transport is None:
            return
        last = reply.last or not request.keep_alive or self._handler.closing
        head, body = reply.head(request, last=last), b"" if request.method == "HEAD" else reply.body
        if len(body) <= _ONE_PIECE:
            transport.write(head + body)
        else:
            transport.writelines((head, body))
        self._free_since = self._loop.time()
        if last:
            self._end(lingers=self._deaf or not request.whole)

    def _end(self, *, lingers: bool) -> None:
        """Write no more; who `lingers` may still be sent something, which is thrown away."""
        self._waiting.clear()
        self._deaf = self._ended = True
        transport = self._transport
        if transport is not None and lingers and not self._handler.closing and transport.can_write_eof():
            transport.write_eof()
        else:
            self.close()

    def _read_or_not(self) -> None:
        transport, wanted = self._transport, not self._blocked and not self._is_full()
        if transport is None or wanted == self._reads or transport.is_closing():
            return
        self._reads = wanted
        if wanted:
            transport.resume_reading()
        else:
            transport.pause_reading()

    def _is_full(self) -> bool:
        waiting = len(self._waiting)
        return waiting > 1 and (waiting > _MOST_WAITING or sum(request.size for request in self._waiting) > _MUCH)

    # Time

    def look(self, now: float) -> None:
        """Give up a client that takes too long, at `now` of the loop's time."""
        transport = self._transport
        if transport is None:
            return
        if transport.get_write_buffer_size():
            self._free_since = now
        elif self._ended:
            if now - self._free_since > LINGERING_SECONDS:
                transport.abort()
        elif not self._waiting:
            if now - self._free_since > SILENT_SECONDS:
                transport.close()
        elif self._reads:
            self._look_at_the_body(now)

    def _look_at_the_body(self, now: float) -> None:
        request = self._waiting[-1]
        if request.whole or request.refusal is not None:
            return
        if now - self._body_began > BODY_SECONDS:
            told = "The body took too long to arrive"
        elif now - self._heard > PAUSE_SECONDS:
            told = f"No more of the body arrived for {PAUSE_SECONDS:.0f} seconds"
        else:
            return
        self._deaf = True
        request.refuse(self._handler.refuse(request, 408, told))
        self._go_on()
