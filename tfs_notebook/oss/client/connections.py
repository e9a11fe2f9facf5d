"""Connections that can be ended from another thread, also while that waits for an answer that does not come."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import Any
from weakref import WeakSet

from requests.adapters import HTTPAdapter
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool


class ClosedError(RuntimeError):
    """The store was closed: nothing is asked any more."""


class EndableAdapter(HTTPAdapter):
    """An HTTPAdapter whose `end` ends every request under way, and all that come later."""

    def init_poolmanager(self, *arguments: Any, **settings: Any) -> None:
        """Called by HTTPAdapter when it is made."""
        self._sockets: WeakSet[socket.socket] = WeakSet()
        self._ended = threading.Event()
        super().init_poolmanager(*arguments, **settings)
        self._track(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **settings: Any) -> Any:
        """Called by HTTPAdapter for requests that go through a proxy."""
        manager = super().proxy_manager_for(proxy, **settings)
        self._track(manager)
        return manager

    def end(self) -> None:
        """End every request; they raise, and so do later ones."""
        self._ended.set()
        for connected in list(self._sockets):
            with suppress(OSError):
                socket.socket.shutdown(connected, socket.SHUT_RDWR)
        self.close()

    def _track(self, manager: Any) -> None:
        manager.pool_classes_by_scheme = {
            "http": self._tracking(HTTPConnectionPool),
            "https": self._tracking(HTTPSConnectionPool),
        }

    def _tracking(self, pool: Any) -> Any:
        adapter = self

        class Connection(pool.ConnectionCls):  # type: ignore[misc]
            def connect(self) -> None:
                if adapter._ended.is_set():
                    raise ClosedError("the connection to OSS is closed")
                super().connect()
                adapter._sockets.add(self.sock)
                if adapter._ended.is_set():
                    self.close()
                    raise ClosedError("the connection to OSS is closed")

        class Pool(pool):  # type: ignore[misc]
            ConnectionCls = Connection

        return Pool
