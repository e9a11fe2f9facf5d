"""Who may ask: an optional token, and on loopback only requests that were addressed to this server.

A page in the user's browser can make any name resolve to 127.0.0.1 and then read this server's answers as its own
origin; its requests still carry that name in their Host header, which is how they are told apart (DNS rebinding).
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
from functools import lru_cache

LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1", "[::1]"})


def is_loopback(host: str) -> bool:
    """Whether listening on `host` keeps other machines out."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def named_hosts(allowed_hosts: str) -> frozenset[str]:
    """The names in a comma-separated list."""
    return frozenset(name.strip().lower() for name in allowed_hosts.split(",") if name.strip())


def known_hosts(host: str, allowed_hosts: str) -> frozenset[str] | None:
    """The names that a Host header may have where somebody listens on `host`; None when any will do.

    Off loopback that is so unless names are given: nobody knows by which of them a machine is reached.
    """
    named = named_hosts(allowed_hosts)
    own = {host.lower(), f"[{host.lower()}]"}
    return LOCAL_NAMES | named | own if is_loopback(host) or named else None


def new_token() -> str:
    """A token that nobody guesses."""
    return secrets.token_urlsafe(24)


def token_matches(header: str | bytes, token: str) -> bool:
    """Whether an `authorization` header or metadata value, bare or `Bearer …`, carries `token`; in constant time."""
    sent = header.encode("utf-8", "surrogateescape") if isinstance(header, str) else header
    if sent[:7].lower() == b"bearer ":
        sent = sent[7:].strip()
    return hmac.compare_digest(sent, token.encode())


@lru_cache(maxsize=256)
def names_this_server(header: str, hosts: frozenset[str]) -> bool:
    """Whether the name in a Host header is one of `hosts`."""
    return host_name(header) in hosts


def host_name(header: str) -> str:
    """The name in a Host header, without its port, in lower case."""
    name, colon, port = header.rpartition(":")
    return (name if colon and port.isdigit() else header).lower()


def unknown_host(header: str) -> str:
    """What is told of a Host header that does not name this server."""
    name = host_name(header)
    if not name:
        return "The Host header is empty; localhost, or a name in --allowed_hosts, is this server's"
    return f"Host {name} is not this server's; --allowed_hosts={name} admits it"


def foreign_origin(origin: str | None, site: str | None, hosts: frozenset[str]) -> bool:
    """Whether a request comes from a page of another site: by the browser's own word (`Sec-Fetch-Site`), else by its
    `Origin`, whose host is none of `hosts`. A request that no page has sent has neither.
    """
    if site is not None:
        return site == "cross-site"
    return origin is not None and host_name(origin.partition("://")[2]) not in hosts
