"""A place where gRPC listens, a port or a socket: exchanged for another without an unanswered request."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from tfs_notebook.errors import ServingError
from tfs_notebook.ports import PortTakenError, check_port, refusal
from tfs_notebook.socket_path import check_socket_path

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from tfs_notebook.api.grpc_server import GrpcOptions, GrpcServer

_LONGEST_SECONDS = 2.0
"""How long a place may take to become free."""


class GrpcPlace:
    """One server at a time. `open` begins an exchange, then `settle` ends it or `back` undoes it."""

    def __init__(
        self,
        make: Callable[[GrpcOptions], GrpcServer],
        close_aside: Callable[[Coroutine[Any, Any, None]], None],
        drain_seconds: float,
    ) -> None:
        """`close_aside` sees to it that a server closes; its requests under way may take `drain_seconds`."""
        self.server: GrpcServer | None = None
        self._before: GrpcServer | None = None
        self._make = make
        self._close_aside = close_aside
        self._drain_seconds = drain_seconds

    async def open(self, wanted: GrpcOptions | None) -> None:
        """Listen as `wanted` (None: not at all). Raises PortTakenError or ServingError.

        What listens so already goes on. What has the same address stops first: only one of the two can have it.
        """
        self._before = old = self.server
        if wanted is None:
            self.server = None
        elif old is None or not old.listens_as(wanted):
            if old is not None and old.stands_at(wanted):
                await self._stop_listening(old)
            self.server = self._started(wanted)

    async def settle(self, wanted: GrpcOptions | None) -> None:
        """Take the rest of `wanted` over and give up what listened before."""
        old, self._before = self._before, None
        if self.server is not None and wanted is not None:
            self.server.options = replace(wanted, port=self.server.options.port)
            self.server.resize()
        if old is not None and old is not self.server:
            if old.listening:
                await self._stop_listening(old)
            self._close_aside(old.close(self._drain_seconds))

    async def back(self) -> None:
        """Listen as before `open`, which may have failed half way."""
        new, old, self._before = self.server, self._before, None
        if new is not None and new is not old:
            await self._stop_listening(new)
            self._close_aside(new.close(self._drain_seconds))
        self.server = old
        if old is not None and not old.listening:
            self.server = self._started(replace(old.options, port=old.port))
            self._close_aside(old.close(self._drain_seconds))

    async def _stop_listening(self, server: GrpcServer) -> None:
        server.stop_listening(self._drain_seconds)
        await _until_free(server.options, server.port)

    def _started(self, wanted: GrpcOptions) -> GrpcServer:
        _check(wanted, wanted.port)  # grpc itself writes to stderr about a taken port
        server = self._make(wanted)
        try:
            server.start()
        except OSError as error:
            server.stop_listening(0)
            if wanted.socket_path:
                raise PortTakenError(f"--grpc_socket_path={wanted.socket_path}: {error}") from None
            raise refusal("port", wanted.host, wanted.port, error) from None
        return server


def _check(options: GrpcOptions, port: int) -> None:
    """Raise PortTakenError when somebody listens there."""
    if options.socket_path:
        check_socket_path(options.socket_path)
    elif port:
        check_port("port", options.host, port)


async def _until_free(options: GrpcOptions, port: int) -> None:
    """Wait until nobody listens there any more."""
    deadline = time.monotonic() + _LONGEST_SECONDS
    while time.monotonic() < deadline:
        try:
            _check(options, port)
        except (PortTakenError, ServingError):
            await asyncio.sleep(0.01)
        else:
            return
