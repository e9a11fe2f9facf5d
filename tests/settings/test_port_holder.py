"""Who has a port is named as a person knows it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.ports import free_port
from tfs_notebook.settings.port_holder import port_holder

if TYPE_CHECKING:
    from collections.abc import Iterator

LISTEN = (
    "import socket, sys; s = socket.create_server((sys.argv[1], 0), family=int(sys.argv[2])); "
    "print(s.getsockname()[1], flush=True); sys.stdin.read()"
)


@contextmanager
def listening(host: str, family: int, *further: str, **environment: str) -> Iterator[tuple[int, int]]:
    """The number of another process, and the port on which it listens."""
    process = subprocess.Popen(
        [sys.executable, "-c", LISTEN, host, str(family), *further],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "JPY_SESSION_NAME": "", **environment},
    )
    assert process.stdout
    with process:
        yield process.pid, int(process.stdout.readline())


@pytest.mark.parametrize(("host", "family"), [("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)])
def test_a_notebook(host: str, family: int) -> None:
    with listening(host, family, JPY_SESSION_NAME="work/a.ipynb") as (pid, port):
        assert port_holder(port) == f"process {pid} (notebook work/a.ipynb)"


def test_a_kernel_without_a_notebook() -> None:
    with listening("127.0.0.1", socket.AF_INET, "-m", "ipykernel_launcher") as (pid, port):
        assert port_holder(port) == f"process {pid} (the kernel in {Path.cwd()})"


def test_a_program_without_its_options_which_may_be_secret() -> None:
    with listening("127.0.0.1", socket.AF_INET, "--token=secret", "x") as (pid, port):
        holder = port_holder(port)
    assert holder.startswith(f"process {pid} ({sys.executable} -c "[:60])
    assert "secret" not in holder


def test_this_process_and_nobody() -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        assert port_holder(port) == "this process"
    assert port_holder(port) == ""
