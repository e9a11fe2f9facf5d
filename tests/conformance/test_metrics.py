"""Section 6.13: the metrics endpoint."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_service_pb2_grpc,
    prediction_service_pb2_grpc,
)

import tfs_notebook
from tests.conformance.calls import ANY, predict_request, refusal
from tests.support import example_models
from tests.support.serving import ask, config_text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Models
    from tfs_notebook.server.server import Server

PATH = "/monitoring/prometheus/metrics"
COUNT = ":tensorflow:serving:request_count"
LATENCY = ":tensorflow:serving:request_latency"
RUNTIME = ":tensorflow:serving:runtime_latency"
EXAMPLES = ":tensorflow:serving:request_example_counts"


@pytest.fixture(scope="module")
def server(models: Models, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serves x/2 + 2 as `m` and as the name that needs escapes, and `heads`, with metrics."""
    root = tmp_path_factory.mktemp("metrics")
    example_models.heads(root / "heads" / "1")
    (root / "monitoring").write_text("prometheus_config { enable: true }")
    paths = {"m": models.path("half_plus_two"), "heads": root / "heads", 'a"b': models.path("half_plus_two")}
    with tfs_notebook.serve(config=config_text(paths), monitoring_config_file=str(root / "monitoring"), **ANY) as one:
        assert one.problems == []
        yield one


@pytest.fixture(scope="module")
def channel(server: Server) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(server.grpc_target) as channel:
        yield channel


def lines(server: Server) -> list[str]:
    reply = ask(server, "GET", PATH)
    assert (reply.status, reply.headers["Content-Type"]) == (200, "text/plain")
    return reply.body.decode().splitlines()


def samples(server: Server) -> dict[str, float]:
    """The value of every sample, by its name with labels."""
    found = (line.rpartition(" ") for line in lines(server) if not line.startswith("#"))
    return {name: float(value) for name, _, value in found}


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
def test_any_method(server: Server, method: str) -> None:
    reply = ask(server, method, PATH)
    assert (reply.status, reply.headers["Content-Type"]) == (200, "text/plain")
    assert f"# TYPE {COUNT} counter\n" in reply.body.decode()


def test_a_query_is_refused(server: Server) -> None:
    reply = ask(server, "GET", f"{PATH}?x=1")
    assert (reply.status, reply.headers["Content-Type"].split(";")[0]) == (400, "text/plain")
    assert reply.body.decode() == f"Unexpected path: {PATH}?x=1. Should be {PATH}"


def test_the_form(server: Server) -> None:
    ask(server, "POST", "/v1/models/m:predict", {"instances": [1.0]})
    for line in lines(server):
        if line.startswith("#"):
            assert re.fullmatch(r"# TYPE :[A-Za-z0-9_:]+ (counter|gauge|untyped|histogram)", line)
        else:
            assert re.fullmatch(r":[A-Za-z0-9_:]+\{.*\} [0-9.e+-]+", line)


PREDICT, CLASSIFY = {"instances": [1.0]}, {"examples": [{"x": 0.5}]}


@pytest.mark.parametrize(
    ("method", "path", "body", "model", "status", "api"),
    [
        ("POST", "m:predict", PREDICT, "m", "OK", "predict"),
        ("POST", "m/versions/1:predict", PREDICT, "m", "OK", "predict"),
        ("POST", "heads:classify", CLASSIFY, "heads", "OK", "classify"),
        ("POST", "heads:regress", {"signature_name": "regress", **CLASSIFY}, "heads", "OK", "regress"),
        ("POST", "m:predict", {}, "m", "INVALID_ARGUMENT", None),
        ("POST", "m/versions/7:predict", PREDICT, "m", "NOT_FOUND", None),
        ("POST", "nobody:predict", PREDICT, "nobody", "NOT_FOUND", None),
        ("POST", "a%22b:predict", PREDICT, r"a\"b", "OK", "predict"),
        ("GET", "m", None, "m", "OK", ""),
        ("GET", "m/metadata", None, "m", "OK", ""),
        ("GET", "nobody", None, "nobody", "NOT_FOUND", None),
    ],
)
def test_a_rest_call(
    server: Server, method: str, path: str, body: Any, model: str, status: str, api: str | None
) -> None:
    before = samples(server)
    ask(server, method, f"/v1/models/{path}", body)
    after = samples(server)
    risen = {name for name, value in after.items() if value > before.get(name, 0)}
    counted = f'{COUNT}{{model_name="{model}",status="{status}"}}'
    assert after[counted] == before.get(counted, 0) + 1
    timed = {name for name in risen if name.startswith(f"{LATENCY}_count")}
    wanted = f'{LATENCY}_count{{model_name="{model}",API="{api}",entrypoint="REST"}}'
    assert timed == (set() if api is None else {wanted})
    ran = {name for name in risen if name.startswith(f"{RUNTIME}_count")}
    named = f'{RUNTIME}_count{{model_name="{model}",API="{(api or "").capitalize()}",runtime="TF1"}}'
    assert ran == ({named} if api else set())


