"""The TCP ports that are asked for: can anybody listen there, and if not, why and what now."""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING

from tfs_notebook.errors import invalid_argument
from tfs_notebook.options import ANY_PORT
from tfs_notebook.settings.port_holder import port_holder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tfs_notebook.options import Options

FLAGS = ("port", "rest_api_port", "console_port")


class PortTakenError(OSError):
    """A port, or an interface, that was asked for cannot be had."""

    def __init__(self, *refusals: str) -> None:
        super().__init__("\n".join(refusals))


def refusal(flag: str, host: str, port: int, error: OSError) -> PortTakenError:
    """What `error` means to the person who asked for `port` on `host`."""
    if error.errno == errno.EADDRINUSE:
        return _taken(host, {flag: port}, {flag: port_holder(port)})
    reason = error.strerror or str(error)
    if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        remedy = f"--host={host} is no address of this machine; 127.0.0.1 is for it alone, 0.0.0.0 for every interface."
    elif error.errno == errno.EACCES:
        remedy = f"Ports below 1024 are for administrators: choose another, or --{flag}=0 in a notebook for a free one."
    else:
        remedy = f"Choose another port, or let --{flag}=-1 pick a free one."
    return PortTakenError(f"--{flag}={port}: cannot listen on {host}:{port} ({reason}). {remedy}")


def _taken(host: str, ports: Mapping[str, int], holders: Mapping[str, str]) -> PortTakenError:
    """What there is to say of `ports`, by flag, that `holders` have, in one line."""
    asked = " and ".join(f"--{flag}={port}" for flag, port in ports.items())
    places = " and ".join(f"{host}:{port}" for port in ports.values())
    free = " ".join(f"--{flag}=-1" for flag in ports)
    end = _who_listens(ports, holders)
    pick = "pick a free one" if len(ports) == 1 else "pick free ones"
    return PortTakenError(
        f"{asked}: cannot listen on {places} (Address already in use). {end[0].upper()}{end[1:]}, or let {free} {pick}."
    )


def _who_listens(ports: Mapping[str, int], holders: Mapping[str, str]) -> str:
    """Who is to be stopped."""
    several = list(dict.fromkeys(holders.values()))
    if len(several) == 1:
        return f"{several[0]} listens there; stop that" if several[0] else "stop what listens there"
    each = (f"{holders[flag] or 'somebody'} listens on {port}" for flag, port in ports.items())
    return f"{' and '.join(each)}; stop them"


def check_ports(options: Options) -> None:
    """Raise PortTakenError that names every port of `options` that nobody could listen on now, and who has it.

    Raises ServingError INVALID_ARGUMENT for one port that is to be two.
    """
    if options.port == options.rest_api_port > 0:
        raise invalid_argument(
            f"--port and --rest_api_port are both {options.port}: gRPC and REST need a port each, 8500 and 8501 by "
            "default"
        )
    refusals = list[PortTakenError]()
    taken = dict[str, int]()
    for flag in FLAGS:
        port = getattr(options, flag)
        error = _error(flag, options.host, port) if port != 0 else None
        if error is not None and error.errno == errno.EADDRINUSE:
            taken[flag] = port
        elif error is not None:
            refusals.append(refusal(flag, options.host, port, error))
    if taken:
        refusals.append(_taken(options.host, taken, {flag: port_holder(port) for flag, port in taken.items()}))
    if refusals:
        raise PortTakenError(*map(str, refusals))


def check_port(flag: str, host: str, port: int) -> None:
    """Raise PortTakenError when nobody could listen on `port` now; asked before any model is loaded.

    Raises ServingError INVALID_ARGUMENT for a number that is no port.
    """
    error = _error(flag, host, port)
    if error is not None:
        raise refusal(flag, host, port, error)


def _error(flag: str, host: str, port: int) -> OSError | None:
    """Why nobody could listen on `port` now, None when somebody could."""
    check_number(flag, port)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host.strip("[]"), max(port, 0)))
        except OSError as error:
            return error
    return None


def check_number(flag: str, port: int) -> None:
    """Raise ServingError INVALID_ARGUMENT for a number that is no port."""
    if not ANY_PORT <= port <= 65535:
        raise invalid_argument(f"--{flag}={port} is not a TCP port: they go from 1 to 65535, and -1 is any free one")
