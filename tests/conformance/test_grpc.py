"""Section 7: gRPC."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tensorflow.core.example.example_pb2 import Example
from tensorflow.core.framework.tensor_pb2 import TensorProto
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

import tfs_notebook
from tests.conformance.calls import ANY, predict_request, refusal, says
from tests.support import example_models, saved_models
from tests.support.serving import ALL, config_text, label

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Models
    from tfs_notebook.server.server import Server

Stub = prediction_service_pb2_grpc.PredictionServiceStub
ModelStub = model_service_pb2_grpc.ModelServiceStub
SHARED = ("multi", "dtypes", "aliased", "no_input", "slow", "raising", "half_plus_two_tf1")


@pytest.fixture(scope="module")
def server(models: Models, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serves the shared models, `m` with the versions 1 (stable) and 2, `heads`, `unfit`, `tf2` and `defaults`."""
    root = tmp_path_factory.mktemp("models")
    models.copy("half_plus_two", root / "m", 1)
    models.copy("half_plus_two", root / "m", 2)
    for export in (example_models.heads, example_models.unfit, example_models.tf2, saved_models.defaults):
        export(root / export.__name__ / "1")
    paths = {name: models.path(name) for name in SHARED}
    paths |= {name: root / name for name in ("m", "heads", "unfit", "tf2", "defaults")}
    text = config_text(paths, {"m": ALL + label("stable", 1)})
    with tfs_notebook.serve(config=text, enable_grpc_healthcheck_service=True, **ANY) as server:
        assert server.problems == []
        yield server


@pytest.fixture(scope="module")
def channel(server: Server) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(server.grpc_target) as channel:
        yield channel


@pytest.fixture(scope="module")
def stub(channel: grpc.Channel) -> Stub:
    return Stub(channel)


@pytest.fixture(scope="module")
def model_stub(channel: grpc.Channel) -> ModelStub:
    return ModelStub(channel)


def floats(*values: Any) -> np.ndarray:
    return np.array(values, np.float32)


# 7.1 Services on the port


@pytest.mark.parametrize(
    "method",
    [
        "/tensorflow.serving.PredictionService/PredictStreamed",
        "/tensorflow.serving.SessionService/SessionRun",
        "/tensorflow.serving.PredictionService/predict",
        "/nobody.Nothing/Do",
    ],
)
def test_methods_that_are_not_there(channel: grpc.Channel, method: str) -> None:
    assert refusal(lambda: channel.unary_unary(method)(b""))[0] == "UNIMPLEMENTED"


@pytest.mark.parametrize("service", ["", "ModelService", "PredictionService"])
def test_health(channel: grpc.Channel, service: str) -> None:
    reply = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=service))
    assert reply.status == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.parametrize("service", ["tensorflow.serving.PredictionService", "modelservice"])
def test_the_health_of_others(channel: grpc.Channel, service: str) -> None:
    request = health_pb2.HealthCheckRequest(service=service)
    assert refusal(lambda: health_pb2_grpc.HealthStub(channel).Check(request))[0] == "NOT_FOUND"


def test_fields_of_predict_that_are_ignored(stub: Stub) -> None:
    request = predict_request("m", {"x": floats(1)})
    request.client_id = b"me"
    request.predict_streamed_options.SetInParent()
    assert stub.Predict(request).outputs["y"].float_val == [2.5]


# 7.2 Error form


def test_a_long_text_is_cut(stub: Stub) -> None:
    name = "x" * 2000
    code, text = refusal(lambda: stub.Predict(predict_request(name, {})))
    whole = f"Servable not found for request: Latest({name})"
    assert (code, text.endswith("...TRUNCATED")) == ("NOT_FOUND", True)
    assert whole.startswith(text.removesuffix("...TRUNCATED"))
    assert len(text) <= 1024 + len("...TRUNCATED")


def test_an_error_of_an_operation_names_its_node(stub: Stub) -> None:
    code, text = refusal(lambda: stub.Predict(predict_request("raising", {"x": floats(-1)})))
    assert code == "INVALID_ARGUMENT"
    assert "x must not be negative" in text
    assert re.search(r"\n\t \[\[.*\{\{node ", text)


# 7.3 ModelSpec


