"""A place where gRPC listens, a port or a socket: exchanged for another without an unanswered request."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from tfs_notebook.api.grpc.tls import check_tls
from tfs_notebook.errors import ServingError
from tfs_notebook.settings.ports import PortTakenError, check_port, refusal
from tfs_notebook.settings.sockets import check_socket_path

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from tfs_notebook.api.grpc.options import GrpcOptions
    from tfs_notebook.api.grpc.server import GrpcServer

_MAX_SECONDS = 2.0
"""How long a place may take to become free."""
_LOOK_SECONDS = 0.001
"""How soon it is looked again: until then nobody listens."""


class GrpcListener:
    """One server at a time. `open` begins an exchange, then `settle` ends it or `back` undoes it."""

    def __init__(
        self,
        make: Callable[[GrpcOptions], GrpcServer],
        close_aside: Callable[[Coroutine[Any, Any, None]], None],
        drain_seconds: float,
    ) -> None:
        """`close_aside` sees to it that a server closes; its requests under way may take `drain_seconds`."""
        self.server: GrpcServer | None = None
        self.before: GrpcServer | None = None
        """What listened when `open` was called, until the exchange has ended."""
        self._make = make
        self._close_aside = close_aside
        self._drain_seconds = drain_seconds

    async def open(self, wanted: GrpcOptions | None) -> None:
        """Listen as `wanted` (None: not at all). Raises PortTakenError or ServingError; `back` is due then.

        What listens so already goes on. What has the same port stops first: only one of the two can have it, and for
        those few milliseconds nobody does. All that can be refused beforehand is refused before that.
        """
        self.before = old = self.server
        if wanted is None:
            self.server = None
        elif old is None or not old.listens_as(wanted):
            if wanted.tls is not None:
                check_tls(wanted.tls)
            if old is None or not old.blocks(wanted):
                self._start(self._make(wanted))
                return
            check_port("port", wanted.host, 0)
            new = self._make(wanted)
            if old.listening:
                await self._stop_listening(old)
            self._start(new)

    async def settle(self, wanted: GrpcOptions | None) -> None:
        """Take the rest of `wanted` over and give up what listened before."""
        old, self.before = self.before, None
        if self.server is not None and wanted is not None:
            self.server.options = replace(wanted, port=self.server.options.port)
            self.server.resize()
        if old is not None and old is not self.server:
            if old.listening:
                await self._stop_listening(old)
            self._close_aside(old.close(self._drain_seconds))

    async def back(self) -> None:
        """Listen as before `open`, which may have failed half way.

        Raises PortTakenError when somebody else has taken the place meanwhile: there is no `server` then.
        """
        new, old, self.before = self.server, self.before, None
        if new is not None and new is not old:
            await self._stop_listening(new)
            self._close_aside(new.close(self._drain_seconds))
        self.server = old
        if old is not None and not old.listening:
            self.server = None
            self._close_aside(old.close(self._drain_seconds))
            options = replace(old.options, port=old.port)
            await _until_free(options, old.port)
            self._start(self._make(options))

    async def _stop_listening(self, server: GrpcServer) -> None:
        server.stop_listening(self._drain_seconds)
        await _until_free(server.options, server.port)

    def _start(self, server: GrpcServer) -> None:
        """Let `server` listen, and be the one that does. Raises PortTakenError or ServingError, and it is closed."""
        options = server.options
        try:
            _check(options, options.port)  # grpc itself writes to stderr about a taken port
            server.start()
        except (OSError, ServingError) as error:
            self._close_aside(server.close(0.0))
            raise _told(error, options) from None
        self.server = server


def _told(error: OSError | ServingError, options: GrpcOptions) -> OSError | ServingError:
    """What is told of `error`, which kept a server from listening as `options` say."""
    if isinstance(error, (PortTakenError, ServingError)):
        return error
    if options.socket_path:
        return PortTakenError(f"--grpc_socket_path={options.socket_path}: {error}")
    return refusal("port", options.host, options.port, error)


def _check(options: GrpcOptions, port: int) -> None:
    """Raise PortTakenError when nobody could listen there."""
    if options.socket_path:
        check_socket_path(options.socket_path)
    elif port:
        check_port("port", options.host, port)


async def _until_free(options: GrpcOptions, port: int) -> None:
    """Wait until nobody listens on the port any more; a socket's path is taken over."""
    if options.socket_path:
        return
    deadline = time.monotonic() + _MAX_SECONDS
    while time.monotonic() < deadline:
        try:
            _check(options, port)
        except (PortTakenError, ServingError):
            await asyncio.sleep(_LOOK_SECONDS)
        else:
            return
