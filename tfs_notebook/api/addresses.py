"""The addresses of an interface: every one that its name stands for is listened on, and told as what it is.

* 127.0.0.1 and localhost are this machine alone: also ::1 where there is one, as `localhost` may mean that first.
* :: is every interface by both families, as for TensorFlow Serving's REST; where there is no IPv6 it is 0.0.0.0.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

_LOOPBACK = frozenset({"127.0.0.1", "localhost"})
_EVERY_IPV4, _EVERY, _IPV6_LOOPBACK = "0.0.0.0", "::", "::1"
_LEADS_TO: dict[int, set[str]] = {
    socket.AF_INET: {"127.0.0.1", _EVERY_IPV4, _EVERY},
    socket.AF_INET6: {_IPV6_LOOPBACK, _EVERY},
}
"""Who listens on one of these is reached by localhost's address of that family."""


def bound_sockets(host: str, port: int) -> list[socket.socket]:
    """Sockets that have `port` (0: a free one) of every address of `host`. Raises OSError when it cannot be had."""
    if host == _EVERY:
        return [_bound(_EVERY, port, dual=True) if socket.has_dualstack_ipv6() else _bound(_EVERY_IPV4, port)]
    sockets: list[socket.socket] = []
    try:
        for address in _addresses(host):
            sockets.append(_bound(address, sockets[0].getsockname()[1] if sockets else port))
    except BaseException:
        for each in sockets:
            each.close()
        raise
    if second := second_address(host, sockets[0].getsockname()[1]):
        sockets.append(_bound(second, sockets[0].getsockname()[1]))
    return sockets


def second_address(host: str, port: int) -> str | None:
    """What is to be listened on beside `host`; None when there is nothing, or somebody else has that `port`."""
    if host not in _LOOPBACK:
        return None
    try:
        _bound(_IPV6_LOOPBACK, port).close()
    except OSError:
        return None
    return _IPV6_LOOPBACK


def own_name(addresses: Collection[str]) -> str:
    """The name under which programs on this machine reach who listens on `addresses`, as it stands in a URL.

    That is `localhost` when whatever this means leads there, else the first of the addresses.
    """
    first = next(iter(addresses))
    if any(first in leading for leading in _LEADS_TO.values()) and first != _IPV6_LOOPBACK:
        if all(_LEADS_TO[family] & set(addresses) for family in _families("localhost")):
            return "localhost"
        return "127.0.0.1" if first != _EVERY else "[::1]"
    return f"[{first}]" if ":" in first else first


def _addresses(host: str) -> Iterable[str]:
    if host in _LOOPBACK:
        return ["127.0.0.1"]
    found = socket.getaddrinfo(host.strip("[]") or None, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return dict.fromkeys(str(address[0]) for *_, address in found)


def _families(name: str) -> set[int]:
    try:
        return {family for family, *_ in socket.getaddrinfo(name, 0, type=socket.SOCK_STREAM)}
    except OSError:  # it means nothing here
        return {socket.AF_INET, socket.AF_INET6}


def _bound(address: str, port: int, *, dual: bool = False) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    try:
        if os.name == "posix":  # elsewhere it would let two processes have the port
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not dual)
        sock.bind((address, port))
    except BaseException:
        sock.close()
        raise
    return sock
