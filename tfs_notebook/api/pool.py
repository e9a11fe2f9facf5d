"""A thread pool whose size can be changed while it works."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor


class Pool(ThreadPoolExecutor):
    """Threads begin as they are needed, up to a number that may be changed."""

    def resize(self, threads: int) -> None:
        """Have at most so many threads from now on; those that are there stay."""
        self._max_workers = max(threads, 1)
