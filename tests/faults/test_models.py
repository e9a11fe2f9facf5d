"""A model that raises, that takes a minute, or more memory than there is: its own clients are told, others go on."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import grpc
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

import tfs_notebook
from tests.faults.parts import ANY, BATCHED, assert_answers, assert_nothing_pinned
from tests.support.serving import ask, config_text, until
from tfs_notebook import Code, ServingError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Models
    from tests.support.serving import Reply
    from tfs_notebook.server.server import Server

MINUTE = [60.0]


@pytest.fixture(scope="module", params=[{}, BATCHED], ids=["one by one", "batched"])
def server(
    request: pytest.FixtureRequest, models: Models, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    # All models share the threads for batches, as in TensorFlow Serving: two slow ones must leave some to the others
    parameters = tmp_path_factory.mktemp("batching") / "parameters"
    parameters.write_text("num_batch_threads { value: 8 }")
    options = {**request.param, "batching_parameters_file": str(parameters) if request.param else ""}
    paths = {name: models.path(name) for name in ("half_plus_two", "together", "raising", "huge")}
    # Where TensorFlow takes oneDNN's allocator, it looks for memory for ten seconds before it gives up
    with tfs_notebook.serve(config=config_text(paths), rest_api_timeout_in_ms=15_000, **options, **ANY) as server:
        yield server
        assert_nothing_pinned(server)


def predict(server: Server, model: str, values: list[float]) -> Reply:
    return ask(server, "POST", f"/v1/models/{model}:predict", {"instances": values})


def refusal(server: Server, model: str, alias: str, values: list[float], timeout: float = 60) -> grpc.RpcError:
    """How a gRPC client is refused."""
    request = predict_pb2.PredictRequest(model_spec={"name": model})
    request.inputs[alias].CopyFrom(tf.make_tensor_proto(values, tf.float32))
    with grpc.insecure_channel(server.grpc_target) as channel, pytest.raises(grpc.RpcError) as caught:
        prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request, timeout=timeout)
    return caught.value


def test_one_that_raises(server: Server) -> None:
    for _ in range(20):
        reply = predict(server, "raising", [-1.0])
        assert reply.status == 400
        assert "x must not be negative" in reply.error
    refused = refusal(server, "raising", "x", [-1.0])
    assert refused.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "x must not be negative" in refused.details()
    with pytest.raises(ServingError, match="x must not be negative"):
        server.predict("raising", [-1.0])
    assert predict(server, "raising", [1.0]).json == {"predictions": [1.0]}
    assert_answers(server)


def test_one_that_takes_a_minute(server: Server) -> None:
    """Everybody hears of it when the time is over that they had, and the others need not wait until then."""
    started = time.monotonic()
    with ThreadPoolExecutor(2) as clients:
        by_rest = clients.submit(predict, server, "together", MINUTE)
        by_grpc = clients.submit(refusal, server, "together", "seconds", MINUTE, 4.0)
        until(lambda: server._core.manager.registry.serving["together"][1]._pins)
        assert_answers(server)
        reply, refused = by_rest.result(), by_grpc.result()
    assert time.monotonic() - started < 50
    assert (reply.status, reply.error) == (504, "Timed out waiting for notification")
    assert refused.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert predict(server, "together", [0.0]).json["predictions"][0]["echo"] == 0.0
    assert_answers(server)
    assert_nothing_pinned(server)


def test_one_that_needs_more_memory_than_there_is(server: Server) -> None:
    reply = predict(server, "huge", [1.0])
    assert reply.status == 429
    assert "OOM when allocating tensor with shape[1,281474976710656]" in reply.error
    refused = refusal(server, "huge", "x", [1.0])
    assert refused.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "OOM when allocating tensor" in refused.details()
    with pytest.raises(ServingError) as caught:
        server.predict("huge", [1.0])
    assert caught.value.code is Code.RESOURCE_EXHAUSTED
    assert_answers(server)


def test_all_of_them_at_a_time(server: Server) -> None:
    """The other model's requests are all answered meanwhile.

    With oneDNN's allocator, that may be after TensorFlow has looked for memory: nobody else gets any for so long.
    """
    over = threading.Event()

    def trouble(model: str, values: list[float]) -> set[int]:
        statuses = set()
        while not over.is_set():
            statuses.add(predict(server, model, values).status)
        return statuses

    with ThreadPoolExecutor(6) as clients:
        raising = [clients.submit(trouble, "raising", [-1.0]) for _ in range(2)]
        huge = clients.submit(predict, server, "huge", [1.0, 2.0])
        slow = [clients.submit(trouble, "together", MINUTE)]
        try:
            for _ in range(50):
                assert_answers(server)
        finally:
            over.set()
        assert [one.result() for one in raising] == [{400}, {400}]
        assert huge.result().status == 429
        assert [one.result() for one in slow] == [{504}]
