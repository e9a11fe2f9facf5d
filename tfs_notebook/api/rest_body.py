"""The body of a REST request: its limit, its compression, and the requests that are refused unread."""

from __future__ import annotations

import zlib

from tfs_notebook.api.http_messages import Reply, Request
from tfs_notebook.api.json_codec import encode_error
from tfs_notebook.errors import Code

_CODES = {408: Code.DEADLINE_EXCEEDED, 413: Code.RESOURCE_EXHAUSTED}


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


def is_compressed(request: Request) -> bool:
    """Whether the body is gzip, by TensorFlow Serving's rule."""
    encoding = request.header(b"content-encoding")
    return encoding is not None and "gzip" in encoding.lower()


def inflated(body: bytes, limit: int) -> bytes:
    """`body` without its gzip. What cannot be inflated is empty, as in TensorFlow Serving.

    Raises Refused when it is larger than `limit` bytes.
    """
    inflater = zlib.decompressobj(wbits=31)
    try:
        plain = inflater.decompress(body, limit + 1)
    except zlib.error:
        return b""
    if len(plain) > limit:
        raise too_large(limit)
    return plain if inflater.eof else b""
