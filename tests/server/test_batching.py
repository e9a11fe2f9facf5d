"""A server with --enable_batching, asked by 32 clients at a time over REST and gRPC."""

from __future__ import annotations

import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

import tfs_notebook
from tests.support import saved_models
from tests.support.serving import ALL, PATIENCE, ask, ask_on, config_text, connect, serving_threads, until
from tfs_notebook import ServingError
from tfs_notebook.notebook.view.table import as_text
from tfs_notebook.server.server import Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from tests.conftest import Models

CLIENTS = 32
WAITING = "batch_timeout_micros { value: 3000 } max_enqueued_batches { value: 1000 }"
WHEN_FULL = "batch_timeout_micros { value: 3600000000 }"


@pytest.fixture
def parameters(tmp_path: Path) -> Callable[[str], str]:
    """Writes a file of batching parameters, and gives its path."""

    def write(text: str) -> str:
        (tmp_path / "batching.txt").write_text(text)
        return str(tmp_path / "batching.txt")

    return write


@contextmanager
def serving(models: Mapping[str, Path], file: str = "", **options: Any) -> Iterator[Server]:
    options = {"enable_batching": True, "batching_parameters_file": file, "rest_api_port": 0, "port": 0, **options}
    with tfs_notebook.serve(config=config_text(models), **options) as server:
        yield server


Ask = Any
"""What a client asks with: a model's name and its inputs by alias; gives the outputs by alias, or raises."""


@contextmanager
def rest(server: Server) -> Iterator[Ask]:
    with closing(connect(server)) as connection:

        def predict(model: str, inputs: dict[str, Any]) -> dict[str, Any]:
            reply = ask_on(connection, "POST", f"/v1/models/{model}:predict", {"inputs": inputs})
            assert reply.status == 200, reply.error
            outputs = reply.json["outputs"]
            return outputs if isinstance(outputs, dict) else {"": outputs}

        yield predict


@contextmanager
def by_grpc(server: Server) -> Iterator[Ask]:
    with grpc.insecure_channel(server.grpc_target, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)

        def predict(model: str, inputs: dict[str, Any]) -> dict[str, Any]:
            request = predict_pb2.PredictRequest()
            request.model_spec.name = model
            for alias, value in inputs.items():
                integers = np.asarray(value).dtype.kind == "i"
                request.inputs[alias].CopyFrom(tf.make_tensor_proto(value, tf.int32 if integers else None))
            outputs = stub.Predict(request, timeout=PATIENCE).outputs
            values = {alias: tf.make_ndarray(proto).tolist() for alias, proto in outputs.items()}
            return values if len(values) > 1 else {"": next(iter(values.values()))}

        yield predict


FRONT_ENDS = pytest.mark.parametrize("front_end", [rest, by_grpc], ids=["REST", "gRPC"])


def ask_together(server: Server, front_end: Any, model: str, questions: list[dict[str, Any]]) -> list[Any]:
    """The answers to `questions`, each asked by a client of its own, all at the same time."""
    ready = threading.Barrier(len(questions))

    def client(inputs: dict[str, Any]) -> Any:
        with front_end(server) as predict:
            ready.wait(PATIENCE)
            return predict(model, inputs)

    with ThreadPoolExecutor(len(questions)) as clients:
        return list(clients.map(client, questions))


# Answers


@FRONT_ENDS
def test_every_client_gets_the_answer_that_it_gets_without_batching(
    models: Models, parameters: Callable[[str], str], front_end: Any
) -> None:
    images = np.random.default_rng(0).random((CLIENTS, 2, 28, 28, 1), np.float32)
    questions: dict[str, list[dict[str, Any]]] = {
        "half_plus_two": [{"x": [float(n)] * (1 + n % 3)} for n in range(CLIENTS)],
        "multi": [{"a": [[1.5, n]], "b": [n]} for n in range(CLIENTS)],
        "cnn": [{"keras_tensor": image.tolist()} for image in images],
    }
    served = {name: models.path(name) for name in questions}
    with serving(served, parameters(WAITING)) as batched, serving(served, enable_batching=False) as alone:
        for name, asked in questions.items():
            answers = ask_together(batched, front_end, name, asked)
            with front_end(alone) as predict:
                for inputs, answer in zip(asked, answers, strict=True):
                    expected = predict(name, inputs)
                    assert answer.keys() == expected.keys()
                    assert all(np.allclose(answer[alias], expected[alias], rtol=1e-5) for alias in answer)


