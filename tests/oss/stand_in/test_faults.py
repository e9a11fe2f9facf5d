"""Faults that the OSS server of the tests injects: each once, where it was asked for, and nothing else disturbed."""

from __future__ import annotations

import http.client
import socket
import threading
import time
import xml.etree.ElementTree as ET
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import oss2
import pytest
import requests
from fastcrc import crc64

from tests.oss.clients import ask, client, connect, refusal, signed_headers, target
from tests.oss.stand_in.server import oss_server
from tests.support.serving import PATIENCE, until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.oss.stand_in.server import OssServer
    from tests.support.serving import Reply

CONTENT = bytes(range(256)) * 400


@pytest.fixture(params=["memory", "file"])
def stored(request: pytest.FixtureRequest, oss: OssServer, tmp_path: Path) -> OssServer:
    """The server with an object `a` of CONTENT, in memory or in a file."""
    (tmp_path / "a").write_bytes(CONTENT)
    oss.put("a", CONTENT if request.param == "memory" else tmp_path / "a")
    return oss


def fine(oss: OssServer) -> bool:
    """Whether the object `a` is read as if nothing had happened."""
    reply = ask(oss, "GET", "a")
    return (reply.status, reply.body) == (200, CONTENT)


def partial(oss: OssServer, key: str = "a") -> bytes:
    """What arrives of a body that ends too early."""
    with pytest.raises(http.client.IncompleteRead) as error:
        ask(oss, "GET", key)
    return error.value.partial


@pytest.mark.parametrize("at", [0, 1, 50_000, len(CONTENT) - 1])
def test_a_body_is_cut(stored: OssServer, at: int) -> None:
    fault = stored.fail("cut", at=at)
    assert partial(stored) == CONTENT[:at]
    assert (stored.requests[-1].status, stored.requests[-1].sent) == (200, at)
    assert fine(stored)
    assert fault.hits == 1


def test_a_cut_range_is_counted_from_its_start(stored: OssServer) -> None:
    stored.fail("cut", at=10)
    with pytest.raises(http.client.IncompleteRead) as error:
        ask(stored, "GET", "a", headers={"Range": "bytes=100-199"})
    assert error.value.partial == CONTENT[100:110]


def test_a_connection_is_reset_before_the_answer(stored: OssServer) -> None:
    stored.fail("reset")
    with pytest.raises(ConnectionResetError):
        ask(stored, "GET", "a")
    assert stored.requests[-1].status == 0
    assert fine(stored)


def test_a_connection_is_reset_in_the_body(stored: OssServer) -> None:
    stored.fail("reset", at=1000)
    with pytest.raises((ConnectionResetError, http.client.IncompleteRead)):
        ask(stored, "GET", "a")
    assert fine(stored)


def test_oss2_meets_cuts_and_resets(stored: OssServer) -> None:
    bucket = client(stored)
    stored.fail("cut", at=1000)
    body = bucket.get_object("a")
    with pytest.raises(requests.RequestException):
        body.read()
    stored.fail("reset")
    with pytest.raises(oss2.exceptions.RequestError):
        bucket.get_object("a")
    assert bucket.get_object("a").read() == CONTENT


@pytest.mark.parametrize("at", [None, 0, 1000])
def test_a_stalled_response_goes_on_when_released(stored: OssServer, at: int | None) -> None:
    fault = stored.fail("stall", at=at)
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(ask, stored, "GET", "a")
        assert fault.reached.wait(PATIENCE)
        assert not waiting.done()
        assert stored.requests[-1].sent == (at or 0)
        assert fine(stored)
        fault.release()
        assert waiting.result(PATIENCE).body == CONTENT


def test_a_stall_ends_after_its_seconds(stored: OssServer) -> None:
    stored.fail("stall", at=100, seconds=0.2)
    begun = time.monotonic()
    assert ask(stored, "GET", "a").body == CONTENT
    assert time.monotonic() - begun >= 0.2


