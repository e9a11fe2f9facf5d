"""The connections of the REST front end: how many there may be, and what is answered to what is not HTTP."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

from aiohttp import web

from tfs_notebook.api.json_writer import encode_error

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

IDLE_SECONDS = 75.0
"""How long a connection may be silent, or take to send the head of a request."""
_MOST = 4096
_FALLBACK_MOST = 512


def most_connections() -> int:
    """How many connections there may be at a time: half of the files that the kernel may have open."""
    try:
        import resource
    except ImportError:  # Windows
        return _FALLBACK_MOST
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST if soft == resource.RLIM_INFINITY else max(16, min(_MOST, soft // 2))


class Connections(web.Server):
    """aiohttp's low-level server with a limit."""

    def __init__(
        self, handler: Callable[[web.BaseRequest], Awaitable[Any]], most: int | None = None, **options: Any
    ) -> None:
        super().__init__(handler, keepalive_timeout=IDLE_SECONDS, **options)
        self._most = most_connections() if most is None else most

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._connections)

    def __call__(self) -> web.RequestHandler:
        """The protocol of a new connection."""
        if self.count >= self._most:
            return _Surplus()  # type: ignore[return-value]
        return Connection(self, loop=self._loop, **self._kwargs)

    def close_idle(self) -> None:
        """Close the connections on which nothing is under way."""
        for connection, transport in list(self._connections.items()):
            if not cast("Connection", connection).busy:
                transport.close()


class Connection(web.RequestHandler):
    """One connection; `busy` from the head of a request until its reply has been written."""

    __slots__ = ("busy",)

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.busy = False

    async def finish_response(self, *args: Any) -> tuple[web.StreamResponse, bool]:
        """Write the reply."""
        try:
            return await super().finish_response(*args)
        finally:
            self.busy = False

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what is not HTTP with the JSON body that every error has."""
        if request.writer.output_size > 0:
            raise ConnectionError("a part of another reply has been sent")
        self.log_debug("%s from %s: %s", status, request.remote, message, exc_info=exc)
        response = web.Response(
            status=status, body=encode_error(message or "Malformed request"), content_type="application/json"
        )
        response.force_close()
        return response


class _Surplus(asyncio.Protocol):
    """One connection too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        body = encode_error("Too many connections")
        head = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nConnection: close\r\n"
        cast("asyncio.Transport", transport).write(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        transport.close()
