"""HTTP itself: what a connection does with what a client sends, over real sockets."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.support.serving import PATIENCE, until
from tfs_notebook.api.addresses import bound_sockets
from tfs_notebook.api.http import server as http_server
from tfs_notebook.api.http import timeouts
from tfs_notebook.api.http.body_budget import BodyBudget
from tfs_notebook.api.http.messages import Reply, Request
from tfs_notebook.api.http.server import HttpServer
from tfs_notebook.runtime import Runtime

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterator

LIMIT = 1000
BUDGET = 100_000
POST = b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s"


def post(path: str, body: bytes) -> bytes:
    return POST % (path.encode(), len(body), body)


class Echo:
    """Answers with the body: at once, or under /later when the gate is open."""

    max_body_bytes = LIMIT

    def __init__(self) -> None:
        self.bodies = BodyBudget(BUDGET)
        self.closing = False
        self.gate = asyncio.Event()
        self.log: list[str] = []

    def admit(self, request: Request) -> Reply | None:
        self.log.append(f"head {request.path}")
        return Reply(401, b"who?") if request.path == "/secret" else None

    def answer(self, request: Request) -> Reply | Awaitable[bytes]:
        self.log.append(f"body {request.path}")
        if request.path == "/later":
            return self._later(request)
        if request.path == "/large":
            return Reply(200, b"x" * (8 << 20))
        return self._reply(request)

    def answered(self, request: Request, answer: asyncio.Future[bytes]) -> Reply:
        return Reply(200, answer.result())

    def abandoned(self, request: Request) -> None:
        self.log.append(f"abandoned {request.path}")

    def refuse(self, _request: Request, status: int, message: str) -> Reply:
        return Reply(status, message.encode(), last=True)

    def refuse_size(self, _request: Request) -> Reply:
        return Reply(413, b"too long", last=True)

    def refuse_sum(self, _request: Request) -> Reply:
        return Reply(503, b"too many", last=True)

    async def _later(self, request: Request) -> bytes:
        await self.gate.wait()
        return self._reply(request).body

    @staticmethod
    def _reply(request: Request) -> Reply:
        authorization = request.header(b"authorization") or "-"
        return Reply(200, f"{request.method} {request.path} {authorization} ".encode() + request.take_body())


class Site:
    """A server and its port, on a thread of its own."""

    def __init__(self, runtime: Runtime) -> None:
        self.handler = Echo()
        self.runtime = runtime
        self.port = runtime.call(self._open())

    async def _open(self) -> int:
        self.server = HttpServer(self.handler)
        sockets = bound_sockets("127.0.0.1", 0)
        await self.server.listen(sockets)
        return int(sockets[0].getsockname()[1])

    def open_gate(self) -> None:
        self.runtime.loop.call_soon_threadsafe(self.handler.gate.set)

    @contextmanager
    def client(self) -> Iterator[Client]:
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as sock:
            yield Client(sock)


class Client:
    """The other end of one connection."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._read = b""

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def head(self) -> str:
        """The head of the next message."""
        while b"\r\n\r\n" not in self._read:
            piece = self.sock.recv(65536)
            assert piece, f"the connection ended behind {self._read!r}"
            self._read += piece
        head, _, self._read = self._read.partition(b"\r\n\r\n")
        return head.decode()

    def reply(self) -> tuple[int, bytes]:
        """The status and the body of the next reply."""
        head = self.head()
        length = int(head.lower().partition("content-length: ")[2].partition("\r\n")[0])
        while len(self._read) < length:
            self._read += self.sock.recv(65536)
        body, self._read = self._read[:length], self._read[length:]
        return int(head.split()[1]), body

    def ended(self) -> bool:
        """Whether the server has said all it had to say."""
        return self.sock.recv(1) == b""


@pytest.fixture
def site() -> Iterator[Site]:
    runtime = Runtime()
    site = Site(runtime)
    yield site
    runtime.call(site.server.close(1.0))
    assert not site.server.connections
    runtime.close()


# Requests


def test_requests_on_one_connection_are_answered_in_their_order(site: Site) -> None:
    with site.client() as client:
        client.send(post("/later", b"1") + post("/a", b"2") + post("/b", b"3"))
        until(lambda: "body /later" in site.handler.log)
        assert "body /a" not in site.handler.log
        site.open_gate()
        assert [client.reply()[1] for _ in range(3)] == [b"POST /later - 1", b"POST /a - 2", b"POST /b - 3"]


def test_a_request_that_comes_byte_by_byte(site: Site) -> None:
    with site.client() as client:
        for byte in post("/a", b"body"):
            client.send(bytes([byte]))
        assert client.reply() == (200, b"POST /a - body")


