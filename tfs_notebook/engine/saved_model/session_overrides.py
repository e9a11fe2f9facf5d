"""What a version says of its own session: `assets.extra/saved_model_config.pb`, a SavedModelConfig.

Of its `session_overrides` the one that TensorFlow itself knows counts: `disable_meta_optimizer`. The others configure
graph rewriters that are not in TensorFlow's package.
"""

from __future__ import annotations

import logging
from functools import lru_cache
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format
from google.protobuf.message import DecodeError

_log = logging.getLogger(__name__)
OVERRIDES = Path("assets.extra", "saved_model_config.pb")
"""Where a version directory holds them."""
_PROTO = """
name: "tensorflow_serving/servables/tensorflow/saved_model_config.proto" package: "tensorflow.serving" syntax: "proto3"
message_type {
  name: "SessionOverrides"
  field { name: "remote_op_remap_config" number: 1 label: LABEL_OPTIONAL type: TYPE_BYTES }
  field { name: "batch_op_rewriter_config" number: 2 label: LABEL_OPTIONAL type: TYPE_BYTES }
  field { name: "disable_meta_optimizer" number: 3 label: LABEL_OPTIONAL type: TYPE_BOOL }
}
message_type {
  name: "SavedModelConfig"
  field {
    name: "session_overrides" number: 1 label: LABEL_OPTIONAL
    type: TYPE_MESSAGE type_name: ".tensorflow.serving.SessionOverrides"
  }
}
"""
"""The messages of which only the presence matters here are bytes, which look the same on the wire."""
_WITHOUT_EFFECT = ("remote_op_remap_config", "batch_op_rewriter_config")


def override(config: Any, directory: Path) -> None:
    """Change `config`, a ConfigProto, as the version in `directory` asks for, if it does.

    A file that cannot be read or parsed only leaves a warning in the log, as in TensorFlow Serving.
    """
    path = directory / OVERRIDES
    try:
        found = saved_model_config().FromString(path.read_bytes())
    except FileNotFoundError:
        return
    except OSError as error:
        _log.warning("%s is not used: %s", path, error.strerror)
        return
    except DecodeError:
        _log.warning("%s is not used: it is no SavedModelConfig", path)
        return
    if found.HasField("session_overrides"):
        overrides = found.session_overrides
        config.graph_options.rewrite_options.disable_meta_optimizer = overrides.disable_meta_optimizer
        for name in _WITHOUT_EFFECT:
            if getattr(overrides, name):
                _log.warning("%s: %s has no effect: TensorFlow has no such rewriter", path, name)


@lru_cache(maxsize=1)
def saved_model_config() -> type[Any]:
    """The message class; tensorflow-serving-api has none, and a pool of its own leaves room for one."""
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(text_format.Parse(_PROTO, descriptor_pb2.FileDescriptorProto()).SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tensorflow.serving.SavedModelConfig"))
