"""The TCP ports that are asked for: can anybody listen there, and if not, why and what now."""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING

from tfs_notebook.errors import invalid_argument
from tfs_notebook.options import ANY_PORT

if TYPE_CHECKING:
    from tfs_notebook.options import Options

FLAGS = ("port", "rest_api_port")


class PortTakenError(OSError):
    """A port, or an interface, that was asked for cannot be had."""

    def __init__(self, *refusals: str) -> None:
        super().__init__("\n".join(refusals))


def refusal(flag: str, host: str, port: int, error: OSError) -> PortTakenError:
    """What `error` means to the person who asked for `port` on `host`."""
    reason = error.strerror or str(error)
    if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        remedy = f"--host={host} is no address of this machine; 127.0.0.1 is for it alone, 0.0.0.0 for every interface."
    elif error.errno == errno.EACCES:
        remedy = f"Ports below 1024 are for administrators: choose another, or --{flag}=0 in a notebook for a free one."
    else:
        reason = "Address already in use" if error.errno == errno.EADDRINUSE else reason
        remedy = f"Stop what uses port {port} or choose another; in a notebook --{flag}=0 picks a free one."
    return PortTakenError(f"--{flag}={port}: cannot listen on {host}:{port} ({reason}). {remedy}")


def check_ports(options: Options) -> None:
    """Raise PortTakenError that names every port of `options` that nobody could listen on now.

    Raises ServingError INVALID_ARGUMENT for one port that is to be two.
    """
    if options.port == options.rest_api_port > 0:
        raise invalid_argument(
            f"--port and --rest_api_port are both {options.port}: gRPC and REST need a port each, 8500 and 8501 by "
            "default"
        )
    refusals = []
    for flag in FLAGS:
        try:
            if (port := getattr(options, flag)) != 0:
                check_port(flag, options.host, port)
        except PortTakenError as error:
            refusals.append(str(error))
    if refusals:
        raise PortTakenError(*refusals)


def check_port(flag: str, host: str, port: int) -> None:
    """Raise PortTakenError when nobody could listen on `port` now; asked before any model is loaded.

    Raises ServingError INVALID_ARGUMENT for a number that is no port.
    """
    check_number(flag, port)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host.strip("[]"), max(port, 0)))
        except OSError as error:
            raise refusal(flag, host, port, error) from None


def check_number(flag: str, port: int) -> None:
    """Raise ServingError INVALID_ARGUMENT for a number that is no port."""
    if not ANY_PORT <= port <= 65535:
        raise invalid_argument(f"--{flag}={port} is not a TCP port: they go from 1 to 65535, and -1 is any free one")
