"""The options of the gRPC front end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tfs_notebook.settings.channel_arguments import ChannelArguments
    from tfs_notebook.settings.tls import Tls


@dataclass(frozen=True, slots=True, kw_only=True)
class GrpcOptions:
    """How the gRPC front end listens. `port` 0 picks a free one; with a `socket_path` it listens there instead.

    `arguments` overrule the server's own; `health` answers grpc.health.v1.Health; `counted` puts requests into the
    metrics.
    """

    host: str = "127.0.0.1"
    port: int = 0
    token: str = field(default="", repr=False)
    threads: int = 8
    tensor_content: bool = False
    counted: bool = False
    socket_path: str = ""
    tls: Tls | None = None
    arguments: ChannelArguments = ()
    health: bool = False
