"""The ports of a server, and its socket: opened, moved and closed without an unanswered request."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from tfs_notebook.api import auth
from tfs_notebook.api.calls.call import Call
from tfs_notebook.api.grpc.options import GrpcOptions
from tfs_notebook.api.grpc.server import GrpcServer
from tfs_notebook.api.method_names import CheckedCall
from tfs_notebook.api.rest.options import RestOptions
from tfs_notebook.api.rest.server import RestServer
from tfs_notebook.errors import Code, ServingError
from tfs_notebook.server.grpc_listener import GrpcListener
from tfs_notebook.settings.batching import waiting_threads
from tfs_notebook.settings.grpc import Transport, read_transport
from tfs_notebook.settings.monitoring import metrics_path
from tfs_notebook.settings.ports import PortTakenError, check_number, refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from concurrent.futures import Future

    from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

    from tfs_notebook.api.inference import Inference
    from tfs_notebook.api.metrics.metrics import Metrics
    from tfs_notebook.options import Options

_DRAIN_SECONDS = 60.0
"""How long the requests under way may take after their port has moved."""


class Endpoints:
    """REST and gRPC of one `Inference`, as the options want them; lives on the serving loop."""

    def __init__(
        self, inference: Inference, metrics: Metrics, reload: Callable[[ModelServerConfig, float], Future[None]]
    ) -> None:
        """`reload` begins to apply a configuration within so many seconds; it is called on a gRPC thread."""
        self._inference = inference
        self._metrics = metrics
        self._rest: RestServer | None = None
        self._make = partial(GrpcServer, inference, metrics, reload)
        self._made = WeakSet[GrpcServer]()
        self._port = GrpcListener(self._make_grpc, self._close_aside, _DRAIN_SECONDS)
        self._socket = GrpcListener(self._make_grpc, self._close_aside, _DRAIN_SECONDS)
        self.transport = Transport()
        """What gRPC speaks through at the moment."""
        self.lost: dict[str, ServingError] = {}
        """What was to go on listening and cannot, by flag: a change failed, and somebody else was quicker."""
        self._lost_ports: dict[str, int] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._opening = asyncio.Lock()
        self._closed = False

    def _make_grpc(self, options: GrpcOptions) -> GrpcServer:
        server = self._make(options)
        self._made.add(server)
        return server

    @property
    def rest_port(self) -> int | None:
        """The port REST listens on, None when it is off."""
        return self._rest.port if self._rest is not None else None

    @property
    def grpc_port(self) -> int | None:
        """The port gRPC listens on, None when it is off."""
        return self._port.server.port if self._port.server is not None else None

    @property
    def rest_address(self) -> str | None:
        """Where programs on this machine reach REST, like `localhost:8501`; None when it is off."""
        return f"{self._rest.name}:{self._rest.port}" if self._rest is not None else None

    @property
    def grpc_address(self) -> str | None:
        """Where they reach gRPC, like `localhost:8500`; None when it is off."""
        server = self._port.server
        return f"{server.name}:{server.port}" if server is not None else None

    @property
    def ports(self) -> dict[str, int]:
        """Their ports by flag; also what is `lost`, so that the next change tries it again."""
        listening = {"port": self.grpc_port, "rest_api_port": self.rest_port}
        return self._lost_ports | {flag: port for flag, port in listening.items() if port is not None}

    @property
    def socket_path(self) -> str:
        """The path of the socket gRPC listens on, "" when there is none, or somebody else has taken it over."""
        server = self._socket.server
        return self.transport.socket_path if server is not None and server.listening else ""

    async def open(self, options: Options) -> None:
        """Listen where `options` say; not to be cancelled on the way.

        What listens there already goes on with the new settings; what moves opens its new port before it closes the old
        one, and answers on the old connections what is under way. Raises PortTakenError or ServingError, and then
        everything is as it was, but for what is `lost`.
        """
        async with self._opening:
            await self._open(options)

    def _check_open(self) -> None:
        if self._closed:
            raise ServingError(Code.UNAVAILABLE, "The server has been stopped")

    async def _open(self, options: Options) -> None:
        self._check_open()
        check_number("rest_api_port", options.rest_api_port)
        check_number("port", options.port)
        loop = asyncio.get_running_loop()
        metrics = await loop.run_in_executor(None, _metrics_path, options)
        transport = await loop.run_in_executor(None, read_transport, options)
        self._check_open()
        wanted = replace(_grpc_options(options, transport), counted=bool(metrics))
        socket = replace(wanted, host="", port=0, socket_path=transport.socket_path) if transport.socket_path else None
        places = {self._port: wanted if options.port != 0 else None, self._socket: socket}
        old_rest, begun = self._rest, []
        rest = await self._open_rest(options)
        try:
            for place, asked in places.items():
                begun.append(place)
                await place.open(asked)
            self._check_open()
        except BaseException:
            for place in begun:
                await self._back(place)
            if rest is not old_rest:
                await self._back_to_old_rest(rest)
            raise
        self._rest, self.transport = rest, transport
        self.lost, self._lost_ports = {}, {}
        if rest is not None:
            rest.take_over(replace(_rest_options(options), port=rest.options.port, metrics_path=metrics))
        self._inference.call_type = CheckedCall if options.enable_signature_method_name_check else Call
        if metrics:
            self._inference.observers.add(self._metrics.count_call)
        else:
            self._inference.observers.remove(self._metrics.count_call)
        if old_rest is not None and old_rest is not rest:
            old_rest.stop_listening()
            self._close_aside(old_rest.close(_DRAIN_SECONDS))
        for place, asked in places.items():
            await place.settle(asked)

    def _close_aside(self, closing: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(closing)
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _back(self, place: GrpcListener) -> None:
        """Let `place` listen as before; what it cannot have any more is `lost`."""
        old = place.before
        try:
            await place.back()
        except (PortTakenError, ServingError) as error:
            self._lose("port" if place is self._port else "grpc_socket_path", old.port if old else 0, error)

    async def _back_to_old_rest(self, new: RestServer | None) -> None:
        """Give up the REST server that was just opened, and listen again where the old one did, or it is `lost`."""
        if new is not None:
            await new.close()
        old = self._rest
        if old is not None and not old.listening:
            try:
                await old.listen()
            except OSError as error:
                self._rest = None
                self._close_aside(old.close(_DRAIN_SECONDS))
                self._lose("rest_api_port", old.port, refusal("rest_api_port", old.options.host, old.port, error))

    def _lose(self, flag: str, port: int, error: Exception) -> None:
        if port:
            self._lost_ports[flag] = port
        self.lost[flag] = ServingError(
            Code.UNAVAILABLE,
            f"Nothing answers there any more: somebody else took the place while a change of it failed. {error}",
            hint="The next change tries it again.",
        )

    async def _open_rest(self, options: Options) -> RestServer | None:
        if options.rest_api_port == 0:
            return None
        wanted = _rest_options(options)
        if self._rest is not None and self._rest.listens_as(wanted):
            return self._rest
        if self._rest is not None and self._rest.port == wanted.port:
            self._rest.stop_listening()  # the same port on another interface: only one of the two can have it
        server = RestServer(self._inference, self._metrics, wanted)
        try:
            await server.listen()
        except OSError as error:
            await self._back_to_old_rest(None)
            raise refusal("rest_api_port", wanted.host, wanted.port, error) from None
        return server

    def abandon(self) -> None:
        """Let nothing listen any more, whatever was under way; any thread may call. REST ends with its loop."""
        for server in list(self._made):
            server.stop_listening(0.0)

    async def close(self, timeout: float) -> None:
        """Take no more requests; finish those under way within `timeout` seconds."""
        self._closed = True
        async with self._opening:  # else what is being opened right now would go on listening
            await self._close(timeout)

    async def _close(self, timeout: float) -> None:
        rest, self._rest = self._rest, None
        if rest is not None:
            self._close_aside(rest.close(timeout))
        for place in (self._port, self._socket):
            if place.server is not None:
                self._close_aside(place.server.close(timeout))
                place.server = None
        if self._closing:
            _, late = await asyncio.wait(set(self._closing), timeout=timeout + 1.0)
            for task in late:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task


def with_token(options: Options, environment_token: str = "", made_up: str = "") -> Options:
    """`options` with the token that is in force.

    The one given, the environment's, or, off loopback, the one `made_up` before or a new one.
    """
    token = options.token or environment_token
    if not token and not options.allow_without_token and not auth.is_loopback(options.host):
        token = made_up or auth.new_token()
    return replace(options, token=token)


def _metrics_path(options: Options) -> str:
    return metrics_path(options) if options.rest_api_port else ""  # without REST nobody can ask


def _rest_options(options: Options) -> RestOptions:
    return RestOptions(
        host=options.host,
        port=max(options.rest_api_port, 0),
        token=options.token,
        hosts=auth.known_hosts(options.host, options.allowed_hosts),
        threads=waiting_threads(options, options.rest_api_num_threads),
        timeout=options.rest_api_timeout_in_ms / 1000 if options.rest_api_timeout_in_ms > 0 else None,
        max_body_bytes=options.rest_api_max_body_mb << 20,
        body_budget=options.rest_api_body_budget_mb << 20,
        cors=options.rest_api_enable_cors_support,
        gzip_from_bytes=options.rest_api_gzip_from_kb << 10 if options.rest_api_gzip_from_kb > 0 else sys.maxsize,
    )


def _grpc_options(options: Options, transport: Transport) -> GrpcOptions:
    return GrpcOptions(
        host=options.host,
        port=max(options.port, 0),
        token=options.token,
        threads=waiting_threads(options, options.grpc_max_threads),
        tensor_content=options.enable_serialization_as_tensor_content,
        tls=transport.tls,
        arguments=transport.arguments,
        health=options.enable_grpc_healthcheck_service,
    )
