"""REST: who may ask, and what is answered outside TensorFlow Serving's API."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

from tfs_notebook.api.addresses import bound_sockets, own_name
from tfs_notebook.api.auth import (
    foreign_origin,
    host_name,
    names_this_server,
    token_matches,
    unknown_host,
)
from tfs_notebook.api.dispatch.executor import Executor
from tfs_notebook.api.http.body_budget import BodyBudget
from tfs_notebook.api.http.messages import Reply, Request
from tfs_notebook.api.http.server import HttpServer
from tfs_notebook.api.json import codec as json_codec
from tfs_notebook.api.rest.api import RestApi
from tfs_notebook.api.rest.body import Refused, too_large, too_many
from tfs_notebook.api.rest.gzip import accepts_gzip, compressed
from tfs_notebook.api.rest.probes import probe
from tfs_notebook.api.rest.routes import route
from tfs_notebook.errors import Code, ServingError

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from tfs_notebook.api.inference import Inference
    from tfs_notebook.api.metrics.metrics import Metrics
    from tfs_notebook.api.rest.options import RestOptions

_log = logging.getLogger(__name__)
_HTTP_STATUS = {
    Code.OK: 200, Code.CANCELLED: 499, Code.INVALID_ARGUMENT: 400, Code.DEADLINE_EXCEEDED: 504, Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409, Code.PERMISSION_DENIED: 403, Code.RESOURCE_EXHAUSTED: 429,
    Code.FAILED_PRECONDITION: 400, Code.ABORTED: 409, Code.OUT_OF_RANGE: 400, Code.UNIMPLEMENTED: 501,
    Code.UNAVAILABLE: 503, Code.UNAUTHENTICATED: 401,
}  # fmt: skip
_MAX_HOST_LENGTH = 256
_UNKNOWN = frozenset({"TRACE", "CONNECT"})
"""What the HTTP library below TensorFlow Serving's API does not know."""
_OUTSIDE = frozenset({"OPTIONS", *_UNKNOWN})
"""What never reaches the API or the metrics; a preflight is let in without a token."""
_TEXT = b"text/plain"
_CORS = (
    (b"Access-Control-Allow-Origin", b"*"),
    (b"Access-Control-Allow-Methods", b"POST, GET"),
    (b"Access-Control-Allow-Headers", b"Content-Type"),
)


