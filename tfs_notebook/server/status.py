"""A moment of a server: what tables, problems and progress are made from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tfs_notebook.engine.status import ModelStatus
    from tfs_notebook.engine.storage.remote import SourceStatus
    from tfs_notebook.errors import ServingError


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """A moment of a server: its addresses (None when that protocol is off), devices and models.

    `host` is the interface it listens on; `needs_token` tells whether requests must carry `Server.token`.
    `config_problem` is why the last configuration that was read or sent was refused; the one before is in force then.
    `logging_problems` are why requests are not logged, `listening_problems` why it does not answer where it was to.
    `security` is `TLS` with whose certificate it is and until when, "" when gRPC speaks plainly.
    `sources` are the places in OSS that models come from. `console_url` is where the console's page is, None without.
    """

    running: bool
    rest_url: str | None
    grpc_target: str | None
    devices: tuple[str, ...]
    models: tuple[ModelStatus, ...]
    host: str = "127.0.0.1"
    needs_token: bool = False
    config_problem: ServingError | None = None
    logging_problems: tuple[ServingError, ...] = ()
    listening_problems: tuple[ServingError, ...] = ()
    grpc_socket_target: str | None = None
    security: str = ""
    sources: tuple[SourceStatus, ...] = ()
    console_url: str | None = None

    @property
    def addresses(self) -> list[str]:
        """Where it answers, protocol by protocol."""
        grpc = " and ".join(filter(None, (self.grpc_target, self.grpc_socket_target)))
        security = f" ({self.security})" if self.security else ""
        return [f"REST {self.rest_url}"] * bool(self.rest_url) + [f"gRPC {grpc}{security}"] * bool(grpc)

    @property
    def problems(self) -> list[ServingError]:
        """Why what is served is not what was asked for; empty when all is well."""
        refused = [self.config_problem] if self.config_problem is not None else []
        of_models = [problem for model in self.models for problem in model.problems]
        of_sources = [source.problem for source in self.sources if source.problem is not None]
        # What is wrong with a source is wrong with each of its models
        told = [*self.listening_problems, *refused, *of_sources, *of_models, *self.logging_problems]
        return list({problem.message: problem for problem in told}.values())