def test_grpc_calls(server: Server, channel: grpc.Channel) -> None:
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    classify = classification_pb2.ClassificationRequest(model_spec={"name": "heads"})
    classify.input.example_list.examples.add()
    before = samples(server)
    stub.Predict(predict_request("m", {"x": [1.0]}))
    stub.Classify(classify)
    refusal(lambda: stub.Predict(predict_request("nobody", {})))
    model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus(
        get_model_status_pb2.GetModelStatusRequest(model_spec={"name": "m"})
    )
    stub.GetModelMetadata(
        get_model_metadata_pb2.GetModelMetadataRequest(model_spec={"name": "m"}, metadata_field=["signature_def"])
    )
    after = samples(server)
    risen = {
        name: value - before.get(name, 0)
        for name, value in after.items()
        if value > before.get(name, 0) and re.match(f"({COUNT}|{LATENCY}_count|{RUNTIME}_count)", name)
    }
    assert risen == {
        f'{COUNT}{{model_name="m",status="OK"}}': 1,
        f'{COUNT}{{model_name="heads",status="OK"}}': 1,
        f'{COUNT}{{model_name="nobody",status="NOT_FOUND"}}': 1,
        f'{LATENCY}_count{{model_name="m",API="Predict",entrypoint="GRPC"}}': 1,
        f'{LATENCY}_count{{model_name="heads",API="Classify",entrypoint="GRPC"}}': 1,
        f'{RUNTIME}_count{{model_name="m",API="Predict",runtime="TF1"}}': 1,
        f'{RUNTIME}_count{{model_name="heads",API="Classify",runtime="TF1"}}': 1,
    }


def test_examples_are_counted_of_several_tasks_at_once_and_of_nothing_else(
    server: Server, channel: grpc.Channel
) -> None:
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    examples = 3 * [{"features": {}}]
    regress, classify = (f"tensorflow/serving/{method}" for method in ("regress", "classify"))
    request = inference_pb2.MultiInferenceRequest(input={"example_list": {"examples": examples}})
    for method, signature in ((regress, "regress"), (classify, "classify")):
        request.tasks.add(method_name=method, model_spec={"name": "heads", "signature_name": signature})
    before = samples(server)
    stub.MultiInference(request)
    stub.Predict(predict_request("m", {"x": [1.0, 2.0]}))
    stub.Classify(classification_pb2.ClassificationRequest(model_spec={"name": "heads"}, input=request.input))
    ask(server, "POST", "/v1/models/heads:classify", CLASSIFY)
    refusal(lambda: stub.MultiInference(inference_pb2.MultiInferenceRequest(tasks=request.tasks)))
    after = samples(server)
    risen = {
        name: value - before.get(name, 0)
        for name, value in after.items()
        if name.startswith(":tensorflow:serving:request_example") and value > before.get(name, 0)
    }
    buckets = {f'{EXAMPLES}_bucket{{model="heads",le="{bound}"}}' for bound in (*(2**k for k in range(2, 15)), "+Inf")}
    assert risen == {
        ':tensorflow:serving:request_example_count_total{model="heads"}': 3,
        f'{EXAMPLES}_sum{{model="heads"}}': 3,
        f'{EXAMPLES}_count{{model="heads"}}': 1,
        **dict.fromkeys(buckets, 1),
    }


def test_the_buckets_of_latencies(server: Server) -> None:
    ask(server, "POST", "/v1/models/m:predict", PREDICT)
    labels = 'model_name="m",API="predict",entrypoint="REST"'
    prefix = f"{LATENCY}_bucket{{{labels},le="
    found = [(name[len(prefix) + 1 : -2], value) for name, value in samples(server).items() if name.startswith(prefix)]
    bounds = [bound for bound, _ in found]
    assert bounds == [*(f"{10 * 1.8**power:.6g}" for power in range(32)), "+Inf"]
    assert bounds[:4] == ["10", "18", "32.4", "58.32"]
    counts = [count for _, count in found]
    assert counts == sorted(counts)
    assert counts[-1] == samples(server)[f"{LATENCY}_count{{{labels}}}"]


@pytest.mark.parametrize(
    ("text", "path", "status"),
    [
        ("", PATH, 404),
        ("prometheus_config {}", PATH, 404),
        ("prometheus_config { enable: false path: '/x' }", "/x", 404),
        ("prometheus_config { enable: true path: '/x/y' }", "/x/y", 200),
        ("prometheus_config { enable: true path: '/x/y' }", PATH, 404),
        ("prometheus_config: { enable: true, path: '/v1/metrics' }", "/v1/metrics", 200),
    ],
)
def test_where_they_are(models: Models, tmp_path: Path, text: str, path: str, status: int) -> None:
    (tmp_path / "monitoring").write_text(text)
    base_path = str(models.path("half_plus_two"))
    with tfs_notebook.serve(base_path, monitoring_config_file=str(tmp_path / "monitoring"), **ANY) as server:
        assert ask(server, "GET", path).status == status
