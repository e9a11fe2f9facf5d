"""REST: TensorFlow Serving's HTTP API on aiohttp's low-level server.

Small bodies are parsed on the loop, and `turns` says where their calls run.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from aiohttp import web

from tfs_notebook.api import json_codec, status_messages
from tfs_notebook.api.auth import LOCAL_NAMES, host_name, token_matches
from tfs_notebook.api.rest_body import Refused, body_at_hand, read_body
from tfs_notebook.api.rest_reply import JsonReply
from tfs_notebook.api.routes import Route, route
from tfs_notebook.api.turns import Turns
from tfs_notebook.errors import Code, ServingError, invalid_argument

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from aiohttp.http_parser import RawRequestMessage
    from aiohttp.streams import StreamReader

    from tfs_notebook.api.inference import Call, Inference
    from tfs_notebook.engine.signature import Signature

T = TypeVar("T")

_log = logging.getLogger(__name__)
_HTTP_STATUS = {
    Code.OK: 200, Code.CANCELLED: 499, Code.INVALID_ARGUMENT: 400, Code.DEADLINE_EXCEEDED: 504, Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409, Code.PERMISSION_DENIED: 403, Code.RESOURCE_EXHAUSTED: 429,
    Code.FAILED_PRECONDITION: 400, Code.ABORTED: 409, Code.OUT_OF_RANGE: 400, Code.UNIMPLEMENTED: 501,
    Code.UNAVAILABLE: 503, Code.UNAUTHENTICATED: 401,
}  # fmt: skip
_LARGE_BODY = 64 << 10
"""Bytes from which parsing may take so long that other requests should not wait for it."""
_LAST_WORDS_SECONDS = 0.5
"""How long the last replies may take to leave once every request has been answered, or has been given up."""
_MAX_LINE = 64 << 10
"""Bytes of a request line or header; a browser sends the cookies of every port of localhost."""
_ORIGIN = re.compile(r"https?://[^/?#]*", re.IGNORECASE)
_CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "POST, GET",
    "Access-Control-Allow-Headers": "Content-Type",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RestOptions:
    """How the REST front end listens. `port` 0 picks a free one; `hosts` None admits any Host header."""

    host: str = "127.0.0.1"
    port: int = 0
    token: str = field(default="", repr=False)
    hosts: frozenset[str] | None = LOCAL_NAMES
    threads: int = 8
    timeout: float | None = 30.0
    max_body_bytes: int = 256 << 20
    cors: bool = False


class RestServer:
    """The REST front end of one `Inference`."""

    def __init__(self, inference: Inference, options: RestOptions) -> None:
        self.options = options
        self._inference = inference
        self._turns = Turns(options.threads)
        self._runner = web.ServerRunner(
            web.Server(
                self._handle,
                request_factory=self._make_request,
                access_log=None,
                logger=_log,
                auto_decompress=False,
                max_line_size=_MAX_LINE,
                max_field_size=_MAX_LINE,
            ),
            handle_signals=False,
            shutdown_timeout=_LAST_WORDS_SECONDS,
        )
        self._site: web.TCPSite | None = None
        self._under_way = 0
        self._idle = asyncio.Event()
        self._closing = False
        self.port = 0

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
        self._site = web.TCPSite(self._runner, self.options.host, self.port or self.options.port, reuse_address=True)
        await self._site.start()

    @property
    def listening(self) -> bool:
        """Whether new connections are accepted."""
        return self._site is not None

    async def stop_listening(self) -> None:
        """Accept no more connections; those that are open go on."""
        if self._site is not None:
            await self._site.stop()
            self._site = None

    async def close(self, timeout: float = 5.0) -> None:
        """Stop listening, finish the requests under way within `timeout` seconds, close the connections."""
        self._closing = True
        try:
            with contextlib.suppress(RuntimeError):  # the site never got to listen
                await self.stop_listening()
            if self._under_way:
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._idle.wait(), timeout)
        finally:
            self._turns.close()
            await self._runner.cleanup()

    @property
    def _alone(self) -> bool:
        """Whether nobody else can be waiting: requests that a call on the loop holds up are not yet under way."""
        server = self._runner.server
        return server is None or len(server.connections) < 2

    def _make_request(
        self, message: RawRequestMessage, payload: StreamReader, protocol: Any, writer: Any, task: Any
    ) -> web.BaseRequest:
        loop = asyncio.get_running_loop()
        return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=1 << 62)

    async def _handle(self, request: web.BaseRequest) -> Any:
        self._under_way += 1
        try:
            response = await self._respond(request)
        finally:
            self._under_way -= 1
            if self._closing and not self._under_way:
                self._idle.set()
        if self._closing:
            response.force_close()
        return response

    async def _respond(self, request: web.BaseRequest) -> web.Response | JsonReply:
        path = request.raw_path
        if path[:1] != "/":  # a proxy's form: the whole URL
            path = _ORIGIN.sub("", path, count=1)
        under_v1 = path[:4].lower() == "/v1/"
        try:
            self._admit(request)
            if not under_v1:
                return _page(501, "Not Implemented") if request.method == "TRACE" else _page(404, "Not Found")
            response: web.Response | JsonReply = await self._respond_v1(request, path)
        except ServingError as error:
            response = _json(_HTTP_STATUS.get(error.code, 500), json_codec.encode_error(error.message))
        except Refused as refused:
            response = refused.response
        except (ConnectionError, asyncio.CancelledError):
            raise
        except MemoryError:
            response = _json(429, json_codec.encode_error("Not enough memory for this request"))
        except Exception as error:
            _log.exception("%s %s", request.method, path)
            response = _json(500, json_codec.encode_error(f"{type(error).__name__}: {error}"))
        if under_v1 and self.options.cors and isinstance(response, web.Response):
            response.headers.update(_CORS)
        return response

    async def _respond_v1(self, request: web.BaseRequest, path: str) -> web.Response | JsonReply:
        if request.method == "OPTIONS":
            origin = request.headers.get("Origin", "")
            known = "http://" in origin or "https://" in origin
            return web.Response(status=200 if known else 400, content_type="text/html", charset="ISO-8859-1")
        if request.method == "TRACE":
            return _page(501, "Not Implemented")
        body = await self._answer(request, path)
        return _json(200, body) if self.options.cors else JsonReply(body)

    def _admit(self, request: web.BaseRequest) -> None:
        headers, options = request.headers, self.options
        if options.hosts is not None and (host := host_name(headers.get("Host", "localhost"))) not in options.hosts:
            raise Refused(403, f"Host {host} is not this server's; --allowed_hosts={host} admits it")
        # A browser's preflight carries no token, and learns nothing
        if not options.token or request.method == "OPTIONS":
            return
        if not token_matches(headers.get("Authorization", ""), options.token):
            raise Refused(401, "Missing or wrong token in the header 'authorization'")

    async def _answer(self, request: web.BaseRequest, path: str) -> bytes:
        asked = route(request.method, path)
        if asked.action == "predict":
            limit = self.options.max_body_bytes
            body = body_at_hand(request, limit)
            if body is None:
                body = await read_body(request, limit, self._turns.pool)
            return await self._predict(asked, body)
        if asked.action == "status":
            return status_messages.status_json(self._inference.status(asked.spec.name, asked.spec.version))
        if asked.action == "metadata":
            with self._inference.open(asked.spec) as call:
                return status_messages.metadata_json(call.model, call.version, call.signature_def)
        raise ServingError(Code.UNIMPLEMENTED, f"{asked.action} is not there yet; predict is")

    async def _predict(self, asked: Route, body: bytes) -> bytes:
        if len(body) > _LARGE_BODY:
            return await self._in_pool(self._predict_here, asked, body)
        parsed = json_codec.parse_predict(body)
        call = self._inference.open(asked.spec)
        try:
            signature = _signature(call, parsed)
            inputs = parsed.tensors(signature)
        except BaseException:
            call.close()
            raise
        # From here on the version is held by the work, which may wait or run longer than this coroutine
        return await self._turns.run(
            partial(self._run, call, signature, inputs, parsed),
            call.close,
            seconds=call.expected_seconds(signature, inputs),
            alone=self._alone,
        )

    def _predict_here(self, asked: Route, body: bytes) -> bytes:
        parsed = json_codec.parse_predict(body)
        with self._inference.open(asked.spec) as call:
            signature = _signature(call, parsed)
            return self._run(call, signature, parsed.tensors(signature), parsed)

    def _run(
        self, call: Call, signature: Signature, inputs: dict[str, np.ndarray], parsed: json_codec.PredictBody
    ) -> bytes:
        outputs = call.predict(signature, inputs, timeout=self.options.timeout)
        return json_codec.encode_predict(outputs, row_format=parsed.row_format)

    async def _in_pool(self, function: Callable[..., T], *args: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._turns.pool, function, *args)


def _signature(call: Call, parsed: json_codec.PredictBody) -> Signature:
    signature = call.signature(parsed.signature_name)
    if signature is None:
        raise invalid_argument(f'Serving signature name: "{parsed.signature_name}" not found in signature def')
    return signature


def _json(status: int, body: bytes) -> web.Response:
    return web.Response(status=status, body=body, content_type="application/json")


def _page(status: int, title: str) -> web.Response:
    """What libevent, below TensorFlow Serving, answers by itself."""
    page = f"<HTML><HEAD>\n<TITLE>{status} {title}</TITLE>\n</HEAD><BODY>\n<H1>{title}</H1>\n</BODY></HTML>\n"
    response = web.Response(status=status, body=page.encode(), content_type="text/html")
    response.force_close()
    return response
