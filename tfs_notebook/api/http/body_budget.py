"""How many bytes of request bodies are in memory, over all connections, as they came and inflated."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tfs_notebook.api.http.messages import Request

SMALL_BODY = 64 << 10
"""Bytes of a body that are always taken: whoever asks little is answered while others fill the memory."""


class BodyBudget:
    """Bodies of at most `most` bytes together. All of it but `inflate` belongs to one event loop."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._came = self._inflated = 0
        self._lock = threading.Lock()

    @property
    def taken(self) -> int:
        """Bytes that are in memory."""
        return self._came + self._inflated

    def take(self, request: Request) -> bool:
        """Count what has come for `request`; False when it is too much, and the request is to be refused."""
        self._came += request.size - request.held
        request.held = request.size
        return self._came + self._inflated <= self.most or request.held <= SMALL_BODY

    def inflate(self, request: Request, size: int) -> bool:
        """Count `size` more bytes of what `request` inflates to; False when they are too many. Any thread may ask."""
        with self._lock:
            if request.over or (self.taken + size > self.most and request.inflated + size > SMALL_BODY):
                return False
            self._inflated += size
            request.inflated += size
        return True

    def give_back(self, request: Request) -> None:
        """`request` is over, and holds nothing any more."""
        self._came -= request.held
        request.held = 0
        if request.compressed:
            with self._lock:
                self._inflated -= request.inflated
                request.inflated = 0
                request.over = True