@pytest.mark.parametrize(
    ("spec", "version", "signature"),
    [
        ({}, 2, "serving_default"),
        ({"version": 1}, 1, "serving_default"),
        ({"label": "stable"}, 1, "serving_default"),
        ({"signature": "serving_default"}, 2, "serving_default"),
    ],
)
def test_the_model_spec_of_a_reply(stub: Stub, spec: dict[str, Any], version: int, signature: str) -> None:
    found = stub.Predict(predict_request("m", {"x": floats(1)}, **spec)).model_spec
    assert (found.name, found.version.value, found.signature_name) == ("m", version, signature)
    assert found.WhichOneof("version_choice") == "version"


@pytest.mark.parametrize(
    ("message", "code", "text"),
    [
        (predict_pb2.PredictRequest(), "INVALID_ARGUMENT", "Missing ModelSpec"),
        (predict_request("", {}), "INVALID_ARGUMENT", "ModelSpec has no name specified."),
        (predict_request("no", {}), "NOT_FOUND", "Servable not found for request: Latest(no)"),
        (predict_request("m", {}, version=7), "NOT_FOUND", "Servable not found for request: Specific(m, 7)"),
        (predict_request("m", {}, version=-1), "NOT_FOUND", "Servable not found for request: Specific(m, -1)"),
        (predict_request("m", {}, label="no"), "INVALID_ARGUMENT", "Unrecognized servable version label: no"),
        (predict_request("no", {}, label="stable"), "INVALID_ARGUMENT", "Unrecognized servable version label: stable"),
        (predict_request("", {}, label="stable"), "INVALID_ARGUMENT", "ModelSpec has no name specified."),
    ],
)
def test_model_specs_that_name_nothing(stub: Stub, message: Any, code: str, text: str) -> None:
    assert refusal(lambda: stub.Predict(message)) == (code, text)


# 7.4 Predict

AB = {"a": floats([1, 2]), "b": np.array([3], np.int32)}


@pytest.mark.parametrize(
    ("message", "code", "text"),
    [
        (predict_request("m", {}, "no"), "FAILED_PRECONDITION", 'Serving signature key "no" not found.'),
        (
            predict_request("m", {"x": 1.0, "z": 1.0}),
            "INVALID_ARGUMENT",
            (
                "input size does not match signature: 2!=1 len({x,z}) != len({x}). Sent extra: {z}. "
                "Missing but required: {}."
            ),
        ),
        (
            predict_request("multi", {"b": 1}),
            "INVALID_ARGUMENT",
            (
                "input size does not match signature: 1!=2 len({b}) != len({a,b}). Sent extra: {}. "
                "Missing but required: {a}."
            ),
        ),
        (
            predict_request("m", {}),
            "INVALID_ARGUMENT",
            "input size does not match signature: 0!=1 len({}) != len({x}). Sent extra: {}. Missing but required: {x}.",
        ),
        (
            predict_request("half_plus_two_tf1", {"z": 1.0}),
            "INVALID_ARGUMENT",
            (
                "Signature input alias: x(feed name: x:0) not found in request and no default value provided. "
                "Inputs expected to be in the request {x}, or default input alias set: …"
            ),
        ),
        (
            predict_request("m", {"x": TensorProto(dtype=1, tensor_content=b"123")}),
            "INVALID_ARGUMENT",
            "tensor parsing error: x",
        ),
    ],
)
def test_predict_refuses(stub: Stub, message: Any, code: str, text: str) -> None:
    found = refusal(lambda: stub.Predict(message))
    assert found[0] == code
    assert says(found[1], text), found[1]


def typed(dtype: tf.DType, shape: list[int], **values: Any) -> TensorProto:
    shape_proto = tf.TensorShape(shape).as_proto()
    return TensorProto(dtype=dtype.as_datatype_enum, tensor_shape=shape_proto, **values)


