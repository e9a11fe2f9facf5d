"""A thread pool whose size can be changed while it works, and which survives that no thread can be started."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from tfs_notebook.errors import Code, ServingError


class NoThreadError(ServingError, RuntimeError):
    """A thread was needed, and the system starts no more."""

    def __init__(self) -> None:
        super().__init__(Code.UNAVAILABLE, "No thread can be started for this request: the limit of threads is reached")


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
