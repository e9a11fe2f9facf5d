"""The two ports of a server: opened, moved and closed without an unanswered request."""

from __future__ import annotations

import asyncio
import socket
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from tfs_notebook.api import auth
from tfs_notebook.api.grpc_server import GrpcOptions, GrpcServer
from tfs_notebook.api.rest import RestOptions, RestServer
from tfs_notebook.errors import Code, ServingError, invalid_argument
from tfs_notebook.options import ANY_PORT

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

    from tfs_notebook.api.inference import Inference
    from tfs_notebook.options import Options


class PortTakenError(OSError):
    """Another process listens on the port that was asked for."""

    def __init__(self, flag: str, host: str, port: int, reason: str) -> None:
        super().__init__(
            f"--{flag}={port}: cannot listen on {host}:{port} ({reason}). "
            f"Stop what uses port {port} or choose another; in a notebook --{flag}=0 picks a free one."
        )


def check_port(flag: str, host: str, port: int) -> None:
    """Raise PortTakenError when nobody could listen on `port` now; asked before any model is loaded.

    Raises ServingError INVALID_ARGUMENT for a number that is no port.
    """
    _check_number(flag, port)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host.strip("[]"), port))
        except OSError as error:
            raise PortTakenError(flag, host, port, error.strerror or str(error)) from None


def _check_number(flag: str, port: int) -> None:
    if not ANY_PORT <= port <= 65535:
        raise invalid_argument(f"--{flag}={port} is not a TCP port: they go from 1 to 65535")


async def _until_free(host: str, port: int) -> None:
    """Wait until nobody listens on `port` any more, at most two seconds."""
    deadline = time.monotonic() + 2.0
    while time.monotonic() < deadline:
        try:
            check_port("port", host, port)
        except PortTakenError:
            await asyncio.sleep(0.01)
        else:
            return


def with_token(options: Options, environment_token: str = "") -> Options:
    """`options` with the token that is in force: the one given, the environment's, or, off loopback, a new one."""
    token = options.token or environment_token
    if not token and not options.allow_without_token and not auth.is_loopback(options.host):
        token = auth.new_token()
    return replace(options, token=token)


class Endpoints:
    """REST and gRPC of one `Inference`, as the options want them; lives on the serving loop."""

    def __init__(self, inference: Inference, reload: Callable[[ModelServerConfig, float], None]) -> None:
        """`reload` applies a configuration within so many seconds; it is called on a gRPC thread."""
        self._inference = inference
        self._reload = reload
        self._rest: RestServer | None = None
        self._grpc: GrpcServer | None = None
        self._closed = False

    @property
    def rest_port(self) -> int | None:
        """The port REST listens on, None when it is off."""
        return self._rest.port if self._rest is not None else None

    @property
    def grpc_port(self) -> int | None:
        """The port gRPC listens on, None when it is off."""
        return self._grpc.port if self._grpc is not None else None

    async def open(self, options: Options) -> None:
        """Listen where `options` say.

        What listens there already goes on with the new settings; what moves opens its new port before it closes the old
        one. Raises PortTakenError, and then everything is as it was.
        """
        if self._closed:
            raise ServingError(Code.UNAVAILABLE, "The server has been stopped")
        _check_number("rest_api_port", options.rest_api_port)
        _check_number("port", options.port)
        rest = await self._open_rest(options)
        try:
            grpc = await self._open_grpc(options)
        except BaseException:
            if rest is not self._rest:
                await self._back_to(rest)
            raise
        old_rest, old_grpc, self._rest, self._grpc = self._rest, self._grpc, rest, grpc
        if old_rest is not None and old_rest is not rest:
            await old_rest.close()
        if old_grpc is not None and old_grpc is not grpc:
            await asyncio.get_running_loop().run_in_executor(None, old_grpc.close)

    async def _back_to(self, new: RestServer | None) -> None:
        """Give up the REST server that was just opened, and listen again where the old one did."""
        if new is not None:
            await new.close()
        if self._rest is not None and not self._rest.listening:
            await self._rest.listen()

    async def _open_rest(self, options: Options) -> RestServer | None:
        if options.rest_api_port == 0:
            return None
        wanted = _rest_options(options)
        if self._rest is not None and self._rest.listens_as(wanted):
            self._rest.options = wanted
            return self._rest
        if self._rest is not None and self._rest.port == wanted.port:
            await self._rest.stop_listening()  # the same port on another interface: only one of the two can have it
        server = RestServer(self._inference, wanted)
        try:
            await server.start()
        except OSError as error:
            await self._back_to(None)
            raise PortTakenError("rest_api_port", wanted.host, wanted.port, error.strerror or str(error)) from None
        return server

    async def _open_grpc(self, options: Options) -> GrpcServer | None:
        if options.port == 0:
            return None
        wanted = GrpcOptions(
            host=options.host, port=max(options.port, 0), token=options.token, threads=options.grpc_max_threads
        )
        if self._grpc is not None and self._grpc.listens_as(wanted):
            self._grpc.options = wanted
            return self._grpc
        old = self._grpc
        if old is not None and old.port == wanted.port:
            old.stop_listening()  # the same port on another interface: only one of the two can have it
            await _until_free(old.options.host, old.port)
        try:
            return self._started_grpc(wanted)
        except BaseException:
            if old is not None and old.port == wanted.port:
                self._grpc = self._started_grpc(replace(old.options, port=old.port))
            raise

    def _started_grpc(self, wanted: GrpcOptions) -> GrpcServer:
        if wanted.port:
            check_port("port", wanted.host, wanted.port)  # grpc itself writes to stderr about a taken port
        server = GrpcServer(self._inference, self._reload, wanted)
        try:
            server.start()
        except OSError as error:
            server.close()
            raise PortTakenError("port", wanted.host, wanted.port, str(error)) from None
        return server

    async def close(self, timeout: float) -> None:
        """Take no more requests; finish those under way within `timeout` seconds."""
        self._closed = True
        rest, grpc, self._rest, self._grpc = self._rest, self._grpc, None, None
        closing: list[Awaitable[None]] = []
        if rest is not None:
            closing.append(rest.close(timeout))
        if grpc is not None:
            closing.append(asyncio.get_running_loop().run_in_executor(None, grpc.close, timeout))
        await asyncio.gather(*closing)


def _rest_options(options: Options) -> RestOptions:
    named = {name.strip().lower() for name in options.allowed_hosts.split(",") if name.strip()}
    own = {options.host.lower(), f"[{options.host.lower()}]"}
    hosts = auth.LOCAL_NAMES | named | own if auth.is_loopback(options.host) or named else None
    return RestOptions(
        host=options.host,
        port=max(options.rest_api_port, 0),
        token=options.token,
        hosts=hosts,
        threads=options.rest_api_num_threads,
        timeout=options.rest_api_timeout_in_ms / 1000 if options.rest_api_timeout_in_ms > 0 else None,
        max_body_bytes=options.rest_api_max_body_mb << 20,
        cors=options.rest_api_enable_cors_support,
    )
