"""The monitoring config file: whether Prometheus may ask, and by which path.

tensorflow-serving-api has no class for MonitoringConfig; it is made here, from what its .proto file says.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

from tfs_notebook.engine.text_proto import parse_text
from tfs_notebook.errors import Code, ServingError
from tfs_notebook.settings.files import option_file

if TYPE_CHECKING:
    from tfs_notebook.options import Options

DEFAULT_PATH = "/monitoring/prometheus/metrics"

_PROTO = """
name: "tensorflow_serving/config/monitoring_config.proto" package: "tensorflow.serving" syntax: "proto3"
message_type {
  name: "PrometheusConfig"
  field { name: "enable" number: 1 label: LABEL_OPTIONAL type: TYPE_BOOL }
  field { name: "path" number: 2 label: LABEL_OPTIONAL type: TYPE_STRING }
}
message_type {
  name: "MonitoringConfig"
  field {
    name: "prometheus_config" number: 1 label: LABEL_OPTIONAL
    type: TYPE_MESSAGE type_name: ".tensorflow.serving.PrometheusConfig"
  }
}
"""


def metrics_path(options: Options) -> str:
    """The path on the port of REST at which `monitoring_config_file` wants the metrics, "" when it does not.

    Raises ServingError: NOT_FOUND for a file that cannot be read, INVALID_ARGUMENT with the position for text that is
    no MonitoringConfig, and for a path that no request can have.
    """
    file = option_file(options, "monitoring_config_file")
    if file is None:
        return ""
    prometheus = parse_text(file.text, _monitoring_config()(), file.path).prometheus_config
    if not prometheus.enable:
        return ""
    path: str = prometheus.path or DEFAULT_PATH
    if path[0] != "/" or "?" in path:
        message = f"prometheus_config.path is {path!r}, which no request can have"
        hint = f"A path begins with / and has no query, like {DEFAULT_PATH!r}, which is also the default."
        raise ServingError(Code.INVALID_ARGUMENT, message, where=file.path, hint=hint)
    return path


@lru_cache(maxsize=1)
def _monitoring_config() -> type[Any]:
    """The message class; in a pool of its own, so that a package that has the real one can be imported too."""
    pool = descriptor_pool.DescriptorPool()
    file = text_format.Parse(_PROTO, descriptor_pb2.FileDescriptorProto())
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tensorflow.serving.MonitoringConfig"))
