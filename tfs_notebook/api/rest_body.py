"""The body of a REST request: read within its limit, and the replies to requests that are not looked into."""

from __future__ import annotations

import asyncio
import time
import zlib
from typing import TYPE_CHECKING

from aiohttp import web

from tfs_notebook.api.json_codec import encode_error
from tfs_notebook.errors import Code

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from aiohttp.streams import StreamReader

_CODES = {408: Code.DEADLINE_EXCEEDED, 413: Code.RESOURCE_EXHAUSTED}
IDLE_SECONDS = 30.0
"""How long a client may pause in the middle of a body."""
WHOLE_SECONDS = 600.0
"""How long a client may take to send a body."""


class Refused(Exception):  # noqa: N818 - not an error of ours
    """A request that is answered without looking at what it asks for; its connection ends when it is `last`."""

    def __init__(self, status: int, message: str, *, last: bool = False) -> None:
        self.code = _CODES.get(status, Code.INVALID_ARGUMENT)
        self.response = web.Response(status=status, body=encode_error(message), content_type="application/json")
        if status == 401:
            self.response.headers["WWW-Authenticate"] = "Bearer"
        if last:
            self.response.force_close()


def body_at_hand(request: web.BaseRequest, limit: int) -> bytes | None:
    """The body when all of it arrived with the request's head and it needs no treatment, else None: see `read_body`."""
    content = request.content
    if not content.is_eof() or content.exception() is not None or "Content-Encoding" in request.headers:
        return None
    body = content.read_nowait(-1)
    if len(body) > limit:
        raise _too_large("more", limit)
    return body


async def read_body(request: web.BaseRequest, limit: int, pool: Executor) -> bytes:
    """The body, inflated on `pool` when it is gzip; what cannot be inflated is empty, as in TensorFlow Serving.

    Raises Refused: 413 beyond `limit` bytes, before the body is sent when its length is announced; 408 when the client
    pauses for too long; 400 for a broken transfer.
    """
    if (request.content_length or 0) > limit:
        raise _too_large(f"{request.content_length} bytes", limit)
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the reply itself has not begun
    try:
        body = await request.read() if request.content.is_eof() else await _read_pieces(request.content, limit)
    except web.RequestPayloadError as error:
        raise Refused(400, f"The body cannot be read: {error}", last=True) from None
    if "gzip" in request.headers.get("Content-Encoding", "").lower():
        body = await asyncio.get_running_loop().run_in_executor(pool, _inflated, body, limit)
    if len(body) > limit:
        raise _too_large("more", limit)
    return body


async def _read_pieces(content: StreamReader, limit: int) -> bytes:
    pieces, size, began = [], 0, time.monotonic()
    while not content.at_eof():
        left = began + WHOLE_SECONDS - time.monotonic()
        try:
            piece = await asyncio.wait_for(content.readany(), min(IDLE_SECONDS, left))
        except asyncio.TimeoutError:
            told = "The body took too long to arrive"
            if left > IDLE_SECONDS:
                told = f"No more of the body arrived for {IDLE_SECONDS:.0f} seconds"
            raise Refused(408, told, last=True) from None
        size += len(piece)
        if size > limit:
            raise _too_large("more", limit)
        pieces.append(piece)
    return b"".join(pieces)


def _too_large(size: str, limit: int) -> Refused:
    message = f"Request body of {size} is larger than {limit >> 20} MiB; --rest_api_max_body_mb sets the limit"
    return Refused(413, message, last=True)


def _inflated(body: bytes, limit: int) -> bytes:
    """`body` without its gzip, cut off one byte behind `limit`; empty when it is broken."""
    inflater = zlib.decompressobj(wbits=31)
    try:
        inflated = inflater.decompress(body, limit + 1)
    except zlib.error:
        return b""
    return inflated if inflater.eof or len(inflated) > limit else b""
