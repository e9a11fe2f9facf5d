"""A client beside an attack: asks a server again and again, and tells how long it waited, and how large the server was.

Run as a program, so that nothing the attack costs its own process counts. What a busy machine makes it wait is no
fault of the server: the time that a thread of the server was ready to run and had no processor does not count, and
beside the server a control is asked, which only echoes. It is asked several times, as a server's threads hand a request
on to each other.
"""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

PAUSE_SECONDS = 0.01
MAX_SECONDS = 60
ECHOES = 4
ECHO = """
import socket
with socket.create_server(("127.0.0.1", 0)) as server:
    print(server.getsockname()[1], flush=True)
    while True:
        connection, _ = server.accept()
        with connection:
            connection.sendall(connection.recv(65536))
"""


def seconds_to_answer(port: int, sent: bytes, wanted: bytes) -> float:
    """How long one exchange on a connection of its own takes."""
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), MAX_SECONDS) as connection:
        connection.sendall(sent)
        reply = connection.recv(65536)
    if not reply.startswith(wanted):
        raise ValueError(f"answered {reply[:200]!r}")
    return time.monotonic() - began


def resident_bytes(process: int) -> int:
    """How much memory a process has."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) << 10


def seconds_of_server(port: int, process: int, request: bytes) -> float:
    """How long an exchange with the server takes, but for what the machine makes a thread of it, or this one, wait."""
    before = [seconds_without_processor(each) for each in (process, os.getpid())]
    seconds = seconds_to_answer(port, request, b"HTTP/1.1 200")
    for each, waited in zip((process, os.getpid()), before, strict=True):
        after = seconds_without_processor(each)
        seconds -= max(after[thread] - waited.get(thread, 0.0) for thread in after)
    return seconds


def seconds_without_processor(process: int) -> dict[str, float]:
    """How long each thread of a process has been ready to run while others had the processors."""
    seconds = {}
    for thread in Path(f"/proc/{process}/task").iterdir():
        with suppress(OSError):  # it has ended
            seconds[thread.name] = int((thread / "schedstat").read_text().split()[1]) / 1e9
    return seconds


def watch(port: int, process: int, request: bytes) -> None:
    """Print, for each line on standard input, what was seen since the last one."""
    with subprocess.Popen([sys.executable, "-c", ECHO], stdout=subprocess.PIPE, text=True) as control:
        assert control.stdout is not None
        control_port = int(control.stdout.readline())
        try:
            while _look(port, process, request, control_port):
                pass
        finally:
            control.kill()


def _look(port: int, process: int, request: bytes, control_port: int) -> bool:
    """Ask until somebody wants to know, and tell; False when nobody will want to know any more."""
    seen = {"worst": 0.0, "control": 0.0, "bytes": 0, "asked": 0, "error": ""}
    is_wanted = False
    while not is_wanted:  # once more after that: who asks last stands behind all the others
        is_wanted = bool(select.select([sys.stdin], [], [], PAUSE_SECONDS)[0])
        echoes = sum(seconds_to_answer(control_port, b"echo", b"echo") for _ in range(ECHOES))
        seen["control"] = max(seen["control"], echoes)
        try:
            seen["worst"] = max(seen["worst"], seconds_of_server(port, process, request))
        except (OSError, ValueError) as error:
            seen["error"] = str(error)
        seen["bytes"] = max(seen["bytes"], resident_bytes(process))
        seen["asked"] += 1
    if not sys.stdin.readline():
        return False
    print(json.dumps(seen), flush=True)
    return True


if __name__ == "__main__":
    watch(int(sys.argv[1]), int(sys.argv[2]), bytes.fromhex(sys.argv[3]))
