"""Requests that a server writes down, and versions that are warmed up with them: configuration to file and back."""

from __future__ import annotations

import base64
import shutil
import time
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow_serving.apis import (
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_log_pb2,
    prediction_service_pb2_grpc,
)
from tensorflow_serving.apis.classification_pb2 import ClassificationRequest
from tensorflow_serving.apis.inference_pb2 import MultiInferenceRequest
from tensorflow_serving.apis.regression_pb2 import RegressionRequest

import tfs_notebook
from tests.support import example_models, saved_models
from tests.support.serving import ALL, ask, config_text, label, serving_threads, until
from tfs_notebook import Code, ServingError
from tfs_notebook.engine.config import parse_config
from tfs_notebook.engine.models.warmup import REQUESTS
from tfs_notebook.notebook.view.table import as_text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Models
    from tfs_notebook.server.server import Server

ANY: dict[str, Any] = {"rest_api_port": 0, "port": 0}
BOTH = ALL + label("stable", 1) + label("canary", 2)


@pytest.fixture(autouse=True)
def _nothing_left_running() -> Iterator[None]:
    before = serving_threads()
    yield
    until(lambda: len(serving_threads()) <= len(before), f"left running: {serving_threads()}")


@pytest.fixture
def hpt(models: Models, tmp_path: Path) -> Path:
    """Version 1 (x/2 + 2) and version 2 (3x) of one model."""
    models.copy("half_plus_two", tmp_path / "hpt", version=1)
    saved_models.half_plus_two(tmp_path / "hpt" / "2", scale=3, offset=0)
    return tmp_path / "hpt"


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    return tmp_path / "logs"


def logging_to(prefix: Path | str, rate: float = 1.0) -> str:
    """The field of a model's configuration that has its requests written down."""
    return (
        f"logging_config {{ log_collector_config {{ filename_prefix: '{prefix}' }} "
        f"sampling_config {{ sampling_rate: {rate} }} }}"
    )


def serving(paths: dict[str, Path], extra: dict[str, str], **options: Any) -> Server:
    server = tfs_notebook.serve(config=config_text(paths, extra), **{**ANY, **options})
    assert server.problems == []
    return server


def records(logs: Path) -> list[prediction_log_pb2.PredictionLog]:
    """What was written down, as TensorFlow reads it."""
    paths = sorted(map(str, logs.glob("*.tfrecord")))
    found = [record.numpy() for record in tf.data.TFRecordDataset(paths)] if paths else []
    return [prediction_log_pb2.PredictionLog.FromString(record) for record in found]


def request(x: Any, **spec: Any) -> predict_pb2.PredictRequest:
    message = predict_pb2.PredictRequest()
    message.model_spec.name = "m"
    for field, value in spec.items():
        setattr(message.model_spec, field, value)
    message.inputs["x"].CopyFrom(tf.make_tensor_proto(np.float32(x)))
    return message


def ask_grpc(server: Server, message: predict_pb2.PredictRequest) -> predict_pb2.PredictResponse:
    with grpc.insecure_channel(server.grpc_target) as channel:
        return prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(message)


def ask_rest(server: Server, body: Any, model: str = "m", status: int = 200) -> Any:
    reply = ask(server, "POST", f"/v1/models/{model}:predict", body)
    assert reply.status == status, reply.body
    return reply.json


def arrays(tensors: Any) -> dict[str, Any]:
    """A message's tensors as nested lists."""
    return {alias: tf.make_ndarray(proto).tolist() for alias, proto in tensors.items()}


# What is written


def test_a_grpc_request_is_written_as_it_was_sent(hpt: Path, logs: Path) -> None:
    sent = [request([1, 2]), request([4], version_label="stable"), request([6], signature_name="serving_default")]
    sent[2].output_filter.append("y")
    with serving({"m": hpt}, {"m": BOTH + logging_to(f"{logs}/")}) as server:
        began = int(time.time())
        replies = [ask_grpc(server, message) for message in sent]
    written = records(logs)
    assert [record.predict_log.request for record in written] == sent
    assert [record.predict_log.response for record in written] == replies
    for record, version in zip(written, (2, 1, 2), strict=True):
        metadata = record.log_metadata
        assert metadata.model_spec.name == "m"
        assert metadata.model_spec.version.value == version
        assert metadata.model_spec.signature_name == "serving_default"
        assert metadata.sampling_config.sampling_rate == 1.0
        assert began <= metadata.timestamp_secs <= time.time()


