"""What the synchronisation needs of an object store, so that the client library behind it can be replaced.

Every method raises StoreError and nothing else for what the store, the network or the content of a reply does wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from tfs_notebook.errors import Code, ServingError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path


class Fault(Enum):
    """Why a store did not do what it was asked; what to do next depends on nothing else."""

    MISSING = Code.NOT_FOUND
    """No such bucket or object."""
    CHANGED = Code.ABORTED
    """The object is not the one (ETag) that was asked for any more."""
    EXISTS = Code.ALREADY_EXISTS
    """An object that must not be overwritten is there."""
    FORBIDDEN = Code.PERMISSION_DENIED
    """The credentials do not allow it, are wrong, or are missing: asking again cannot help until they change."""
    EXPIRED = Code.UNAUTHENTICATED
    """The security token has expired, or the clock is wrong: fresh credentials help."""
    ARCHIVED = Code.FAILED_PRECONDITION
    """The object is archived and must be restored first."""
    DAMAGED = Code.DATA_LOSS
    """What arrived is not what the store holds (checksum, length)."""
    UNREACHABLE = Code.UNAVAILABLE
    """Network trouble or an error of the service (5xx): asking again may help."""
    REFUSED = Code.INVALID_ARGUMENT
    """Anything else that the service refused."""


class StoreError(ServingError):
    """A store that did not do what it was asked."""

    def __init__(self, fault: Fault, message: str, *, hint: str = "") -> None:
        super().__init__(fault.value, message, hint=hint)
        self.fault = fault


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object as a listing or a reply describes it: `size` in bytes, `modified` in seconds since the epoch.

    `crc64` (CRC-64/XZ of the whole object) and `encoding` (Content-Encoding) are only known from `head` and `read`.
    """

    key: str
    size: int
    etag: str
    modified: float = 0.0
    storage_class: str = "Standard"
    crc64: int | None = None
    encoding: str = ""


@dataclass(frozen=True, slots=True)
class Listing:
    """All objects below a prefix, in the order of their keys, at `time` by the store's own clock (epoch seconds)."""

    objects: tuple[StoredObject, ...]
    time: float


class Body(Protocol):
    """The content of an object as it arrives; bytes that are no longer those of `stored` raise StoreError."""

    stored: StoredObject
    piece_size: int
    """Bytes at most of the next piece: a few hundred KB, or less when somebody says so meanwhile."""

    def __iter__(self) -> Iterator[memoryview]:
        """Pieces of what has arrived; each may be released when the next one is asked for."""
        ...


class ObjectStore(Protocol):
    """One bucket. Methods block, may be called from several threads at once, and retry short network troubles."""

    bucket: str

    def has_new_credentials(self) -> bool:
        """Whether a request would be signed with other credentials now than the last one was; asks nothing of it."""
        ...

    def list(self, prefix: str) -> Listing:
        """Every object whose key begins with `prefix`, over all pages."""
        ...

    def head(self, key: str) -> StoredObject:
        """What the store knows of one object."""
        ...

    def read(self, key: str, *, etag: str = "", start: int = 0, end: int | None = None) -> AbstractContextManager[Body]:
        """The bytes from `start` to before `end` (None: all); with `etag` only of that very content (else CHANGED)."""
        ...

    def read_if_changed(self, key: str, etag: str) -> tuple[bytes, str] | None:
        """A small object's content and ETag, None when its ETag still is `etag`."""
        ...

    def put(self, key: str, path: Path, *, sent: Callable[[int], None], overwrite: bool = False) -> StoredObject:
        """Upload the file `path`, in parts and resumable when it is large; raises EXISTS unless it may `overwrite`.

        `sent` is told the bytes as they go, and a negative number of them when they must go again. The key may be taken
        by this very upload, whose answer was lost: compare `crc64`.
        """
        ...

    def put_bytes(self, key: str, content: bytes, *, overwrite: bool = False) -> StoredObject:
        """Upload a small object; as `put`."""
        ...

    def delete(self, key: str) -> None:
        """Delete an object, if it is there."""
        ...

    def close(self) -> None:
        """End every request under way, in whatever thread, and every connection; later requests raise StoreError."""
        ...
