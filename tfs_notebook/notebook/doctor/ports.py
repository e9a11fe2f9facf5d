"""Ports that somebody else has, a proxy that local requests would go to, and ports that PAI-EAS keeps for itself."""

from __future__ import annotations

import urllib.request
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tfs_notebook.notebook.doctor.finding import Finding, one_line
from tfs_notebook.options import NOTEBOOK_DEFAULTS, Options
from tfs_notebook.settings.port_holder import port_holder
from tfs_notebook.settings.ports import PortTakenError, check_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tfs_notebook.server.server import Server

EAS_RESERVED = frozenset({8080, 9090})
"""Ports on which no container of a PAI-EAS service may listen: its own engine has them."""


def look(server: Server | None) -> tuple[str, list[Finding]]:
    """What was looked at, and what was found."""
    if server is None:
        ports = {flag: int(NOTEBOOK_DEFAULTS.get(flag, getattr(Options(), flag))) for flag in ("rest_api_port", "port")}
        return f"ports {' and '.join(map(str, ports.values()))}", [*_taken(ports), *_proxy("localhost")]
    asked = {
        flag: port
        for flag, port in server.listening_options().items()
        if flag in {"rest_api_port", "port"} and port > 0
    }
    host = urlsplit(server.rest_url or "").hostname or "localhost"
    named = " and ".join(map(str, asked.values()))
    return f"ports {named} of the running server", [*_reserved(asked), *_proxy(host)]


def _taken(ports: dict[str, int]) -> Iterator[Finding]:
    for flag, port in ports.items():
        try:
            check_port(flag, "127.0.0.1", port)
        except PortTakenError as error:
            holder = port_holder(port)
            problem = f"{holder} listens there" if holder else one_line(str(error))
            yield Finding(f"port {port}", problem, f"%tfs_serve … --{flag}=-1 picks a free one, or stop that")


def _reserved(ports: dict[str, int]) -> Iterator[Finding]:
    for flag, port in ports.items():
        if port in EAS_RESERVED:
            yield Finding(
                f"port {port}",
                "on PAI-EAS no container may listen on 8080 or 9090",
                f"%tfs_serve … --{flag}={8501 if flag == 'rest_api_port' else 8500}, "
                "as containers[0].port of the service will say",
            )


def _proxy(host: str) -> Iterator[Finding]:
    proxies = urllib.request.getproxies()
    proxy = proxies.get("http") or proxies.get("all")
    if proxy and not urllib.request.proxy_bypass(host):
        yield Finding(
            "proxy",
            f"programs send requests for {host} to the proxy that the environment names, which cannot reach it",
            f"os.environ['no_proxy'] = '{host},127.0.0.1' (export no_proxy=… in a shell)",
        )
