"""What a `Server` answers: where it listens, what is configured, what serves, and what a model predicts."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from tfs_notebook.engine.models.signature import DEFAULT_SIGNATURE, Signature
from tfs_notebook.errors import Code, ServingError
from tfs_notebook.server.status import ServerStatus
from tfs_notebook.settings.arguments import as_version

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

    from tfs_notebook.api.calls.model_spec import ModelSpec
    from tfs_notebook.api.inference import Inference
    from tfs_notebook.api.local import Prediction
    from tfs_notebook.engine.core import ServerCore
    from tfs_notebook.engine.storage.remote import SourceStatus
    from tfs_notebook.options import Options
    from tfs_notebook.server.config_watch import Following
    from tfs_notebook.server.endpoints import Endpoints
    from tfs_notebook.server.request_log import RequestLogging
    from tfs_notebook.server.sources import Sources
    from tfs_notebook.settings.tls import Tls


class Questions:
    """Questions that change nothing; any thread may ask them. `Server` brings the parts."""

    options: Options
    console_url: str | None
    _asked: Options
    _running: bool
    _core: ServerCore
    _inference: Inference
    _endpoints: Endpoints
    _sources: Sources
    _following: Following
    _logging: RequestLogging
    _devices: tuple[str, ...]

    @property
    def running(self) -> bool:
        """Whether it has not been stopped."""
        return self._running

    @property
    def rest_url(self) -> str | None:
        """Where REST answers, like `http://localhost:8501`; None when it is off."""
        address = self._endpoints.rest_address
        return f"http://{address}" if address is not None and self._running else None

    @property
    def grpc_target(self) -> str | None:
        """Where gRPC answers, like `localhost:8500`; None when it is off."""
        return self._endpoints.grpc_address if self._running else None

    @property
    def grpc_socket_target(self) -> str | None:
        """Where gRPC answers on a Unix socket, like `unix:/tmp/grpc`; None when there is none."""
        path = self._endpoints.socket_path
        return f"unix:{quote(path)}" if path and self._running else None

    @property
    def tls(self) -> Tls | None:
        """The key material with which gRPC speaks TLS, None when it speaks plainly."""
        return self._endpoints.transport.tls

    def listening_options(self) -> dict[str, Any]:
        """Where it listens and who may ask, as options."""
        kept = (
            "host", "token", "allow_without_token", "allowed_hosts", "grpc_channel_arguments",
            "enable_grpc_healthcheck_service", "console_port",
        )  # fmt: skip
        transport = self._endpoints.transport
        paths = {"grpc_socket_path": transport.socket_path, "ssl_config_file": transport.ssl_config_path}
        return {name: getattr(self._asked, name) for name in kept} | paths | self._endpoints.ports

    @property
    def config(self) -> ModelServerConfig:
        """A copy of the configuration in force."""
        from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

        return copy.deepcopy(self._core.config) or ModelServerConfig()

    @property
    def earlier_configs(self) -> tuple[ModelServerConfig, ...]:
        """Copies of the configurations that `undo` leads back to, the latest first."""
        return tuple(copy.deepcopy(config) for config in reversed(list(self._core.history)))

    @property
    def followed_config_file(self) -> str:
        """The config file, or object in OSS, that is looked at again and again; "" for none."""
        return self._following.followed_file

    def config_text(self) -> str:
        """The configuration in force as protobuf text: a model_config.pbtxt for TensorFlow Serving."""
        from tfs_notebook.engine.config import config_text

        return config_text(self.config)

    def place(self, base_path: str) -> str:
        """The directory, or the address in OSS, that a configuration's `base_path` stands for."""
        return self._core.resolve(base_path)

    def sources(self) -> tuple[SourceStatus, ...]:
        """The places in OSS that models come from. Any thread may ask."""
        return self._sources.status()

    @property
    def is_paused(self) -> bool:
        """Whether nothing is brought from OSS for now."""
        return self._sources.paused

    @property
    def has_sources(self) -> bool:
        """Whether anything that is served, or its configuration, comes from OSS."""
        return self._following.follows_oss

    @property
    def oss_credentials(self) -> Any:
        """The provider of credentials for OSS that was given, None for the environment's."""
        return self._sources.credentials

    @property
    def token(self) -> str:
        """What requests must carry in the header or metadata `authorization`; "" when they need not."""
        return self.options.token

    def status(self) -> ServerStatus:
        """The state at this moment. Any thread may ask."""
        return ServerStatus(
            running=self._running,
            rest_url=self.rest_url,
            grpc_target=self.grpc_target,
            devices=self._devices,
            models=self._core.status(),
            host=self.options.host,
            needs_token=bool(self.token),
            config_problem=self._core.config_problem,
            logging_problems=self._logging.problems,
            listening_problems=tuple(self._endpoints.lost.values()),
            grpc_socket_target=self.grpc_socket_target,
            security=self._endpoints.transport.security,
            sources=self._sources.status(),
            console_url=self.console_url,
        )

    @property
    def problems(self) -> list[ServingError]:
        """Why what is served is not what was asked for; empty when all is well."""
        return self.status().problems

    def open(self, spec: ModelSpec) -> Any:
        """Pin a version for a request; see `Inference.pin`."""
        return self._inference.pin(spec)

    def predict(
        self,
        model: str,
        inputs: Any,
        *,
        version: int | None = None,
        label: str | None = None,
        signature_name: str = DEFAULT_SIGNATURE,
        output_filter: Sequence[str] = (),
        timeout: float | None = None,
    ) -> Prediction:
        """Ask a model without a network, on the way that REST and gRPC requests take.

        `inputs` is a mapping of arrays (or nested lists) by input alias, or the value of the only input; the whole
        tensor, with its batch dimension. `timeout` is in seconds. Raises ServingError.
        """
        from tfs_notebook.api.calls.model_spec import ModelSpec
        from tfs_notebook.api.local import predict

        if not self._running:
            raise ServingError(Code.UNAVAILABLE, "The server has been stopped")
        asked = ModelSpec(model, as_version(version), label)
        return predict(self._inference, asked, inputs, signature_name, output_filter, timeout)

    def signatures(self, spec: ModelSpec) -> Mapping[str, Signature] | None:
        """The signatures of the version that `spec` names, None when nothing answers for it now."""
        try:
            with self._inference.pin(spec) as call:
                return call.signatures
        except ServingError:
            return None
