"""Files that are locked as long as a process lives, so that others know when it has ended, however that was."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_HELD: set[int] = set()
"""The descriptors of all locks of this process."""


def lock(path: Path) -> int | None:
    """The descriptor with which `path` is locked from now on, None when somebody else holds it. Raises OSError."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:
        os.close(descriptor)
        raise
    if not stands_at(path, descriptor):  # deleted between the two: who comes next makes another file
        os.close(descriptor)
        return None
    _HELD.add(descriptor)
    return descriptor


def stands_at(path: Path, descriptor: int) -> bool:
    """Whether `path` still names the open file."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def unlock(descriptor: int) -> None:
    """Let others lock; also when a fork of this process has the same descriptor."""
    _HELD.discard(descriptor)
    with suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)


def _forget_locks() -> None:
    """A fork must not hold the locks of its parent when that has ended."""
    while _HELD:
        os.close(_HELD.pop())


os.register_at_fork(after_in_child=_forget_locks)
