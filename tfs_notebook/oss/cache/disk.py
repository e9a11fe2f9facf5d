"""The disk that the copies are on: whether it takes so many bytes more, and what to do when it does not."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from tfs_notebook.errors import Code, ServingError

if TYPE_CHECKING:
    from pathlib import Path

_SPARE = 64 << 20
"""Bytes that are left free on the disk."""
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_REMEDY = "Make room there, or let another directory hold the copies (--oss_cache_dir)."


def no_space(directory: Path, free: int, size: int) -> ServingError | None:
    """Why `size` bytes more cannot come to `directory`, whose disk has `free` bytes; None when they can."""
    if size + _SPARE <= free:
        return None
    return ServingError(
        Code.RESOURCE_EXHAUSTED, f"{mb(size)} do not fit: {directory} has {mb(free)} free", hint=_REMEDY
    )


def explain_full_disk(error: Exception, directory: Path) -> Exception:
    """`error`; in other words when it means that the disk of `directory`, or its user's part of it, is full."""
    if not isinstance(error, OSError) or error.errno not in _FULL:
        return error
    return ServingError(
        Code.RESOURCE_EXHAUSTED, f"the disk of {directory} takes no more ({error.strerror})", hint=_REMEDY
    )


def mb(size: int) -> str:
    """A number of bytes as messages tell it."""
    return f"{size / 1e6:,.1f} MB"
