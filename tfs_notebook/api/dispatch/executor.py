"""Runs the calls of REST requests where `place` says.

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
from math import inf
from typing import TYPE_CHECKING, Any, TypeVar

from tfs_notebook.api.dispatch.place import Place
from tfs_notebook.api.dispatch.threads import Threads
from tfs_notebook.api.dispatch.thresholds import REST
from tfs_notebook.threads import NoThreadError, Pool

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

T = TypeVar("T")


class Executor:
    """Runs the calls of one event loop."""

    def __init__(self, threads: int) -> None:
        """`threads` is the size of the larger pool."""
        self.pool = Pool(max(threads, 1), thread_name_prefix="tfs-rest")
        self._large = Pool(1, thread_name_prefix="tfs-rest-large")
        self._threads = Threads("tfs-rest-short")
        self._over: deque[Callable[[], object]] = deque()
        self._is_notified = False
        """True while the loop is asked to call what is in `_over`."""
        self._in_turn: list[tuple[asyncio.Future[Any], Callable[[], Any], Callable[[], None]]] = []

    def run(
        self, where: Place, work: Callable[[], T], end: Callable[[], None], seconds: float = inf
    ) -> asyncio.Future[T]:
        """What `work`, which takes about `seconds`, returns or raises; it runs in turn, on the threads or on the pool.

        `end` is called once, on whatever thread, when `work` is over or will never begin, which may be after the
        future was cancelled.
        """
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[T] = loop.create_future()
        try:
            if where is Place.POOL:
                job = self.pool.submit(work)
                job.add_done_callback(lambda _: end())
                return asyncio.wrap_future(job, loop=loop)
            if where is Place.THREADS:
                self._threads.submit(partial(self._run_elsewhere, loop, outcome, work, end), seconds)
                return outcome
        except NoThreadError as error:
            if seconds >= REST.alone_seconds:
                end()
                outcome.set_exception(error)
                return outcome
        except RuntimeError:  # closed: the connection was accepted meanwhile
            _settle(outcome, work, end)
            return outcome
        if not self._in_turn:
            loop.call_soon(self._run_in_turn)
        self._in_turn.append((outcome, work, end))
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
            self.notify(loop, partial(_deliver, outcome, None, error))
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
            self.notify(loop, outcome.cancel)

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
        self.notify(loop, partial(_deliver, outcome, value, error))

    def notify(self, loop: asyncio.AbstractEventLoop, listener: Callable[[], object]) -> None:
        """Have `loop` call `listener`, which raises nothing, in one go with whatever else is over by then.

        Any thread may call this.
        """
        self._over.append(listener)
        if not self._is_notified:
            self._is_notified = True
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self._notify_all)

    def _notify_all(self) -> None:
        self._is_notified = False
        while self._over:
            self._over.popleft()()

    def _run_in_turn(self) -> None:
        waiting, self._in_turn = self._in_turn, []
        for outcome, work, end in waiting:
            if outcome.cancelled():
                end()
            else:
                _settle(outcome, work, end)

    def close(self) -> None:
        """Begin nothing more of unknown time; does not wait for what runs."""
        self.pool.shutdown(wait=False, cancel_futures=True)
        self._large.shutdown(wait=False, cancel_futures=True)
        self._threads.close()


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