@pytest.mark.parametrize(
    ("tensor", "shape", "values"),
    [
        (typed(tf.float32, [3], float_val=[2.0]), [3], [3.0, 3.0, 3.0]),
        (typed(tf.float32, [3], float_val=[2.0, 4.0]), [3], [3.0, 4.0, 4.0]),
        (typed(tf.float32, [2]), [2], [2.0, 2.0]),
        (typed(tf.float32, [2], tensor_content=floats(2, 4).tobytes()), [2], [3.0, 4.0]),
        (typed(tf.float32, [0]), [0], []),
        (TensorProto(dtype=1, float_val=[2.0]), [], [3.0]),
        (typed(tf.float32, [1, 2], float_val=[2.0, 4.0]), [1, 2], [3.0, 4.0]),
    ],
)
def test_tensors_as_tensorflow_reads_them(stub: Stub, tensor: TensorProto, shape: list[int], values: Any) -> None:
    y = stub.Predict(predict_request("m", {"x": tensor})).outputs["y"]
    assert ([dim.size for dim in y.tensor_shape.dim], list(y.float_val)) == (shape, values)
    assert (y.dtype, y.tensor_content) == (1, b"")


@pytest.mark.parametrize(
    ("inputs", "y"),
    [({"offset": floats(1)}, [10.0]), ({"x": floats(1), "offset": floats(1)}, [3.0])],
)
def test_defaults_of_a_signature(stub: Stub, inputs: dict[str, Any], y: list[float]) -> None:
    assert stub.Predict(predict_request("defaults", inputs)).outputs["y"].float_val == y


def test_what_has_no_default_is_missed(stub: Stub) -> None:
    code, text = refusal(lambda: stub.Predict(predict_request("defaults", {"x": floats(1)})))
    assert code == "INVALID_ARGUMENT"
    assert text.startswith(
        "Signature input alias: offset(feed name: offset:0) not found in request and no default value provided. "
    )


def test_a_name_that_is_left_over(stub: Stub) -> None:
    inputs = {"offset": floats(1), "other": floats(1)}
    code, text = refusal(lambda: stub.Predict(predict_request("defaults", inputs)))
    assert (code, text.split(": ")[0]) == ("INVALID_ARGUMENT", "Inputs contains invalid name. Used request inputs")


@pytest.mark.parametrize(
    ("output_filter", "outputs"),
    [([], {"total", "doubled"}), (["total"], {"total"}), (["doubled", "total"], {"total", "doubled"})],
)
def test_output_filter(stub: Stub, output_filter: list[str], outputs: set[str]) -> None:
    request = predict_request("multi", AB)
    request.output_filter.extend(output_filter)
    assert stub.Predict(request).outputs.keys() == outputs


@pytest.mark.parametrize(
    ("output_filter", "text"),
    [
        (["no"], "output tensor alias not found in signature: no Outputs expected to be in the set {doubled,total}."),
        (["total", "total"], "duplicate output tensor alias: total"),
        ([""], "output tensor alias not found in signature:  Outputs expected to be in the set {doubled,total}."),
    ],
)
def test_output_filters_that_are_refused(stub: Stub, output_filter: list[str], text: str) -> None:
    request = predict_request("multi", AB)
    request.output_filter.extend(output_filter)
    assert refusal(lambda: stub.Predict(request)) == ("INVALID_ARGUMENT", text)


@pytest.mark.parametrize(
    ("model", "inputs", "text"),
    [
        ("m", {"x": "a"}, "Expects arg[0] to be float but string is provided"),
        ("m", {"x": 1}, "Expects arg[0] to be float but int32 is provided"),
        ("half_plus_two_tf1", {"x": np.float64(1)}, "Expects arg[0] to be float but double is provided"),
    ],
)
def test_dtypes_are_left_to_tensorflow(stub: Stub, model: str, inputs: Any, text: str) -> None:
    code, found = refusal(lambda: stub.Predict(predict_request(model, inputs)))
    assert (code, found.split("\n")[0]) == ("INVALID_ARGUMENT", text)


def test_serialized_examples_are_inputs_of_predict_too(stub: Stub) -> None:
    serialized = [example(x=2.0).SerializeToString()]
    request = predict_request("half_plus_two_tf1", {"inputs": serialized}, "regress_x_to_y")
    reply = stub.Predict(request)
    assert reply.outputs["outputs"].float_val == [3.0]
    assert reply.model_spec.signature_name == "regress_x_to_y"


