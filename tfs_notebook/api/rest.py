"""REST: TensorFlow Serving's HTTP API on aiohttp's low-level server.

Small bodies are read on the loop, and `turns` says where their calls run; what takes longer is read on the pool.
"""

from __future__ import annotations

import asyncio
import logging
import re
import threading
import time
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from aiohttp import web

from tfs_notebook.api import json_codec, status_messages
from tfs_notebook.api.auth import LOCAL_NAMES, foreign_origin, host_name, names_this_server, token_matches
from tfs_notebook.api.json_examples import ExamplesBody, evaluate
from tfs_notebook.api.probes import probe
from tfs_notebook.api.request_records import log_arrays
from tfs_notebook.api.rest_body import Refused, body_at_hand, read_body
from tfs_notebook.api.rest_connections import Connections
from tfs_notebook.api.rest_gzip import compressed
from tfs_notebook.api.rest_reply import JsonReply
from tfs_notebook.api.routes import Route, route
from tfs_notebook.api.turns import Turns
from tfs_notebook.errors import Code, ServingError, invalid_argument

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import numpy as np
    from aiohttp.http_parser import RawRequestMessage
    from aiohttp.streams import StreamReader

    from tfs_notebook.api.inference import Call, Inference
    from tfs_notebook.api.metrics import Metrics
    from tfs_notebook.engine.signature import Signature

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
_LARGE_BODY = 64 << 10
"""Bytes from which even numbers take so long to read that other requests should not wait for it."""
_LONG_REPLY = 32 << 10
"""Bytes of output that take about as long to write as a short call takes."""
_LEAST_MEMORY = 256 << 20
"""Bytes that the values of a body may take however low its own limit is."""
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
        self._one_at_a_time = threading.Lock()
        self._connections = Connections(
            self._handle,
            request_factory=self._make_request,
            access_log=None,
            logger=_log,
            auto_decompress=False,
            max_line_size=_MAX_LINE,
            max_field_size=_MAX_LINE,
        )
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
        body = self._counted(request, path) if metrics_path else self._answer(request, route(request.method, path))
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
            body = self._answer(request, asked)
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

    def _answer(self, request: web.BaseRequest, asked: Route) -> bytes | Awaitable[bytes]:
        """The reply, or what is to be awaited for it."""
        if asked.action == "predict":
            body = body_at_hand(request, self.options.max_body_bytes)
            return self._predict_later(request, asked) if body is None else self._predict(asked, body)
        if asked.action == "status":
            return status_messages.status_json(self._inference.status(asked.spec.name, asked.spec.version))
        if asked.action == "metadata":
            with self._inference.open(asked.spec) as call:
                return status_messages.metadata_json(call.model, call.version, call.signature_def)
        return self._evaluate_later(request, asked)

    async def _predict_later(self, request: web.BaseRequest, asked: Route) -> bytes:
        body = await read_body(request, self.options.max_body_bytes, self._turns.pool)
        reply = self._predict(asked, body)
        return reply if isinstance(reply, bytes) else await reply

    async def _evaluate_later(self, request: web.BaseRequest, asked: Route) -> bytes:
        body = await read_body(request, self.options.max_body_bytes, self._turns.pool)
        return await self._in_pool(self._evaluate, asked, body)

    def _evaluate(self, asked: Route, body: bytes) -> bytes:
        """The reply to classify or regress, whose body is read before its model is looked for."""
        with self._one_at_a_time if len(body) > _LARGE_BODY else nullcontext():
            json_codec.check_cost(body, max(_LEAST_MEMORY, 4 * self.options.max_body_bytes))
            parsed = ExamplesBody(body)
        with self._inference.open(asked.spec) as call:
            return evaluate(call, asked.action, parsed, self.options.timeout)

    def _predict(self, asked: Route, body: bytes) -> bytes | Awaitable[bytes]:
        parsed = json_codec.parse_quickly(body) if len(body) <= _LARGE_BODY else None
        if parsed is None:
            return self._in_pool(self._predict_large, asked, body)
        work, call, seconds = self._prepare(asked, parsed)
        if seconds is None and call.is_batched:
            return self._run_batched(*work.args, **work.keywords)
        if not self._turns.may_run_now(seconds, alone=self._connections.count < 2):
            return self._turns.run(work, call.close, seconds=seconds)
        try:
            return work()
        finally:
            call.close()

    def _prepare(self, asked: Route, parsed: json_codec.PredictBody) -> tuple[partial[bytes], Call, float | None]:
        """What is to be done for a request, the hold on the version that does it, and how long it will take."""
        call = self._inference.open(asked.spec)
        try:
            signature = _signature(call, parsed)
            inputs = parsed.tensors(signature)
            work = partial(self._run, asked, call, signature, inputs, row_format=parsed.row_format)
            return work, call, call.expected_seconds(signature, inputs)
        except BaseException:
            call.close()
            raise

    def _predict_large(self, asked: Route, body: bytes) -> bytes:
        with self._one_at_a_time:  # what is made of a large body can be many times its size
            parsed = json_codec.parse_predict(body, most_bytes=max(_LEAST_MEMORY, 4 * self.options.max_body_bytes))
            work, call, _ = self._prepare(asked, parsed)
            del parsed
        with call:
            return work()

    def _run(
        self, asked: Route, call: Call, signature: Signature, inputs: dict[str, np.ndarray], *, row_format: bool
    ) -> bytes:
        outputs = call.predict(signature, inputs, timeout=self.options.timeout)
        if self._inference.logs:
            log_arrays(self._inference.logs, call, asked.spec, signature, inputs, outputs)
        return json_codec.encode_predict(outputs, row_format=row_format)

    async def _run_batched(
        self, asked: Route, call: Call, signature: Signature, inputs: dict[str, np.ndarray], *, row_format: bool
    ) -> bytes:
        """The same without a thread that waits, but for what takes long to write or is refused by the model."""
        with call:
            outputs = await call.predict_soon(signature, inputs, timeout=self.options.timeout)
            if outputs is None:
                return await self._in_pool(partial(self._run, asked, call, signature, inputs, row_format=row_format))
            if self._inference.logs:
                log_arrays(self._inference.logs, call, asked.spec, signature, inputs, outputs)
            if sum(array.nbytes for array in outputs.values()) > _LONG_REPLY:
                return await self._in_pool(partial(json_codec.encode_predict, outputs, row_format=row_format))
            return json_codec.encode_predict(outputs, row_format=row_format)

    async def _in_pool(self, function: Callable[..., T], *args: Any) -> T:
        return await self._loop.run_in_executor(self._turns.pool, function, *args)


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


def _signature(call: Call, parsed: json_codec.PredictBody) -> Signature:
    signature = call.signature(parsed.signature_name)
    if signature is not None:
        return signature
    if parsed.signature_name in call.signature_def:  # it names an operation, and takes nothing
        raise invalid_argument(f"Failed to get input map for signature: {parsed.signature_name}")
    raise invalid_argument(f'Serving signature name: "{parsed.signature_name}" not found in signature def')


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
