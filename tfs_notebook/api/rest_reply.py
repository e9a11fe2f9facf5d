"""A successful JSON reply, written in one piece.

To a plain request the head is three fixed lines; preparing them aiohttp's way costs more than a small model's call.
Anything else (HTTP/1.0, a connection that is to close, a large body to drain) goes that way.
"""

from __future__ import annotations

import time
from email.utils import formatdate
from functools import lru_cache
from typing import TYPE_CHECKING

from aiohttp import HttpVersion11, web

if TYPE_CHECKING:
    from aiohttp.abc import AbstractStreamWriter

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\nDate: %s\r\n\r\n"
_LARGE = 64 << 10


@lru_cache(maxsize=2)
def _date(second: int) -> bytes:
    return formatdate(second, usegmt=True).encode()


class JsonReply:
    """Status 200 with a JSON `body`: as much of a response as aiohttp's protocol asks for."""

    __slots__ = ("_body", "_response", "keep_alive")

    def __init__(self, body: bytes) -> None:
        self.keep_alive: bool | None = True
        self._body = body
        self._response: web.Response | None = None

    def force_close(self) -> None:
        """Close the connection after this reply."""
        self.keep_alive = False

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Write head and body at once where that is all there is to write."""
        body, transport = self._body, request.transport
        stays = self.keep_alive and request.keep_alive
        if len(body) > _LARGE or not stays or request.version != HttpVersion11 or transport is None:
            self._response = web.Response(body=body, content_type="application/json")
            if not self.keep_alive:
                self._response.force_close()
            return await self._response.prepare(request)
        transport.write(_HEAD % (len(body), _date(int(time.time()))) + body)
        if transport.get_write_buffer_size():  # a client that does not read is not sent more
            await request.writer.drain()
        return None

    async def write_eof(self) -> None:
        """End the reply, unless it has been written already."""
        if self._response is not None:
            await self._response.write_eof()
            self.keep_alive = self._response.keep_alive
