"""What the tables share: a REST reply in one line, Predict messages, how a call was refused, and loads that wait."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import grpc
import pytest
import tensorflow as tf
from tensorflow.core.framework.tensor_pb2 import TensorProto
from tensorflow_serving.apis import predict_pb2

from tests.serving import ask
from tfs_notebook.engine.session_overrides import OVERRIDES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tfs_notebook.server import Server

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
