"""The console as a web page: a page, its script and a WebSocket, on a thread and a loop of its own.

* Page and script hold nothing of the server; what does goes over the WebSocket, whose first message brings the token.
* A page of another site cannot open it: its Origin is not this page's. Nor can a name that was made to point here: its
  Host is not this server's.
* A viewer that does not read is dropped, and none of them is waited for by what serves.
"""

from __future__ import annotations

import asyncio
import contextlib
from importlib import resources
from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import WSMsgType, web

from tfs_notebook.api import auth
from tfs_notebook.api.addresses import bound_sockets, own_name
from tfs_notebook.console.commands import run
from tfs_notebook.console.hub import Hub
from tfs_notebook.runtime import Runtime
from tfs_notebook.settings.ports import refusal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tfs_notebook.server.server import Server

_MOST_VIEWERS = 100
_PATIENCE_SECONDS = 10.0
"""How long a viewer may take for its first message, and to read one."""
_LONGEST_MESSAGE = 32 << 20
_TOKEN_WRONG, _TOO_MANY, _TOO_SLOW, _STOPPED = 4401, 4429, 4408, 4410
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
_FILES = {"/": "page.html", "/page.js": "page.js", "/page.css": "page.css", "/console.js": "console.js"}
_TYPES = {"html": "text/html", "js": "text/javascript", "css": "text/css"}


class ConsolePage:
    """The page of one server; `close` it, or let `console.pages` do so when the server stops."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._runtime = Runtime("tfs-console")
        self._port = 0
        self._name = ""
        self._runner: web.AppRunner | None = None
        self._sockets: set[web.WebSocketResponse] = set()
        self.hub: Hub

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._port

    @property
    def url(self) -> str:
        """Where to open it, with the token behind `#`, which browsers keep to themselves."""
        fragment = f"#token={self._server.token}" if self._server.token else ""
        return f"http://{self._name}:{self._port}/{fragment}"

    def open(self, port: int) -> None:
        """Listen on `port` (less than 0: any free one). Raises PortTakenError."""
        host = self._server.options.host
        try:
            self._runtime.call(self._open(host, max(port, 0)))
        except OSError as error:
            self._runtime.close()
            raise refusal("console_port", host, port, error) from None

    def close(self) -> None:
        """Tell all viewers that the server has stopped, and free the port. Not to be called on the console's thread."""
        with contextlib.suppress(Exception):
            self._runtime.call(self._close(), 2.0)
        self._runtime.close()

    def disown(self) -> None:
        """Let go of everything in a process that was forked off."""
        self._runtime.disown()

    async def _open(self, host: str, port: int) -> None:
        self.hub = Hub(self._server)
        application = web.Application(middlewares=[self._guard])
        for path in _FILES:
            application.router.add_get(path, _file)
        application.router.add_get("/ws", self._view)
        runner = web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=1.0)
        await runner.setup()
        try:
            sockets = bound_sockets(host, port)
            for sock in sockets:
                await web.SockSite(runner, sock).start()
        except BaseException:
            await runner.cleanup()
            raise
        self._runner, self._port = runner, int(sockets[0].getsockname()[1])
        self._name = own_name([str(sock.getsockname()[0]) for sock in sockets])

    async def _close(self) -> None:
        closing = [socket.close(code=_STOPPED, message=b"stopped") for socket in list(self._sockets)]
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.gather(*closing, return_exceptions=True), 0.5)
        if self._runner is not None:
            await self._runner.cleanup()

    # Who may ask

    @web.middleware
    async def _guard(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if (refused := self._refusal(request)) is not None:
            return web.Response(status=403, text=refused, headers=_HEADERS)
        return await handler(request)

    def _refusal(self, request: web.Request) -> str | None:
        """Why this request is not answered, None when it is."""
        options = self._server.options
        host, origin = request.headers.get("Host", ""), request.headers.get("Origin")
        hosts = auth.known_hosts(options.host, options.allowed_hosts)
        if hosts is not None and not auth.names_this_server(host, hosts):
            return auth.unknown_host(host)
        if origin is None:  # no page has sent it
            return None
        asker = origin.partition("://")[2]
        # Another page on this machine has the same name, but not the same port
        if asker.lower() == host.lower() or auth.host_name(asker) in auth.named_hosts(options.allowed_hosts):
            return None
        return f"Origin {origin} is another site; --allowed_hosts={auth.host_name(asker)} admits it"

    async def _is_admitted(self, request: web.Request, socket: web.WebSocketResponse) -> bool:
        """Whether the first message is a greeting with the token."""
        token = self._server.token
        try:
            message = await asyncio.wait_for(socket.receive(), _PATIENCE_SECONDS)
        except asyncio.TimeoutError:
            return False
        greeting = _parsed(message.data) if message.type is WSMsgType.TEXT and len(message.data) < 4096 else {}
        sent = greeting.get("token") or request.headers.get("Authorization", "")
        return greeting.get("op") == "hello" and (not token or auth.token_matches(str(sent), token))

    # What they are told

    async def _view(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(max_msg_size=_LONGEST_MESSAGE, compress=False, heartbeat=30.0, timeout=1.0)
        await socket.prepare(request)
        if len(self._sockets) >= _MOST_VIEWERS:
            await socket.close(code=_TOO_MANY, message=b"too many viewers")
            return socket
        self._sockets.add(socket)
        try:
            if await self._is_admitted(request, socket):
                await self._talk(request, socket)
            else:
                await socket.close(code=_TOKEN_WRONG, message=b"the token is wrong")
        finally:
            self._sockets.discard(socket)
        return socket

    async def _talk(self, request: web.Request, socket: web.WebSocketResponse) -> None:
        telling = asyncio.create_task(self._tell(request, socket))
        running: set[asyncio.Task[None]] = set()
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT and len(running) < 8:
                    task = asyncio.create_task(self._answer(request, socket, _parsed(message.data)))
                    running.add(task)
                    task.add_done_callback(running.discard)
        finally:
            telling.cancel()

    async def _tell(self, request: web.Request, socket: web.WebSocketResponse) -> None:
        viewer = self.hub.join()
        try:
            while not socket.closed:
                await self._send(request, socket, await self.hub.next(viewer))
        finally:
            self.hub.leave(viewer)

    async def _answer(self, request: web.Request, socket: web.WebSocketResponse, asked: dict[str, Any]) -> None:
        loop = asyncio.get_running_loop()
        outcome = await loop.run_in_executor(None, run, self._server, asked.get("op"), asked.get("arguments"))
        reply = orjson.dumps({"type": "reply", "id": asked.get("id"), "outcome": outcome})
        await self._send(request, socket, reply)

    async def _send(self, request: web.Request, socket: web.WebSocketResponse, message: bytes) -> None:
        try:
            with contextlib.suppress(ConnectionError):
                await asyncio.wait_for(socket.send_str(message.decode()), _PATIENCE_SECONDS)
        except asyncio.TimeoutError:
            if request.transport is not None:
                request.transport.abort()


def _parsed(text: str) -> dict[str, Any]:
    try:
        parsed = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
    return parsed if isinstance(parsed, dict) else {}


async def _file(request: web.Request) -> web.Response:
    name = _FILES[request.path]
    body = resources.files("tfs_notebook.console").joinpath("static", name).read_bytes()
    content_type = _TYPES[name.rpartition(".")[2]]
    return web.Response(body=body, content_type=content_type, charset="utf-8", headers=_HEADERS)