@pytest.mark.parametrize("at", [None, 1000])
def test_a_stalled_server_closes(at: int | None) -> None:
    with oss_server() as server, ThreadPoolExecutor() as pool:
        server.put("a", CONTENT)
        fault = server.fail("stall", at=at)
        waiting = pool.submit(ask, server, "GET", "a")
        assert fault.reached.wait(PATIENCE)
        server.close()
        # Closing takes the fault back: the response may just have gone on, or not have come at all.
        error = waiting.exception(20)
        assert error is None or isinstance(error, (http.client.HTTPException, ConnectionError))


def test_a_server_closes_though_a_client_does_not_read() -> None:
    with oss_server() as server:
        server.put("a", bytes(64 << 20))
        connection = connect(server)
        connection.request("GET", target("a"), headers=signed_headers(server, "GET", "a"))
        until(lambda: server.requests and server.requests[0].status == 200, "the request arrives")
    connection.close()


def test_a_body_drips(stored: OssServer) -> None:
    fault = stored.fail("slow", rate=len(CONTENT) * 4)
    begun = time.monotonic()
    assert ask(stored, "GET", "a").body == CONTENT
    assert time.monotonic() - begun >= 0.2
    assert fault.hits == 1


def test_a_dripping_body_is_let_go(stored: OssServer) -> None:
    fault = stored.fail("slow", rate=100)
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(ask, stored, "GET", "a")
        assert fault.reached.wait(PATIENCE)
        fault.release()
        assert waiting.result(PATIENCE).body == CONTENT


def test_errors_as_often_as_asked_for(stored: OssServer) -> None:
    stored.fail("error", status=503, times=2)
    stored.fail("error", status=500)
    assert [ask(stored, "GET", "a").status for _ in range(4)] == [503, 503, 500, 200]
    stored.fail("error", status=403, code="InvalidAccessKeyId")
    stored.fail("error", status=403)
    assert [refusal(client(stored)) for _ in range(2)] == [(403, "InvalidAccessKeyId"), (403, "AccessDenied")]


def test_a_fault_without_end_ends_when_the_server_is_healed(stored: OssServer) -> None:
    fault = stored.fail("error", status=500, times=None)
    assert [ask(stored, "GET", "a").status for _ in range(3)] == [500] * 3
    stored.heal()
    assert fine(stored)
    assert fault.hits == 3


def test_a_fault_that_is_stopped(stored: OssServer) -> None:
    fault = stored.fail("error", times=None)
    assert ask(stored, "GET", "a").status == 503
    fault.stop()
    assert fine(stored)


def test_faults_meet_only_their_method_and_key(stored: OssServer) -> None:
    stored.put("models/b", b"1")
    stored.fail("error", method="HEAD|PUT", key=r"^models/\w$", times=None)
    stored.fail("error", method="LIST", key="^models/", times=None)
    answers = {
        (method, key): ask(stored, method, key, body=b"" if method == "PUT" else None).status
        for method in ("GET", "HEAD", "PUT")
        for key in ("models/b", "models/bb", "other/models/b")
    }
    assert [asked for asked, status in answers.items() if status == 503] == [("HEAD", "models/b"), ("PUT", "models/b")]
    assert ask(stored, "GET", query="list-type=2&prefix=models%2F").status == 503
    assert ask(stored, "GET", query="list-type=2&prefix=other%2F").status == 200


def test_a_fault_that_lets_some_pass(stored: OssServer) -> None:
    stored.fail("error", after=2)
    assert [ask(stored, "GET", "a").status for _ in range(4)] == [200, 200, 503, 200]


def test_faults_are_counted_across_threads(stored: OssServer) -> None:
    stored.fail("error", times=5)
    stored.fail("error", status=500, times=3)
    with ThreadPoolExecutor(8) as pool:
        found = sorted(reply.status for reply in pool.map(lambda _: ask(stored, "GET", "a"), range(20)))
    assert found == [200] * 12 + [500] * 3 + [503] * 5