@pytest.mark.parametrize("body", [{"instances": [1.0, 2.0]}, {"inputs": {"x": [1.0, 2.0]}}], ids=["rows", "columns"])
def test_a_rest_request_is_written_as_the_message_that_asks_the_same(hpt: Path, logs: Path, body: Any) -> None:
    with serving({"m": hpt}, {"m": BOTH + logging_to(f"{logs}/")}) as server:
        for path in ("m", "m/versions/2", "m/labels/stable"):
            ask_rest(server, body, path)
    newest, numbered, labelled = records(logs)
    for record, version, outputs in ((newest, 2, [3, 6]), (numbered, 2, [3, 6]), (labelled, 1, [2.5, 3])):
        log = record.predict_log
        assert record.log_metadata.model_spec.version.value == version
        assert log.response.model_spec == record.log_metadata.model_spec
        assert (log.request.model_spec.name, log.request.model_spec.signature_name) == ("m", "serving_default")
        assert arrays(log.request.inputs) == {"x": [1, 2]}
        assert log.request.inputs["x"].dtype == tf.float32.as_datatype_enum
        assert arrays(log.response.outputs) == {"y": outputs}
    assert newest.predict_log.request.model_spec.WhichOneof("version_choice") is None
    assert numbered.predict_log.request.model_spec.version.value == 2
    assert labelled.predict_log.request.model_spec.version_label == "stable"


def test_strings_and_several_inputs(models: Models, logs: Path) -> None:
    paths = {"words": models.path("vocabulary"), "multi": models.path("multi")}
    with serving(paths, {name: logging_to(f"{logs}/") for name in paths}) as server:
        ask_rest(server, {"instances": ["fox", {"b64": base64.b64encode(b"\xff\0").decode()}]}, "words")
        ask_rest(server, {"signature_name": "one_output", "inputs": {"a": [[1, 2]], "b": [3]}}, "multi")
    multi, words = records(logs)
    assert arrays(words.predict_log.request.inputs) == {"words": [b"fox", b"\xff\0"]}
    assert arrays(words.predict_log.response.outputs)["ids"] == [3, 4]
    assert arrays(multi.predict_log.request.inputs) == {"a": [[1, 2]], "b": [3]}
    assert multi.predict_log.request.model_spec.signature_name == "one_output"


def test_a_request_from_python_is_written_as_it_was_when_it_was_made(hpt: Path, logs: Path) -> None:
    x = np.float32([1, 2])
    with serving({"m": hpt}, {"m": logging_to(f"{logs}/")}) as server:
        outputs = server.predict("m", x, output_filter=["y"]).outputs
        x[:] = outputs["y"][:] = 7
    (record,) = records(logs)
    assert arrays(record.predict_log.request.inputs) == {"x": [1, 2]}
    assert arrays(record.predict_log.response.outputs) == {"y": [3, 6]}
    assert record.predict_log.request.output_filter == ["y"]


def test_what_is_refused_is_not_written(models: Models, logs: Path) -> None:
    with serving({"m": models.path("raising")}, {"m": logging_to(f"{logs}/")}) as server:
        ask_rest(server, {"instances": [-1.0]}, status=400)
        ask_rest(server, {"instances": ["x"]}, status=400)
        with pytest.raises(grpc.RpcError):
            ask_grpc(server, request([-1]))
        ask_rest(server, {"instances": [1.0]})
    (record,) = records(logs)
    assert arrays(record.predict_log.request.inputs) == {"x": [1]}


def test_only_the_models_that_ask_for_it_are_logged(hpt: Path, models: Models, logs: Path) -> None:
    paths = {"m": hpt, "other": models.path("half_plus_two")}
    with serving(paths, {"other": logging_to(f"{logs}/")}) as server:
        ask_rest(server, {"instances": [1.0]})
        ask_rest(server, {"instances": [2.0]}, "other")
    assert [record.log_metadata.model_spec.name for record in records(logs)] == ["other"]


