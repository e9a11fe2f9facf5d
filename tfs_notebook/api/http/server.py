"""The connections of the REST front end: where they are accepted, how many there may be, and how they end."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import os
import socket
from math import inf
from typing import TYPE_CHECKING, cast

from tfs_notebook.api.dispatch.thresholds import CROWD_SECONDS
from tfs_notebook.api.http.connection import Connection
from tfs_notebook.api.http.messages import Reply, Request
from tfs_notebook.api.json.writer import encode_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tfs_notebook.api.http.handler import Handler

_MAX_CONNECTIONS = 4096
_FALLBACK_CONNECTIONS = 512
_LOOK_SECONDS = 1.0
_BACKLOG = 4096


def max_connections() -> int:
    """How many connections there may be at a time: half of the files that the kernel may have open."""
    try:
        import resource
    except ImportError:  # Windows
        return _FALLBACK_CONNECTIONS
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MAX_CONNECTIONS if soft == resource.RLIM_INFINITY else max(16, min(_MAX_CONNECTIONS, soft // 2))


class HttpServer:
    """Connections whose requests `handler` answers, on the event loop that runs where this is made."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.loop = asyncio.get_running_loop()
        self.connections: dict[Connection, None] = {}
        """Those that are open, the oldest first."""
        self.answered = 0
        """How many replies have been written."""
        self.alone = True
        """Whether only one connection has sent anything lately, so that no other request waits for the loop."""
        self._last: Connection | None = None
        self._last_heard = self._others_heard = -inf
        self._empty = asyncio.Event()
        self._empty.set()
        self._most = max_connections()
        self._listening: list[asyncio.Server] = []
        self._looking: asyncio.TimerHandle | None = None

    @property
    def listening(self) -> bool:
        """Whether new connections are accepted."""
        return bool(self._listening)

    async def listen(self, sockets: Sequence[socket.socket]) -> None:
        """Accept connections on `sockets`, which are bound."""
        for each in sockets:
            self._listening.append(await self.loop.create_server(self._accept, sock=each, backlog=_BACKLOG))

    def stop_listening(self) -> None:
        """Accept no more connections; those that are open go on."""
        for server in self._listening:
            for listening in server.sockets:
                with socket.socket(fileno=os.dup(listening.fileno())) as own, contextlib.suppress(OSError):
                    own.shutdown(socket.SHUT_RDWR)  # a process that was forked off has it, too, and would go on
            server.close()
        self._listening.clear()

    def _accept(self) -> asyncio.Protocol:
        if len(self.connections) >= self._most:
            self._end_idle()
        return _RefusedConnection() if len(self.connections) >= self._most else Connection(self)

    def _end_idle(self) -> None:
        """Make room: end the connections that have asked nothing for longest, a few at once as it takes a while."""
        idle = [connection for connection in self.connections if connection.idle_since is not None]
        for connection in heapq.nsmallest(max(self._most // 64, 1), idle, key=lambda one: one.idle_since or 0.0):
            self.connections.pop(connection, None)
            connection.abort()

    def opened(self, connection: Connection) -> None:
        """Know `connection`, and look after it."""
        self.connections[connection] = None
        self._empty.clear()
        if self._looking is None:
            self._looking = self.loop.call_later(_LOOK_SECONDS, self._look)

    def heard(self, connection: Connection, now: float) -> None:
        """Note that `connection` sent something."""
        if connection is not self._last:
            self._last, self._others_heard = connection, self._last_heard
        self._last_heard = now
        self.alone = now - self._others_heard > CROWD_SECONDS

    def lost(self, connection: Connection) -> None:
        """Forget `connection`."""
        self.connections.pop(connection, None)
        if connection is self._last:
            self._last = None
        if not self.connections:
            self._empty.set()

    def _look(self) -> None:
        now = self.loop.time()
        for connection in tuple(self.connections):
            connection.look(now)
        self._looking = self.loop.call_later(_LOOK_SECONDS, self._look) if self.connections else None

    async def close(self, timeout: float) -> None:
        """Stop listening, let the replies under way leave within `timeout` seconds, end the connections."""
        self.stop_listening()
        for connection in tuple(self.connections):
            if not connection.busy:
                connection.close()
        try:
            await asyncio.wait_for(self._empty.wait(), timeout)
        except asyncio.TimeoutError:
            for connection in tuple(self.connections):
                connection.abort()
            await self._empty.wait()
        if self._looking is not None:
            self._looking.cancel()


class _RefusedConnection(asyncio.Protocol):
    """One connection too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        reply = Reply(503, encode_error("Too many connections"), last=True)
        cast("asyncio.Transport", transport).write(reply.head(Request(), last=True) + reply.body)
        transport.close()
