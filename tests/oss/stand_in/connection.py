"""HTTP of the OSS server of the tests: requests off a socket, replies onto it."""

from __future__ import annotations

import base64
import itertools
from dataclasses import dataclass, replace
from email.utils import formatdate
from functools import partial
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote

from tests.oss.stand_in.delivery import Delivery, DisconnectError, reset, stall
from tests.oss.stand_in.errors import RefusalError
from tests.oss.stand_in.reading import Reply
from tests.oss.stand_in.service import Asked
from tests.oss.stand_in.storage import PIECE, Content

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator, Mapping

    from tests.oss.stand_in.faults import Fault, Faults
    from tests.oss.stand_in.service import Service

_NUMBERS = itertools.count(1)
_CHECKSUM = "x-oss-hash-crc64ecma"
_BODILESS = (204, 304)


@dataclass
class Request:
    """A request that arrived: `operation` is its method, or LIST; `status` is 0 until it is answered.

    `sent` counts the bytes of the answer's body that the socket took.
    """

    operation: str
    method: str
    bucket: str
    key: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    status: int = 0
    sent: int = 0

    def add_sent(self, count: int) -> None:
        """Count more bytes."""
        self.sent += count


class Host(Protocol):
    """What a connection needs of the server it belongs to."""

    service: Service
    faults: Faults
    requests: list[Request]
    closing: threading.Event


class Connection(BaseHTTPRequestHandler):
    """One client's connection, which serves requests until either side closes it."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    host: Host

    def _serve(self) -> None:
        try:
            self._answer()
        except (DisconnectError, ConnectionError):
            self.close_connection = True

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _serve  # noqa: N815

    def _answer(self) -> None:
        asked = self._asked()
        operation, query = asked.operation, asked.parameters
        request = Request(operation, asked.method, asked.bucket, asked.key, query, asked.headers)
        self.host.requests.append(request)
        fault = self.host.faults.take(operation, query.get("prefix", "") if operation == "LIST" else asked.key)
        request_id = f"{next(_NUMBERS):024X}"
        try:
            asked = replace(asked, body=self._receive(asked.headers, fault))
            if fault is not None:
                self._before(fault)
            reply = self.host.service.answer(asked, fault)
        except RefusalError as refusal:
            reply = self._refused(refusal, request_id)
        if fault is not None:
            self._change(reply, fault)
        request.status = reply.status
        self._send_headers(reply, request_id)
        if self.command != "HEAD" and reply.status not in _BODILESS:
            swap = partial(self.host.service.swap, asked)
            Delivery(self.connection, reply, self.host.closing, request.add_sent, swap).send(fault)

    def _asked(self) -> Asked:
        """The request without its body."""
        path, _, query = self.path.partition("?")
        bucket, _, key = path.removeprefix("/").partition("/")
        headers = {name.lower(): value for name, value in self.headers.items()}
        return Asked(self.command, unquote(bucket), unquote(key), query, headers)

    def _receive(self, headers: Mapping[str, str], fault: Fault | None) -> Content:
        """The request's body, in memory when it is small. Raises DisconnectError when not all of it comes."""
        if fault is not None and fault.name == "cut" and self.command in ("PUT", "POST"):
            self.rfile.read(min(int(headers.get("content-length", 0)), fault.at or 0))
            fault.reached.set()
            raise DisconnectError
        chunked = headers.get("transfer-encoding", "") == "chunked"
        pieces = self._chunks() if chunked else self._pieces(int(headers.get("content-length", 0)))
        first = next(pieces, b"")
        if len(first) < PIECE and not chunked:
            return Content.of(first)
        path = self.host.service.scratch / f"body-{next(_NUMBERS)}"
        with path.open("wb") as file:
            file.writelines(itertools.chain([first], pieces))
        return Content.of(path)

    def _pieces(self, length: int) -> Iterator[bytes]:
        """The next `length` bytes, by pieces."""
        for start in range(0, length, PIECE):
            size = min(PIECE, length - start)
            piece = self.rfile.read(size)
            if len(piece) < size:
                raise DisconnectError
            yield piece

    def _chunks(self) -> Iterator[bytes]:
        """A body whose length nobody told, as oss2 sends empty ones."""
        while True:
            head = self.rfile.readline(100)
            if not head.endswith(b"\n"):
                raise DisconnectError
            size = int(head.split(b";")[0], 16)
            yield from self._pieces(size)
            self.rfile.readline(100)
            if not size:
                return

    def _before(self, fault: Fault) -> None:
        """Let a fault act that comes before the request is done."""
        if fault.name == "stall" and fault.at is None:
            stall(fault, self.host.closing)
        if fault.name == "reset" and fault.at is None:
            fault.reached.set()
            reset(self.connection)

    def _change(self, reply: Reply, fault: Fault) -> None:
        """Let a fault act that changes the answer as a whole."""
        if fault.acts_on_answer:
            fault.reached.set()
        if fault.name == "lost":
            raise DisconnectError
        if fault.name == "checksum" and _CHECKSUM in reply.headers:
            reply.headers[_CHECKSUM] = str(int(reply.headers[_CHECKSUM]) ^ 1)
        elif fault.name == "no_checksum":
            reply.headers.pop(_CHECKSUM, None)

    def _refused(self, refusal: RefusalError, request_id: str) -> Reply:
        if refusal.status == 304:
            return Reply(304, {"ETag": str(refusal.details["etag"])})
        text = refusal.xml(request_id, self.headers.get("host", ""))
        headers = {"Content-Type": "application/xml"}
        if "EC" in refusal.details:
            headers["x-oss-ec"] = str(refusal.details["EC"])
        if self.command == "HEAD":
            return Reply(refusal.status, headers | {"x-oss-err": base64.b64encode(text).decode()})
        return Reply(refusal.status, headers, Content.of(text))

    def _send_headers(self, reply: Reply, request_id: str) -> None:
        self.send_response_only(reply.status)
        self.send_header("Server", "AliyunOSS")
        self.send_header("Date", formatdate(self.host.service.now(), usegmt=True))
        self.send_header("Connection", "close" if self.close_connection else "keep-alive")
        self.send_header("x-oss-request-id", request_id)
        if reply.status not in _BODILESS:
            self.send_header("Content-Length", str(reply.length))
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Tests look at `requests`; nothing is written to stderr."""
