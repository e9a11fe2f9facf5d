"""The options of the REST front end."""

from __future__ import annotations

from dataclasses import dataclass, field

from tfs_notebook.api.auth import LOCAL_NAMES


@dataclass(frozen=True, slots=True, kw_only=True)
class RestOptions:
    """How the REST front end listens. `port` 0 picks a free one; `hosts` None admits any Host header.

    `metrics_path` is where Prometheus finds the metrics; "" counts nothing.
    """

    host: str = "127.0.0.1"
    port: int = 0
    token: str = field(default="", repr=False)
    hosts: frozenset[str] | None = LOCAL_NAMES
    threads: int = 8
    timeout: float | None = 30.0
    max_body_bytes: int = 256 << 20
    body_budget: int = 1 << 30
    cors: bool = False
    metrics_path: str = ""
    gzip_from_bytes: int = 64 << 10
