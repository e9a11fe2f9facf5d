"""What an observer is told of each kind of call, by a server that is asked over REST, gRPC and from its own process."""

from __future__ import annotations

import json
import socket
import struct
from contextlib import closing, contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    inference_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

import tfs_notebook
from tests.support import example_models
from tests.support.serving import ALL, ask, config_text, label, until
from tfs_notebook import Code, ServingError
from tfs_notebook.api.calls.observers import Observers
from tfs_notebook.api.calls.record import CallRecord
from tfs_notebook.api.classification import CLASSIFY, REGRESS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.conftest import Models
    from tfs_notebook.server.server import Server

Stub = prediction_service_pb2_grpc.PredictionServiceStub
EXAMPLE = {"x": 0.25, "word": "cat"}


@pytest.fixture(scope="module")
def server(models: Models, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serves `heads`, whose version 1 is `stable`, `hpt` (x/2 + 2), `raising` and `gated`."""
    root = tmp_path_factory.mktemp("models")
    example_models.heads(root / "heads" / "1")
    paths = {"heads": root / "heads", "hpt": models.path("half_plus_two")}
    paths |= {name: models.path(name) for name in ("raising", "gated")}
    text = config_text(paths, {"heads": ALL + label("stable", 1)})
    with tfs_notebook.serve(config=text, rest_api_port=0, port=0) as server:
        assert server.problems == []
        yield server


@pytest.fixture(scope="module")
def stub(server: Server) -> Iterator[Stub]:
    with grpc.insecure_channel(server.grpc_target) as channel:
        yield Stub(channel)


@contextmanager
def observed(server: Server, *, tensors: bool = True) -> Iterator[list[CallRecord]]:
    """The calls that end meanwhile."""
    told: list[CallRecord] = []
    observer = told.append
    server._inference.observers.add(observer, tensors=tensors)
    try:
        yield told
    finally:
        server._inference.observers.remove(observer)


def arrays(values: Any) -> dict[str, Any]:
    return {alias: array.tolist() for alias, array in values.items()}


def predict_request(model: str, values: Any, alias: str = "x", **spec: Any) -> predict_pb2.PredictRequest:
    request = predict_pb2.PredictRequest(model_spec={"name": model, **spec})
    request.inputs[alias].CopyFrom(tf.make_tensor_proto(np.array(values, np.float32)))
    return request


def examples() -> Any:
    features = {
        "x": tf.train.Feature(float_list=tf.train.FloatList(value=[0.25])),
        "word": tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"cat"])),
    }
    example = tf.train.Example(features=tf.train.Features(feature=features))
    from tensorflow_serving.apis import input_pb2

    return input_pb2.Input(example_list=input_pb2.ExampleList(examples=[example]))


def refused(call: Callable[[], object]) -> None:
    with pytest.raises(grpc.RpcError):
        call()


def check_moments(record: CallRecord) -> None:
    """The stages of a call that the model has answered follow each other, and are its time together."""
    moments = [record.received, record.parsed, record.begun, record.started, record.ran, record.replied]
    assert all(before <= after for before, after in pairwise(moments))  # type: ignore[operator]
    assert record.run_seconds is not None
    stages = record.parse_seconds, record.queue_seconds, record.run_seconds, record.write_seconds
    assert sum(stages) == pytest.approx(record.seconds)


# Each kind


@pytest.mark.parametrize(
    ("path", "asked"),
    [("hpt", (None, None)), ("hpt/versions/1", (1, None)), ("heads/labels/stable", (None, "stable"))],
)
def test_a_rest_predict(server: Server, path: str, asked: tuple[Any, Any]) -> None:
    body = {"instances": [1.0, 2.0]} if path.startswith("hpt") else {"inputs": ["not an example"]}
    with observed(server) as told:
        reply = ask(server, "POST", f"/v1/models/{path}:predict", body)
        (record,) = told  # before the client has its reply
    assert (record.model, record.version, record.label) == (path.partition("/")[0], 1, asked[1])
    assert (record.asked.version, record.asked.label) == asked
    assert (record.signature_name, record.method, record.wire, record.task) == ("serving_default", "Predict", "rest", 0)
    if reply.status == 200:
        assert (record.code, record.message) == (Code.OK, "")
        assert record.inputs is not None
        assert record.outputs is not None
        assert (arrays(record.inputs), arrays(record.outputs)) == ({"x": [1.0, 2.0]}, {"y": [2.5, 3.0]})
        check_moments(record)
    else:
        assert (record.code, record.message) == (Code.INVALID_ARGUMENT, reply.error)


def test_a_large_rest_predict_and_one_that_is_not_read_at_once(server: Server) -> None:
    for body in (json.dumps({"instances": [1.0] * 300_000}), json.dumps({"instances": [1.0] * 30_000})):
        with observed(server) as told:
            assert ask(server, "POST", "/v1/models/hpt:predict", body.encode()).status == 200
            (record,) = told
        check_moments(record)
        assert record.outputs is not None
        assert record.outputs["y"][-1] == 2.5


@pytest.mark.parametrize(("action", "method"), [("classify", "Classify"), ("regress", "Regress")])
def test_rest_classify_and_regress(server: Server, action: str, method: str) -> None:
    with observed(server) as told:
        body = {"examples": [EXAMPLE, {}], "signature_name": action}
        assert ask(server, "POST", f"/v1/models/heads/labels/stable:{action}", body).status == 200
        (record,) = told
    assert (record.model, record.version, record.label, record.signature_name) == ("heads", 1, "stable", action)
    assert (record.method, record.wire, record.code, record.examples) == (method, "rest", Code.OK, 2)
    assert record.outputs is not None
    expected = {"classes", "scores"} if action == "classify" else {"outputs"}
    assert set(record.outputs) == expected
    check_moments(record)


def test_a_grpc_predict(server: Server, stub: Stub) -> None:
    with observed(server) as told:
        stub.Predict(predict_request("hpt", [1.0, 2.0], signature_name="serving_default"))
        stub.Predict(predict_request("hpt", [1.0] * 30_000))
    for record in told:
        assert (record.model, record.version, record.signature_name) == ("hpt", 1, "serving_default")
        assert (record.method, record.wire, record.code, record.message) == ("Predict", "grpc", Code.OK, "")
        check_moments(record)
    first, second = told
    assert first.inputs is not None
    assert first.outputs is not None
    assert (arrays(first.inputs), arrays(first.outputs)) == ({"x": [1.0, 2.0]}, {"y": [2.5, 3.0]})
    assert second.outputs is not None
    assert second.outputs["y"].shape == (30_000,)


def test_grpc_classify_and_regress(server: Server, stub: Stub) -> None:
    spec = {"name": "heads", "version_label": "stable"}
    with observed(server) as told:
        classify = {**spec, "signature_name": "classify"}
        stub.Classify(classification_pb2.ClassificationRequest(model_spec=classify, input=examples()))
        regress = {**spec, "signature_name": "regress"}
        stub.Regress(regression_pb2.RegressionRequest(model_spec=regress, input=examples()))
    found = [(record.method, record.signature_name, record.label, record.wire, record.examples) for record in told]
    assert found == [("Classify", "classify", "stable", "grpc", 1), ("Regress", "regress", "stable", "grpc", 1)]
    for record in told:
        assert record.code is Code.OK
        check_moments(record)


def test_a_multi_inference_is_a_call_of_each_task(server: Server, stub: Stub) -> None:
    request = inference_pb2.MultiInferenceRequest(input=examples())
    for name, method in (("regress", REGRESS), ("scores_only", CLASSIFY)):
        request.tasks.add(model_spec={"name": "heads", "signature_name": name}, method_name=method)
    with observed(server) as told:
        stub.MultiInference(request)
    assert [(record.task, record.signature_name, record.method) for record in told] == [
        (0, "regress", "MultiInference"),
        (1, "scores_only", "MultiInference"),
    ]
    regress, classify = told
    assert regress.outputs is not None
    assert classify.outputs is not None
    assert (set(regress.outputs), set(classify.outputs)) == ({"outputs"}, {"scores"})
    for record in told:
        assert (record.model, record.version, record.wire, record.code, record.examples) == (
            "heads", 1, "grpc", Code.OK, 1,
        )  # fmt: skip
        check_moments(record)


def test_a_local_call(server: Server) -> None:
    with observed(server) as told:
        server.predict("hpt", [1.0, 2.0], version=1)
        (record,) = told
    assert (record.wire, record.method, record.asked.version, record.code) == ("local", "Predict", 1, Code.OK)
    assert record.outputs is not None
    assert arrays(record.outputs) == {"y": [2.5, 3.0]}
    check_moments(record)


# How they fail


def test_calls_that_fail(server: Server, stub: Stub) -> None:
    def local(signature_name: str) -> None:
        with pytest.raises(ServingError):
            server.predict("hpt", [1.0], signature_name=signature_name)

    failing = {
        "the model": lambda: ask(server, "POST", "/v1/models/raising:predict", {"instances": [-1.0]}),
        "the model, by gRPC": lambda: refused(lambda: stub.Predict(predict_request("raising", [-1.0]))),
        "no such signature": lambda: refused(lambda: stub.Predict(predict_request("hpt", 1, signature_name="no"))),
        "no such signature, locally": lambda: local("no"),
        "a wrong name": lambda: refused(lambda: stub.Predict(predict_request("hpt", [1.0], alias="z"))),
        "a wrong value": lambda: ask(server, "POST", "/v1/models/hpt:predict", {"instances": ["text"]}),
        "cannot classify": lambda: ask(server, "POST", "/v1/models/hpt:classify", {"examples": [EXAMPLE]}),
    }
    told_of = {}
    for name, fail in failing.items():
        with observed(server) as told:
            fail()
        (told_of[name],) = told
    names = {name: record.signature_name for name, record in told_of.items()}
    assert names == dict.fromkeys(failing, "serving_default") | {
        "no such signature": "no", "no such signature, locally": "no",
    }  # fmt: skip
    for name, record in told_of.items():
        expected = Code.FAILED_PRECONDITION if name.startswith("no such") else Code.INVALID_ARGUMENT
        assert (name, record.code, bool(record.message)) == (name, expected, True)
        assert (record.ran, record.run_seconds, record.outputs) == (None, None, None)
        assert record.parse_seconds + record.queue_seconds <= record.seconds


def test_what_never_became_a_call(server: Server, stub: Stub) -> None:
    with observed(server) as told:
        assert ask(server, "POST", "/v1/models/nobody:predict", {"instances": [1.0]}).status == 404
        assert ask(server, "POST", "/v1/models/hpt:predict", b"{").status == 400
        assert ask(server, "GET", "/v1/models/hpt").status == 200
        assert ask(server, "GET", "/v1/models/hpt/metadata").status == 200
        refused(lambda: stub.Predict(predict_request("nobody", [1.0])))
        with pytest.raises(ServingError):
            server.predict("nobody", [1.0])
    assert told == []


# Clients that go


def test_a_rest_client_that_goes_while_the_model_runs(server: Server) -> None:
    """It is told once the model has answered, and with how long that took."""
    loaded = server._core.manager.registry.serving["gated"][1]
    with observed(server) as told:
        with closing(socket.create_connection(("localhost", port_of(server)))) as sock:
            sock.sendall(
                b"POST /v1/models/gated:predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 18\r\n\r\n"
                b'{"instances": [1]}'
            )
            until(lambda: loaded._pins == 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # it goes without a word
        for _ in range(3):  # so that the loop has seen it
            assert ask(server, "GET", "/v1/models/gated").status == 200
        assert told == []
        server.predict("gated", [0.0], signature_name="let_in")
        until(lambda: len(told) == 2 and loaded._pins == 0)
    (record,) = [record for record in told if record.wire == "rest"]
    assert (record.model, record.code, record.message) == ("gated", Code.CANCELLED, "The client has gone")
    assert record.ran is not None
    assert record.replied < record.ran
    assert record.write_seconds == 0


def port_of(server: Server) -> int:
    return int((server.rest_url or "").rpartition(":")[2])


@pytest.fixture
def batched(models: Models, tmp_path: Path) -> Iterator[Server]:
    """`m` answers with how many rows ran together: two, or else nobody."""
    file = tmp_path / "batching.txt"
    file.write_text("max_batch_size { value: 2 } batch_timeout_micros { value: 3600000000 }")
    options: dict[str, Any] = {"enable_batching": True, "batching_parameters_file": str(file)}
    text = config_text({"m": models.path("together")})
    with tfs_notebook.serve(config=text, rest_api_port=0, port=0, **options) as server:
        yield server


def test_batched_calls_and_those_that_are_cancelled(batched: Server) -> None:
    (version,) = batched._core.manager.registry.serving["m"].values()
    request = predict_request("m", [0.0], alias="seconds")

    def waiting() -> int:
        return int(version.servable.batching().waiting)  # type: ignore[attr-defined]

    head = b"POST /v1/models/m:predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 28\r\n\r\n"
    with observed(batched) as told, grpc.insecure_channel(batched.grpc_target) as channel:
        with closing(socket.create_connection(("localhost", port_of(batched)))) as sock:
            sock.sendall(head + b'{"inputs":{"seconds":[0.0]}}')
            until(lambda: waiting() == 1)
        until(lambda: len(told) == 1)
        gone = Stub(channel).Predict.future(request)
        until(lambda: waiting() == 1)
        assert gone.cancel()
        until(lambda: len(told) == 2)
        both = [Stub(channel).Predict.future(request), Stub(channel).Predict.future(request)]
        assert [tf.make_ndarray(each.result().outputs["rows"]).tolist() for each in both] == [[2], [2]]
        assert len(told) == 4
    found = [(record.wire, record.code, record.signature_name) for record in told]
    assert found == [
        ("rest", Code.CANCELLED, "serving_default"),
        ("grpc", Code.CANCELLED, "serving_default"),
        *[("grpc", Code.OK, "serving_default")] * 2,
    ]
    assert [record.run_seconds for record in told[:2]] == [None, None]
    first, second = told[2:]
    for record in (first, second):
        check_moments(record)
    assert first.started == second.started  # in one batch, for which one of them has waited
    assert max(first.queue_seconds, second.queue_seconds) > min(first.queue_seconds, second.queue_seconds)


# Observers


def test_nobody_pays_for_tensors_that_nobody_wants(server: Server, stub: Stub) -> None:
    with observed(server, tensors=False) as told:
        ask(server, "POST", "/v1/models/hpt:predict", {"instances": [1.0]})
        stub.Predict(predict_request("hpt", [1.0]))
        server.predict("hpt", [1.0])
    assert [(record.inputs, record.outputs, record.exchange) for record in told] == [(None, None, None)] * 3


def test_an_observer_that_raises_harms_nobody(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    def fail(_record: CallRecord) -> None:
        raise ZeroDivisionError

    server._inference.observers.add(fail)
    try:
        with observed(server) as told:
            assert ask(server, "POST", "/v1/models/hpt:predict", {"instances": [1.0]}).status == 200
    finally:
        server._inference.observers.remove(fail)
    assert len(told) == 1
    assert "An observer of calls failed" in caplog.text


def test_tensors_are_wanted_while_somebody_wants_them() -> None:
    observers, told = Observers(), list[CallRecord]()
    observer = told.append
    observers.add(observer)
    assert not observers.want_tensors
    observers.add(observer, tensors=True)
    assert (observers.told, observers.want_tensors) == ((observer,), True)
    observers.remove(observer)
    observers.remove(observer)
    assert (observers.told, observers.want_tensors) == ((), False)


def test_the_statistics_are_told_of_every_call(server: Server, stub: Stub) -> None:
    def version() -> Any:
        return next(model for model in server.status().models if model.name == "hpt").versions[0]

    before = version()
    ask(server, "POST", "/v1/models/hpt:predict", {"instances": [1.0]})
    stub.Predict(predict_request("hpt", [1.0]))
    server.predict("hpt", [1.0])
    ask(server, "POST", "/v1/models/hpt:predict", {"instances": ["text"]})
    after = version()
    assert after.all_calls.count - before.all_calls.count == 4
    assert after.all_calls.errors - before.all_calls.errors == 1
    recent = after.last_minute
    assert recent.codes[Code.INVALID_ARGUMENT] >= 1
    assert 0 < recent.run.quantile_us(0.5) <= recent.whole.quantile_us(0.5) <= recent.whole.quantile_us(0.99)
    assert recent.rate > 0
