"""The level of TensorFlow's own log, which its C++ writes to standard error: into whatever cell runs.

It warns of every request that a graph refuses. TF_CPP_MIN_LOG_LEVEL counts only when TensorFlow is imported, which a
notebook that has just trained a model did before; afterwards a function of abseil sets the level, whose symbol
TensorFlow's library exports.
"""

from __future__ import annotations

import ctypes
import mmap
import re
import threading
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

ERRORS = 2
"""absl::LogSeverityAtLeast::kError: neither remarks nor warnings are written."""
_SYMBOLS = (rb"_ZN4absl\d+lts_\d+11MinLogLevelEv", rb"_ZN4absl\d+lts_\d+14SetMinLogLevel\w+")
"""They name abseil's release: `absl::lts_20250814::MinLogLevel()`."""


class _Level(NamedTuple):
    get: Callable[[], int]
    set: Callable[[int], object]


@lru_cache(maxsize=1)
def find_level() -> _Level | None:
    """What reads and sets the level; None where TensorFlow's library has no such functions."""
    import tensorflow as tf

    try:
        path = next(Path(tf.sysconfig.get_lib()).glob("libtensorflow_framework*"))
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            names = [found.group().decode() for symbol in _SYMBOLS if (found := re.search(symbol, content))]
        library = ctypes.CDLL(str(path))
        get, set_ = (getattr(library, name) for name in names)
    except (OSError, ValueError, StopIteration, AttributeError):
        return None
    set_.restype, set_.argtypes = None, [ctypes.c_int]
    return _Level(get, set_)


class ErrorsOnly:
    """Counts who wants nothing but errors in the log, and puts the level back when nobody does any more."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wanted = 0
        self._before: int | None = None

    def begin(self) -> Callable[[], None]:
        """Write only errors until what this returns is called. Calling that twice is fine."""
        with self._lock:
            self._wanted += 1
            if self._wanted == 1 and (level := find_level()) is not None and level.get() < ERRORS:
                self._before = level.get()
                level.set(ERRORS)
        ended = False

        def end() -> None:
            nonlocal ended
            with self._lock:
                if ended:
                    return
                ended = True
                self._wanted -= 1
                if not self._wanted and self._before is not None and (level := find_level()) is not None:
                    level.set(self._before)
                    self._before = None

        return end


ERRORS_ONLY = ErrorsOnly()