class RestServer:
    """The REST front end of one `Inference`."""

    def __init__(self, inference: Inference, metrics: Metrics, options: RestOptions) -> None:
        self.options = options
        self.port = 0
        self.name = ""
        """By which name programs on this machine reach it."""
        self.closing = False
        self.bodies = BodyBudget(options.body_budget)
        self._inference = inference
        self._metrics = metrics
        self._executor = Executor(options.threads)
        self._http = HttpServer(self)
        self._api = RestApi(inference, self._executor, self.bodies, lambda: self.options, lambda: self._http.alone)

    # Life

    def take_over(self, options: RestOptions) -> None:
        """Go on with these options."""
        self.options = options
        self.bodies.most = options.body_budget
        self._executor.pool.resize(options.threads)

    def listens_as(self, wanted: RestOptions) -> bool:
        """Whether this listens where `wanted` asks to, so that only `options` need to be replaced."""
        return wanted.host == self.options.host and wanted.port in {self.port, self.options.port}

    async def listen(self) -> None:
        """Accept connections (again). Raises OSError when the port is taken."""
        loop = asyncio.get_running_loop()
        # A name may have to be looked up
        sockets = await loop.run_in_executor(None, bound_sockets, self.options.host, self.port or self.options.port)
        self.port = int(sockets[0].getsockname()[1])
        self.name = await loop.run_in_executor(None, own_name, [str(each.getsockname()[0]) for each in sockets])
        await self._http.listen(sockets)

    @property
    def listening(self) -> bool:
        """Whether new connections are accepted."""
        return self._http.listening

    def stop_listening(self) -> None:
        """Accept no more connections; those that are open go on."""
        self._http.stop_listening()

    async def close(self, timeout: float = 5.0) -> None:
        """Stop listening, let the replies under way leave within `timeout` seconds, close the connections."""
        self.closing = True
        try:
            await self._http.close(timeout)
        finally:
            self._executor.close()

    # What a connection asks for

    @property
    def max_body_bytes(self) -> int:
        """How many bytes a body may have."""
        return self.options.max_body_bytes

    def admit(self, request: Request) -> Reply | None:
        """A look at the head: the reply to a request that is refused, else None."""
        try:
            self._admit(request)
        except Refused as refused:
            return self._finished(request, self._probe(request, told=False) or refused.reply)
        if request.announced > self.max_body_bytes:
            return self._counted_refusal(request, too_large(self.max_body_bytes, request.announced))
        request.keeps_body = request.method == "POST" and not self._is_outside(request)
        return None

    def answer(self, request: Request) -> Reply | Awaitable[bytes | Reply]:
        """The reply to a whole request, or what gives it, or its body, to `answered`."""
        try:
            answer = self._outside(request) if self._is_outside(request) else self._inside(request)
        except Exception as error:
            return self._failed(request, error)
        return self._settled(request, answer) if isinstance(answer, (bytes, Reply)) else answer

    def answered(self, request: Request, answer: asyncio.Future[bytes | Reply]) -> Reply | Awaitable[Reply]:
        """The reply that `answer` has become, or what gives it."""
        try:
            return self._settled(request, answer.result())
        except Exception as error:
            return self._failed(request, error)

    def abandoned(self, request: Request) -> None:
        """The client has gone before it was answered."""
        request.over = True
        self._ended(request, asyncio.CancelledError("The client has gone"))

    def refuse(self, request: Request, status: int, message: str) -> Reply:
        """The reply to a request that did not come as it should."""
        return self._counted_refusal(request, Refused(status, message, last=True))

    def refuse_size(self, request: Request) -> Reply:
        """The reply to a request whose body became too long."""
        return self._counted_refusal(request, too_large(self.max_body_bytes))

    def refuse_sum(self, request: Request) -> Reply:
        """The reply to a request whose body does not fit beside those of others."""
        return self._counted_refusal(request, too_many(self.bodies.most))

    # How it is answered

    def _inside(self, request: Request) -> bytes | Awaitable[bytes]:
        if self.options.metrics_path:
            request.counted = self._metrics.request("REST")
        asked = route(request.method, request.path)
        request.counted.model = asked.spec.name
        request.counted.api = asked.action if request.method == "POST" else ""
        return self._api.answer(request, asked)

    def _settled(self, request: Request, answer: bytes | Reply) -> Reply | Awaitable[Reply]:
        if isinstance(answer, bytes):
            request.counted.end()
            if len(answer) >= self.options.gzip_from_bytes and accepts_gzip(request.header(b"accept-encoding") or ""):
                return compressed(answer, self._executor.pool)
            answer = Reply(200, answer)
        return self._finished(request, answer)

    def _ended(self, request: Request, error: BaseException) -> None:
        request.counted.end(error)
        if request.call is not None:
            request.call.replied(error)

    def _finished(self, request: Request, reply: Reply) -> Reply:
        if request.call is not None:
            request.call.replied()
        if self.options.cors and request.path[:4].lower() == "/v1/":
            reply.headers += _CORS
        return reply

    def _failed(self, request: Request, error: Exception) -> Reply:
        self._ended(request, error)
        if isinstance(error, ServingError):
            reply = Reply(_HTTP_STATUS.get(error.code, 500), json_codec.encode_error(error.message))
        elif isinstance(error, Refused):
            reply = error.reply
        elif isinstance(error, MemoryError):
            reply = Reply(429, json_codec.encode_error("Not enough memory for this request"))
        else:
            _log.error("%s %s", request.method, request.path, exc_info=error)
            reply = Reply(500, json_codec.encode_error(f"{type(error).__name__}: {error}"))
        return self._finished(request, reply)

    def _counted_refusal(self, request: Request, refused: Refused) -> Reply:
        if self.options.metrics_path and not self._is_outside(request):
            request.counted = self._metrics.request("REST")
            with contextlib.suppress(ServingError):
                request.counted.model = route(request.method, request.path).spec.name
        request.counted.end(refused)
        return self._finished(request, refused.reply)

    def _probe(self, request: Request, *, told: bool) -> Reply | None:
        return probe(request.method, request.path, self._inference.not_ready, told=told)

    def _admit(self, request: Request) -> None:
        options = self.options
        if options.hosts is not None:
            header = request.header(b"host")
            if header is None:
                header = "localhost"
            if len(header) > _MAX_HOST_LENGTH or not names_this_server(header, options.hosts):
                raise Refused(403, unknown_host(header))
        # A browser's preflight carries no token, and learns nothing
        preflight = request.method == "OPTIONS" and not self._is_for_metrics(request)
        if not (options.token or options.cors or preflight):
            _refuse_foreign_page(request, options.hosts)
        if not options.token or preflight:
            return
        if not token_matches(request.header(b"authorization") or "", options.token):
            raise Refused(401, "Missing or wrong token in the header 'authorization'")

    # Outside the API

    def _is_outside(self, request: Request) -> bool:
        return request.method in _OUTSIDE or request.path[:4].lower() != "/v1/" or self._is_for_metrics(request)

    def _is_for_metrics(self, request: Request) -> bool:
        """Whether a request is for the metrics, with a query or without; there it does not matter by which method."""
        metrics_path = self.options.metrics_path
        return metrics_path != "" and request.method not in _UNKNOWN and _names(request.path, metrics_path)

    def _outside(self, request: Request) -> Reply | Awaitable[Reply]:
        """A probe's reply, the metrics, or what the HTTP library below TensorFlow Serving's API answers."""
        path, metrics_path = request.path, self.options.metrics_path
        if not self._is_for_metrics(request):
            return self._probe(request, told=True) or _outside(request)
        if path == metrics_path:
            return self._metrics_page()
        told = f"Unexpected path: {path}. Should be {metrics_path}".encode(errors="surrogateescape")
        return Reply(400, told, _TEXT)

    async def _metrics_page(self) -> Reply:
        loop = asyncio.get_running_loop()
        try:
            page = await loop.run_in_executor(None, self._metrics.text)  # the pool may be busy with requests
        except RuntimeError:  # no thread can be started
            page = self._metrics.text()
        return Reply(200, page.encode(), _TEXT)


