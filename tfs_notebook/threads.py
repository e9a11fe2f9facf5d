"""Threads, and a clear error where the system starts no more of them: a user or a container may have only so many."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from tfs_notebook.errors import Code, ServingError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class NoThreadError(ServingError, RuntimeError):
    """A thread was needed, and the system starts no more."""

    def __init__(self) -> None:
        super().__init__(
            Code.UNAVAILABLE,
            "No thread can be started: the limit of threads is reached",
            hint="It is that of the user (ulimit -u) or of the container: end what is not needed, or raise it.",
        )


def start_daemon_thread(target: Callable[[], object], name: str) -> threading.Thread:
    """A thread that runs `target`, and that the process does not wait for at its end. Raises NoThreadError."""
    thread = threading.Thread(target=target, name=name, daemon=True)
    try:
        thread.start()
    except RuntimeError:
        raise NoThreadError from None
    return thread


def run_on_daemon_thread(work: Callable[[], T], name: str) -> Future[T]:
    """What `work` returns or raises, on a thread called `name`. Raises NoThreadError.

    For work that may never end: an executor would lose a worker to a read from a dead network file system, and the
    process would wait for that worker at its end.
    """
    future: Future[T] = Future()
    future.set_running_or_notify_cancel()

    def run() -> None:
        try:
            result = work()
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(result)

    start_daemon_thread(run, name)
    return future


class Pool(ThreadPoolExecutor):
    """Threads begin as they are needed, up to a number that may be changed.

    Where one cannot be started, those that are there do its work; without any, `submit` raises NoThreadError, and what
    was submitted will never run.
    """

    def resize(self, threads: int) -> None:
        """Have at most so many threads from now on; those that are there stay."""
        self._max_workers = max(threads, 1)

    def _adjust_thread_count(self) -> None:
        """Start a thread if one is needed; `submit` calls it, holds its lock, and has put the work into the queue."""
        try:
            super()._adjust_thread_count()
        except RuntimeError:
            if not self._threads:
                self._work_queue.get_nowait()
                raise NoThreadError from None
