"""The gRPC front end: where it listens, on how many threads, and who may ask.

The threaded server has the lower latency and the higher throughput of grpcio's two.
"""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import grpc

from tfs_notebook.api.addresses import own_name, second_address
from tfs_notebook.api.auth import token_matches
from tfs_notebook.api.grpc.errors import MAX_MESSAGE
from tfs_notebook.api.grpc.health import HEALTH, Health
from tfs_notebook.api.grpc.reflection import Reflection
from tfs_notebook.api.grpc.rpc import CallPool
from tfs_notebook.api.grpc.services import SERVICES, GrpcApi
from tfs_notebook.api.grpc.tls import credentials
from tfs_notebook.settings.sockets import SocketFile, path_beside, put_on
from tfs_notebook.threads import start_daemon_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tfs_notebook.api.grpc.options import GrpcOptions
    from tfs_notebook.api.grpc.services import Reload
    from tfs_notebook.api.inference import Inference
    from tfs_notebook.api.metrics.metrics import Metrics


class GrpcServer:
    """The gRPC front end of one `Inference`; `reload` begins to apply a ModelServerConfig within so many seconds."""

    def __init__(self, inference: Inference, metrics: Metrics, reload: Reload, options: GrpcOptions) -> None:
        self.options = options
        self._api = GrpcApi(inference, metrics, reload, lambda: self.options)
        self._pool = CallPool(max(options.threads, 1), "tfs-grpc")
        # so_reuseport lets a second process listen on the same port without an error
        arguments = {
            "grpc.so_reuseport": 0,
            "grpc.max_receive_message_length": MAX_MESSAGE,
            "grpc.max_send_message_length": -1,
            **dict(options.arguments),
        }
        self._server = grpc.server(self._pool, options=list(arguments.items()))
        self._health = Health()
        self._reflection = Reflection((*SERVICES, *([HEALTH] if options.health else [])))
        self._server.add_generic_rpc_handlers((_Services(self),))
        self._has_stopped: Callable[[], bool] = lambda: False
        self._listening = False
        self._socket: SocketFile | None = None
        self.port = 0
        self.name = ""
        """By which name programs on this machine reach its port."""

    @property
    def listening(self) -> bool:
        """Whether new connections are accepted; not on a socket whose path somebody else has taken over."""
        return self._listening and (self._socket is None or self._socket.is_there)

    def listens_as(self, wanted: GrpcOptions) -> bool:
        """Whether this listens where `wanted` asks to, so that only `options` need to be replaced."""
        mine = self.options
        fixed = replace(
            wanted,
            port=mine.port,
            token=mine.token,
            threads=mine.threads,
            tensor_content=mine.tensor_content,
            counted=mine.counted,
        )
        is_at = self.listening if mine.socket_path else wanted.port in {self.port, mine.port}
        return fixed == mine and is_at

    def blocks(self, wanted: GrpcOptions) -> bool:
        """Whether this must stop listening before another server can, as `wanted` asks: only one can have a port, on
        whatever interface. A socket's path is taken over.
        """
        return not wanted.socket_path and wanted.port == self.port

    def resize(self) -> None:
        """Have as many threads as the options say now."""
        self._pool.resize(self.options.threads)

    def start(self) -> None:
        """Listen. Raises OSError when the port or the socket is taken, or grpc cannot use the key material, and
        NoThreadError.
        """
        start_daemon_thread(_nothing, "tfs-grpc-start")  # a server whose thread cannot start could not be stopped again
        options = self.options
        beside = path_beside(options.socket_path) if options.socket_path else ""
        try:
            if beside:
                self._add(f"unix:{quote(os.fsencode(beside))}")
            else:
                self._add_port(options.host, options.port)
        except RuntimeError as error:
            raise OSError(str(error)) from None
        self._server.start()
        if beside:
            self._socket = put_on(options.socket_path, beside)
        self._listening = True

    def _add_port(self, host: str, port: int) -> None:
        self.port = self._add(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        second = second_address(host, self.port)
        if second is not None:
            self._add(f"[{second}]:{self.port}")
        self.name = own_name([host] if second is None else [host, second])

    def _add(self, address: str) -> int:
        tls = self.options.tls
        if tls is None:
            return self._server.add_insecure_port(address)
        return self._server.add_secure_port(address, credentials(tls))

    def stop_listening(self, grace: float = 5.0) -> None:
        """Take no more requests; those under way have `grace` seconds. Returns at once."""
        self._listening = False
        if self._socket is not None:
            self._socket.remove()
        self._health.drain()
        self._reflection.drain()
        try:
            self._has_stopped = self._server.stop(grace).is_set
        except RuntimeError:  # no thread can be started that would end the requests after `grace`
            self._has_stopped = lambda: not self._server.wait_for_termination(0)
            asyncio.get_running_loop().call_later(grace, self._server.stop, None)

    async def close(self, grace: float = 5.0) -> None:
        """Take no more requests, finish those under way within `grace` seconds; when cancelled, give them up."""
        self.stop_listening(grace)
        deadline = time.monotonic() + grace + 1.0
        try:
            while not self._has_stopped() and time.monotonic() < deadline:  # noqa: ASYNC110 - a thread sets it
                await asyncio.sleep(0.01)
        finally:
            self._server.stop(None)
            self._pool.shutdown(wait=False)
            self._health.close()
            self._reflection.close()

    def methods(self) -> dict[str, grpc.RpcMethodHandler[Any, Any]]:
        """What is called by which name."""
        return {**self._api.methods(), **self._reflection.methods(), **self.open_methods()}

    def open_methods(self) -> dict[str, grpc.RpcMethodHandler[Any, Any]]:
        """The methods among them that need no token: probes have none, and learn nothing but that this serves."""
        return self._health.methods() if self.options.health else {}


class _Services(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # generic in its stubs only
    """Finds the method that is called; without the token none of its message is read."""

    def __init__(self, server: GrpcServer) -> None:
        self._server = server
        self._methods = server.methods()
        self._open_methods = server.open_methods()

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        token = self._server.options.token
        if token and not _authorized(details.invocation_metadata, token):
            return self._open_methods.get(details.method) or _UNAUTHORIZED
        return self._methods.get(details.method)


def _refuse(_messages: Any, context: grpc.ServicerContext) -> Any:
    return context.abort(grpc.StatusCode.UNAUTHENTICATED, "Missing or wrong token in the metadata 'authorization'")


_UNAUTHORIZED: grpc.RpcMethodHandler[Any, Any] = grpc.stream_unary_rpc_method_handler(_refuse)


def _nothing() -> None:
    pass


def _authorized(metadata: Iterable[tuple[str, str | bytes]], token: str) -> bool:
    return any(token_matches(value, token) for key, value in metadata if key == "authorization")
