"""One HTTP/1.1 connection: its requests are answered in their order.

* What can be answered at once is answered where its last byte was read: no task, no other thread. A general HTTP
  server takes several times as long for a request as a small model does.
* One request is answered at a time. While many wait, or the client does not read, nothing more is read. Who sends many
  at once takes turns with the other connections.
* A refusal is written before the body has come; what comes of it then is thrown away. When a client may still be
  sending to a connection that ends, it is read on for a while, as closing it at once would take the reply with it.
* A client that has ended its own direction is answered. Whether it has gone, it does not tell: it is asked.
"""

from __future__ import annotations

import asyncio
import socket
from time import perf_counter
from typing import TYPE_CHECKING, Any, cast

from tfs_notebook.api.dispatch.thresholds import TURN_SECONDS
from tfs_notebook.api.http.messages import Reply
from tfs_notebook.api.http.reader import RequestReader
from tfs_notebook.api.http.timeouts import ClientTimer

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from tfs_notebook.api.http.handler import Handler
    from tfs_notebook.api.http.messages import Request
    from tfs_notebook.api.http.server import HttpServer

_MAX_WAITING_REQUESTS = 16
_MAX_WAITING_BYTES = 1 << 20
"""Bytes of waiting requests from which no more are read. Up to then reading also tells when the client goes."""
_JOINED_BYTES = 64 << 10
"""Bytes of a body that are sooner copied behind its head than written on their own."""
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_PROBES = 2
"""Somebody who has gone is found out by the second thing that is written: the first one's answer is a reset."""


