"""--prefer_tflite_model: a version's model.tflite on disk, over REST, over gRPC, and as options change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow.core.example.example_pb2 import Example
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc
from tensorflow_serving.apis.inference_pb2 import MultiInferenceRequest

import tfs_notebook
from tests.support import tflite_models
from tests.support.serving import PATIENCE, ask, until
from tests.support.tflite_models import definition, with_signatures, write
from tfs_notebook.server import start

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Models
    from tfs_notebook.server.server import Server

PREFERRED: dict[str, Any] = {"port": 0, "rest_api_port": 0, "prefer_tflite_model": True}
NAMES = {"x": "serving_default_x:0", "z": "serving_default_z:0"}, {"y": "PartitionedCall:0", "sum": "PartitionedCall:1"}
ROWS = {"instances": [{"x": [1, 2], "z": [0, 1]}, {"x": [3, 4], "z": [0, 0]}]}


@pytest.fixture(scope="module")
def content() -> bytes:
    """x and z: float[?, 2] → y = 2x + z and sum, the sum of each row of y."""
    return with_signatures(tflite_models.linear(), {"serving_default": definition(*NAMES, shape=[None, 2])})


def predict(server: Server, body: Any) -> Any:
    reply = ask(server, "POST", "/v1/models/model:predict", body)
    return reply.json if reply.status == 200 else (reply.status, reply.error)


def test_it_is_served_in_every_way(content: bytes, tmp_path: Path) -> None:
    write(tmp_path / "7", content)
    with tfs_notebook.serve(str(tmp_path), **PREFERRED) as server:
        assert server.problems == []
        expected = {"predictions": [{"y": [2, 5], "sum": 7}, {"y": [6, 8], "sum": 14}]}
        assert predict(server, ROWS) == expected
        assert predict(server, {"inputs": {"x": [[1, 2]], "z": [[0, 1]]}}) == {"outputs": {"y": [[2, 5]], "sum": [7]}}

        x = np.array([[1, 2]], np.float32)
        prediction = server.predict("model", {"x": x, "z": x})
        assert (prediction.version, prediction["y"].tolist()) == (7, [[3, 6]])

        request = predict_pb2.PredictRequest(output_filter=["y"])
        request.model_spec.name = "model"
        for alias in "xz":
            request.inputs[alias].CopyFrom(tf.make_tensor_proto(x))
        with grpc.insecure_channel(server.grpc_target) as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            reply = stub.Predict(request, timeout=PATIENCE)
            assert {alias: list(proto.float_val) for alias, proto in reply.outputs.items()} == {"y": [3, 6]}
            request.inputs["z"].CopyFrom(tf.make_tensor_proto([[1, 2]]))
            with pytest.raises(grpc.RpcError, match="to be float but int32 is provided") as caught:
                stub.Predict(request, timeout=PATIENCE)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT

        metadata = ask(server, "GET", "/v1/models/model/metadata").json["metadata"]["signature_def"]
        inputs = metadata["signature_def"]["serving_default"]["inputs"]
        assert {alias: (info["dtype"], info["name"]) for alias, info in inputs.items()} == {
            "x": ("DT_FLOAT", "serving_default_x:0"),
            "z": ("DT_FLOAT", "serving_default_z:0"),
        }


def test_requests_that_cannot_be_answered(content: bytes, tmp_path: Path) -> None:
    write(tmp_path / "1", content)
    with tfs_notebook.serve(str(tmp_path), **PREFERRED) as server:
        ragged = {"inputs": {"x": [[1, 2], [3, 4], [5, 6]], "z": [[0, 1], [0, 1]]}}
        assert predict(server, ragged) == (500, "Failed to allocate tensors")
        assert predict(server, {"inputs": {"x": [1, 2], "z": [[0, 1]]}}) == (
            400,
            "x must be 2-dimensional, [?,2], but is [2]",
        )
        assert predict(server, ROWS)["predictions"][0] == {"y": [2, 5], "sum": 7}


def test_the_option_decides_which_of_the_two_is_served(content: bytes, models: Models, tmp_path: Path) -> None:
    version = models.copy("half_plus_two", tmp_path)
    write(version, content)
    ports = {"port": 0, "rest_api_port": 0}
    with tfs_notebook.serve(str(tmp_path), **ports) as server:
        assert predict(server, {"instances": [2.0]}) == {"predictions": [3.0]}
        start.change(server, str(tmp_path), "", {"prefer_tflite_model": True})
        assert predict(server, ROWS)["predictions"][0] == {"y": [2, 5], "sum": 7}
        start.change(server, str(tmp_path), "", {})
        assert predict(server, {"instances": [2.0]}) == {"predictions": [3.0]}


def test_a_version_without_it_is_served_as_ever(content: bytes, models: Models, tmp_path: Path) -> None:
    models.copy("half_plus_two", tmp_path)
    with tfs_notebook.serve(str(tmp_path), **PREFERRED) as server:
        assert predict(server, {"instances": [2.0]}) == {"predictions": [3.0]}
        write(tmp_path / ".2.copying", content).rename(tmp_path / "2")
        until(lambda: isinstance(predict(server, ROWS), dict))


def test_a_model_that_is_not_all_there_is_waited_for(content: bytes, tmp_path: Path) -> None:
    write(tmp_path / "1", content)
    (tmp_path / "1" / "model.tflite").write_bytes(b"")
    with tfs_notebook.serve(str(tmp_path), **PREFERRED) as server:
        (model,) = server.status().models
        assert model.waiting == {1: "model.tflite is empty"}
        write(tmp_path / "1", content)
        until(lambda: isinstance(predict(server, ROWS), dict))


def test_without_the_option_it_is_no_model_and_the_remedy_is_told(content: bytes, tmp_path: Path) -> None:
    write(tmp_path / "1", content)
    with tfs_notebook.serve(str(tmp_path), port=0, rest_api_port=0) as server:
        (model,) = server.status().models
        assert model.waiting == {1: "saved_model.pb is missing (model.tflite is served with --prefer_tflite_model)"}
        start.change(server, str(tmp_path), "", {"prefer_tflite_model": True})
        assert isinstance(predict(server, ROWS), dict)


def test_a_file_that_is_no_model_is_a_problem_until_it_is_exchanged(content: bytes, tmp_path: Path) -> None:
    write(tmp_path / "1", b"no model")
    with tfs_notebook.serve(str(tmp_path), **PREFERRED) as server:
        (problem,) = server.problems
        assert str(problem) == "INVALID_ARGUMENT: Cannot build FlatBufferModel from buffer."
        assert problem.where == str(tmp_path / "1" / "model.tflite")
        write(tmp_path / "1", content)
        until(lambda: isinstance(predict(server, ROWS), dict))


# Classify, regress and several at once

CLASSIFY, REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"
EXAMPLE = "features { feature { key: 'x' value { bytes_list { value: 'cat' } } } }"
LABEL = text_format.Parse(EXAMPLE, Example()).SerializeToString().decode()


@pytest.fixture(scope="module")
def heads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """classify: the example as the label, and as the score whether it is EXAMPLE; regress: 3 if so; floats: neither."""
    names = {"scores": "PartitionedCall:0", "classes": "PartitionedCall:1", "outputs": "PartitionedCall:2"}
    inputs = {"inputs": "serving_default_s:0"}

    def of(*outputs: str) -> Any:
        return definition(inputs, {alias: names[alias] for alias in outputs}, shape=[None])

    signatures = {"classify": of("scores", "classes"), "regress": of("outputs"), "scores": of("scores")}
    signatures["serving_default"] = signatures["classify"]
    wanted = text_format.Parse(EXAMPLE, Example()).SerializeToString()
    base = tmp_path_factory.mktemp("heads")
    write(base / "4", with_signatures(tflite_models.matching(wanted), signatures))
    return base


def tasks(*asked: tuple[str, str], examples: str = f"examples {{ {EXAMPLE} }} examples {{}}") -> MultiInferenceRequest:
    text = "".join(
        f"tasks {{ method_name: '{method}' model_spec {{ name: 'model' signature_name: '{signature}' }} }} "
        for method, signature in asked
    )
    return text_format.Parse(f"{text} input {{ example_list {{ {examples} }} }}", MultiInferenceRequest())


@pytest.mark.parametrize("options", [{}, {"enable_batching": True}], ids=["alone", "batched"])
def test_several_tasks_at_once_and_each_alone(heads: Path, options: dict[str, Any]) -> None:
    with (
        tfs_notebook.serve(str(heads), **PREFERRED, **options) as server,
        grpc.insecure_channel(server.grpc_target) as channel,
    ):
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        reply = stub.MultiInference(tasks((REGRESS, "regress"), (CLASSIFY, ""), (CLASSIFY, "scores")), timeout=PATIENCE)
        specs = [(result.model_spec.version.value, result.model_spec.signature_name) for result in reply.results]
        assert specs == [(4, "regress"), (4, "serving_default"), (4, "scores")]
        values, *classes = reply.results
        assert [one.value for one in values.regression_result.regressions] == [3, 0]
        found = [
            [
                [(one.label, one.score) for one in example.classes]
                for example in result.classification_result.classifications
            ]
            for result in classes
        ]
        assert found == [[[(LABEL, 1)], [("", 0)]], [[("", 1)], [("", 0)]]]
        body = {"examples": [{"x": "cat"}]}
        classified = ask(server, "POST", "/v1/models/model:classify", body)
        regressed = ask(server, "POST", "/v1/models/model:regress", {"signature_name": "regress", **body})
        assert (classified.json, regressed.json) == ({"results": [[[LABEL, 1]]]}, {"results": [3]})


@pytest.mark.parametrize(
    ("request_", "code", "text"),
    [
        (tasks((CLASSIFY, "none")), "INVALID_ARGUMENT", "Requested signature not found in model graph: none"),
        (
            tasks((CLASSIFY, ""), (CLASSIFY, "serving_default")),
            "INVALID_ARGUMENT",
            "Duplicate evaluation of signature: serving_default",
        ),
        (
            tasks(("tensorflow/serving/predict", "")),
            "UNIMPLEMENTED",
            "Unsupported signature method_name: tensorflow/serving/predict",
        ),
        (tasks((REGRESS, "regress"), examples=""), "INVALID_ARGUMENT", "Input is empty."),
    ],
    ids=["signature", "twice", "method", "empty"],
)
def test_tasks_that_are_refused(heads: Path, request_: MultiInferenceRequest, code: str, text: str) -> None:
    with (
        tfs_notebook.serve(str(heads), **PREFERRED) as server,
        grpc.insecure_channel(server.grpc_target) as channel,
        pytest.raises(grpc.RpcError) as caught,
    ):
        prediction_service_pb2_grpc.PredictionServiceStub(channel).MultiInference(request_, timeout=PATIENCE)
    assert (caught.value.code().name, caught.value.details()) == (code, text)


def test_tasks_on_an_input_that_takes_no_examples(tmp_path: Path) -> None:
    """TensorFlow Serving copies the bytes of the strings over the numbers."""
    made = definition({"inputs": "serving_default_x:0"}, {"outputs": "PartitionedCall:1"}, shape=[None, 2])
    write(tmp_path / "1", with_signatures(tflite_models.linear(), {"regress": made}))
    with (
        tfs_notebook.serve(str(tmp_path), **PREFERRED) as server,
        grpc.insecure_channel(server.grpc_target) as channel,
        pytest.raises(grpc.RpcError) as caught,
    ):
        prediction_service_pb2_grpc.PredictionServiceStub(channel).MultiInference(
            tasks((REGRESS, "regress")), timeout=PATIENCE
        )
    assert (caught.value.code().name, caught.value.details()) == (
        "INVALID_ARGUMENT", "Expects arg[0] to be float but string is provided",
    )  # fmt: skip