@FRONT_ENDS
def test_32_clients_fill_a_batch_of_32(models: Models, parameters: Callable[[str], str], front_end: Any) -> None:
    file = parameters(f"max_batch_size {{ value: 32 }} {WHEN_FULL}")
    with serving({"together": models.path("together")}, file) as server:
        answers = ask_together(server, front_end, "together", [{"seconds": [0.0]}] * CLIENTS)
    assert [answer["rows"] for answer in answers] == [[32]] * CLIENTS


def test_strings_run_together(models: Models, parameters: Callable[[str], str]) -> None:
    file = parameters(f"max_batch_size {{ value: 4 }} {WHEN_FULL}")
    with serving({"vocabulary": models.path("vocabulary")}, file) as server:
        answers = ask_together(
            server, rest, "vocabulary", [{"words": [word]} for word in ("the", "quick", "brown", "dog")]
        )
    assert [answer["ids"] for answer in answers] == [[0], [1], [2], [4]]
    assert answers[3]["words_bytes"] == [{"b64": "ZG9n"}]


def test_a_long_reply_and_a_long_request(models: Models, tmp_path: Path) -> None:
    saved_models.wide(tmp_path / "wide" / "1")
    with serving({"wide": tmp_path / "wide", "half_plus_two": models.path("half_plus_two")}, "") as server:
        reply = ask(server, "POST", "/v1/models/wide:predict", {"instances": [3.0]})
        assert reply.json == {"predictions": [[3.0] * 10_000]}
        body = {"instances": [0.5] * 900, "padding": " " * 100_000}
        reply = ask(server, "POST", "/v1/models/half_plus_two:predict", body)
        assert reply.json == {"predictions": [2.25] * 900}


def test_the_status_tells_of_batches(models: Models, parameters: Callable[[str], str]) -> None:
    file = parameters(f"max_batch_size {{ value: 4 }} {WHEN_FULL}")
    paths = {"m": models.path("half_plus_two")}
    with (
        serving(paths, file) as server,
        ThreadPoolExecutor(1) as client,
        serving(paths, enable_batching=False) as alone,
    ):
        server.predict("m", [1.0] * 4)
        waits = client.submit(server.predict, "m", [1.0])
        until(lambda: "Batching · m 1: 4.0 rows a batch, 1 waiting" in as_text(server.status()).splitlines())
        assert server.predict("m", [1.0] * 3).array.tolist() == [2.5] * 3
        assert waits.result().array.tolist() == [2.5]
        assert repr(server) == f"<tfs_notebook.Server REST {server.rest_url}, gRPC {server.grpc_target}, batching: m>"
        assert "atching" not in repr(alone) + as_text(alone.status())


def test_a_local_call_is_batched_too(models: Models) -> None:
    with serving({"half_plus_two": models.path("half_plus_two")}) as server:
        assert server.predict("half_plus_two", [1.0, 2.0]).array.tolist() == [2.5, 3.0]
        with pytest.raises(ServingError, match="Task size 1001 is larger than maximum input batch size 1000"):
            server.predict("half_plus_two", [1.0] * 1001)


# Errors over the wire


def test_refusals_over_rest(models: Models, parameters: Callable[[str], str]) -> None:
    file = parameters(f"max_batch_size {{ value: 2 }} max_enqueued_batches {{ value: 1 }} {WHEN_FULL}")
    with serving({"m": models.path("half_plus_two")}, file, rest_api_timeout_in_ms=50) as server:

        def refused(body: Any) -> tuple[int, str]:
            reply = ask(server, "POST", "/v1/models/m:predict", body)
            return reply.status, reply.error

        assert refused({"instances": [1.0, 2.0, 3.0]}) == (
            400,
            "Task size 3 is larger than maximum input batch size 2",
        )
        assert refused({"instances": [1.0]}) == (429, "Run() timeout exceeded while waiting in batching queue")
        assert refused({"instances": ["x"]})[0] == 400
        assert refused({"inputs": 1.0}) == (400, "Batching Run() input tensors must have at least one dimension")


