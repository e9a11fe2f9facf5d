"""What gRPC needs besides a host and a port: a socket, key material, arguments; all of it checked before it is used."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tfs_notebook.settings.certificate import Certificate, read_certificate
from tfs_notebook.settings.channel_arguments import ChannelArguments, parse_channel_arguments
from tfs_notebook.settings.files import option_file
from tfs_notebook.settings.ports import check_ports
from tfs_notebook.settings.sockets import check_socket_path
from tfs_notebook.settings.tls import Tls, parse_tls

if TYPE_CHECKING:
    from tfs_notebook.options import Options


@dataclass(frozen=True, slots=True)
class Transport:
    """The socket's path, the key material with its file, and the arguments; paths are absolute, "" is none.

    `certificate` is whose the server's is, None when that cannot be read.
    """

    socket_path: str = ""
    ssl_config_path: str = ""
    tls: Tls | None = None
    arguments: ChannelArguments = ()
    certificate: Certificate | None = None

    @property
    def security(self) -> str:
        """`TLS` and what is known of the certificate, "" when gRPC speaks plainly."""
        if self.tls is None:
            return ""
        return f"TLS: {self.certificate}" if self.certificate else "TLS"


def read_transport(options: Options) -> Transport:
    """What `options` name. Raises ServingError for what cannot be used."""
    file = option_file(options, "ssl_config_file")
    tls = parse_tls(file.text, file.path) if file else None
    return Transport(
        socket_path=_absolute(options.grpc_socket_path),
        ssl_config_path=file.path if file else "",
        tls=tls,
        arguments=parse_channel_arguments(options.grpc_channel_arguments),
        certificate=read_certificate(tls.certificate) if tls else None,
    )


def check_listening(options: Options) -> None:
    """Raise PortTakenError or ServingError for what would keep a server from listening as `options` say."""
    check_ports(options)
    check_socket_path(read_transport(options).socket_path)


def _absolute(path: str) -> str:
    """`path` whatever the working directory becomes."""
    return os.path.abspath(path) if path else ""  # noqa: PTH100 - resolving links would show other names
