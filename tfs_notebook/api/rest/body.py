"""The body of a REST request: its limit, its compression, and the requests that are refused unread."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from tfs_notebook.api.http.messages import Reply, Request
from tfs_notebook.api.json.codec import encode_error
from tfs_notebook.errors import Code

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tfs_notebook.api.http.body_budget import BodyBudget

_PIECE, _INFLATED_PIECE = 64 << 10, 1 << 20
"""Bytes that are inflated at a time, and of what comes of them."""
_CODES = {408: Code.DEADLINE_EXCEEDED, 413: Code.RESOURCE_EXHAUSTED, 503: Code.UNAVAILABLE}


class Refused(Exception):  # noqa: N818 - not an error of ours
    """A request that is answered without looking at what it asks for; its connection ends when it is `last`."""

    def __init__(self, status: int, message: str, *, last: bool = False) -> None:
        self.code = _CODES.get(status, Code.INVALID_ARGUMENT)
        headers = [(b"WWW-Authenticate", b"Bearer")] if status == 401 else []
        self.reply = Reply(status, encode_error(message), headers=headers, last=last)


def too_large(limit: int, size: int = 0) -> Refused:
    """The refusal of a body of `size` bytes, by its head, or of one that became larger than `limit`."""
    told = f"{size} bytes" if size else "more"
    message = f"Request body of {told} is larger than {limit >> 20} MiB; --rest_api_max_body_mb sets the limit"
    return Refused(413, message, last=True)


def too_many(budget: int) -> Refused:
    """The refusal of a body that does not fit beside those of other requests."""
    message = (
        f"The bodies of all requests would take more than {budget >> 20} MiB: try again when others are answered; "
        "--rest_api_body_budget_mb sets the limit"
    )
    return Refused(503, message, last=True)


def is_compressed(request: Request) -> bool:
    """Whether the body is gzip, by TensorFlow Serving's rule."""
    encoding = request.header(b"content-encoding")
    return encoding is not None and "gzip" in encoding.lower()


def inflated_at_once(body: bytes, most: int) -> bytes | None:
    """`body` without its gzip, None when that has more than `most` bytes. What cannot be inflated is empty."""
    inflater = zlib.decompressobj(wbits=31)
    try:
        plain = inflater.decompress(body, most + 1)
    except zlib.error:
        return b""
    if len(plain) > most:
        return None
    return plain if inflater.eof else b""


def inflated(request: Request, most: int, budget: BodyBudget) -> bytes:
    """The body of `request` without its gzip. What cannot be inflated is empty, as in TensorFlow Serving.

    Raises Refused when it is larger than `most` bytes, or than what is left of the `budget`.
    """
    inflater, pieces, size = zlib.decompressobj(wbits=31), list[bytes](), 0
    try:
        for piece in _inflate(inflater, request.take_body()):
            size += len(piece)
            if size > most:
                raise too_large(most)
            if not budget.inflate(request, len(piece)):
                raise too_many(budget.most)
            pieces.append(piece)
    except zlib.error:
        return b""
    return b"".join(pieces) if inflater.eof else b""


def _inflate(inflater: zlib._Decompress, body: bytes) -> Iterator[bytes]:
    for start in range(0, len(body), _PIECE):
        left = body[start : start + _PIECE]
        while left and not inflater.eof:
            yield inflater.decompress(left, _INFLATED_PIECE)
            left = inflater.unconsumed_tail
    while not inflater.eof and (piece := inflater.decompress(b"", _INFLATED_PIECE)):
        yield piece
