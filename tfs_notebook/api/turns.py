"""When and where a request's call runs, by how long it is known to take.

* A short call that nobody else waits for runs at once: a hop to another thread costs more.
* Short calls of several clients run one right after the other once the loop has read all that arrived: TensorFlow's
  code and tables are still in the processor's caches then, and a small call takes a fifth of its time.
* Longer calls whose time is known have a pool of their own: so many of them that TensorFlow's is never without work.
* Every other call runs on a larger pool. So no model ever blocks the loop, nor one of unknown time the others.
"""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from tfs_notebook.api.pool import Pool

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_THREADS_PER_CORE = 4
ALONE_SECONDS = 0.001
TOGETHER_SECONDS = 0.00005
"""A hop to another thread costs about as much; longer calls are worth it when others wait for the loop."""


class Turns:
    """Runs the calls of one event loop."""

    def __init__(self, threads: int) -> None:
        """`threads` is the size of the larger pool."""
        self.pool = Pool(max(threads, 1), thread_name_prefix="tfs-rest")
        self._known = ThreadPoolExecutor(_THREADS_PER_CORE * (os.cpu_count() or 1), thread_name_prefix="tfs-rest-short")
        self._together: list[tuple[asyncio.Future[Any], Callable[[], Any], Callable[[], None]]] = []

    @staticmethod
    def may_run_now(seconds: float | None, *, alone: bool) -> bool:
        """Whether a call that takes about `seconds` (None: nobody knows) is best made where its request was read;
        `alone` tells that no other request waits for the loop.
        """
        return alone and seconds is not None and seconds < ALONE_SECONDS

    def run(self, work: Callable[[], T], end: Callable[[], None], *, seconds: float | None) -> asyncio.Future[T]:
        """What `work`, which takes about `seconds`, returns or raises.

        `end` is called once, on whatever thread, when `work` is over or will never begin, which may be after the
        future was cancelled.
        """
        loop = asyncio.get_running_loop()
        if seconds is None or seconds >= TOGETHER_SECONDS:
            return _on_a_pool(loop, self.pool if seconds is None else self._known, work, end)
        if not self._together:
            loop.call_soon(self._run_together)
        outcome: asyncio.Future[T] = loop.create_future()
        self._together.append((outcome, work, end))
        return outcome

    def _run_together(self) -> None:
        waiting, self._together = self._together, []
        for outcome, work, end in waiting:
            if outcome.cancelled():
                end()
            else:
                _settle(outcome, work, end)

    def close(self) -> None:
        """Begin nothing more on the pools; does not wait for what runs there."""
        self.pool.shutdown(wait=False, cancel_futures=True)
        self._known.shutdown(wait=False, cancel_futures=True)


def _on_a_pool(
    loop: asyncio.AbstractEventLoop, pool: ThreadPoolExecutor, work: Callable[[], T], end: Callable[[], None]
) -> asyncio.Future[T]:
    try:
        job = pool.submit(work)
    except RuntimeError:  # shut down: the connection was accepted while this closed
        outcome: asyncio.Future[T] = loop.create_future()
        _settle(outcome, work, end)
        return outcome
    job.add_done_callback(lambda _: end())
    return asyncio.wrap_future(job, loop=loop)


def _settle(outcome: asyncio.Future[T], work: Callable[[], T], end: Callable[[], None]) -> None:
    try:
        outcome.set_result(work())
    except Exception as error:
        outcome.set_exception(error)
    finally:
        end()
