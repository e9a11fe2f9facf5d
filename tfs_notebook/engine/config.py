"""model_config.pbtxt ↔ validated, frozen model configurations.

Text is parsed as protobuf text format, checked by TensorFlow Serving's rules in TensorFlow Serving's order
(`ServerCore::ValidateModelConfigList` and what follows it), and replaced whole: a configuration that fails a rule
changes nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from tfs_notebook.engine.request_log.config import LoggingConfig, logging_config
from tfs_notebook.engine.text_proto import parse_text
from tfs_notebook.errors import Code, ServingError, invalid_argument

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PLATFORM = "tensorflow"
_URI = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://")
_TRANSITION = (
    "Cannot transition to requested config. It is only legal to transition from one ModelConfigList to another."
)


@dataclass(frozen=True, slots=True)
class Latest:
    """Serve the highest `num_versions` numbers (0 counts as 1)."""

    num_versions: int = 1

    def __str__(self) -> str:
        return f"latest {max(self.num_versions, 1)}"


@dataclass(frozen=True, slots=True)
class AllVersions:
    """Serve every version that is found."""

    def __str__(self) -> str:
        return "all"


@dataclass(frozen=True, slots=True)
class Specific:
    """Serve the listed versions that exist."""

    versions: tuple[int, ...]

    def __str__(self) -> str:
        return "specific " + (", ".join(map(str, self.versions)) or "without a version")


VersionPolicy = Latest | AllVersions | Specific


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """One model of a configuration: where its versions are, which are served, and how requests to them are logged."""

    name: str
    base_path: str
    platform: str = PLATFORM
    policy: VersionPolicy = Latest()
    labels: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    logging: LoggingConfig | None = None


def parse_config(text: str, source: str = "model config") -> model_server_config_pb2.ModelServerConfig:
    """The ModelServerConfig in `text` (protobuf text format).

    Raises ServingError INVALID_ARGUMENT with line and column; its hint shows the offending line of `source`.
    """
    return parse_text(text, model_server_config_pb2.ModelServerConfig(), source)


def config_text(config: model_server_config_pb2.ModelServerConfig) -> str:
    """`config` in protobuf text format, which `parse_config` and TensorFlow Serving read."""
    return text_format.MessageToString(config, as_utf8=True)


def validate_config(
    config: model_server_config_pb2.ModelServerConfig, current: Mapping[str, ModelConfig] | None = None
) -> dict[str, ModelConfig] | None:
    """The models of `config` by name, or None when it holds neither list nor custom config (nothing is to be done).

    `current` is the configuration in force. Raises ServingError with TensorFlow Serving's code and text.
    """
    kind = config.WhichOneof("config")
    if kind is None:
        return None
    if kind == "custom_model_config":
        if current:
            raise ServingError(Code.FAILED_PRECONDITION, _TRANSITION)
        raise invalid_argument("ModelServer does not yet support custom model config.")
    protos = config.model_config_list.config
    _check_names(protos)
    _check_paths(protos)
    _check_unchanged_platforms(protos, current or {})
    models = {proto.name: _model(proto) for proto in protos}
    _check_supported_platforms(models.values())
    return models


def _check_names(protos: Iterable[model_server_config_pb2.ModelConfig]) -> None:
    seen: set[str] = set()
    for proto in protos:
        if proto.name in seen:
            raise invalid_argument(f"Illegal to list model {proto.name} multiple times in config list")
        seen.add(proto.name)


def _check_paths(protos: Iterable[model_server_config_pb2.ModelConfig]) -> None:
    for proto in protos:
        if not (proto.base_path.startswith("/") or _URI.match(proto.base_path)):
            raise ServingError(
                Code.INVALID_ARGUMENT,
                f"Expected model {proto.name} to have an absolute path or URI; got base_path()={proto.base_path}",
                where=f"model {proto.name!r}",
                hint="Write the whole path of the directory that holds the numbered versions.",
            )


def _check_unchanged_platforms(
    protos: Iterable[model_server_config_pb2.ModelConfig], current: Mapping[str, ModelConfig]
) -> None:
    for proto in protos:
        before = current.get(proto.name)
        if before is not None and before.platform != (platform := _platform(proto)):
            raise invalid_argument(
                f"Illegal to change a model's platform. For model {proto.name} platform was {before.platform} "
                f"and new platform requested is {platform}"
            )


def _check_supported_platforms(models: Iterable[ModelConfig]) -> None:
    for model in models:
        if model.platform != PLATFORM:
            raise ServingError(
                Code.INVALID_ARGUMENT,
                f"Model {model.name} requests unsupported platform {model.platform}",
                hint=f"model_platform is {PLATFORM!r}.",
            )


def _platform(proto: model_server_config_pb2.ModelConfig) -> str:
    both = "Illegal setting {} ModelServerConfig::model_type (deprecated) {} ModelServerConfig::model_platform"
    if proto.model_type and proto.model_platform:
        raise invalid_argument(f"{both.format('both', 'and')}, model name is {proto.name}")
    if proto.model_platform:
        return str(proto.model_platform)
    if not proto.model_type:
        raise ServingError(
            Code.INVALID_ARGUMENT,
            f"{both.format('neither', 'nor')}, model name is {proto.name}",
            hint=f"Add `model_platform: '{PLATFORM}'`.",
        )
    if proto.model_type != model_server_config_pb2.TENSORFLOW:
        raise invalid_argument(f"ModelServerConfig::model_type choice {proto.model_type} not supported.")
    return PLATFORM


def _model(proto: model_server_config_pb2.ModelConfig) -> ModelConfig:
    return ModelConfig(
        name=proto.name,
        base_path=proto.base_path,
        platform=_platform(proto),
        policy=_policy(proto),
        labels=MappingProxyType(dict(proto.version_labels)),
        logging=logging_config(proto),
    )


def _policy(proto: model_server_config_pb2.ModelConfig) -> VersionPolicy:
    chosen = proto.model_version_policy.WhichOneof("policy_choice")
    if chosen == "all":
        return AllVersions()
    if chosen == "specific":
        return Specific(tuple(proto.model_version_policy.specific.versions))
    return Latest(proto.model_version_policy.latest.num_versions or 1)
