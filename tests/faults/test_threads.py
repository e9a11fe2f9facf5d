"""The system starts no more threads: what needs one is refused, and served again once there are some."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from shutil import copytree
from typing import TYPE_CHECKING, Any

import grpc
import pytest
import tensorflow as tf
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tensorflow_serving.apis import classification_pb2, predict_pb2, prediction_service_pb2_grpc

import tfs_notebook
from tests.support.ports import free_port
from tests.support.serving import PATIENCE, ask, config_text, until
from tests.support.threads import no_more_threads
from tfs_notebook.engine.events import State
from tfs_notebook.errors import ServingError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Models
    from tfs_notebook.server import Server


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
            lambda: health.Check(health_pb2.HealthCheckRequest(), PATIENCE),
            lambda: prediction.Predict(small, PATIENCE),
            lambda: prediction.Predict(large, PATIENCE),
            lambda: prediction.Classify(classify, PATIENCE),
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


def test_a_server_that_cannot_start_says_why(models: Models) -> None:
    with no_more_threads(), pytest.raises(ServingError, match="No thread can be started") as refused:
        tfs_notebook.serve(str(models.path("half_plus_two")), rest_api_port=0, port=0)
    assert "ulimit -u" in refused.value.hint


def test_a_port_that_cannot_be_listened_on_is_refused_and_the_old_one_answers(server: Server) -> None:
    target = server.grpc_target or ""
    options = server.options
    with no_more_threads(), pytest.raises(ServingError, match="No thread can be started"):
        tfs_notebook.server.start.change(server, options.model_base_path, "", {"port": free_port(), "model_name": "m"})
    assert grpc_answers(target) == ["OK", "OK", "OK", "NOT_FOUND"]


def test_files_that_are_polled_are_read_once_there_are_threads_again(models: Models, tmp_path: Path) -> None:
    path = tmp_path / "m"
    copytree(models.path("half_plus_two"), path)
    file = tmp_path / "models.config"
    file.write_text(config_text({"m": path}))
    options = {"model_config_file_poll_wait_seconds": 1, "file_system_poll_wait_seconds": 1}
    with tfs_notebook.serve(model_config_file=str(file), rest_api_port=0, port=0, **options) as server:
        with no_more_threads():
            copytree(path / "1", path / "2")
            file.write_text(config_text({"m": path, "n": path}))
            until(lambda: "No thread can be started" in str(server.status().config_problem))
        until(
            lambda: (
                [name for name, _ in available(server)] == ["m", "n"] and dict(available(server)) == {"m": 2, "n": 2}
            )
        )
        assert server.problems == []


def available(server: Server) -> list[tuple[str, int]]:
    """The versions that answer."""
    versions = [(model.name, version) for model in server.status().models for version in model.versions]
    return [(name, version.number) for name, version in versions if version.state is State.AVAILABLE]


def test_a_request_under_way_is_answered_while_grpc_stops(models: Models) -> None:
    request = predict_pb2.PredictRequest(model_spec={"name": "model"})
    request.inputs["seconds"].CopyFrom(tf.make_tensor_proto(1.0))
    server = tfs_notebook.serve(str(models.path("slow")), rest_api_port=0, port=0)
    stop = ThreadPoolExecutor(1).submit
    with grpc.insecure_channel(server.grpc_target or "") as channel:
        call = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict.future(request, PATIENCE)
        loaded = server._core.manager.registry.serving["model"][1]
        until(lambda: loaded._pins == 1)
        stop(int).result()  # its thread is there
        with no_more_threads():
            stopping = stop(server.stop, PATIENCE)
            assert call.result().outputs["elapsed"].float_val[0] >= 1
            stopping.result()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("tfs-serving")]