def test_a_full_queue_over_rest(models: Models, parameters: Callable[[str], str]) -> None:
    file = parameters(f"max_batch_size {{ value: 2 }} max_enqueued_batches {{ value: 1 }} {WHEN_FULL}")
    with serving({"m": models.path("half_plus_two")}, file) as server, ThreadPoolExecutor(1) as client:
        waits = client.submit(ask, server, "POST", "/v1/models/m:predict", {"instances": [1.0]})
        until(lambda: has_waiting(server, "m"))
        reply = ask(server, "POST", "/v1/models/m:predict", {"instances": [1.0, 2.0]})
        assert (reply.status, reply.error) == (
            503,
            (
                "The batch scheduling queue to which this task was submitted is full; currently 1 batches enqueued and "
                "max_enqueued_batches is 1"
            ),
        )
        assert ask(server, "POST", "/v1/models/m:predict", {"instances": [3.0]}).json == {"predictions": [3.5]}
        assert waits.result().json == {"predictions": [2.5]}


def loaded(server: Server, model: str) -> list[Any]:
    return list(server._core.manager.registry.serving.get(model, {}).values())


def has_waiting(server: Server, model: str) -> bool:
    """Whether a request waits in a queue of the model."""
    return any(not queue.is_empty for v in loaded(server, model) for queue in list(v.servable._queues.values()))


def test_a_grpc_deadline_passes_while_a_request_waits(models: Models, parameters: Callable[[str], str]) -> None:
    with serving({"m": models.path("half_plus_two")}, parameters(WHEN_FULL)) as server:
        request = predict_pb2.PredictRequest()
        request.model_spec.name = "m"
        request.inputs["x"].CopyFrom(tf.make_tensor_proto([1.0]))
        with grpc.insecure_channel(server.grpc_target) as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            with pytest.raises(grpc.RpcError) as error:
                stub.Predict(request, timeout=0.1)
        assert error.value.code() in {grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED}
        until(lambda: not has_waiting(server, "m"), "what nobody waits for is not run")


@contextmanager
def asking(server: Server, model: str, *values: float) -> Iterator[None]:
    """A client that sends a request over REST, and is gone, without an answer, at the end."""
    body = json.dumps({"instances": values}).encode()
    with socket.create_connection(("127.0.0.1", connect(server).port)) as sock:
        head = f"POST /v1/models/{model}:predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        sock.sendall(head.encode() + body)
        yield


@contextmanager
def asking_by_grpc(server: Server, model: str, *values: float) -> Iterator[None]:
    """The same over gRPC, with no deadline."""
    request = predict_pb2.PredictRequest(model_spec={"name": model})
    request.inputs["seconds"].CopyFrom(tf.make_tensor_proto(values, tf.float32))
    with grpc.insecure_channel(server.grpc_target) as channel:
        call = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict.future(request)
        yield
        assert call.cancel()


@pytest.mark.parametrize("asking", [asking, asking_by_grpc], ids=["REST", "gRPC"])
def test_the_place_of_a_client_that_leaves_is_free(
    models: Models, parameters: Callable[[str], str], asking: Any
) -> None:
    file = parameters(f"max_batch_size {{ value: 2 }} max_enqueued_batches {{ value: 1 }} {WHEN_FULL}")
    with serving({"m": models.path("together")}, file) as server:
        for _ in range(3):
            with asking(server, "m", 0.0):
                until(lambda: has_waiting(server, "m"))
            until(lambda: not has_waiting(server, "m"), "what nobody waits for still has a place")
        answers = ask_together(server, rest, "m", [{"seconds": [0.0]}] * 2)
        assert [answer["rows"] for answer in answers] == [[2], [2]]
        (calls,) = (calls for one in loaded(server, "m") for calls in one.stats.values())
        assert (calls.summary().count, calls.summary().errors) == (2, 0)
        until(lambda: not any(one._pins for one in loaded(server, "m")))