@pytest.mark.parametrize(("rate", "least", "most"), [(0, 0, 0), (0.5, 50, 150), (1, 200, 200)])
def test_as_many_as_the_rate_says(hpt: Path, logs: Path, rate: float, least: int, most: int) -> None:
    with serving({"m": hpt}, {"m": logging_to(f"{logs}/", rate)}) as server:
        for _ in range(200):
            server.predict("m", [1.0])
    assert least <= len(records(logs)) <= most


def test_files_end_where_the_option_says(hpt: Path, logs: Path) -> None:
    with serving({"m": hpt}, {"m": logging_to(f"{logs}/requests")}, request_log_file_mb=1) as server:
        for _ in range(4):
            ask_grpc(server, request(np.zeros(50_000)))  # 0.4 MB with its reply
    sizes = [path.stat().st_size for path in logs.glob("requests-m-*.tfrecord")]
    assert len(sizes) == 2
    assert max(sizes) < 1 << 20
    assert len(records(logs)) == 4


def test_a_prefix_below_a_mount_and_one_below_the_current_directory(
    hpt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for prefix in ("/models/mounted/", "here/"):
        text = config_text({"m": hpt}, {"m": logging_to(prefix)})
        with tfs_notebook.serve(str(tmp_path), config=text, mount="/models", **ANY) as server:
            server.predict("m", [1.0])
    assert [len(records(tmp_path / name)) for name in ("mounted", "here")] == [1, 1]


# Classify, regress and several at once

CLASSIFY, REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"
EXAMPLES = "example_list { examples { features { feature { key: 'x' value { float_list { value: 0.25 } } } } } }"
WITH_CONTEXT = (
    "example_list_with_context { context { features { feature { key: 'x' value { float_list { value: 4 } } } } } "
    "examples { features {} } examples { features { feature { key: 'n' value { int64_list { value: 7 } } } } } }"
)


@pytest.fixture(scope="module")
def heads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Versions 1 and 2 of signatures that classify and regress tf.train.Examples."""
    base = tmp_path_factory.mktemp("models") / "heads"
    for version in ("1", "2"):
        example_models.heads(base / version)
    return base


def parsed(message_type: Any, text: str) -> Any:
    return text_format.Parse(text, message_type())


def test_every_kind_of_request_over_grpc_is_written_as_it_was_sent(heads: Path, logs: Path) -> None:
    tasks = "".join(
        f"tasks {{ method_name: '{method}' model_spec {{ name: 'm' {fields} }} }} "
        for method, fields in ((REGRESS, "signature_name: 'regress' version { value: 1 }"), (CLASSIFY, ""))
    )
    spec = "model_spec { name: 'm' signature_name: 'regress' version_label: 'stable' }"
    sent = {
        "Classify": parsed(ClassificationRequest, f"model_spec {{ name: 'm' }} input {{ {WITH_CONTEXT} }}"),
        "Regress": parsed(RegressionRequest, f"{spec} input {{ {EXAMPLES} }}"),
        "MultiInference": parsed(MultiInferenceRequest, f"{tasks} input {{ {EXAMPLES} }}"),
    }
    with (
        serving({"m": heads}, {"m": BOTH + logging_to(f"{logs}/")}) as server,
        grpc.insecure_channel(server.grpc_target) as channel,
    ):
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        replies = {method: getattr(stub, method)(message) for method, message in sent.items()}
    written = records(logs)
    kinds = {"Classify": "classify_log", "Regress": "regress_log", "MultiInference": "multi_inference_log"}
    assert [record.WhichOneof("log_type") for record in written] == list(kinds.values())
    for record, (method, kind) in zip(written, kinds.items(), strict=True):
        assert getattr(record, kind).request == sent[method]
        assert getattr(record, kind).response == replies[method]
    specs = [record.log_metadata.model_spec for record in written]  # of several at once, the first task's
    assert [(spec.version.value, spec.signature_name) for spec in specs] == [
        (2, "serving_default"), (1, "regress"), (1, "regress"),
    ]  # fmt: skip
    assert {record.log_metadata.sampling_config.sampling_rate for record in written} == {1.0}


@pytest.mark.parametrize(
    ("path", "body", "request_type", "expected"),
    [
        (
            "m:classify",
            {"examples": [{"x": 0.25}]},
            ClassificationRequest,
            f"model_spec {{ name: 'm' signature_name: 'serving_default' }} input {{ {EXAMPLES} }}",
        ),
        (
            "m/labels/stable:regress",
            {"signature_name": "regress", "context": {"x": 4.0}, "examples": [{}, {"n": 7}]},
            RegressionRequest,
            f"model_spec {{ name: 'm' signature_name: 'regress' version_label: 'stable' }} input {{ {WITH_CONTEXT} }}",
        ),
        (
            "m/versions/1:regress",
            {"signature_name": "regress", "examples": [{"x": 0.25}]},
            RegressionRequest,
            f"model_spec {{ name: 'm' signature_name: 'regress' version {{ value: 1 }} }} input {{ {EXAMPLES} }}",
        ),
    ],
    ids=["classify", "context", "version"],
)
def test_examples_over_rest_are_written_as_the_message_that_asks_the_same(
    heads: Path, logs: Path, path: str, body: Any, request_type: Any, expected: str
) -> None:
    message = parsed(request_type, expected)
    method = "Classify" if request_type is ClassificationRequest else "Regress"
    with (
        serving({"m": heads}, {"m": BOTH + logging_to(f"{logs}/")}) as server,
        grpc.insecure_channel(server.grpc_target) as channel,
    ):
        assert ask(server, "POST", f"/v1/models/{path}", body).status == 200
        reply = getattr(prediction_service_pb2_grpc.PredictionServiceStub(channel), method)(message)
    rest, same = records(logs)
    kind = rest.WhichOneof("log_type")
    assert kind == {"Classify": "classify_log", "Regress": "regress_log"}[method]
    assert getattr(rest, kind).request == message
    assert getattr(rest, kind).response == reply
    assert (getattr(same, kind), same.log_metadata.model_spec) == (getattr(rest, kind), rest.log_metadata.model_spec)


@pytest.mark.parametrize(("rate", "least", "most"), [(0, 0, 0), (0.5, 30, 90), (1, 120, 120)])
def test_requests_with_examples_are_picked_by_the_rate_of_their_model(
    heads: Path, logs: Path, rate: float, least: int, most: int
) -> None:
    body = {"signature_name": "regress", "examples": [{"x": 1.0}]}
    message = parsed(ClassificationRequest, f"model_spec {{ name: 'm' }} input {{ {EXAMPLES} }}")
    models = {"m": logging_to(f"{logs}/", rate), "other": ""}
    with (
        serving({"m": heads, "other": heads}, models) as server,
        grpc.insecure_channel(server.grpc_target) as channel,
    ):
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        for _ in range(60):
            assert ask(server, "POST", "/v1/models/m:regress", body).status == 200
            stub.Classify(message)
        assert ask(server, "POST", "/v1/models/other:regress", body).status == 200
    assert least <= len(records(logs)) <= most
    assert {record.log_metadata.model_spec.name for record in records(logs)} <= {"m"}


def test_examples_that_are_refused_are_not_written(heads: Path, logs: Path) -> None:
    refused = parsed(ClassificationRequest, "model_spec { name: 'm' } input { example_list {} }")
    with (
        serving({"m": heads}, {"m": logging_to(f"{logs}/")}) as server,
        grpc.insecure_channel(server.grpc_target) as channel,
    ):
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        for message in (refused, parsed(MultiInferenceRequest, "tasks { model_spec { name: 'm' } }")):
            method = stub.Classify if message is refused else stub.MultiInference
            with pytest.raises(grpc.RpcError):
                method(message)
        assert ask(server, "POST", "/v1/models/m:regress", {"examples": [{"x": 1.0}]}).status == 400
        assert ask(server, "POST", "/v1/models/m:classify", {"examples": [{"x": 1}]}).status == 400
    assert records(logs) == []


def test_a_place_that_cannot_be_written_to_fails_no_request_with_examples(heads: Path, tmp_path: Path) -> None:
    (tmp_path / "place").touch()
    prefix = f"{tmp_path / 'place'}/"
    with tfs_notebook.serve(config=config_text({"m": heads}, {"m": logging_to(prefix)}), **ANY) as server:
        until(lambda: server.problems)
        reply = ask(server, "POST", "/v1/models/m:classify", {"examples": [{"x": 0.25, "word": "cat"}]})
        assert reply.json == {"results": [[["cat", 0.25], ["other", 0.75]]]}


# Changes and faults


def reload(server: Server, text: str) -> None:
    message = model_management_pb2.ReloadConfigRequest(config=parse_config(text))
    with grpc.insecure_channel(server.grpc_target) as channel:
        model_service_pb2_grpc.ModelServiceStub(channel).HandleReloadConfigRequest(message)


def test_another_configuration_holds_from_the_next_request_on(hpt: Path, logs: Path) -> None:
    with serving({"m": hpt}, {}) as server:
        for number, extra in enumerate(["", logging_to(f"{logs}/a"), logging_to(f"{logs}/b"), logging_to("/c", 0), ""]):
            reload(server, config_text({"m": hpt}, {"m": extra}))
            server.predict("m", [float(number)])
            ask_rest(server, {"instances": [float(number)]})
    for name, number in {"a": 1, "b": 2}.items():
        (path,) = logs.glob(f"{name}-m-*.tfrecord")
        found = [prediction_log_pb2.PredictionLog.FromString(r.numpy()) for r in tf.data.TFRecordDataset(str(path))]
        assert [arrays(record.predict_log.request.inputs) for record in found] == [{"x": [number]}] * 2


def test_a_refused_configuration_leaves_the_log_as_it_is(hpt: Path, logs: Path) -> None:
    with serving({"m": hpt}, {"m": logging_to(f"{logs}/")}) as server:
        with pytest.raises(ServingError, match="sampling_rate is a probability from 0 to 1, not 2") as error:
            server.reload(parse_config(config_text({"m": hpt}, {"m": logging_to(f"{logs}/", 2)})))
        assert error.value.code is Code.INVALID_ARGUMENT
        server.predict("m", [1.0])
    assert len(records(logs)) == 1


def test_a_place_that_cannot_be_written_to_is_told_and_fails_no_request(hpt: Path, tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.touch()
    with tfs_notebook.serve(config=config_text({"m": hpt}, {"m": logging_to(f"{place}/")}), **ANY) as server:
        until(lambda: server.problems)
        (problem,) = server.problems
        assert problem.message == f"The requests to model m are not logged to {place}/: File exists"
        assert problem.message in as_text(server.status())
        assert ask_rest(server, {"instances": [1.0]}) == {"predictions": [3.0]}
        assert arrays(ask_grpc(server, request([1])).outputs) == {"y": [3]}
        place.unlink()
        until(lambda: server.predict("m", [1.0]) and not server.problems)
    assert records(place)


def test_stopping_loses_nothing(hpt: Path, logs: Path) -> None:
    server = serving({"m": hpt}, {"m": logging_to(f"{logs}/")})
    for number in range(300):
        server.predict("m", [float(number)])
    server.stop()
    assert [arrays(record.predict_log.request.inputs)["x"] for record in records(logs)] == [[n] for n in range(300)]


# Warm-up


def test_a_log_file_warms_up_the_next_version(models: Models, tmp_path: Path, logs: Path) -> None:
    base = tmp_path / "counter"
    models.copy("counter", base, version=1)
    increment = text_format.Parse("model_spec { name: 'counter' signature_name: 'incr' }", predict_pb2.PredictRequest())
    with serving({"counter": base}, {"counter": logging_to(f"{logs}/")}) as server:
        for _ in range(3):
            ask_grpc(server, increment)
        until(lambda: len(records(logs)) == 3)
        (log,) = logs.iterdir()
        copying = tmp_path / "copying"
        shutil.copytree(base / "1", copying)
        (copying / REQUESTS).parent.mkdir(exist_ok=True)
        shutil.copy(log, copying / REQUESTS)
        copying.rename(base / "2")
        until(lambda: server.predict("counter", {}, signature_name="get_counter").version == 2)
        assert server.predict("counter", {}, signature_name="get_counter").array == 3


def test_a_log_of_rest_requests_warms_up_too(models: Models, tmp_path: Path, logs: Path) -> None:
    names = ("cnn", "multi", "vocabulary")
    bodies = {"cnn": [[[[0.5]] * 28] * 28], "multi": [{"a": [1, 2], "b": 3}], "vocabulary": ["fox", "\0"]}
    with serving({name: models.path(name) for name in names}, {n: logging_to(f"{logs}/") for n in names}) as server:
        for name, instances in bodies.items():
            ask_rest(server, {"instances": instances}, name)
    bases = {name: tmp_path / name for name in names}
    for name, base in bases.items():
        requests = models.copy(name, base) / REQUESTS
        requests.parent.mkdir(exist_ok=True)
        shutil.copy(next(logs.glob(f"{name}-*.tfrecord")), requests)
    serving(bases, {}, num_request_iterations_for_warmup=2).stop()


def test_a_log_of_classify_regress_and_several_at_once_warms_up_too(heads: Path, tmp_path: Path, logs: Path) -> None:
    """`calls` tells how often the graph of a version has run."""
    calls = "name: 'm' signature_name: 'calls'"
    several = f"tasks {{ method_name: '{REGRESS}' model_spec {{ {calls} }} }} input {{ {EXAMPLES} }}"
    single = {"signature_name": "calls", "examples": [{"x": 1.0}]}
    with (
        serving({"m": heads}, {"m": logging_to(f"{logs}/")}) as server,
        grpc.insecure_channel(server.grpc_target) as channel,
    ):
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        stub.Regress(parsed(RegressionRequest, f"model_spec {{ {calls} }} input {{ {EXAMPLES} }}"))
        stub.MultiInference(parsed(MultiInferenceRequest, several))
        assert ask(server, "POST", "/v1/models/m:regress", single).json == {"results": [3.0]}
        assert ask(server, "POST", "/v1/models/m:classify", {"context": {"x": 4.0}, "examples": [{}]}).status == 200
    assert len(records(logs)) == 4
    (log,) = logs.iterdir()
    warm = tmp_path / "warm" / "1"
    shutil.copytree(heads / "1", warm)
    (warm / REQUESTS).parent.mkdir(exist_ok=True)
    shutil.copy(log, warm / REQUESTS)
    with serving({"m": warm.parent}, {}) as server:
        assert ask(server, "POST", "/v1/models/m:regress", single).json == {"results": [4.0]}


def test_warm_up_can_be_left_out(models: Models, tmp_path: Path) -> None:
    requests = models.copy("half_plus_two", tmp_path / "m") / REQUESTS
    requests.parent.mkdir(exist_ok=True)
    requests.write_bytes(b"no TFRecord file")
    text = config_text({"m": tmp_path / "m"})
    with tfs_notebook.serve(config=text, max_num_load_retries=0, **ANY) as server:
        (problem,) = server.problems
        assert problem.code is Code.DATA_LOSS
        assert problem.message.endswith(". Please verify your warmup data is in TFRecord format.")
        assert str(requests) in problem.told
    serving({"m": tmp_path / "m"}, {}, enable_model_warmup=False).stop()


def test_stopping_ends_a_long_warm_up(models: Models, tmp_path: Path) -> None:
    models.copy("slow", tmp_path / "m", version=1)
    server = serving({"m": tmp_path / "m"}, {}, num_request_iterations_for_warmup=1_000_000)
    log = prediction_log_pb2.PredictionLog()
    log.predict_log.request.inputs["seconds"].CopyFrom(tf.make_tensor_proto(np.float32(0.05)))
    warming = models.copy("slow", tmp_path, version=2)
    (warming / REQUESTS).parent.mkdir()
    with tf.io.TFRecordWriter(str(warming / REQUESTS)) as writer:
        writer.write(log.SerializeToString())
    warming.rename(tmp_path / "m" / "2")
    until(lambda: [version.state.name for version in server.status().models[0].versions] == ["LOADING", "AVAILABLE"])
    server.stop()
