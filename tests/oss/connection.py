"""HTTP of the OSS server of the tests: requests off a socket, replies and faults onto it."""

from __future__ import annotations

import base64
import itertools
import socket
import struct
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote

from tests.oss.errors import RefusalError
from tests.oss.faults import BODY
from tests.oss.service import Asked, Reply
from tests.oss.storage import PIECE, Content

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping

    from tests.oss.faults import Fault, Faults
    from tests.oss.service import Service

_NUMBERS = itertools.count(1)
_CHECKSUM = "x-oss-hash-crc64ecma"


@dataclass
class Request:
    """A request that arrived: `operation` is the method, or LIST; `status` is 0 until it is answered.

    `sent` counts the bytes of the answer's body that were given to the socket.
    """

    operation: str
    method: str
    bucket: str
    key: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    status: int = 0
    sent: int = 0
    started: float = field(default_factory=time.monotonic)


class Host(Protocol):
    """What a connection needs of the server it belongs to."""

    service: Service
    faults: Faults
    requests: list[Request]
    closing: threading.Event


class DisconnectError(Exception):
    """Nothing more goes over this connection."""


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
        path, _, query = self.path.partition("?")
        bucket, _, key = path.removeprefix("/").partition("/")
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = Asked(self.command, unquote(bucket), unquote(key), query, headers)
        operation, parameters = asked.operation, asked.parameters
        request = Request(operation, asked.method, asked.bucket, asked.key, parameters, headers)
        self.host.requests.append(request)
        fault = self.host.faults.take(operation, parameters.get("prefix", "") if operation == "LIST" else asked.key)
        asked = Asked(asked.method, asked.bucket, asked.key, query, headers, self._receive(headers, fault))
        if fault is not None:
            self._before(fault)
        try:
            reply = self.host.service.answer(asked, fault)
        except RefusalError as refusal:
            reply = self._refused(refusal)
        if fault is not None and fault.name == "lost":
            fault.reached.set()
            raise DisconnectError
        request.status = reply.status
        self._send(reply, request, fault, lambda: self.host.service.swap(asked, fault) if fault else None)

    def _receive(self, headers: Mapping[str, str], fault: Fault | None) -> Content:
        """The request's body, in memory when it is small."""
        if "chunked" in headers.get("transfer-encoding", ""):
            self.close_connection = True
            raise DisconnectError
        left = int(headers.get("content-length", 0))
        cut = fault is not None and fault.name == "cut" and self.command in ("PUT", "POST")
        if cut and fault is not None:
            self.rfile.read(min(left, fault.at or 0))
            fault.reached.set()
            raise DisconnectError
        if left <= PIECE:
            return Content.of(self.rfile.read(left))
        path = self.host.service.scratch / f"body-{next(_NUMBERS)}"
        with path.open("wb") as file:
            while left:
                piece = self.rfile.read(min(left, PIECE))
                if not piece:
                    raise DisconnectError
                file.write(piece)
                left -= len(piece)
        return Content.of(path)

    def _before(self, fault: Fault) -> None:
        """Faults that come before the response."""
        if fault.name not in BODY or (fault.at is None and fault.name in ("stall", "reset", "swap")):
            fault.reached.set()
        if fault.at is None and fault.name == "stall":
            self._stall(fault)
        if fault.at is None and fault.name == "reset":
            self._reset()

    def _stall(self, fault: Fault) -> None:
        fault.reached.set()
        deadline = float("inf") if fault.seconds is None else time.monotonic() + fault.seconds
        while not fault.released.wait(0.02) and time.monotonic() < deadline:
            if self.host.closing.is_set():
                raise DisconnectError

    def _reset(self) -> None:
        # With a linger time of 0, closing discards what is in the buffers and sends RST.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        raise DisconnectError

    def _refused(self, refusal: RefusalError) -> Reply:
        text = refusal.xml(self._request_id(), self.headers.get("host", ""))
        if refusal.status == 304:
            return Reply(304, {"ETag": str(refusal.details["etag"])})
        headers = {"Content-Type": "application/xml"}
        if "EC" in refusal.details:
            headers["x-oss-ec"] = str(refusal.details["EC"])
        if self.command == "HEAD":
            return Reply(refusal.status, headers | {"x-oss-err": base64.b64encode(text).decode()})
        return Reply(refusal.status, headers, Content.of(text))

    def _request_id(self) -> str:
        return f"{next(_NUMBERS):024X}"

    def _send(self, reply: Reply, request: Request, fault: Fault | None, swap: Callable[[], None]) -> None:
        if fault is not None:
            _change_checksum(reply, fault)
        self.send_response_only(reply.status)
        common = {
            "Server": "AliyunOSS",
            "Date": formatdate(self.host.service.now(), usegmt=True),
            "Connection": "close" if self.close_connection else "keep-alive",
            "x-oss-request-id": self._request_id(),
            "Content-Length": str(reply.length),
        }
        for name, value in (common | reply.headers).items():
            if reply.status not in (204, 304) or name != "Content-Length":
                self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD" or reply.status in (204, 304):
            return
        with ExitStack() as stack:
            source = reply.body.source
            file = None if isinstance(source, bytes) else stack.enter_context(source.open("rb"))

            def send(start: int, end: int) -> None:
                if isinstance(source, bytes):
                    self.connection.sendall(memoryview(source)[reply.start + start : reply.start + end])
                elif end > start and file is not None:
                    self.connection.sendfile(file, reply.start + start, end - start)
                request.sent += end - start

            if fault is None or fault.name not in BODY:
                send(0, reply.length)
            else:
                self._send_faulty(reply, fault, send, swap)

    def _send_faulty(
        self, reply: Reply, fault: Fault, send: Callable[[int, int], None], swap: Callable[[], None]
    ) -> None:
        if fault.name == "slow":
            self._drip(reply.length, fault, send)
            return
        if fault.at is None and fault.name != "cut":
            send(0, reply.length)
            return
        at = min(fault.at or 0, reply.length)
        send(0, at)
        fault.reached.set()
        if fault.name == "cut":
            raise DisconnectError
        if fault.name == "reset":
            self._reset()
        if fault.name == "stall":
            self._stall(fault)
        if fault.name == "swap":
            swap()
        if fault.name == "corrupt" and at < reply.length:
            (piece,) = reply.body.pieces(reply.start + at, reply.start + at + 1)
            self.connection.sendall(bytes([piece[0] ^ 0xFF]))
            at += 1
        send(at, reply.length)

    def _drip(self, length: int, fault: Fault, send: Callable[[int, int], None]) -> None:
        fault.reached.set()
        step = max(1, fault.rate // 50)
        for start in range(0, length, step):
            send(start, min(length, start + step))
            if self.host.closing.wait(0 if fault.released.is_set() else step / fault.rate):
                raise DisconnectError

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Tests look at `requests`; nothing is written to stderr."""


def _change_checksum(reply: Reply, fault: Fault) -> None:
    if fault.name == "checksum" and _CHECKSUM in reply.headers:
        reply.headers[_CHECKSUM] = str(int(reply.headers[_CHECKSUM]) ^ 1)
    elif fault.name == "no_checksum":
        reply.headers.pop(_CHECKSUM, None)