class Connection(asyncio.Protocol):
    """The server's end of a connection."""

    def __init__(self, server: HttpServer) -> None:
        self._server = server
        self._handler: Handler = server.handler
        self._loop = server.loop
        self._transport: asyncio.Transport | None = None
        self._timer = ClientTimer(self._loop.time())
        self._reader = RequestReader(server.handler, self._timer)
        self._waiting = self._reader.waiting
        self._unread: memoryview | bytes = b""
        """What has come and was not looked at yet."""
        self._answering: asyncio.Future[Any] | None = None
        self._blocked = False
        """Whether the client does not read what was written."""
        self._pauses = False
        """Whether the other connections have their turn."""
        self._reads = True
        self._half_closed = False
        """Whether the client has ended its own direction."""
        self._questions = 0
        self._ended = False
        """Whether the last reply has been written."""

    @property
    def busy(self) -> bool:
        """Whether a request is answered, or its body is on the way."""
        return bool(self._waiting)

    @property
    def idle_since(self) -> float | None:
        """When the client was last answered, None while it waits for an answer."""
        waiting = self._waiting
        return None if waiting and (waiting[0].whole or waiting[0].refusal) else self._timer.free_since

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
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        # Whatever the client takes is sent at once: later, the interpreter's lock may be a busy cell's
        self._transport.set_write_buffer_limits(high=0)
        self._server.opened(self)

    def connection_lost(self, _error: Exception | None) -> None:
        """Let go of everything; what is being answered is cancelled."""
        self._server.lost(self)
        self._transport, self._unread = None, b""
        self._reader.close()
        self._forget(1 if self._answering is not None else 0)
        if self._answering is not None:
            self._reader.let_go(self._waiting[0])
            self._loop.call_soon(self._answering.cancel)  # not before it has begun, and can let go of what it holds

    def data_received(self, data: bytes) -> None:
        """Read, and answer what has become whole."""
        self._timer.heard = now = self._loop.time()
        self._server.heard(self, now)
        if self._ended:
            return
        reader = self._reader
        if not self._unread and not reader.deaf and len(data) <= reader.share(data):
            reader.feed(data)
        else:
            self._unread = memoryview(bytes(self._unread) + data if self._unread else data)
        self._go_on()

    def eof_received(self) -> bool:
        """The client sends no more, and is answered what it has asked; returns whether anything is to be answered."""
        self._half_closed = True
        if self._ended or not (self._waiting or self._unread):
            return False
        self._go_on()
        return True

    def pause_writing(self) -> None:
        """The client does not read."""
        self._blocked = True

    def resume_writing(self) -> None:
        """The client reads again."""
        self._blocked = False
        self._go_on()

    # Answering

    def _go_on(self) -> None:
        """Answer what can be answered, read more when that was all, and let others have their turn meanwhile."""
        if self._pauses:
            return
        began = 0.0
        while self._answer_or_read():
            if not (self._waiting or self._unread):
                break
            now = perf_counter()
            began = began or now
            if now - began > TURN_SECONDS:
                self._pauses = True
                self._loop.call_soon(self._take_turn)
                break
        if self._waiting:
            self._let_the_body_come(self._waiting[0])
        elif self._reader.deaf and not self._ended:
            self._end(lingers=True)
        if self._half_closed and not (self._pauses or self._ended):
            self._end_half_closed()
        self._read_or_not()

    def _take_turn(self) -> None:
        self._pauses = False
        if self._transport is not None:
            self._go_on()

    def _answer_or_read(self) -> bool:
        """Answer the next request, or read a little; False when neither can be done now."""
        waiting = self._waiting
        if self._blocked:
            return False
        if waiting and self._answering is None:
            request = waiting[0]
            if request.refusal is not None:
                self._write(request, request.refusal)
                return True
            if request.whole:
                answer = self._handler.answer(request)
                if isinstance(answer, Reply):
                    self._write(request, answer)
                else:
                    self._wait_for(answer)
                return True
        if not self._unread or self._is_full():
            return False
        if self._reader.deaf:
            self._unread = b""
            return False
        share = self._reader.share(self._unread)
        data, self._unread = self._unread[:share], self._unread[share:]
        self._reader.feed(data)
        return True

    def _wait_for(self, answer: Awaitable[Any]) -> None:
        self._answering = asyncio.ensure_future(answer)
        self._answering.add_done_callback(self._answered)

    def _answered(self, answer: asyncio.Future[Any]) -> None:
        request = self._waiting[0]
        if answer.cancelled():
            self._forget(0)
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
        if self._blocked or request.whole or request.refusal is not None:
            return
        if request.expects and not request.size and self._transport is not None:
            self._transport.write(_CONTINUE)
        request.expects = False

    def _write(self, request: Request, reply: Reply) -> None:
        self._waiting.popleft()
        if request.size:
            self._reader.let_go(request)
        self._server.answered += 1
        transport = self._transport
        if transport is None:
            return
        last = reply.last or not request.keep_alive or self._handler.closing
        head, body = reply.head(request, last=last), b"" if request.method == "HEAD" else reply.body
        if len(body) <= _JOINED_BYTES:
            transport.write(head + body)
        else:
            transport.writelines((head, body))
        self._timer.free_since = self._loop.time()
        if last:
            self._end(lingers=self._reader.deaf or not request.whole)

    def _end(self, *, lingers: bool) -> None:
        """Write no more; who `lingers` may still be sent something, which is thrown away."""
        self._forget(0)
        self._unread = b""
        self._reader.deaf = self._ended = True
        transport = self._transport
        if transport is not None and lingers and not self._handler.closing and transport.can_write_eof():
            transport.write_eof()
        else:
            self.close()

    def _end_half_closed(self) -> None:
        """End a connection on which nothing more comes, once all that came is answered."""
        waiting = self._waiting
        if not self._unread and not (waiting and (waiting[0].whole or waiting[0].refusal)):
            self._end(lingers=False)

    def _forget(self, kept: int) -> None:
        """Answer none of what waits but the first `kept`."""
        while len(self._waiting) > kept:
            self._reader.let_go(self._waiting.pop())

    def _read_or_not(self) -> None:
        transport = self._transport
        wanted = not (self._blocked or self._pauses or self._unread or self._is_full())
        if transport is None or wanted == self._reads or self._half_closed or transport.is_closing():
            return
        self._reads = wanted
        if wanted:
            transport.resume_reading()
        else:
            transport.pause_reading()

    def _is_full(self) -> bool:
        waiting = len(self._waiting)
        return waiting > 1 and (
            waiting > _MAX_WAITING_REQUESTS or sum(request.size for request in self._waiting) > _MAX_WAITING_BYTES
        )

    # Time

    def look(self, now: float) -> None:
        """Give up a client that takes too long, at `now` of the loop's time."""
        transport, timer = self._transport, self._timer
        if transport is None:
            return
        unread = transport.get_write_buffer_size()
        if not timer.reads(unread, now):
            transport.abort()
        elif unread:
            return
        elif self._ended:
            if timer.has_lingered(now):
                transport.abort()
        elif not self._waiting:
            if timer.is_silent(now):
                transport.close()
        elif self._half_closed:
            self._ask_who_is_there(transport)
        elif self._reads:
            self._look_at_the_body(now)

    def _ask_who_is_there(self, transport: asyncio.Transport) -> None:
        """Find out whether a client that sends no more has gone, in words that one who waits passes over."""
        if self._answering is not None and self._waiting[0].newest and self._questions < _PROBES:
            self._questions += 1
            transport.write(_CONTINUE)

    def _look_at_the_body(self, now: float) -> None:
        request = self._waiting[-1]
        if request.whole or request.refusal is not None:
            return
        told = self._timer.late_body(now)
        if told:
            self._reader.give_up(408, told)
            self._go_on()