def _names(path: str, metrics_path: str) -> bool:
    return path.partition("?")[0] == metrics_path


def _refuse_foreign_page(request: Request, hosts: frozenset[str] | None) -> None:
    """A page that the user has open elsewhere can send requests here, though it cannot read the answers."""
    origin, site = request.header(b"origin"), request.header(b"sec-fetch-site")
    if origin is None and site is None:
        return
    # Where any name may be meant, a page of this server's own is one of the host that was asked
    own = hosts if hosts is not None else frozenset({host_name(request.header(b"host") or "")})
    if foreign_origin(origin, site, own):
        raise Refused(
            403,
            f"A page of {origin or 'another site'} may not ask this server: --token, or "
            "--rest_api_enable_cors_support, lets pages of other sites ask",
        )


def _outside(request: Request) -> Reply:
    """What does not reach TensorFlow Serving's API but is answered by the HTTP library below it."""
    if request.method in _UNKNOWN:
        return _page(501, "Not Implemented")
    if request.path[:4].lower() != "/v1/":
        return _page(404, "Not Found")
    origin = request.header(b"origin") or ""
    known = "http://" in origin or "https://" in origin
    return Reply(200 if known else 400, b"", b"text/html; charset=ISO-8859-1")


def _page(status: int, title: str) -> Reply:
    page = f"<HTML><HEAD>\n<TITLE>{status} {title}</TITLE>\n</HEAD><BODY>\n<H1>{title}</H1>\n</BODY></HTML>\n"
    return Reply(status, page.encode(), b"text/html", last=True)
