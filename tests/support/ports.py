"""Port numbers that a test knows before anything listens on them."""

from __future__ import annotations

import itertools
import os
import socket

# Below those that the kernel gives to port 0 and to clients (Linux from 32768, macOS from 49152): between being picked
# here and being listened on, a number can be taken by nobody who did not ask for it by name.
_FIRST, _EACH, _WORKERS = 10_000, 2_000, 11
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _WORKERS
_SLICE = range(_FIRST + _WORKER * _EACH, _FIRST + (_WORKER + 1) * _EACH)
# Two runs on one machine have the same workers: where a process begins in its worker's slice is its own.
_BEGIN = os.getpid() * 37 % _EACH
_NUMBERS = itertools.cycle([*_SLICE[_BEGIN:], *_SLICE[:_BEGIN]])


def free_port() -> int:
    """A port on which nobody listens, and which no other test is given while this process goes through its slice."""
    for port in itertools.islice(_NUMBERS, _EACH):
        try:
            socket.create_server(("", port)).close()
        except OSError:
            continue
        return port
    raise AssertionError(f"somebody listens on each of the ports from {_SLICE[0]} to {_SLICE[-1]}")


def free_ports(count: int) -> list[int]:
    """Several of them, all different."""
    return [free_port() for _ in range(count)]