@pytest.mark.parametrize("stays", [True, False], ids=["another stays", "all leave"])
def test_a_client_that_leaves_while_its_batch_runs(
    models: Models, parameters: Callable[[str], str], *, stays: bool
) -> None:
    """The batch goes on, for others or for nobody, and its version is not freed before it is over."""
    from tfs_notebook.engine.config import parse_config

    file = parameters(f"max_batch_size {{ value: 2 }} {WHEN_FULL}")
    with serving({"gated": models.path("gated")}, file) as server, ThreadPoolExecutor(2) as pool:
        (version,) = loaded(server, "gated")
        with asking(server, "gated", 1.0), ExitStack() as leaving:
            until(lambda: has_waiting(server, "gated"))
            if stays:
                other = pool.submit(ask, server, "POST", "/v1/models/gated:predict", {"instances": [2.0]})
            else:
                leaving.enter_context(asking(server, "gated", 2.0))
            until(lambda: version._pins == 2 and not has_waiting(server, "gated"))
        until(lambda: version._pins == stays, "who has gone still keeps the version loaded")
        unloading = pool.submit(server.reload, parse_config("model_config_list {}"))
        until(lambda: state(server, "gated") == "UNLOADING")
        model = version.servable._model
        with suppress(ServingError):  # the version may be freed before this call, which does not pin it, has ended
            model.run(model.signatures["let_in"], {"one": np.ones(1, np.float32)}, None, None)
        unloading.result()
        until(lambda: state(server, "gated") == "END")
        if stays:
            assert other.result().json == {"predictions": [2.0]}


def state(server: Server, model: str) -> str:
    """Of the model's only version."""
    (version,) = next(status for status in server.status().models if status.name == model).versions
    return str(version.state.name)


# Life


def test_versions_change_under_load_without_a_lost_request(tmp_path: Path, parameters: Callable[[str], str]) -> None:
    for version, offset in ((1, 100), (2, 200)):
        saved_models.half_plus_two(tmp_path / f"v{version}", offset=offset)
    (tmp_path / "m").mkdir()
    (tmp_path / "v1").rename(tmp_path / "m" / "1")
    over, answered, wrong = threading.Event(), {}, []

    def client(server: Server, front_end: Any, number: int) -> None:
        with front_end(server) as predict:
            while not over.is_set():
                values = predict("m", {"x": [number, number + 1]})[""]
                offset = values[0] - number / 2
                answered[number] = offset
                if offset not in {100, 200} or values[1] - values[0] != 0.5:
                    wrong.append(values)

    file = parameters(f"max_batch_size {{ value: 8 }} {WAITING}")
    with serving({"m": tmp_path / "m"}, file) as server, ThreadPoolExecutor(16) as clients:
        running = [clients.submit(client, server, (rest, by_grpc)[n % 2], float(n)) for n in range(16)]
        try:
            until(lambda: len(answered) == 16 or any(c.done() for c in running))
            (tmp_path / "v2").rename(tmp_path / "m" / "2")
            until(lambda: set(answered.values()) == {200.0} or any(c.done() for c in running))
            until(lambda: [v.state.name for v in server.status().models[0].versions] == ["AVAILABLE", "END"])
        finally:
            over.set()
        for ended in running:
            ended.result()
    assert wrong == []


def test_the_threads_are_one_pool_and_end_with_the_server(models: Models, parameters: Callable[[str], str]) -> None:
    file = parameters("num_batch_threads { value: 3 } thread_pool_name { value: 'mine' }")

    def threads() -> list[str]:
        return sorted(name for name in serving_threads() if "mine" in name)

    with serving({"m": models.path("half_plus_two"), "cnn": models.path("cnn")}, file) as server:
        server.predict("m", [1.0])
        server.predict("cnn", np.zeros((1, 28, 28, 1), np.float32))
        assert threads() == ["tfs-mine-0", "tfs-mine-1", "tfs-mine-2"]
    until(lambda: not threads())


def test_batching_is_changed_while_it_serves(models: Models, parameters: Callable[[str], str]) -> None:
    from tfs_notebook.server import start

    text = config_text({"m": models.path("together")})
    with serving({"m": models.path("together")}, enable_batching=False) as server:
        assert server.predict("m", [0.0] * 3)["rows"].tolist() == [3, 3, 3]
        file = parameters("max_batch_size { value: 4 } allowed_batch_sizes: 4")
        start.change(server, "", text, {"enable_batching": True, "batching_parameters_file": file})
        assert server.predict("m", [0.0] * 3)["rows"].tolist() == [4, 4, 4]
        with pytest.raises(ServingError, match="without setting server_options") as refused:
            start.change(server, "", text, {"batching_parameters_file": file})
        assert refused.value.hint == "--enable_batching beside it switches batching on."
        assert server.predict("m", [0.0] * 3)["rows"].tolist() == [4, 4, 4]
        file = parameters("max_batch_size { value: 32 } " + WHEN_FULL)
        start.change(server, "", text, {"enable_batching": True, "batching_parameters_file": file})
        answers = ask_together(server, by_grpc, "m", [{"seconds": [0.0]}] * CLIENTS)
        assert [answer["rows"] for answer in answers] == [[32]] * CLIENTS
        start.change(server, "", text, {})
        assert server.predict("m", [0.0] * 3)["rows"].tolist() == [3, 3, 3]


