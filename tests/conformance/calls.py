"""What the tables share: REST replies in one line, Predict and reload messages, refusals, and loads that wait."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import grpc
import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow.core.framework.tensor_pb2 import TensorProto
from tensorflow_serving.apis import model_management_pb2, model_service_pb2_grpc, predict_pb2
from tensorflow_serving.config import model_server_config_pb2

from tests.support.serving import ask
from tfs_notebook.engine.saved_model.session_overrides import OVERRIDES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tfs_notebook.server.server import Server

ANY: dict[str, Any] = {"rest_api_port": 0, "port": 0}
"""Ports that are free."""


def refused(server: Server, method: str, path: str, body: Any = None) -> tuple[int, str]:
    """The status and the text of a REST reply that is an error."""
    reply = ask(server, method, path, body)
    return reply.status, reply.error


def answered(server: Server, path: str, body: Any) -> Any:
    """The JSON value with which a POST is answered."""
    reply = ask(server, "POST", path, body)
    assert reply.status == 200, reply.body
    return reply.json


def says(text: str, expected: str) -> bool:
    """Whether `text` is what is `expected`, of which `…` at the end stands for more that is not told here."""
    return text.startswith(expected[:-1]) if expected.endswith("…") else text == expected


def asked(server: Server, path: str) -> Any:
    """What a model makes of 1.0, or the status of the refusal; `path` follows /v1/models/."""
    reply = ask(server, "POST", f"/v1/models/{path}:predict", {"instances": [1.0]})
    return reply.json["predictions"][0] if reply.status == 200 else reply.status


def reload_config(channel: grpc.Channel, text: str, *metric_names: str, timeout: float = 100) -> Any:
    """The reply to HandleReloadConfigRequest with the configuration in `text`."""
    config = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    request = model_management_pb2.ReloadConfigRequest(config=config, metric_names=metric_names)
    return model_service_pb2_grpc.ModelServiceStub(channel).HandleReloadConfigRequest(request, timeout=timeout)


def predict_request(
    model: str, inputs: Mapping[str, Any], signature: str = "", version: int | None = None, label: str = ""
) -> predict_pb2.PredictRequest:
    """A Predict message; an input is a TensorProto or what `tf.make_tensor_proto` takes."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    request.model_spec.signature_name = signature
    if version is not None:
        request.model_spec.version.value = version
    if label:
        request.model_spec.version_label = label
    for alias, value in inputs.items():
        request.inputs[alias].CopyFrom(value if isinstance(value, TensorProto) else tf.make_tensor_proto(value))
    return request


def hold(version: Path) -> None:
    """Let the load of the version in this directory wait until somebody `let_load`s it."""
    path = version / OVERRIDES
    path.parent.mkdir(exist_ok=True)
    os.mkfifo(path)


def let_load(version: Path) -> None:
    """Let the load go on that waits, now or soon, since somebody did `hold` it."""
    (version / OVERRIDES).open("wb").close()


def refusal(call: Callable[[], Any]) -> tuple[str, str]:
    """The name of the status and the text with which a call over gRPC was refused."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value.code().name, caught.value.details()
