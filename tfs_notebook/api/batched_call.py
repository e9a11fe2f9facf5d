"""Waiting on an event loop for a call that runs with others: no thread is held meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from tfs_notebook.api.inference import Begun


async def batched(
    begin: Callable[[Callable[[Begun], object]], Begun | None], timeout: float | None
) -> dict[str, np.ndarray] | None:
    """All outputs of the call that `begin` begins, by `Call.begin`; None where that gives None. Raises ServingError.

    A caller that is cancelled takes its call out of the queue.
    """
    loop = asyncio.get_running_loop()
    over: asyncio.Future[None] = loop.create_future()
    begun = begin(partial(_tell, loop, over))
    if begun is None:
        return None
    timer = loop.call_later(timeout, _settle, over) if timeout is not None else None
    try:
        await over
    except asyncio.CancelledError:
        begun.give_up()
        raise
    finally:
        if timer is not None:
            timer.cancel()
    return begun.end()


def _tell(loop: asyncio.AbstractEventLoop, over: asyncio.Future[None], _begun: Begun) -> None:
    with contextlib.suppress(RuntimeError):  # the loop has ended, and nobody waits
        loop.call_soon_threadsafe(_settle, over)


def _settle(over: asyncio.Future[None]) -> None:
    if not over.done():
        over.set_result(None)
