"""`logging_config { … }` of a model's configuration → which of its requests are written down, and where.

TensorFlow Serving has the fields but no collector to write with: a configuration that uses them is refused there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tfs_notebook.errors import Code, ServingError

if TYPE_CHECKING:
    from tensorflow_serving.config.model_server_config_pb2 import ModelConfig

_TYPES = frozenset({"", "file"})
_EXAMPLE = (
    "logging_config { log_collector_config { filename_prefix: '/logs/' } sampling_config { sampling_rate: 0.01 } }"
)


@dataclass(frozen=True, slots=True)
class LoggingConfig:
    """Each request is written down with probability `sampling_rate`, to files whose names begin `filename_prefix`."""

    filename_prefix: str
    sampling_rate: float


def logging_config(proto: ModelConfig) -> LoggingConfig | None:
    """How the requests to a model are logged, None when its configuration says nothing of it.

    Raises ServingError: NOT_FOUND, with TensorFlow Serving's text, for a collector other than `file`, the default;
    INVALID_ARGUMENT without a `filename_prefix`, for a rate that is no probability, and for a `custom_logging_config`.
    """
    if not proto.HasField("logging_config"):
        return None
    collector, rate = proto.logging_config.log_collector_config, proto.logging_config.sampling_config.sampling_rate
    if proto.logging_config.HasField("custom_logging_config"):
        raise _refusal(proto.name, "custom_logging_config is not supported")
    if collector.type not in _TYPES:
        message = f"Cannot find LogCollector::Factory for type: {collector.type}"
        raise ServingError(Code.NOT_FOUND, message, where=f"model {proto.name!r}", hint="The type is 'file', or unset.")
    if not collector.filename_prefix:
        raise _refusal(proto.name, "logging_config needs a filename_prefix in its log_collector_config")
    if not 0.0 <= rate <= 1.0:
        raise _refusal(proto.name, f"sampling_rate is a probability from 0 to 1, not {rate:g}")
    return LoggingConfig(collector.filename_prefix, rate)


def _refusal(model: str, reason: str) -> ServingError:
    return ServingError(
        Code.INVALID_ARGUMENT, f"Model {model}: {reason}", where=f"model {model!r}", hint=f"For example: {_EXAMPLE}"
    )
