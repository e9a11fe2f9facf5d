"""When and where a request's call runs, by how long it is known to take.

* A short call that nobody else waits for runs at once: a hop to another thread costs more.
* Short calls of several clients run one right after the other once the loop has read all that arrived: TensorFlow's
  code and tables are still in the processor's caches then, and a small call takes a fifth of its time.
* Longer calls whose time is known have threads of their own, which take as many as come one after the other.
* Every other call runs on a larger pool. So no model ever blocks the loop, nor one of unknown time the others.
* Large bodies are read one at a time, on a thread of their own: what is made of one can be many times its size.
* Where the system starts no more threads, a call goes to those that are there, runs at once if it is short, or is
  refused.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from tfs_notebook.api.dispatch.pool import NoThreadError, Pool
from tfs_notebook.api.dispatch.threads import ShortCalls

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

T = TypeVar("T")

ALONE_SECONDS = 0.001
TOGETHER_SECONDS = 0.00005
"""A hop to another thread costs about as much; longer calls are worth it when others wait for the loop."""


class Turns:
    """Runs the calls of one event loop."""

    def __init__(self, threads: int) -> None:
        """`threads` is the size of the larger pool."""
        self.pool = Pool(max(threads, 1), thread_name_prefix="tfs-rest")
        self._large = Pool(1, thread_name_prefix="tfs-rest-large")
        self._short = ShortCalls("tfs-rest-short")
        self._over: deque[Callable[[], object]] = deque()
        self._is_told = False
        """Whether the loop knows that something is done."""
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
        outcome: asyncio.Future[T] = loop.create_future()
        try:
            if seconds is None:
                job = self.pool.submit(work)
                job.add_done_callback(lambda _: end())
                return asyncio.wrap_future(job, loop=loop)
            if seconds >= TOGETHER_SECONDS:
                self._short.submit(partial(self._run_elsewhere, loop, outcome, work, end), seconds)
                return outcome
        except NoThreadError as error:
            if seconds is None or seconds >= ALONE_SECONDS:
                end()
                outcome.set_exception(error)
                return outcome
        except RuntimeError:  # closed: the connection was accepted meanwhile
            _settle(outcome, work, end)
            return outcome
        if not self._together:
            loop.call_soon(self._run_together)
        self._together.append((outcome, work, end))
        return outcome

    def read_and_run(self, read: Callable[[], tuple[Callable[[], T], Callable[[], None]]]) -> asyncio.Future[T]:
        """What the work returns or raises that `read` makes of a large body, with what is to be called at its end."""
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[T] = loop.create_future()
        try:
            job = self._large.submit(self._read, loop, outcome, read)
        except RuntimeError as error:  # closed, or without a thread
            outcome.set_exception(error if isinstance(error, NoThreadError) else asyncio.CancelledError())
        else:
            job.add_done_callback(partial(self._dropped, loop, outcome, None))
        return outcome

    def _read(
        self,
        loop: asyncio.AbstractEventLoop,
        outcome: asyncio.Future[T],
        read: Callable[[], tuple[Callable[[], T], Callable[[], None]]],
    ) -> None:
        if outcome.cancelled():
            return
        try:
            work, end = read()
        except Exception as error:
            self.tell(loop, partial(_deliver, outcome, None, error))
            return
        try:
            job = self.pool.submit(self._run_elsewhere, loop, outcome, work, end)
        except RuntimeError:  # closed, or without a thread
            self._run_elsewhere(loop, outcome, work, end)
        else:
            job.add_done_callback(partial(self._dropped, loop, outcome, end))

    def _dropped(
        self,
        loop: asyncio.AbstractEventLoop,
        outcome: asyncio.Future[Any],
        end: Callable[[], None] | None,
        job: Future[None],
    ) -> None:
        """A `job` is over; when it was never begun, what it held is let go of."""
        if job.cancelled():
            if end is not None:
                end()
            self.tell(loop, outcome.cancel)

    def _run_elsewhere(
        self,
        loop: asyncio.AbstractEventLoop,
        outcome: asyncio.Future[T],
        work: Callable[[], T],
        end: Callable[[], None],
    ) -> None:
        """Run `work` and tell the loop, once for all that is done before it listens."""
        value, error = None, None
        try:
            if not outcome.cancelled():
                value = work()
        except Exception as raised:
            error = raised
        finally:
            end()
        self.tell(loop, partial(_deliver, outcome, value, error))

    def tell(self, loop: asyncio.AbstractEventLoop, listener: Callable[[], object]) -> None:
        """Have `loop` call `listener`, which raises nothing, in one go with whatever else is over by then.

        Any thread may call this.
        """
        self._over.append(listener)
        if not self._is_told:
            self._is_told = True
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self._tell_all)

    def _tell_all(self) -> None:
        self._is_told = False
        while self._over:
            self._over.popleft()()

    def _run_together(self) -> None:
        waiting, self._together = self._together, []
        for outcome, work, end in waiting:
            if outcome.cancelled():
                end()
            else:
                _settle(outcome, work, end)

    def close(self) -> None:
        """Begin nothing more of unknown time; does not wait for what runs."""
        self.pool.shutdown(wait=False, cancel_futures=True)
        self._large.shutdown(wait=False, cancel_futures=True)
        self._short.close()


def _deliver(outcome: asyncio.Future[T], value: Any, error: Exception | None) -> None:
    if outcome.cancelled():
        return
    if error is None:
        outcome.set_result(value)
    else:
        outcome.set_exception(error)


def _settle(outcome: asyncio.Future[T], work: Callable[[], T], end: Callable[[], None]) -> None:
    try:
        outcome.set_result(work())
    except Exception as error:
        outcome.set_exception(error)
    finally:
        end()
