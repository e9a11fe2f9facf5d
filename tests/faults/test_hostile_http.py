"""HTTP that was written to hurt: nobody else waits for it, and it is answered or refused in a line."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING

import pytest

from tests.faults.hostile import MIB, count_replies, read_reply, send

if TYPE_CHECKING:
    from tests.faults.hostile import Target

CHUNKED = "Transfer-Encoding: chunked"
UPGRADE = "Connection: Upgrade", "Upgrade: websocket"


@pytest.mark.parametrize("name", ["guarded", "target"])
@pytest.mark.parametrize(
    "surplus",
    [b"0\r\nA: " + b"a" * (96 * MIB), b"0\r\n" + b"A: b\r\n" * (MIB), b"5;" + b"e" * (32 * MIB)],
    ids=["one field", "many fields", "extension of a chunk"],
)
def test_a_trailer_without_end(request: pytest.FixtureRequest, name: str, surplus: bytes) -> None:
    target: Target = request.getfixturevalue(name)
    for attempt in target.attempts():
        with attempt as seen, target.client() as client:
            send(client, target.head("POST", "/v1/models/half_plus_two:predict", CHUNKED))
            send(client, surplus)
            reply = read_reply(client)
            assert b" 40" in reply[:14] or not reply, "the connection ends, though the reply may be lost"
    assert seen.grown < 8 * MIB


def test_a_head_without_end(target: Target) -> None:
    for attempt in target.attempts():
        with attempt as seen, target.client() as client:
            send(client, b"GET /" + b"a" * (64 * MIB))
    assert seen.grown < 8 * MIB


@pytest.mark.parametrize(
    ("path", "count"),
    [("/v1/models/half_plus_two/metadata", 8000), ("/v1/models/half_plus_two", 40_000)],
)
def test_thousands_of_requests_at_once(target: Target, path: str, count: int) -> None:
    """They are all answered, and others have their turn."""
    for attempt in target.attempts():
        with attempt as seen, target.client() as client:
            sender = threading.Thread(target=send, args=(client, target.head("GET", path) * count))
            sender.start()
            counts = count_replies(client, count)
            sender.join()
            assert counts == {b"200": count}
    assert seen.grown < 32 * MIB


@pytest.mark.parametrize(
    ("name", "method", "path"),
    [("guarded", "OPTIONS", "/v1/models/half_plus_two:predict"), ("target", "PUT", "/v1/models/a")],
)
def test_a_body_that_nobody_reads_is_not_stored(
    request: pytest.FixtureRequest, name: str, method: str, path: str
) -> None:
    target: Target = request.getfixturevalue(name)
    for attempt in target.attempts():
        with attempt as seen, target.client() as client:
            send(client, target.head(method, path, f"Content-Length: {100 * MIB}"))
            for _ in range(100):
                send(client, bytes(MIB))
            assert b" 40" in read_reply(client)[:14]
    assert seen.grown < 8 * MIB


@pytest.mark.parametrize("character", [b"\\u0001", b"\x7f\xff"], ids=["escapes", "no UTF-8"])
@pytest.mark.parametrize(
    "body", [b'{"signature_name": "%s", "instances": [1.0]}', b'{"signature_name": 1, "instances": ["%s"]}']
)
def test_a_long_text_in_an_error_is_cut_off(target: Target, body: bytes, character: bytes) -> None:
    body %= character * (8 * MIB // len(character))
    for attempt in target.attempts():
        with attempt:
            reply = target.ask(target.post(body))
    assert reply.startswith(b"HTTP/1.1 400 ")
    assert len(reply) < MIB
    json.loads(reply.partition(b"\r\n\r\n")[2].decode(errors="replace"))


@pytest.mark.parametrize(
    "fields",
    [
        (*UPGRADE, "Transfer-Encoding: gzip"),
        (*UPGRADE, "Transfer-Encoding: chunked, gzip"),
        (*UPGRADE, "Content-Length: " + "9" * 4400),
        (*UPGRADE, "Content-Length: " + "0" * 4399 + "5"),
        ("Content-Length: " + "9" * 4400,),
        ("Content-Length: " + "0" * 4399 + "5",),
        ("Transfer-Encoding: gzip",),
        (*UPGRADE, "Content-Length: 5", "Content-Length: 6"),
    ],
)
def test_lengths_and_codings_that_are_none(target: Target, fields: tuple[str, ...]) -> None:
    reply = target.ask(target.head("POST", "/v1/models/half_plus_two:predict", *fields) + b'{"instances": [1.0]}')
    assert reply.startswith(b"HTTP/1.1 400 ")
    assert b"Malformed request" in reply
    assert "Traceback" not in target.told()


@pytest.mark.parametrize("protocol", ["websocket", "h2c", "TLS/1.0", "a" * 1000])
def test_an_upgrade_is_declined_and_the_connection_goes_on(target: Target, protocol: str) -> None:
    with target.client() as client:
        for _ in range(3):
            client.sendall(target.post(b'{"instances": [1.0]}', "Connection: Upgrade", f"Upgrade: {protocol}"))
            assert b"2.5" in read_reply(client)
    assert "Traceback" not in target.told()
