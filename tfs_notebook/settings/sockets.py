"""The Unix socket that is asked for: can it be had, and if not, why and what now; and how it is put on its path.

As gRPC's own, a server takes the path over from whoever listens there. gRPC does so by removing the file before it
binds, and removes whatever is there when it ends; here a socket is bound beside the path and renamed onto it, so that
clients always find one, and only one's own is removed.
"""

from __future__ import annotations

import os
import secrets
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tfs_notebook.errors import invalid_argument
from tfs_notebook.settings.ports import PortTakenError

_MAX_PATH_BYTES = 107
"""Bytes of a path that the kernel takes."""


@dataclass(frozen=True, slots=True)
class SocketFile:
    """One's own socket on a path, until somebody else puts theirs there."""

    path: str
    _identity: tuple[int, int]

    @property
    def is_there(self) -> bool:
        """Whether `path` still leads to this socket."""
        return _identity(self.path) == self._identity

    def remove(self) -> None:
        """Take it away, unless the path is somebody else's by now. To be called while the socket listens: the file
        system gives the numbers by which it is known to others later.
        """
        if self.is_there:
            with suppress(OSError):
                Path(self.path).unlink()


def put_on(path: str, beside: str) -> SocketFile:
    """Let `path` lead to the socket that listens at `beside`, whoever listened there before. Raises PortTakenError."""
    mine = SocketFile(path, _identity(beside))
    try:
        Path(beside).rename(path)
    except OSError as error:
        raise PortTakenError(
            f"--grpc_socket_path={path}: what is there cannot be replaced ({error.strerror}). Choose another path."
        ) from None
    return mine


def path_beside(path: str) -> str:
    """A path in the same directory that nobody uses, short enough for a socket where `path` is."""
    directory, name = os.path.split(path)
    room = _MAX_PATH_BYTES - len(os.fsencode(path)) + len(os.fsencode(name))
    while True:
        beside = os.path.join(directory, secrets.token_urlsafe(9)[:room])  # noqa: PTH118 - also of no directory
        if not os.path.lexists(beside):
            return beside


def _identity(path: str) -> tuple[int, int]:
    """What tells the file at `path` from all others, (0, 0) for none."""
    try:
        found = Path(path).lstat()
    except OSError:
        return 0, 0
    return found.st_dev, found.st_ino


def check_socket_path(path: str) -> None:
    """Raise PortTakenError when nobody could listen on `path` now; "" is no socket.

    A socket that is there, used or left over, will be replaced. Raises ServingError INVALID_ARGUMENT for what is no
    path of a socket.
    """
    if not path:
        return
    flag = f"--grpc_socket_path={path}"
    if sys.platform == "win32":
        raise invalid_argument(f"{flag}: there are no Unix sockets on Windows")
    if (length := len(os.fsencode(path))) > _MAX_PATH_BYTES or "\0" in path:
        raise invalid_argument(
            f"{flag}: a socket's path has {_MAX_PATH_BYTES} bytes at most, not {length}, and none is zero"
        )
    parent = Path(path).parent
    if not parent.is_dir():
        raise invalid_argument(f"{flag}: there is no directory {parent} to make the socket in")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise PortTakenError(f"{flag}: cannot make a socket in {parent} (Permission denied). Choose another directory.")
    if os.path.lexists(path) and not Path(path).is_socket():
        raise PortTakenError(f"{flag} is there already and is no socket. Remove it, or choose another path.")
