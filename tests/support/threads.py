"""A system that starts no more threads."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

NO_MEMORY_FOR_IT = 1 << 46
"""Bytes of a thread's stack that the system refuses, and with them the thread."""


@contextmanager
def no_more_threads() -> Iterator[None]:
    """Until the end of the `with` this process really can start no thread of Python's."""
    before = threading.stack_size(NO_MEMORY_FOR_IT)
    try:
        with pytest.raises(RuntimeError, match="can't start new thread"):
            threading.Thread(target=print).start()
        yield
    finally:
        threading.stack_size(before)
