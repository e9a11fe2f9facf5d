"""Bodies that are to fill the memory or to keep others waiting: bounded together, and refused with the remedy."""

from __future__ import annotations

import gzip
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.faults.hostile import MIB, TOKEN, read_reply, send
from tests.support.serving import until

if TYPE_CHECKING:
    import socket

    from tests.faults.hostile import Target

GZIP = "Content-Encoding: gzip"
PADDED = b'{"instances": [1.0]' + b" " * (63 * MIB) + b"}"


@pytest.fixture(scope="module")
def bomb() -> bytes:
    """62 KiB that inflate to 63 MiB."""
    return gzip.compress(PADDED, mtime=0)


def test_small_bodies_that_inflate_to_large_ones(target: Target, bomb: bytes) -> None:
    for attempt in target.attempts():
        with attempt as seen, ExitStack() as stack:
            clients = [stack.enter_context(target.client()) for _ in range(8)]
            for client in clients:
                send(client, target.post(bomb, GZIP))
            replies = [read_reply(client) for client in clients]
            assert {reply[9:12] for reply in replies} <= {b"200", b"503"}
            assert any(b"2.5" in reply for reply in replies)
    assert seen.grown < 300 * MIB, "the budget is 160 MiB, and joining pieces of one body takes its size again"


def test_what_inflates_to_more_than_a_body_may_have(target: Target) -> None:
    reply = target.ask(target.post(gzip.compress(bytes(257 * MIB), 1, mtime=0), GZIP))
    assert reply.startswith((b"HTTP/1.1 503 ", b"HTTP/1.1 413 "))
    assert b"--rest_api_" in reply


@pytest.mark.parametrize(
    "body",
    [
        b'{"signature_name": "none", "instances": [' + b"0," * (16 * MIB) + b"0]}",
        b'{"instances": [1.0]' + b" " * (32 * MIB) + b"x",
        b'{"instances": ["a"' + b" " * (32 * MIB) + b"x",
        b'{"instances": ' + b"[" * (MIB // 4) + b"x",
    ],
    ids=["numbers", "blanks behind numbers", "blanks behind a text", "brackets"],
)
def test_a_large_body_that_takes_long_to_read(target: Target, body: bytes) -> None:
    for attempt in target.attempts():
        with attempt:
            reply = target.ask(target.post(body))
    assert reply.startswith(b"HTTP/1.1 400 ")


def test_bodies_that_together_are_too_large(target: Target) -> None:
    """Who asks for little is answered while others fill the budget."""
    for attempt in target.attempts():
        with attempt as seen, ExitStack() as stack:
            clients = [stack.enter_context(target.client()) for _ in range(8)]
            for client in clients:
                send(client, target.head("POST", "/v1/models/half_plus_two:predict", f"Content-Length: {40 * MIB}"))
                send(client, b" " * (39 * MIB))
            replies = [reply for client in clients[4:] if (reply := read_reply(client))]
            for reply in replies:
                assert reply.startswith(b"HTTP/1.1 503 ")
                assert b"more than 160 MiB" in reply
                assert b"--rest_api_body_budget_mb" in reply
    assert seen.grown < 260 * MIB
    # what they held is free again
    with target.client() as client:
        send(client, target.post(b'{"instances": [1.0]' + b" " * (100 * MIB) + b"}"))
        assert b"2.5" in read_reply(client)


def chunks(body: bytes, size: int) -> bytes:
    pieces = (body[start : start + size] for start in range(0, len(body), size))
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def test_very_small_chunks_take_no_more_memory_than_one_piece(target: Target) -> None:
    body = b'{"instances": [1.0]' + b" " * (3 * MIB // 2) + b"}"
    head = target.head("POST", "/v1/models/half_plus_two:predict", "Transfer-Encoding: chunked")
    whole, small = chunks(body, len(body)), chunks(body, 2)
    assert b"2.5" in target.ask(head + whole)
    for attempt in target.attempts():
        with attempt as seen:
            assert b"2.5" in target.ask(head + small)
    assert seen.grown < 2 * len(body) + 2 * MIB


def test_a_body_that_drips_is_given_up(guarded: Target) -> None:
    token = f"Authorization: {TOKEN}"
    for attempt in guarded.attempts():
        with attempt, ExitStack() as stack:
            clients = [stack.enter_context(guarded.client()) for _ in range(200)]
            for client in clients:
                send(
                    client,
                    guarded.head("POST", "/v1/models/half_plus_two:predict", token, "Content-Length: 1000") + b"{",
                )
            for client in clients:
                reply = read_reply(client)
                assert reply.startswith(b"HTTP/1.1 408 ")
                assert b"No more of the body arrived" in reply


def has_ended(client: socket.socket) -> bool:
    """Whether the server has ended the connection, found out by line ends, which it passes over between requests."""
    return not send(client, b"\r\n")


def test_a_client_that_does_not_read_is_given_up(guarded: Target) -> None:
    """It asks for 32 MiB; what it does not take is not kept for ever."""
    body = b'{"instances": [{"b64": "%b"}]}' % (b"A" * (32 * MIB))
    token = f"Authorization: {TOKEN}"
    for attempt in guarded.attempts():
        with attempt, guarded.client() as client:
            send(client, guarded.post(body, token, model="bytes_image"))
            first = client.recv(1000)
            assert first.startswith(b"HTTP/1.1 200 OK")
            until(partial(has_ended, client))