def test_a_byte_is_corrupted_under_the_right_headers(stored: OssServer) -> None:
    stored.fail("corrupt", at=1000)
    reply = ask(stored, "GET", "a")
    assert reply.body[:1000] + reply.body[1001:] == CONTENT[:1000] + CONTENT[1001:]
    assert reply.body[1000] == CONTENT[1000] ^ 0xFF
    assert checksum(reply) == crc64.xz(CONTENT)
    stored.fail("corrupt")
    body = client(stored).get_object("a")
    with pytest.raises(oss2.exceptions.InconsistentError):
        oss2.utils.check_crc("get", crc64.xz(body.read()), body.server_crc, body.request_id)


def checksum(reply: Reply) -> int:
    return int(reply.headers["x-oss-hash-crc64ecma"])


def test_a_wrong_checksum_and_none(stored: OssServer) -> None:
    stored.fail("checksum", method="GET|HEAD", times=2)
    stored.fail("no_checksum")
    got, head, without = (ask(stored, method, "a") for method in ("GET", "HEAD", "GET"))
    assert got.body == without.body == CONTENT
    assert crc64.xz(CONTENT) != checksum(got) == checksum(head)
    assert "x-oss-hash-crc64ecma" not in without.headers
    assert fine(stored)


def test_an_object_is_swapped_between_requests(stored: OssServer) -> None:
    etag = stored.objects["a"].etag
    stored.fail("swap", content=b"new", after=1)
    assert fine(stored)
    assert ask(stored, "GET", "a", headers={"If-Match": etag}).status == 412
    assert ask(stored, "GET", "a").body == b"new"
    assert stored.objects["a"].etag != etag


def test_an_object_is_swapped_during_a_read(stored: OssServer) -> None:
    etag = stored.objects["a"].etag
    stored.fail("swap", content=b"new", at=1000)
    reply = ask(stored, "GET", "a", headers={"If-Match": etag})
    assert (reply.body, reply.headers["ETag"]) == (CONTENT, f'"{etag}"')
    assert ask(stored, "GET", "a", headers={"If-Match": etag}).status == 412


def test_refusals_for_one_request(stored: OssServer) -> None:
    bucket = client(stored)
    stored.fail("skew", seconds=1000)
    stored.fail("expired")
    stored.fail("archived")
    assert [refusal(bucket) for _ in range(3)] == [
        (403, "RequestTimeTooSkewed"),
        (403, "SecurityTokenExpired"),
        (403, "InvalidObjectState"),
    ]
    assert fine(stored)


def test_an_empty_listing(stored: OssServer) -> None:
    stored.fail("empty")
    counts = [ET.fromstring(ask(stored, "GET", query="list-type=2").body).findtext("KeyCount") for _ in range(2)]
    assert counts == ["0", "1"]


def test_an_answer_is_lost_though_the_request_was_done(stored: OssServer) -> None:
    stored.fail("lost", method="PUT")
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        ask(stored, "PUT", "b", body=b"1")
    assert stored.objects["b"].content == b"1"


def test_an_upload_is_cut(stored: OssServer) -> None:
    stored.fail("cut", method="PUT", at=10)
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError)):
        ask(stored, "PUT", "b", body=bytes(5 << 20))
    assert "b" not in stored.objects


def test_a_fault_that_does_not_exist(oss: OssServer) -> None:
    with pytest.raises(ValueError, match="'explode' is no fault; there are archived, checksum, corrupt, cut, empty"):
        oss.fail("explode")


def test_no_thread_outlives_the_server() -> None:
    before = set(threading.enumerate())
    with oss_server() as server:
        server.put("a", CONTENT)
        idle = socket.create_connection(("127.0.0.1", int(server.endpoint.rpartition(":")[2])))
        assert fine(server)
    until(lambda: set(threading.enumerate()) <= before)  # `idle` is open still
    idle.close()
