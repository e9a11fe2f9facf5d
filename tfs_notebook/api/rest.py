"""REST: aiohttp's low-level server, who may ask it, and what is answered outside TensorFlow Serving's API."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from aiohttp import web

from tfs_notebook.api import json_codec
from tfs_notebook.api.auth import LOCAL_NAMES, foreign_origin, host_name, names_this_server, token_matches
from tfs_notebook.api.probes import probe
from tfs_notebook.api.rest_api import RestApi
from tfs_notebook.api.rest_body import Refused
from tfs_notebook.api.rest_connections import Connections
from tfs_notebook.api.rest_gzip import compressed
from tfs_notebook.api.rest_reply import JsonReply
from tfs_notebook.api.routes import route
from tfs_notebook.api.turns import Turns
from tfs_notebook.errors import Code, ServingError

if TYPE_CHECKING:
    from aiohttp.http_parser import RawRequestMessage
    from aiohttp.streams import StreamReader

    from tfs_notebook.api.inference import Inference
    from tfs_notebook.api.metrics import Metrics

T = TypeVar("T")

_log = logging.getLogger(__name__)
_HTTP_STATUS = {
    Code.OK: 200, Code.CANCELLED: 499, Code.INVALID_ARGUMENT: 400, Code.DEADLINE_EXCEEDED: 504, Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409, Code.PERMISSION_DENIED: 403, Code.RESOURCE_EXHAUSTED: 429,
    Code.FAILED_PRECONDITION: 400, Code.ABORTED: 409, Code.OUT_OF_RANGE: 400, Code.UNIMPLEMENTED: 501,
    Code.UNAVAILABLE: 503, Code.UNAUTHENTICATED: 401,
}  # fmt: skip
_REASONS = {429: "Client Error", 499: "Client Error", 504: "Gateway Time-out"}
"""Where libevent's words are not aiohttp's."""
_MAX_LINE = 64 << 10
"""Bytes of a request line or header; a browser sends the cookies of every port of localhost."""
_LONGEST_HOST = 256
_OUTSIDE = frozenset({"OPTIONS", "TRACE", "CONNECT"})
"""What never reaches the API or the metrics; a preflight is let in without a token."""
_ORIGIN = re.compile(r"https?://[^/?#]*", re.IGNORECASE)
_CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "POST, GET",
    "Access-Control-Allow-Headers": "Content-Type",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RestOptions:
    """How the REST front end listens. `port` 0 picks a free one; `hosts` None admits any Host header.

    `metrics_path` is where Prometheus finds the metrics; "" counts nothing.
    """

    host: str = "127.0.0.1"
    port: int = 0
    token: str = field(default="", repr=False)
    hosts: frozenset[str] | None = LOCAL_NAMES
    threads: int = 8
    timeout: float | None = 30.0
    max_body_bytes: int = 256 << 20
    cors: bool = False
    metrics_path: str = ""
    gzip_from_bytes: int = 64 << 10


class RestServer:
    """The REST front end of one `Inference`."""

    def __init__(self, inference: Inference, metrics: Metrics, options: RestOptions) -> None:
        self.options = options
        self.port = 0
        self._inference = inference
        self._metrics = metrics
        self._turns = Turns(options.threads)
        self._loop = asyncio.get_running_loop()
        self._connections = Connections(
            self._handle,
            request_factory=self._make_request,
            access_log=None,
            logger=_log,
            handler_cancellation=True,  # what has not begun is not run for a client that has gone
            auto_decompress=False,
            max_line_size=_MAX_LINE,
            max_field_size=_MAX_LINE,
        )
        self._api = RestApi(inference, self._turns, self)
        self._runner = web.ServerRunner(self._connections, handle_signals=False, shutdown_timeout=0.0)
        self._site: web.TCPSite | None = None
        self._closing = False

    # Life

    def resize(self) -> None:
        """Have as many threads as the options say now."""
        self._turns.pool.resize(self.options.threads)

    def listens_as(self, wanted: RestOptions) -> bool:
        """Whether this listens where `wanted` asks to, so that only `options` need to be replaced."""
        return wanted.host == self.options.host and wanted.port in {self.port, self.options.port}

    async def start(self) -> None:
        """Listen. Raises OSError when the port is taken."""
        await self._runner.setup()
        try:
            await self.listen()
        except BaseException:
            await self.close()
            raise
        self.port = self._runner.addresses[0][1]

    async def listen(self) -> None:
        """Accept connections (again). Raises OSError when the port is taken."""
        site = web.TCPSite(self._runner, self.options.host, self.port or self.options.port, reuse_address=True)
        await site.start()
        self._site = site

    @property
    def alone(self) -> bool:
        """Whether no other connection is open, on which a request could be waiting."""
        return self._connections.count < 2

    @property
    def listening(self) -> bool:
        """Whether new connections are accepted."""
        return self._site is not None

    async def stop_listening(self) -> None:
        """Accept no more connections; those that are open go on."""
        if self._site is not None:
            site, self._site = self._site, None
            await site.stop()

    async def close(self, timeout: float = 5.0) -> None:
        """Stop listening, let the replies under way leave within `timeout` seconds, close the connections."""
        self._closing = True
        deadline = time.monotonic() + timeout
        try:
            await self.stop_listening()
            self._connections.close_idle()
            while self._connections.count and time.monotonic() < deadline:
                await asyncio.sleep(0.01)
                self._connections.close_idle()
        finally:
            self._turns.close()
            await self._runner.cleanup()

    def _make_request(
        self, message: RawRequestMessage, payload: StreamReader, protocol: Any, writer: Any, task: Any
    ) -> web.BaseRequest:
        protocol.busy = True
        return web.BaseRequest(message, payload, protocol, writer, task, self._loop, client_max_size=1 << 62)

    # Requests

    async def _handle(self, request: web.BaseRequest) -> Any:
        path = _path(request)
        response: web.Response | JsonReply
        try:
            response = await self._reply(request, path)
        except ServingError as error:
            response = _json(_HTTP_STATUS.get(error.code, 500), json_codec.encode_error(error.message))
        except Refused as refused:
            response = self._probe(request, path, told=False) or refused.response
        except (ConnectionError, asyncio.CancelledError):
            raise
        except MemoryError:
            response = _json(429, json_codec.encode_error("Not enough memory for this request"))
        except Exception as error:
            _log.exception("%s %s", request.method, path)
            response = _json(500, json_codec.encode_error(f"{type(error).__name__}: {error}"))
        if self.options.cors and isinstance(response, web.Response) and path[:4].lower() == "/v1/":
            response.headers.update(_CORS)
        if self._closing:
            response.force_close()
        return response

    async def _reply(self, request: web.BaseRequest, path: str) -> web.Response | JsonReply:
        self._admit(request)
        metrics_path = self.options.metrics_path
        if request.method in _OUTSIDE or path[:4].lower() != "/v1/" or (metrics_path and _names(path, metrics_path)):
            return await self._outside(request, path)
        body = self._counted(request, path) if metrics_path else self._api.answer(request, route(request.method, path))
        if not isinstance(body, bytes):
            body = await body
        if len(body) >= self.options.gzip_from_bytes and (smaller := await compressed(request, body, self._turns.pool)):
            return smaller
        return _json(200, body) if self.options.cors else JsonReply(body)

    def _probe(self, request: web.BaseRequest, path: str, *, told: bool) -> web.Response | None:
        return probe(request.method, path, self._inference.not_ready, told=told)

    def _admit(self, request: web.BaseRequest) -> None:
        headers, options = request.headers, self.options
        if options.hosts is not None:
            header = headers.get("Host", "localhost")
            if len(header) > _LONGEST_HOST or not names_this_server(header, options.hosts):
                host = host_name(header)
                raise Refused(403, f"Host {host} is not this server's; --allowed_hosts={host} admits it")
            if "Origin" in headers and not (options.token or options.cors or request.method == "OPTIONS"):
                _refuse_foreign_page(headers.get("Origin", ""), headers.get("Sec-Fetch-Site"), options.hosts)
        # A browser's preflight carries no token, and learns nothing
        if not options.token or request.method == "OPTIONS":
            return
        if not token_matches(headers.get("Authorization", ""), options.token):
            raise Refused(401, "Missing or wrong token in the header 'authorization'")

    async def _counted(self, request: web.BaseRequest, path: str) -> bytes:
        """What `_answer` gives, in the metrics too."""
        with self._metrics.request("REST") as counted:
            asked = route(request.method, path)
            counted.model = asked.spec.name
            counted.api = asked.action if request.method == "POST" else ""
            body = self._api.answer(request, asked)
            return body if isinstance(body, bytes) else await body

    async def _outside(self, request: web.BaseRequest, path: str) -> web.Response:
        """A probe's reply, the metrics, or what the HTTP library below TensorFlow Serving's API answers."""
        metrics_path = self.options.metrics_path
        if request.method in _OUTSIDE or not (metrics_path and _names(path, metrics_path)):
            return self._probe(request, path, told=True) or _outside(request, path)
        if path != metrics_path:
            told = f"Unexpected path: {path}. Should be {metrics_path}".encode(errors="surrogateescape")
            return web.Response(status=400, body=told, content_type="text/plain")
        page = await self._loop.run_in_executor(None, self._metrics.text)  # the pool may be busy with requests
        return web.Response(body=page.encode(), content_type="text/plain")


def _path(request: web.BaseRequest) -> str:
    """What is asked for, also in a proxy's form: the whole URL."""
    path = request.raw_path
    return path if path[:1] == "/" else _ORIGIN.sub("", path, count=1)


