"""What the tests of hostile clients share: a server in a process of its own, a client that watches it, raw sockets."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from tests.faults import witness
from tests.support.ports import free_port
from tests.support.serving import PATIENCE, config_text, until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

MAX_SECONDS = 0.5
"""How much longer than a control another client may wait while somebody attacks."""
ATTEMPTS = 3
TOKEN = "adversary"
PAUSE_SECONDS = 2.0
"""Seconds after which the server of `served` with `impatient` gives up a client that pauses."""
_IMPATIENT = f"""
import sys
from tfs_notebook.api.http import timeouts
from tfs_notebook.cli import main
timeouts.PAUSE_SECONDS = timeouts.LINGERING_SECONDS = {PAUSE_SECONDS}
sys.exit(main(sys.argv[1:]))
"""
MIB = 1 << 20


@dataclass
class Seen:
    """What the witness saw while a block ran: seconds, bytes."""

    worst: float = 0.0
    control: float = 0.0
    most_bytes: int = 0
    before_bytes: int = 0

    @property
    def waited(self) -> float:
        """How much longer another client waited than its control."""
        return self.worst - self.control

    @property
    def grown(self) -> int:
        """How much larger the server was at its largest."""
        return self.most_bytes - self.before_bytes


class _Attempt:
    """One run of a block while the witness asks."""

    def __init__(self, target: Target, *, is_last: bool) -> None:
        self.seen = Seen()
        self._target = target
        self._is_last = is_last

    def __enter__(self) -> Seen:
        self.seen.before_bytes = self._target.report()["bytes"]
        return self.seen

    def __exit__(self, kind: object, *_: object) -> None:
        report, seen = self._target.report(), self.seen
        seen.worst, seen.control, seen.most_bytes = report["worst"], report["control"], report["bytes"]
        if kind is None:
            assert not report["error"], f"another client was {report['error']}"
            assert not self._is_last or seen.waited <= MAX_SECONDS, f"another client waited: {report}"


class Target:
    """A server in a process of its own, and the witness that asks it all the time."""

    def __init__(self, process: subprocess.Popen[bytes], rest: int, grpc: int, log: Path, token: str) -> None:
        self.process = process
        self.rest = rest
        self.grpc = grpc
        self.token = token
        self.authority = ""
        """Who vouches for its gRPC port."""
        self._log = log
        self._witness: subprocess.Popen[str] | None = None

    def head(self, method: str = "POST", path: str = "/v1/models/half_plus_two:predict", *fields: str) -> bytes:
        """The head of a request without the token."""
        return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: localhost", *fields, "\r\n"]).encode()

    def post(self, body: bytes, *fields: str, model: str = "half_plus_two") -> bytes:
        """A predict."""
        return self.head("POST", f"/v1/models/{model}:predict", f"Content-Length: {len(body)}", *fields) + body

    @contextmanager
    def client(self) -> Iterator[socket.socket]:
        """A connection to the REST port."""
        with socket.create_connection(("127.0.0.1", self.rest), PATIENCE) as connection:
            yield connection

    def ask(self, message: bytes) -> bytes:
        """What the server says to `message` on a connection of its own, until it ends that or has answered."""
        with self.client() as connection:
            send(connection, message)
            return read_reply(connection)

    def attempts(self) -> Iterator[_Attempt]:
        """For a loop over `with attempt as seen:`, which ends once the witness was answered as quickly as its control,
        give or take half a second, while the block ran. On a machine that is busy otherwise that takes several.
        """
        for left in reversed(range(ATTEMPTS)):
            attempt = _Attempt(self, is_last=not left)
            yield attempt
            if attempt.seen.waited <= MAX_SECONDS:
                return

    def told(self) -> str:
        """What the server has written to standard error."""
        return self._log.read_text(errors="replace")

    def report(self) -> Mapping[str, Any]:
        """What the witness saw since the last report."""
        if self._witness is None:
            fields = [f"Authorization: Bearer {self.token}"] if self.token else []
            body = b'{"instances": [1.0]}'
            arguments = [str(self.rest), str(self.process.pid), self.post(body, "Connection: close", *fields).hex()]
            self._witness = subprocess.Popen(
                [sys.executable, witness.__file__, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        pipes: tuple[Any, Any] = (self._witness.stdin, self._witness.stdout)
        pipes[0].write("\n")
        pipes[0].flush()
        report: Mapping[str, Any] = json.loads(pipes[1].readline())
        return report

    def close(self) -> None:
        """End both processes."""
        if self._witness is not None:
            self._witness.communicate()
        self.process.terminate()
        self.process.wait(PATIENCE)


def start(models: Mapping[str, Path], where: Path, *flags: str, token: str = "", impatient: bool = False) -> Target:
    """A `tfs-model-server` that is starting; `where` takes its files."""
    where.mkdir()
    (where / "config").write_text(config_text(models))
    rest, grpc = free_port(), free_port()
    program = ["-c", _IMPATIENT] if impatient else ["-m", "tfs_notebook.cli"]
    command = [sys.executable, *program, f"--model_config_file={where}/config", f"--port={grpc}", *flags]
    command += [f"--rest_api_port={rest}", *([f"--token={token}"] if token else [])]
    log: IO[bytes]
    with (where / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    return Target(process, rest, grpc, where / "log", token)


def wait_until_serving(target: Target) -> None:
    """Wait until its port is open."""

    def is_open() -> bool:
        assert target.process.poll() is None, target.told()
        with suppress(OSError), target.client():
            return True
        return False

    until(is_open, "the server does not start")


def send(connection: socket.socket, data: bytes) -> bool:
    """Send all of it, unless the server ends the connection; returns whether it has taken it."""
    try:
        connection.sendall(data)
    except OSError:
        return False
    return True


def read_reply(connection: socket.socket) -> bytes:
    """One reply, or what comes of it before the connection ends; b"" when it is reset."""
    reply = b""
    with suppress(OSError):
        while not _is_whole(reply) and (piece := connection.recv(1 << 18)):
            reply += piece
    return reply


def _is_whole(reply: bytes) -> bool:
    head, blank, body = reply.partition(b"\r\n\r\n")
    _, _, length = head.lower().partition(b"content-length: ")
    return bool(blank) and len(body) >= int(length.split(b"\r\n")[0] or 0)


def count_replies(connection: socket.socket, wanted: int, seconds: float = PATIENCE) -> dict[bytes, int]:
    """How many replies come with which status, until there are `wanted` or the connection ends."""
    counts: dict[bytes, int] = {}
    kept, deadline = b"", time.monotonic() + seconds
    while sum(counts.values()) < wanted and time.monotonic() < deadline:
        piece = connection.recv(1 << 18)
        if not piece:
            break
        kept += piece
        parts = kept.split(b"HTTP/1.1 ")
        for part in parts[1:]:
            if len(part) >= 3:
                counts[part[:3]] = counts.get(part[:3], 0) + 1
        last = parts[-1] if len(parts) > 1 else kept
        kept = b"HTTP/1.1 " + last if len(parts) > 1 and len(last) < 3 else last[-8:]
    return counts
