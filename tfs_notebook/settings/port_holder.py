"""Who has a TCP port that is asked for: a process, and the notebook whose kernel that is."""

from __future__ import annotations

import os
import shlex
from contextlib import suppress
from itertools import takewhile
from pathlib import Path

_LISTENING = "0A"
_MAX_COMMAND_LENGTH = 60
"""Characters of a command line that are shown."""


def port_holder(port: int) -> str:
    """The process that listens on `port`, like `process 4321 (notebook work/a.ipynb)`.

    "" where that cannot be known: on other systems than Linux, and of other users' processes.
    """
    sockets = {f"socket:[{inode}]" for table in ("tcp", "tcp6") for inode in _listening(Path("/proc/net", table), port)}
    pid = next(filter(lambda pid: _has(pid, sockets), _processes()), None) if sockets else None
    if pid is None:
        return ""
    return "this process" if pid == os.getpid() else f"process {pid} ({_name(pid)})"


def _listening(table: Path, port: int) -> list[str]:
    """The inodes of the sockets that listen on `port`."""
    try:
        rows = [line.split() for line in table.read_text(encoding="ascii").splitlines()[1:]]
    except OSError:
        return []
    return [row[9] for row in rows if row[3] == _LISTENING and int(row[1].rpartition(":")[2], 16) == port]


def _processes() -> list[int]:
    """The numbers of all processes; those that were forked off come after the one that they share a socket with."""
    with suppress(OSError):
        return sorted(int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal())
    return []


def _has(pid: int, sockets: set[str]) -> bool:
    """Whether the process has one of `sockets` open."""
    with suppress(OSError):
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                if os.readlink(descriptor) in sockets:  # noqa: PTH115 - what it names is no path
                    return True
    return False


def _name(pid: int) -> str:
    """The notebook whose kernel the process is, else the kernel's directory, or the command."""
    with suppress(OSError):
        for variable in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
            name, _, value = variable.partition(b"=")
            if name == b"JPY_SESSION_NAME" and value:  # set by Jupyter's server
                return f"notebook {value.decode(errors='backslashreplace')}"
    with suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="backslashreplace").split("\0")
        if any("ipykernel" in word for word in words):  # not one of Jupyter's server: an editor's, a console's
            return f"the kernel in {os.readlink(f'/proc/{pid}/cwd')}"  # noqa: PTH115
        program = takewhile(lambda word: not word.startswith("--"), filter(None, words))  # options may be secret
        command = shlex.join(program)
        return command if len(command) <= _MAX_COMMAND_LENGTH else f"{command[:_MAX_COMMAND_LENGTH]}…"
    return "which has just ended"