@FRONT_ENDS
def test_a_server_that_stops_answers_what_waits(
    models: Models, parameters: Callable[[str], str], front_end: Any
) -> None:
    """However long a batch would have waited for others, nobody else comes now."""
    before = serving_threads()
    with ThreadPoolExecutor(1) as client, serving({"m": models.path("half_plus_two")}, parameters(WHEN_FULL)) as server:

        def ask_once() -> Any:
            with front_end(server) as predict:
                return predict("m", {"x": [1.0]})

        waits = client.submit(ask_once)
        until(lambda: has_waiting(server, "m"))
        server.stop(timeout=5)
        assert waits.result() == {"": [2.5]}
    until(lambda: len(serving_threads()) <= len(before), f"left running: {serving_threads()}")


def test_a_version_that_is_unloaded_answers_what_waits(models: Models, parameters: Callable[[str], str]) -> None:
    from tfs_notebook.engine.config import parse_config

    with ThreadPoolExecutor(1) as client, serving({"m": models.path("half_plus_two")}, parameters(WHEN_FULL)) as server:
        waits = client.submit(server.predict, "m", [1.0])
        until(lambda: has_waiting(server, "m"))
        server.reload(parse_config("model_config_list {}"))
        assert waits.result().array.tolist() == [2.5]


# Configuration


def test_each_version_by_its_own_parameters_or_not_batched(tmp_path: Path, models: Models) -> None:
    models.copy("together", tmp_path / "m", 1)
    second = models.copy("together", tmp_path / "m", 2)
    (second / "batching_params.pbtxt").write_text("max_batch_size { value: 4 } allowed_batch_sizes: 4")
    options = {"enable_batching": True, "enable_per_model_batching_parameters": True, "rest_api_port": 0, "port": 0}
    with tfs_notebook.serve(config=config_text({"m": tmp_path / "m"}, {"m": ALL}), **options) as server:
        assert server.predict("m", [0.0], version=1)["rows"].tolist() == [1]
        assert server.predict("m", [0.0], version=2)["rows"].tolist() == [4]


def test_a_version_with_a_malformed_file_does_not_load_and_says_why(tmp_path: Path, models: Models) -> None:
    directory = models.copy("half_plus_two", tmp_path / "m", 1)
    (directory / "batching_params.pbtxt").write_text("max_batch_size: 4")
    with serving({"m": tmp_path / "m"}, enable_per_model_batching_parameters=True) as server:
        (problem,) = server.problems
        assert f"Invalid protobuf file: '{directory}/batching_params.pbtxt'" in problem.message
        assert "max_batch_size: 4\n" in problem.hint


def test_parameters_that_no_queue_can_have_fail_the_load(models: Models, parameters: Callable[[str], str]) -> None:
    with serving({"m": models.path("half_plus_two")}, parameters("allowed_batch_sizes: 8")) as server:
        (problem,) = server.problems
        assert problem.message == (
            "Last entry in allowed_batch_sizes must match max_batch_size; last entry was 8; expected 1000"
        )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("num_batch_threads { value: 0 }", "num_batch_threads must be positive; was 0"),
        ("max_batch_size: 8", r"Error parsing text-format tensorflow\.serving\.BatchingParameters: 1:"),
    ],
)
def test_a_file_that_keeps_the_server_from_starting(
    models: Models, parameters: Callable[[str], str], text: str, message: str
) -> None:
    with pytest.raises(ServingError, match=message):
        tfs_notebook.serve(
            str(models.path("half_plus_two")),
            enable_batching=True,
            batching_parameters_file=parameters(text),
            rest_api_port=0,
            port=0,
        )


def test_a_lone_request_waits_no_longer_than_the_batch_timeout(models: Models) -> None:
    with serving({"m": models.path("half_plus_two")}) as server:
        server.predict("m", [1.0])
        times = []
        for _ in range(20):
            started = time.monotonic()
            server.predict("m", [1.0])
            times.append(time.monotonic() - started)
        assert min(times) < 0.1