def _names(path: str, metrics_path: str) -> bool:
    """Whether a request for `path` is for the metrics, with a query or without."""
    return path.partition("?")[0] == metrics_path


def _refuse_foreign_page(origin: str, site: str | None, hosts: frozenset[str]) -> None:
    """A page that the user has open elsewhere can send requests here, though it cannot read the answers."""
    if foreign_origin(origin, site, hosts):
        raise Refused(
            403,
            f"A page of {origin} may not ask this server: --token, or --rest_api_enable_cors_support, lets pages of "
            "other sites ask",
        )


def _json(status: int, body: bytes) -> web.Response:
    return web.Response(status=status, reason=_REASONS.get(status), body=body, content_type="application/json")


def _outside(request: web.BaseRequest, path: str) -> web.Response:
    """What does not reach TensorFlow Serving's API but is answered by the HTTP library below it."""
    if request.method in {"TRACE", "CONNECT"}:
        return _page(501, "Not Implemented")
    if path[:4].lower() != "/v1/":
        return _page(404, "Not Found")
    origin = request.headers.get("Origin", "")
    known = "http://" in origin or "https://" in origin
    return web.Response(status=200 if known else 400, content_type="text/html", charset="ISO-8859-1")


def _page(status: int, title: str) -> web.Response:
    page = f"<HTML><HEAD>\n<TITLE>{status} {title}</TITLE>\n</HEAD><BODY>\n<H1>{title}</H1>\n</BODY></HTML>\n"
    response = web.Response(status=status, body=page.encode(), content_type="text/html")
    response.force_close()
    return response
