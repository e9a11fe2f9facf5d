"""How many versions are loaded at a time: more than there are processors only take each other's, and more memory."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_LONG_SECONDS = 1.0
"""A load that takes longer waits for a disk, perhaps one that does not answer, or computes on all processors anyway."""


class LoadSlots:
    """Places for loads, given in the order in which they are asked for."""

    def __init__(self, places: int = 0) -> None:
        """0: one for each processor, but two at least."""
        self._free = asyncio.Semaphore(places if places > 0 else max(os.cpu_count() or 1, 2))

    @asynccontextmanager
    async def taken(self) -> AsyncIterator[None]:
        """A place until the end of the `with`, or until another load goes on beside one that takes long."""
        await self._free.acquire()
        is_mine = True

        def give_back() -> None:
            nonlocal is_mine
            if is_mine:
                is_mine = False
                self._free.release()

        timer = asyncio.get_running_loop().call_later(_LONG_SECONDS, give_back)
        try:
            yield
        finally:
            timer.cancel()
            give_back()
