"""What the tests of a running server share: configuration texts, REST by hand, and waiting with a deadline."""

from __future__ import annotations

import http.client
import json
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tfs_notebook.server.server import Server


def config_text(models: Mapping[str, Path], extra: Mapping[str, str] | None = None) -> str:
    """A ModelServerConfig that serves `models`, name to base path; `extra` adds fields to some of them."""
    configs = (
        f"config {{ name: '{name}' base_path: '{path}' model_platform: 'tensorflow' {(extra or {}).get(name, '')} }}"
        for name, path in models.items()
    )
    return f"model_config_list {{ {' '.join(configs)} }}"


PATIENCE = 240.0
"""Seconds to wait for what must come: on a starved machine the import of TensorFlow alone has taken 100 of them."""

ALL = "model_version_policy { all {} }"


def label(name: str, version: int) -> str:
    """The field of a model's configuration that gives one version a label."""
    return f"version_labels {{ key: '{name}' value: {version} }}"


@dataclass(frozen=True)
class Reply:
    """What REST answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as a JSON value."""
        return json.loads(self.body)

    @property
    def error(self) -> str:
        """The text of an error, whose body has nothing else."""
        assert self.headers["Content-Type"] == "application/json"
        (error,) = self.json.values()
        assert self.json == {"error": error}
        return str(error)


def connect(server: Server) -> http.client.HTTPConnection:
    """A connection to the server's REST port."""
    address = urlsplit(server.rest_url or "")
    return http.client.HTTPConnection(address.hostname or "", address.port, timeout=PATIENCE)


def ask(server: Server, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Reply:
    """One request on a connection of its own; a `body` that is not bytes is sent as JSON."""
    connection = connect(server)
    try:
        return ask_on(connection, method, path, body, headers)
    finally:
        connection.close()


def ask_on(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: Any = None,
    headers: Mapping[str, str] | None = None,
) -> Reply:
    """One request on an open connection."""
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
    connection.request(method, path, body, dict(headers or {}))
    response = connection.getresponse()
    return Reply(response.status, response.headers, response.read())


def until(condition: Callable[[], Any], what: str = "", timeout: float = PATIENCE) -> Any:
    """Wait until `condition` gives something true, and return that; fails after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not (outcome := condition()):
        assert time.monotonic() < deadline, what or f"not within {timeout} s"
        time.sleep(0.01)
    return outcome


BEFORE: set[threading.Thread] = set()
"""Threads that were there when the test began: other tests' executors end when Python gets to it."""


def serving_threads() -> list[str]:
    """The names of the threads that servers of this process have, started by this test."""
    new = [thread for thread in threading.enumerate() if thread not in BEFORE]
    return [thread.name for thread in new if thread.name.startswith(("tfs-", "asyncio_"))]