@pytest.mark.parametrize(
    ("dtype", "field"),
    [
        ("float", "float_val"),
        ("double", "double_val"),
        ("half", "half_val"),
        ("bfloat16", "half_val"),
        ("int8", "int_val"),
        ("uint16", "int_val"),
        ("int32", "int_val"),
        ("int64", "int64_val"),
        ("uint32", "uint32_val"),
        ("uint64", "uint64_val"),
        ("bool", "bool_val"),
        ("string", "string_val"),
    ],
)
def test_replies_use_the_typed_field(stub: Stub, dtype: str, field: str) -> None:
    kind = tf.as_dtype("float32" if dtype == "float" else {"double": "float64", "half": "float16"}.get(dtype, dtype))
    values = ["a", "b"] if dtype == "string" else tf.cast([1, 0], kind)
    y = stub.Predict(predict_request("dtypes", {"x": tf.make_tensor_proto(values)}, dtype)).outputs["y"]
    fields = {item.name for item, _ in y.ListFields()}
    assert (fields, len(getattr(y, field))) == ({"dtype", "tensor_shape", field}, 2)


# 7.5 Classify, Regress, MultiInference


def example(**features: Any) -> Example:
    message = Example()
    for name, value in features.items():
        feature = message.features.feature[name]
        if isinstance(value, str):
            feature.bytes_list.value.append(value.encode())
        elif isinstance(value, float):
            feature.float_list.value.append(value)
        else:
            feature.int64_list.value.append(value)
    return message


def classification(model: str, *examples: Example, signature: str = "") -> classification_pb2.ClassificationRequest:
    request = classification_pb2.ClassificationRequest()
    request.model_spec.name, request.model_spec.signature_name = model, signature
    request.input.example_list.examples.extend(examples)
    return request


def regression(model: str, *examples: Example, signature: str = "") -> regression_pb2.RegressionRequest:
    request = regression_pb2.RegressionRequest()
    request.model_spec.name, request.model_spec.signature_name = model, signature
    request.input.example_list.examples.extend(examples)
    return request


def test_classify(stub: Stub) -> None:
    reply = stub.Classify(classification("heads", example(x=0.25, word="cat"), example()))
    found = [[(item.label, item.score) for item in row.classes] for row in reply.result.classifications]
    assert found == [[("cat", 0.25), ("other", 0.75)], [("", 0.0), ("other", 1.0)]]
    spec = reply.model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == ("heads", 1, "serving_default")


@pytest.mark.parametrize(
    ("model", "signature", "value"),
    [("heads", "regress", 3.0), ("half_plus_two_tf1", "regress_x_to_y", 3.0), ("tf2", "regress", 3.0)],
)
def test_regress(stub: Stub, model: str, signature: str, value: float) -> None:
    reply = stub.Regress(regression(model, example(x=2.0), example(x=2.0), signature=signature))
    assert [item.value for item in reply.result.regressions] == [value, value]


def test_context_completes_the_examples(stub: Stub) -> None:
    request = regression("heads", signature="regress")
    with_context = request.input.example_list_with_context
    with_context.context.CopyFrom(example(x=4.0))
    with_context.examples.extend([example(), example(x=2.0)])
    assert [item.value for item in stub.Regress(request).result.regressions] == [4.0, 3.0]


