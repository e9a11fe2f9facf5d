"""The Unix socket that is asked for: can anybody listen there, and if not, why and what now."""

from __future__ import annotations

import os
import socket
import stat
import sys
from pathlib import Path

from tfs_notebook.errors import invalid_argument
from tfs_notebook.ports import PortTakenError

_LONGEST = 107
"""Bytes of a path that the kernel takes."""


def check_socket_path(path: str) -> None:
    """Raise PortTakenError when nobody could listen on `path` now; "" is no socket.

    A socket on which nobody listens any more is left over, and will be replaced. Raises ServingError INVALID_ARGUMENT
    for what is no path of a socket.
    """
    if not path:
        return
    flag = f"--grpc_socket_path={path}"
    if sys.platform == "win32":
        raise invalid_argument(f"{flag}: there are no Unix sockets on Windows")
    if (length := len(os.fsencode(path))) > _LONGEST or "\0" in path:
        raise invalid_argument(f"{flag}: a socket's path has {_LONGEST} bytes at most, not {length}, and none is zero")
    parent = Path(path).parent
    if not parent.is_dir():
        raise invalid_argument(f"{flag}: there is no directory {parent} to make the socket in")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise PortTakenError(f"{flag}: cannot make a socket in {parent} (Permission denied). Choose another directory.")
    if os.path.lexists(path) and not stat.S_ISSOCK(Path(path).lstat().st_mode):
        raise PortTakenError(f"{flag} is there already and is no socket. Remove it, or choose another path.")
    if _has_listener(path):
        raise PortTakenError(f"{flag}: another process listens there. Stop it, or choose another path.")


def _has_listener(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(path)
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        except OSError:  # its queue is full, or it is another user's
            return True
    return True
