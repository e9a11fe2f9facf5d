"""Calls of Predict over grpcio's own way, by threads that wait, and over the short one, without: nobody can tell."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2

import tfs_notebook
from tests.support.serving import PATIENCE, config_text, until
from tfs_notebook.api.grpc import rpc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from tests.conftest import Models
    from tfs_notebook.server.server import Server

PREDICT = "/tensorflow.serving.PredictionService/Predict"
LEARNT = 40
"""Calls after which it is known how long they take."""


@pytest.fixture(params=["short", "usual"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "usual":
        monkeypatch.setattr(rpc, "HAS_SHORT_WAY", False)
    return str(request.param)


@pytest.fixture
def server(way: str, models: Models) -> Iterator[Server]:
    names = ("cnn", "half_plus_two", "raising", "slow")
    with tfs_notebook.serve(
        config=config_text({name: models.path(name) for name in names}), port=0, rest_api_port=0, grpc_max_threads=2
    ) as server:
        yield server


@pytest.fixture
def predict(server: Server) -> Iterator[grpc.UnaryUnaryMultiCallable]:
    """Predict of bytes to bytes."""
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(server.grpc_target, options) as channel:
        yield channel.unary_unary(PREDICT)


def message(model: str, alias: str, value: Any) -> bytes:
    request = predict_pb2.PredictRequest(model_spec={"name": model})
    request.inputs[alias].CopyFrom(tf.make_tensor_proto(value, tf.float32))
    return bytes(request.SerializeToString())


def output(reply: bytes) -> list[float]:
    (tensor,) = predict_pb2.PredictResponse.FromString(reply).outputs.values()
    return [float(value) for value in tf.make_ndarray(tensor).flat]


def refusal(call: Callable[[], Any]) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value.code(), caught.value.details()


def test_this_grpcio_has_the_short_way() -> None:
    """Everything else would still work, but take three times as long."""
    assert rpc.HAS_SHORT_WAY


def test_answers(predict: Any) -> None:
    for number in range(LEARNT):
        assert output(predict(message("half_plus_two", "x", [number, 1]))) == [number / 2 + 2, 2.5]


def test_a_message_that_is_read_on_a_thread(predict: Any) -> None:
    ones = np.ones(1 << 20, np.float32)
    assert output(predict(message("half_plus_two", "x", ones))) == [2.5] * ones.size


@pytest.mark.parametrize(
    ("request_bytes", "code", "text"),
    [
        (message("nobody", "x", [1]), "NOT_FOUND", "Servable not found for request: Latest(nobody)"),
        (message("half_plus_two", "y", [1]), "INVALID_ARGUMENT", "input alias: x(feed name: serving_default_x:0)"),
        (message("raising", "x", [-1]), "INVALID_ARGUMENT", "x must not be negative"),
        (b"\xff", "INTERNAL", "Exception deserializing request!"),
        (b"\xff" * 100_000, "INTERNAL", "Exception deserializing request!"),
        (b"", "INVALID_ARGUMENT", "Missing ModelSpec"),
    ],
)
def test_refusals(predict: Any, request_bytes: bytes, code: str, text: str) -> None:
    for _ in range(3):
        refused, details = refusal(lambda: predict(request_bytes))
        assert refused is grpc.StatusCode[code]
        assert text in details
    assert output(predict(message("half_plus_two", "x", [1]))) == [2.5]


def test_a_call_without_a_message(server: Server, predict: Any) -> None:
    with grpc.insecure_channel(server.grpc_target) as channel:
        code, text = refusal(lambda: channel.stream_unary(PREDICT)(iter([])))
    assert code is grpc.StatusCode.UNIMPLEMENTED
    assert text.endswith("requires exactly one request message.")
    assert output(predict(message("half_plus_two", "x", [1]))) == [2.5]


def test_a_caller_who_goes(server: Server, predict: Any) -> None:
    loaded = server._core.manager.registry.serving["slow"][1]
    call = predict.future(message("slow", "seconds", 0.5))
    until(lambda: loaded._pins == 1)
    call.cancel()
    until(lambda: loaded._pins == 0, "the version stays pinned")
    assert output(predict(message("half_plus_two", "x", [1]))) == [2.5]


def test_many_callers_at_a_time(predict: Any) -> None:
    def ask(number: int) -> bool:
        return output(predict(message("half_plus_two", "x", [number]))) == [number / 2 + 2]

    with ThreadPoolExecutor(16) as clients:
        assert all(clients.map(ask, range(500)))


@pytest.mark.parametrize("way", ["short"], indirect=True)
def test_a_call_known_to_take_a_while_has_threads_of_its_own(server: Server, predict: Any) -> None:
    images = message("cnn", "keras_tensor", np.ones((16, 28, 28, 1)))
    own = "tfs-grpc-short_0"
    expected = output(predict(images))
    assert own not in running_threads()
    until(lambda: output(predict(images)) == pytest.approx(expected) and own in running_threads())
    loaded = server._core.manager.registry.serving["slow"][1]
    slow = [predict.future(message("slow", "seconds", 60), timeout=8) for _ in range(4)]
    until(lambda: loaded._pins == 4)
    assert output(predict(images, timeout=PATIENCE)) == pytest.approx(expected)
    assert not any(call.done() for call in slow)
    until(lambda: loaded._pins == 0)


def running_threads() -> set[str]:
    return {thread.name for thread in threading.enumerate()}


@pytest.mark.parametrize("way", ["short"], indirect=True)
def test_a_short_call_is_answered_though_slow_ones_have_all_threads(server: Server, predict: Any) -> None:
    for _ in range(LEARNT):
        predict(message("half_plus_two", "x", [1]))
    loaded = server._core.manager.registry.serving["slow"][1]
    slow = [predict.future(message("slow", "seconds", 60), timeout=8) for _ in range(4)]
    until(lambda: loaded._pins == 4)
    assert output(predict(message("half_plus_two", "x", [1]), timeout=PATIENCE)) == [2.5]
    assert not any(call.done() for call in slow)
    # Their runs end with their deadlines, and give TensorFlow's threads back to the tests that follow
    until(lambda: loaded._pins == 0)