@pytest.mark.parametrize(
    ("message", "code", "text"),
    [
        (classification_pb2.ClassificationRequest(), "INVALID_ARGUMENT", "Missing ModelSpec"),
        (classification("no", example()), "NOT_FOUND", "Servable not found for request: Latest(no)"),
        (classification("heads"), "INVALID_ARGUMENT", "Input is empty."),
        (
            classification("heads", example(), signature="no"),
            "INVALID_ARGUMENT",
            "No signature was found with the name: no",
        ),
        (classification("multi", example()), "INVALID_ARGUMENT", "Expected one input Tensor."),
        (
            classification("unfit", example(), signature="three_outputs"),
            "INVALID_ARGUMENT",
            "Expected one or two output Tensors, found 3",
        ),
        (
            classification("unfit", example(), signature="other_input_key"),
            "INVALID_ARGUMENT",
            "No classification inputs found in SignatureDef: …",
        ),
        (
            classification("unfit", example(), signature="other_output_key"),
            "INVALID_ARGUMENT",
            (
                'Expected classification signature outputs to contain at least one of "classes" or "scores". '
                "Signature was: …"
            ),
        ),
        (
            classification("unfit", example(), signature="flat_scores"),
            "INVALID_ARGUMENT",
            "Expected Tensor shape: [batch_size num_classes] but got [1]",
        ),
        (
            classification("unfit", example(), signature="whole_scores"),
            "INVALID_ARGUMENT",
            "Expected scores Tensor of DT_FLOAT. Got: DT_INT64",
        ),
        (
            classification("unfit", example(), signature="numbers_as_classes"),
            "INVALID_ARGUMENT",
            "Expected classes Tensor of DT_STRING. Got: DT_FLOAT",
        ),
        (
            classification("unfit", example(), signature="rows_of_scores"),
            "INVALID_ARGUMENT",
            "Expected scores output batch size of 1. Got: 2",
        ),
        (
            classification("unfit", example(), signature="rows_of_classes"),
            "INVALID_ARGUMENT",
            "Expected classes output batch size of 1. Got: 2",
        ),
        (
            classification("unfit", example(), signature="widths"),
            "INVALID_ARGUMENT",
            "Tensors class and score should match in dim_size(1). Got 1 vs. 2",
        ),
        (
            classification("unfit", example(), signature="float_input"),
            "INVALID_ARGUMENT",
            "Expects arg[0] to be float but string is provided…",
        ),
    ],
)
def test_classify_refuses(stub: Stub, message: Any, code: str, text: str) -> None:
    found = refusal(lambda: stub.Classify(message))
    assert found[0] == code
    assert says(found[1], text), found[1]


@pytest.mark.parametrize(
    ("message", "code", "text"),
    [
        (regression_pb2.RegressionRequest(), "INVALID_ARGUMENT", "Missing ModelSpec"),
        (regression("", example()), "INVALID_ARGUMENT", "ModelSpec has no name specified."),
        (regression("heads", signature="regress"), "INVALID_ARGUMENT", "Input is empty."),
        (
            regression("heads", example(), signature="no"),
            "INVALID_ARGUMENT",
            "No signature was found with the name: no",
        ),
        (regression("multi", example(), signature="one_output"), "INVALID_ARGUMENT", "Expected one input Tensor."),
        (regression("unfit", example(), signature="three_outputs"), "INVALID_ARGUMENT", "Expected one output Tensor."),
        (
            regression("unfit", example(), signature="other_input_key_regress"),
            "INVALID_ARGUMENT",
            "No regression inputs found in SignatureDef: …",
        ),
        (
            regression("unfit", example(), signature="flat_scores"),
            "INVALID_ARGUMENT",
            "No regression outputs found in SignatureDef: …",
        ),
        (
            regression("unfit", example(), signature="wide"),
            "INVALID_ARGUMENT",
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got [1,2]",
        ),
        (
            regression("unfit", example(), signature="doubles"),
            "INVALID_ARGUMENT",
            "Expected output Tensor of DT_FLOAT.  Got: DT_DOUBLE",
        ),
        (
            regression("unfit", example(), example(), signature="sum"),
            "INVALID_ARGUMENT",
            "Input batch size did not match output batch size: 2 vs. 1",
        ),
        (
            regression("unfit", example(), signature="float_input_regress"),
            "INVALID_ARGUMENT",
            "Expects arg[0] to be float but string is provided…",
        ),
    ],
)
def test_regress_refuses(stub: Stub, message: Any, code: str, text: str) -> None:
    found = refusal(lambda: stub.Regress(message))
    assert found[0] == code
    assert says(found[1], text), found[1]


def tasks(*named: tuple[str, str, str], examples: int = 1) -> inference_pb2.MultiInferenceRequest:
    """Tasks of (model, signature, method)."""
    request = inference_pb2.MultiInferenceRequest()
    for model, signature, method in named:
        task = request.tasks.add(method_name=method)
        task.model_spec.name, task.model_spec.signature_name = model, signature
    request.input.example_list.examples.extend([example(x=2.0)] * examples)
    return request


CLASSIFY, REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"


