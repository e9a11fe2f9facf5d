"""The system starts no more threads: what needs one is refused, and served again once there are some."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import grpc
import pytest
import tensorflow as tf
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tensorflow_serving.apis import classification_pb2, predict_pb2, prediction_service_pb2_grpc

import tfs_notebook
from tests.support.serving import ask

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Models
    from tfs_notebook.server import Server

NO_MEMORY_FOR_IT = 1 << 46
"""Bytes of a thread's stack that the system refuses, and with them the thread."""
SECONDS = 20


@contextmanager
def no_more_threads() -> Iterator[None]:
    before = threading.stack_size(NO_MEMORY_FOR_IT)
    try:
        with pytest.raises(RuntimeError, match="can't start new thread"):
            threading.Thread(target=print).start()
        yield
    finally:
        threading.stack_size(before)


@pytest.fixture
def server(models: Models) -> Iterator[Server]:
    options: dict[str, Any] = {"rest_api_port": 0, "port": 0, "enable_grpc_healthcheck_service": True}
    with tfs_notebook.serve(str(models.path("half_plus_two")), model_name="m", **options) as server:
        yield server


def grpc_answers(target: str) -> list[str]:
    """What comes of a probe, and of requests that are small, large and wrong."""
    small, large = (predict_pb2.PredictRequest(model_spec={"name": "m"}) for _ in range(2))
    small.inputs["x"].CopyFrom(tf.make_tensor_proto([1.0]))
    large.inputs["x"].CopyFrom(tf.make_tensor_proto([1.0] * 100_000))
    classify = classification_pb2.ClassificationRequest(model_spec={"name": "none"})
    with grpc.insecure_channel(target) as channel:
        prediction = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        health = health_pb2_grpc.HealthStub(channel)
        calls = [
            lambda: health.Check(health_pb2.HealthCheckRequest(), SECONDS),
            lambda: prediction.Predict(small, SECONDS),
            lambda: prediction.Predict(large, SECONDS),
            lambda: prediction.Classify(classify, SECONDS),
        ]
        return [status(call) for call in calls]


def status(call: Any) -> str:
    try:
        call()
    except grpc.RpcError as error:
        return str(error.code().name)
    return "OK"


def test_rest(server: Server) -> None:
    small = {"instances": [1.0]}
    large = b'{"instances": [1.0]' + b" " * (2 << 20) + b"}"
    bodies: list[Any] = [small, large]
    with no_more_threads():
        replies = [ask(server, "POST", "/v1/models/m:predict", body) for body in bodies]
        assert {reply.status for reply in replies} <= {200, 503}
        assert all("No thread can be started" in reply.error for reply in replies if reply.status == 503)
        assert ask(server, "GET", "/v1/models/m").status == 200
    assert [ask(server, "POST", "/v1/models/m:predict", body).status for body in bodies] == [200, 200]


def test_grpc(server: Server) -> None:
    target = server.grpc_target or ""
    with no_more_threads():
        assert set(grpc_answers(target)) <= {"OK", "UNAVAILABLE"}
        assert grpc_answers(target)[0] == "UNAVAILABLE", "a probe has threads of its own, none of which has begun"
    assert grpc_answers(target) == ["OK", "OK", "OK", "NOT_FOUND"]
