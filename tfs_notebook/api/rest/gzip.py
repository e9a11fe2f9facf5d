"""Compression of large replies, for clients that accept gzip.

TensorFlow Serving has none. At the fastest level a processor compresses about 55 MB of numbers a second to half: a gain
on networks below some 200 Mbit/s, a loss on faster ones.
"""

from __future__ import annotations

import asyncio
import gzip
import re
from typing import TYPE_CHECKING

from tfs_notebook.api.http.messages import Reply

if TYPE_CHECKING:
    from concurrent.futures import Executor

_FASTEST = 1
_NEVER = re.compile(r"q=0(\.0*)?")


async def compressed(body: bytes, pool: Executor) -> Reply:
    """The JSON `body`, compressed on `pool`, or as it is when that takes no more work."""
    try:
        smaller = await asyncio.get_running_loop().run_in_executor(pool, gzip.compress, body, _FASTEST)
    except RuntimeError:  # shut down: the server closes, and begins nothing more
        return Reply(200, body)
    return Reply(200, smaller, headers=[(b"Content-Encoding", b"gzip"), (b"Vary", b"Accept-Encoding")])


def accepts_gzip(header: str) -> bool:
    """Whether an Accept-Encoding `header` has gzip, or everything, among it."""
    accepted = {}
    for item in header.lower().split(","):
        name, _, quality = item.partition(";")
        accepted[name.strip()] = quality.replace(" ", "")
    quality = accepted.get("gzip", accepted.get("*", "q=0"))
    return not _NEVER.fullmatch(quality)