def test_multi_inference_in_the_order_of_its_tasks(stub: Stub) -> None:
    named = [("heads", "regress", REGRESS), ("heads", "classify", CLASSIFY), ("heads", "count", REGRESS)]
    results = stub.MultiInference(tasks(*named)).results
    assert [result.WhichOneof("result") for result in results] == [
        "regression_result", "classification_result", "regression_result",
    ]  # fmt: skip
    specs = [(item.model_spec.name, item.model_spec.version.value, item.model_spec.signature_name) for item in results]
    assert specs == [("heads", 1, signature) for _, signature, _ in named]
    assert results[0].regression_result.regressions[0].value == 3.0


@pytest.mark.parametrize(
    ("message", "code", "text"),
    [
        (tasks(), "INVALID_ARGUMENT", "ModelSpec has no name specified."),
        (tasks(("", "regress", REGRESS)), "INVALID_ARGUMENT", "ModelSpec has no name specified."),
        (
            tasks(("heads", "regress", REGRESS), ("", "count", REGRESS)),
            "INVALID_ARGUMENT",
            "Found ModelSpec with an empty model name.",
        ),
        (
            tasks(("heads", "regress", REGRESS), ("tf2", "regress", REGRESS)),
            "INVALID_ARGUMENT",
            "All ModelSpecs in a MultiInferenceRequest must access the same model name.",
        ),
        (
            tasks(("heads", "regress", REGRESS), ("heads", "regress", REGRESS)),
            "INVALID_ARGUMENT",
            "Duplicate evaluation of signature: regress",
        ),
        (tasks(("heads", "no", REGRESS)), "INVALID_ARGUMENT", "Requested signature not found in model graph: no"),
        (
            tasks(("heads", "regress", "tensorflow/serving/predict")),
            "UNIMPLEMENTED",
            "Unsupported signature method_name: tensorflow/serving/predict",
        ),
        (tasks(("heads", "regress", "")), "UNIMPLEMENTED", "Unsupported signature method_name: "),
        (tasks(("heads", "regress", REGRESS), examples=0), "INVALID_ARGUMENT", "Input is empty."),
    ],
)
def test_multi_inference_refuses(stub: Stub, message: Any, code: str, text: str) -> None:
    assert refusal(lambda: stub.MultiInference(message)) == (code, text)


# 7.6 GetModelMetadata, GetModelStatus


def metadata_request(model: str, *fields: str, version: int | None = None, label: str = "") -> Any:
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=fields)
    request.model_spec.CopyFrom(predict_request(model, {}, version=version, label=label).model_spec)
    return request


@pytest.mark.parametrize(("spec", "version"), [({}, 2), ({"version": 1}, 1), ({"label": "stable"}, 1)])
def test_metadata(stub: Stub, spec: dict[str, Any], version: int) -> None:
    reply = stub.GetModelMetadata(metadata_request("m", "signature_def", **spec))
    assert (reply.model_spec.name, reply.model_spec.version.value) == ("m", version)
    assert reply.model_spec.signature_name == ""
    packed = reply.metadata["signature_def"]
    assert packed.type_url == "type.googleapis.com/tensorflow.serving.SignatureDefMap"
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert packed.Unpack(signatures)
    assert signatures.signature_def.keys() == {"serving_default", "__saved_model_init_op"}


@pytest.mark.parametrize(
    ("message", "code", "text"),
    [
        (
            metadata_request("no"),
            "INVALID_ARGUMENT",
            "GetModelMetadataRequest must specify at least one metadata_field",
        ),
        (metadata_request("no", "signature_def", "x"), "INVALID_ARGUMENT", "Metadata field x is not supported"),
        (metadata_request("no", "signature_def"), "NOT_FOUND", "Servable not found for request: Latest(no)"),
        (metadata_request("", "signature_def"), "INVALID_ARGUMENT", "ModelSpec has no name specified."),
        (
            metadata_request("m", "signature_def", version=7),
            "NOT_FOUND",
            "Servable not found for request: Specific(m, 7)",
        ),
        (
            metadata_request("m", "signature_def", label="no"),
            "INVALID_ARGUMENT",
            "Unrecognized servable version label: no",
        ),
        (
            get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"]),
            "INVALID_ARGUMENT",
            "Missing ModelSpec",
        ),
    ],
)
def test_metadata_refuses(stub: Stub, message: Any, code: str, text: str) -> None:
    assert refusal(lambda: stub.GetModelMetadata(message)) == (code, text)