def test_a_body_in_chunks_and_fields_behind_it_that_nobody_asked_for(site: Site) -> None:
    with site.client() as client:
        client.send(b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
        client.send(b"3;odd=1\r\none\r\n3\r\ntwo\r\n0\r\nAuthorization: me\r\n\r\n" + post("/b", b""))
        assert client.reply() == (200, b"POST /a - onetwo")
        assert client.reply() == (200, b"POST /b - ")


def test_of_two_fields_of_a_name_the_first_counts_but_in_lists() -> None:
    request = Request()
    for name, value in ((b"Host", b"a"), (b"HOST", b"b"), (b"Accept-Encoding", b"br"), (b"accept-encoding", b"gzip")):
        request.add_field(name, value)
    assert (request.header(b"host"), request.header(b"accept-encoding")) == ("a", "br, gzip")


def test_http_1_0_ends_the_connection_unless_it_is_to_be_kept(site: Site) -> None:
    with site.client() as client:
        client.send(b"GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        head = client.head()
        assert head.startswith("HTTP/1.0 200 OK\r\n")
        assert "Connection: keep-alive" in head
    with site.client() as client:
        client.send(b"GET /a HTTP/1.0\r\n\r\n")
        assert client.reply() == (200, b"GET /a - ")
        assert client.ended()


def test_head_is_answered_without_a_body(site: Site) -> None:
    with site.client() as client:
        client.send(b"HEAD /a HTTP/1.1\r\n\r\n" + post("/b", b""))
        assert "Content-Length: 10" in client.head()
        assert client.reply() == (200, b"POST /b - ")


@pytest.mark.parametrize(
    ("rest", "body"),
    [
        (b"Content-Length: 2\r\n\r\nhi", b"hi"),
        (b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", b"hi"),
        (b"Content-Length: 0\r\n\r\n", b""),
        (b"\r\n", b""),
    ],
    ids=["length", "chunks", "empty", "none"],
)
@pytest.mark.parametrize("piece", [1, 1000])
def test_an_upgrade_is_not_taken_up(site: Site, rest: bytes, body: bytes, piece: int) -> None:
    """As Java's client and curl offer HTTP/2: the request is answered, and the next one, too."""
    offer = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n"
    sent = b"POST /a HTTP/1.1\r\n" + offer + rest + post("/b", b"next")
    with site.client() as client:
        for start in range(0, len(sent), piece):
            client.send(sent[start : start + piece])
        assert client.reply() == (200, b"POST /a - " + body)
        assert client.reply() == (200, b"POST /b - next")


def test_a_proxys_url_is_the_path_in_it(site: Site) -> None:
    with site.client() as client:
        client.send(b"GET HTTP://other:80/a?b HTTP/1.1\r\n\r\n")
        assert client.reply() == (200, b"GET /a?b - ")


@pytest.mark.parametrize("sent", [b"", b"body"], ids=["nothing", "the body"])
def test_who_asks_whether_to_send_a_body_is_told_so_once(site: Site, sent: bytes) -> None:
    with site.client() as client:
        client.send(b"POST /a HTTP/1.1\r\nExpect: 100-Continue\r\nContent-Length: 4\r\n\r\n" + sent)
        if not sent:
            assert client.head() == "HTTP/1.1 100 Continue"
            client.send(b"bo")
            client.send(b"dy")
        assert client.reply() == (200, b"POST /a - body")


# Refusals


def test_a_refusal_does_not_wait_for_the_body_and_keeps_the_connection(site: Site) -> None:
    with site.client() as client:
        client.send(b"POST /secret HTTP/1.1\r\nContent-Length: 100000\r\n\r\n")
        assert client.reply() == (401, b"who?")
        client.send(b"x" * 100_000 + post("/a", b""))
        assert client.reply() == (200, b"POST /a - ")
    assert "body /secret" not in site.handler.log


def test_a_refusal_of_a_size_reaches_a_client_that_goes_on_sending(site: Site) -> None:
    with site.client() as client:
        client.send(b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(200):
            client.send(b"400\r\n%s\r\n" % (b"x" * 0x400))
        assert client.reply() == (413, b"too long")
        assert client.ended()


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        (b"\x16\x03\x01", "Malformed request"),
        (b"GET /a HTTP/1.1\r\n" + b"A: b\r\n" * 129 + b"\r\n", "more than 128 headers"),
        (b"GET /a HTTP/1.1\r\nA: " + b"a" * 65536 + b"\r\n\r\n", "A header is longer than 64 KiB"),
        (b"GET /a HTTP/1.1\r\nA: " + b"a" * 600_000, "longer than"),
        (b"GET /" + b"a" * 65536 + b" HTTP/1.1\r\n\r\n", "The request line is longer than 64 KiB"),
        (b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nno size\r\n", "Malformed request"),
        (b"POST /a HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", "Malformed request"),
        (b"POST /a HTTP/1.1\r\nContent-Length: -5\r\n\r\n", "Malformed request"),
        (b"GET /a HTTP/1.1\r\nA : b\r\n\r\n", "Malformed request"),
    ],
    ids=["tls", "fields", "field", "head", "line", "chunk", "two lengths", "no length", "blank"],
)
def test_what_is_no_http_is_told_after_the_replies_before_it(site: Site, sent: bytes, told: str) -> None:
    with site.client() as client:
        client.send(post("/later", b"1"))
        client.send(sent + post("/never", b""))
        until(lambda: "body /later" in site.handler.log)
        site.open_gate()
        assert client.reply() == (200, b"POST /later - 1")
        status, body = client.reply()
        assert (status, told in body.decode()) == (400, True), body
        assert client.ended()
    assert "head /never" not in site.handler.log


CHUNKED = b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "surplus",
    [b"0\r\nA: " + b"a" * (8 << 20), b"0\r\n" + b"A: b\r\n" * (1 << 20), b"1;" + b"e" * (8 << 20)],
    ids=["a trailer of one field", "a trailer of many fields", "an extension"],
)
def test_what_stands_around_a_body_is_bounded_with_the_head(site: Site, surplus: bytes) -> None:
    with site.client() as client:
        client.send(CHUNKED + surplus)
        status, body = client.reply()
        assert (status, b"longer than 512 KiB" in body or b"more than 128 headers" in body) == (400, True), body
        assert client.ended()


def test_small_chunks_are_no_surplus(site: Site) -> None:
    with site.client() as client:
        site.handler.max_body_bytes = 1 << 20
        site.handler.bodies.most = 1 << 20
        client.send(CHUNKED + b"1\r\nx\r\n" * 300_000 + b"0\r\n\r\n")
        assert client.reply() == (200, b"POST /a - " + b"x" * 300_000)


@pytest.mark.parametrize("upgrade", [b"", b"Connection: Upgrade\r\nUpgrade: websocket\r\n"], ids=["", "upgrade"])
@pytest.mark.parametrize(
    "field",
    [b"Transfer-Encoding: gzip", b"Content-Length: " + b"9" * 4400, b"Content-Length: " + b"0" * 4399 + b"4"],
    ids=["coding", "length", "zeros"],
)
def test_a_coding_or_length_that_is_none(site: Site, upgrade: bytes, field: bytes) -> None:
    with site.client() as client:
        client.send(b"POST /a HTTP/1.1\r\n" + upgrade + field + b"\r\n\r\nbody")
        status, body = client.reply()
        assert (status, b"Malformed request" in body) == (400, True)
        assert client.ended()


def test_bodies_of_all_connections_have_one_budget(site: Site) -> None:
    """It is free again when their requests are answered, or their clients have gone."""
    site.handler.max_body_bytes = 2 * BUDGET
    begun = b"POST /later HTTP/1.1\r\nContent-Length: 80000\r\n\r\n"
    with site.client() as late:
        with site.client() as early:
            early.send(begun + b"x" * 70_000)
            until(lambda: site.handler.bodies.taken == 70_000)
            late.send(begun + b"x" * 80_000)
            assert late.reply() == (503, b"too many")
            with site.client() as small:
                small.send(post("/a", b"x" * 40_000))
                assert small.reply()[0] == 200
        until(lambda: site.handler.bodies.taken == 0)
    with site.client() as client:
        client.send(post("/a", b"x" * 90_000))
        assert client.reply()[0] == 200
    assert site.handler.bodies.taken == 0


def test_one_connection_takes_turns_with_the_others(site: Site) -> None:
    with site.client() as many, site.client() as other:
        many.send(post("/large", b"") + post("/many", b"") * 20_000)
        until(lambda: "body /large" in site.handler.log)
        reading = threading.Thread(target=lambda: [many.reply() for _ in range(20_001)])
        reading.start()
        until(lambda: "body /many" in site.handler.log)
        other.send(post("/a", b""))
        assert other.reply() == (200, b"POST /a - ")
        before = site.handler.log.count("body /many")
        reading.join()
        assert before < site.handler.log.count("body /many") == 20_000


# Clients that go, wait, or do not read


def test_who_ends_its_own_direction_is_answered_what_it_has_asked(site: Site) -> None:
    with site.client() as client:
        client.send(post("/a", b"1") + post("/later", b"2") + post("/b", b"3") + b"POST /half")
        client.sock.shutdown(socket.SHUT_WR)
        assert client.reply() == (200, b"POST /a - 1")
        site.open_gate()
        assert [client.reply()[1] for _ in range(2)] == [b"POST /later - 2", b"POST /b - 3"]
        assert client.ended()


def test_a_client_that_reads_nothing_is_given_up(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeouts, "PAUSE_SECONDS", 0.3)
    monkeypatch.setattr(http_server, "_LOOK_SECONDS", 0.05)
    with site.client() as client:
        client.send(post("/large", b""))
        until(lambda: "body /large" in site.handler.log)
        until(lambda: not site.server.connections)


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
def test_what_nobody_waits_for_any_more_is_given_up(site: Site, monkeypatch: pytest.MonkeyPatch, reset: bool) -> None:
    monkeypatch.setattr(http_server, "_LOOK_SECONDS", 0.05)
    with site.client() as client:
        client.send(post("/later", b"") + post("/a", b""))
        until(lambda: "body /later" in site.handler.log)
        if reset:
            client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    until(lambda: "abandoned /later" in site.handler.log)
    assert "body /a" not in site.handler.log
    until(lambda: not site.server.connections)


@pytest.mark.parametrize(
    ("patched", "told"), [("PAUSE_SECONDS", "No more of the body arrived"), ("BODY_SECONDS", "took too long")]
)
def test_a_body_that_does_not_come(site: Site, monkeypatch: pytest.MonkeyPatch, patched: str, told: str) -> None:
    monkeypatch.setattr(timeouts, patched, 0.1)
    with site.client() as client:
        client.send(b"POST /a HTTP/1.1\r\nContent-Length: 5\r\n\r\nab")
        status, body = client.reply()
        assert (status, told in body.decode()) == (408, True)
        assert client.ended()


@pytest.mark.parametrize("sent", [b"", b"POST /a HTTP/1.1\r\nHost: lo"], ids=["nothing", "half a head"])
def test_a_connection_on_which_no_request_comes(site: Site, monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    monkeypatch.setattr(timeouts, "SILENT_SECONDS", 0.1)
    with site.client() as client:
        client.send(sent)
        assert client.ended()


def test_a_request_under_way_is_no_silence(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeouts, "SILENT_SECONDS", 0.1)
    monkeypatch.setattr(http_server, "_LOOK_SECONDS", 0.05)
    with site.client() as client:
        client.send(post("/later", b"1"))
        connection = until(lambda: next(iter(site.server.connections), None))
        until(lambda: site.runtime.loop.time() - connection._timer.heard > 0.5)
        site.open_gate()
        assert client.reply() == (200, b"POST /later - 1")


def test_who_goes_on_sending_to_a_connection_that_has_ended_is_cut_off(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timeouts, "LINGERING_SECONDS", 0.1)
    with site.client() as client:
        client.send(b"no http\r\n\r\n")
        assert client.reply()[0] == 400
        until(lambda: not site.server.connections)


def test_a_client_that_does_not_read_is_read_from_no_more(site: Site) -> None:
    with site.client() as client:
        client.send(post("/large", b"") + post("/a", b"") + post("/b", b""))
        until(lambda: "body /large" in site.handler.log)
        connection = next(iter(site.server.connections))
        until(lambda: not connection._reads)
        assert "body /a" not in site.handler.log
        assert client.reply()[1] == b"x" * (8 << 20)
        assert [client.reply()[1] for _ in range(2)] == [b"POST /a - ", b"POST /b - "]
        until(lambda: connection._reads)


# The end


def test_closing_lets_what_is_under_way_leave_and_ends_the_others(site: Site) -> None:
    with site.client() as client, site.client() as idle, site.client() as half:
        client.send(post("/later", b"1"))
        half.send(b"POST /a HTTP/1.1\r\nHost")
        until(lambda: "body /later" in site.handler.log and len(site.server.connections) == 3)
        site.handler.closing = True
        closing = site.runtime.spawn(site.server.close(20.0))
        assert idle.ended()
        assert half.ended()
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", site.port), timeout=5)
        site.open_gate()
        head = client.head()
        assert "Connection: close" in head
        closing.result(PATIENCE)


def test_closing_does_not_wait_longer_than_it_is_told(site: Site) -> None:
    with site.client() as client:
        client.send(post("/later", b"1"))
        until(lambda: "body /later" in site.handler.log)
        site.runtime.call(site.server.close(0.05), timeout=PATIENCE)
        assert not site.server.connections
        until(lambda: "abandoned /later" in site.handler.log)
