"""Very many connections, and such as end half: who asks something is answered."""

from __future__ import annotations

import resource
import socket
import struct
import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

import pytest

from tests.faults.hostile import MIB, count_replies, read_reply, send

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.faults.hostile import Target

IDLE = 5000


@pytest.fixture
def many_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, IDLE + 500), hard), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_files")
def test_5000_connections_on_which_nothing_is_asked(target: Target) -> None:
    """Half of them have begun to ask."""
    for attempt in target.attempts():
        with attempt as seen, ExitStack() as stack:
            for number in range(IDLE):
                client = stack.enter_context(target.client())
                send(client, b"POST /v1/models/half_plus_two:predict HTTP/1.1\r\nHost: l" if number % 2 else b"")
            assert b"2.5" in target.ask(target.post(b'{"instances": [1.0]}'))
    assert seen.grown < 160 * MIB


@pytest.mark.parametrize(
    ("asked", "replies"),
    [
        ([("POST", b'{"instances": [1.0]}')], 1),
        ([("POST", b'{"instances": [1.0]}')] * 3, 3),
        ([("GET", b"")] * 2000, 2000),
    ],
    ids=["one", "three", "many"],
)
def test_who_ends_its_own_direction_is_answered(target: Target, asked: list[tuple[str, bytes]], replies: int) -> None:
    with target.client() as client:
        for method, body in asked:
            client.sendall(target.post(body) if method == "POST" else target.head("GET", "/v1/models/half_plus_two"))
        client.shutdown(socket.SHUT_WR)
        assert count_replies(client, replies) == {b"200": replies}
        assert client.recv(1) == b""


def test_who_ends_its_own_direction_is_answered_late_too(target: Target) -> None:
    """After a second it is asked whether it is still there, in words that HTTP lets everybody pass over."""
    for attempt in target.attempts():
        with attempt, target.client() as client:
            client.sendall(target.post(b'{"inputs": 3.0}', model="slow"))
            client.shutdown(socket.SHUT_WR)
            got = b""
            while piece := client.recv(65536):
                got += piece
    assert got.replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"").startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize("sent", [b"", b"GET /v1/mod", b"POST /v1/models/half_plus_two:predict HTTP/1.1\r\n"])
def test_who_ends_in_the_middle_of_a_request_is_not_kept(target: Target, sent: bytes) -> None:
    with target.client() as client:
        client.sendall(sent)
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""


def test_connections_that_come_and_go(target: Target) -> None:
    """Who comes meanwhile stands behind them in the queue of the port, and every second one is reset."""
    for attempt in target.attempts():
        with attempt as seen:
            for number in range(1000):
                with target.client() as client:
                    if number % 2:
                        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    send(client, target.head("GET", "/v1/models/half_plus_two"))
    assert seen.grown < 32 * MIB


def test_a_client_that_reads_slowly_holds_up_nobody(target: Target) -> None:
    body = b'{"instances": [{"b64": "%b"}]}' % (b"A" * (4 * MIB))
    for attempt in target.attempts():
        with attempt, ExitStack() as stack:
            clients = [stack.enter_context(target.client()) for _ in range(8)]
            for client in clients:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                send(client, target.post(body, model="bytes_image"))
            ends = time.monotonic() + 1.0
            while time.monotonic() < ends:
                for client in clients:
                    client.recv(100)
    with suppress(OSError):
        assert read_reply(clients[0]) == b""