def status_request(model: str, version: int | None = None, label: str = "") -> Any:
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.CopyFrom(predict_request(model, {}, version=version, label=label).model_spec)
    return request


@pytest.mark.parametrize(
    ("spec", "versions"),
    [({}, [2, 1]), ({"version": 1}, [1]), ({"label": "stable"}, [2, 1]), ({"label": "nobody"}, [2, 1])],
)
def test_status(model_stub: ModelStub, spec: dict[str, Any], versions: list[int]) -> None:
    statuses = model_stub.GetModelStatus(status_request("m", **spec)).model_version_status
    assert [(item.version, item.state, item.status.error_code, item.status.error_message) for item in statuses] == [
        (version, 30, 0, "") for version in versions
    ]


@pytest.mark.parametrize(
    ("message", "code", "text"),
    [
        (get_model_status_pb2.GetModelStatusRequest(), "INVALID_ARGUMENT", "Missing ModelSpec"),
        (status_request("no"), "NOT_FOUND", "Could not find any versions of model no"),
        (status_request(""), "NOT_FOUND", "Could not find any versions of model "),
        (status_request("m", version=7), "NOT_FOUND", "Could not find version 7 of model m"),
        (status_request("no", version=7), "NOT_FOUND", "Could not find version 7 of model no"),
    ],
)
def test_status_refuses(model_stub: ModelStub, message: Any, code: str, text: str) -> None:
    assert refusal(lambda: model_stub.GetModelStatus(message)) == (code, text)


# 7.7 Deadlines


def test_a_deadline_ends_the_call(stub: Stub) -> None:
    request = predict_request("slow", {"seconds": np.float32(30)})
    assert refusal(lambda: stub.Predict(request, timeout=0.3))[0] == "DEADLINE_EXCEEDED"


# The method check (7.4, step 3, and 7.5), and tensor_content (7.4, step 9)


@pytest.fixture(scope="module")
def checking(models: Models, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stub]:
    """A server with --enable_signature_method_name_check and --enable_serialization_as_tensor_content."""
    root = tmp_path_factory.mktemp("checked")
    saved_models.defaults(root / "odd" / "1", method="odd")
    example_models.tf2(root / "tf2" / "1")
    paths = {"odd": root / "odd", "tf2": root / "tf2", "tf1": models.path("half_plus_two_tf1")}
    flags = {"enable_signature_method_name_check": True, "enable_serialization_as_tensor_content": True}
    with (
        tfs_notebook.serve(config=config_text({**paths, "dtypes": models.path("dtypes")}), **flags, **ANY) as server,
        grpc.insecure_channel(server.grpc_target) as channel,
    ):
        assert server.problems == []
        yield Stub(channel)


def test_methods_are_checked_when_asked_for(checking: Stub) -> None:
    assert refusal(lambda: checking.Predict(predict_request("odd", {"offset": floats(1)}))) == (
        "INTERNAL",
        (
            "Expected prediction signature method_name to be one of {tensorflow/serving/predict, "
            "tensorflow/serving/classify, tensorflow/serving/regress}. Was: tensorflow/serving/odd"
        ),
    )
    for call, name, verb in (
        (lambda: checking.Classify(classification("tf2", example(), signature="regress")), "classification", CLASSIFY),
        (lambda: checking.Regress(regression("tf2", example(), signature="regress")), "regression", REGRESS),
    ):
        assert refusal(call) == (
            "INVALID_ARGUMENT",
            f"Expected {name} signature method_name to be {verb}. Was: tensorflow/serving/predict",
        )
    reply = checking.Regress(regression("tf1", example(x=2.0), signature="regress_x_to_y"))
    assert [item.value for item in reply.result.regressions] == [3.0]


def test_numbers_are_in_tensor_content_when_asked_for(checking: Stub) -> None:
    y = checking.Predict(predict_request("tf1", {"x": floats([1], [2])})).outputs["y"]
    assert (y.tensor_content, len(y.float_val)) == (floats(2.5, 3).tobytes(), 0)
    y = checking.Predict(predict_request("dtypes", {"x": ["a"]}, "string")).outputs["y"]
    assert (y.tensor_content, list(y.string_val)) == (b"", [b"a!"])
