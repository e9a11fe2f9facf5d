"""gRPC with unmodified tensorflow-serving-api stubs, as TensorFlow Serving answers."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

import grpc
import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow.core.framework.tensor_pb2 import TensorProto
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)
from tensorflow_serving.config import model_server_config_pb2

import tfs_notebook
from tests.support import saved_models
from tests.support.serving import ALL, PATIENCE, ask, config_text, label, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.conftest import Models
    from tfs_notebook.server.server import Server

SHARED = ("cnn", "multi", "vocabulary", "dtypes", "raising", "slow", "aliased")
Stub = prediction_service_pb2_grpc.PredictionServiceStub
ModelStub = model_service_pb2_grpc.ModelServiceStub


@pytest.fixture(scope="module")
def server(models: Models, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serves the shared models, and `hpt` with the versions 1 (x/2 + 2, stable) and 2 (3x, canary)."""
    hpt = tmp_path_factory.mktemp("hpt")
    saved_models.half_plus_two(hpt / "1")
    saved_models.half_plus_two(hpt / "2", scale=3, offset=0)
    paths = {"hpt": hpt, **{name: models.path(name) for name in SHARED}}
    text = config_text(paths, {"hpt": ALL + label("stable", 1) + label("canary", 2)})
    with tfs_notebook.serve(config=text, rest_api_port=0, port=0) as server:
        assert server.problems == []
        yield server


@pytest.fixture(scope="module")
def channel(server: Server) -> Iterator[grpc.Channel]:
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(server.grpc_target, options) as channel:
        yield channel


@pytest.fixture(scope="module")
def stub(channel: grpc.Channel) -> Stub:
    return Stub(channel)


@pytest.fixture(scope="module")
def model_stub(channel: grpc.Channel) -> ModelStub:
    return ModelStub(channel)


def request(model: str, inputs: dict[str, Any], **spec: Any) -> predict_pb2.PredictRequest:
    version = spec.pop("version", None)
    message = predict_pb2.PredictRequest()
    message.model_spec.name = model
    for field, value in spec.items():
        setattr(message.model_spec, field, value)
    if version is not None:
        message.model_spec.version.value = version
    for alias, value in inputs.items():
        proto = value if isinstance(value, TensorProto) else tf.make_tensor_proto(value)
        message.inputs[alias].CopyFrom(proto)
    return message


def floats(*values: float) -> Any:
    return np.array(values, np.float32)


def refusal(call: Callable[[], Any]) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value.code(), caught.value.details()


# Predict


@pytest.mark.parametrize(
    ("spec", "version", "expected"),
    [
        ({}, 2, [3, 6, 15]),
        ({"version": 1}, 1, [2.5, 3, 4.5]),
        ({"version": 2, "signature_name": "serving_default"}, 2, [3, 6, 15]),
        ({"version_label": "stable"}, 1, [2.5, 3, 4.5]),
        ({"version_label": "canary"}, 2, [3, 6, 15]),
    ],
)
def test_predict_tells_the_effective_model_spec(
    stub: Stub, spec: dict[str, Any], version: int, expected: list[float]
) -> None:
    response = stub.Predict(request("hpt", {"x": floats(1, 2, 5)}, **spec), timeout=PATIENCE)
    wanted = predict_pb2.PredictResponse()
    wanted.model_spec.name = "hpt"
    wanted.model_spec.version.value = version
    wanted.model_spec.signature_name = "serving_default"
    wanted.outputs["y"].dtype = tf.float32.as_datatype_enum
    wanted.outputs["y"].tensor_shape.dim.add(size=3)
    wanted.outputs["y"].float_val.extend(expected)  # typed fields, never tensor_content
    assert response == wanted


def test_output_filter(stub: Stub) -> None:
    message = request("multi", {"a": np.ones((1, 2), np.float32), "b": np.array([4], np.int32)})
    assert set(stub.Predict(message).outputs) == {"total", "doubled"}
    message.output_filter.append("doubled")
    response = stub.Predict(message)
    assert set(response.outputs) == {"doubled"}
    assert list(response.outputs["doubled"].int_val) == [8]


ROUND_TRIPS = {
    "half": (np.float16, [0.5, -2, 60000], "half_val"),
    "bfloat16": (ml_dtypes.bfloat16, [0.5, -2, 1e30], "half_val"),
    "float": (np.float32, [0.5, -2, 1e30], "float_val"),
    "double": (np.float64, [0.5, -2, 1e300], "double_val"),
    "int8": (np.int8, [-128, 0, 100], "int_val"),
    "int16": (np.int16, [-32768, 0, 100], "int_val"),
    "int32": (np.int32, [-(2**31), 0, 100], "int_val"),
    "int64": (np.int64, [-(2**63), 0, 100], "int64_val"),
    "uint8": (np.uint8, [0, 200, 254], "int_val"),
    "uint16": (np.uint16, [0, 200, 65534], "int_val"),
    "uint32": (np.uint32, [0, 200, 2**32 - 2], "uint32_val"),
    "uint64": (np.uint64, [0, 200, 2**64 - 2], "uint64_val"),
    "bool": (np.bool_, [True, False, True], "bool_val"),
    "string": (object, [b"", b"a\x00\xff\x00", "é".encode()], "string_val"),
}


def typed(array: np.ndarray, field: str) -> Any:
    """`array` as a TensorProto with the typed field, where `make_tensor_proto` prefers tensor_content."""
    proto = tf.make_tensor_proto(array[:0], tf.string if array.dtype == object else None)
    del proto.tensor_shape.dim[:]
    proto.tensor_shape.dim.add(size=len(array))
    values = array.view(np.uint16) if field == "half_val" else array
    getattr(proto, field).extend(values.tolist())
    return proto


@pytest.mark.parametrize("content", [False, True], ids=["typed", "tensor_content"])
@pytest.mark.parametrize("name", ROUND_TRIPS)
def test_every_dtype_there_and_back(stub: Stub, name: str, content: bool) -> None:
    dtype, values, field = ROUND_TRIPS[name]
    array = np.array(values, dtype)
    proto = typed(array, field)
    if content:
        proto.ClearField(field)
        lengths = b"\x00\x04\x02"  # a string tensor's content begins with them
        proto.tensor_content = lengths + b"".join(values) if name == "string" else array.tobytes()
    output = stub.Predict(request("dtypes", {"x": proto}, signature_name=name)).outputs["y"]
    assert len(getattr(output, field)) == 3
    assert not output.tensor_content
    assert output.dtype == proto.dtype
    expected = {"bool": ~array if name == "bool" else None, "string": array + b"!" if name == "string" else None}
    wanted = expected.get(name, None if name in expected else array + np.ones((), dtype))
    np.testing.assert_array_equal(tf.make_ndarray(output), wanted)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("dtype: DT_FLOAT tensor_shape { dim { size: 3 } } float_val: 1 float_val: 2", [2.5, 3, 3]),
        ("dtype: DT_FLOAT tensor_shape { dim { size: 2 } }", [2, 2]),
        ("dtype: DT_FLOAT tensor_shape { dim { size: 0 } }", []),
        ("dtype: DT_FLOAT float_val: 1", 2.5),
    ],
)
def test_values_that_are_fewer_than_the_shape(stub: Stub, text: str, expected: Any) -> None:
    proto = text_format.Parse(text, TensorProto())
    output = stub.Predict(request("hpt", {"x": proto}, version=1)).outputs["y"]
    assert tf.make_ndarray(output).tolist() == expected


@pytest.mark.parametrize(
    "text",
    [
        "float_val: 1",
        "dtype: DT_FLOAT tensor_shape { unknown_rank: true } float_val: 1",
        "dtype: DT_FLOAT tensor_shape { dim { size: -1 } } float_val: 1",
        "dtype: DT_FLOAT tensor_shape { dim { size: 2 } } tensor_content: 'abc'",
        "dtype: DT_FLOAT tensor_shape { dim { size: 1000000000000 } } float_val: 1",
        "dtype: DT_QINT8 tensor_shape { dim { size: 1 } }",
        "dtype: DT_STRING tensor_shape { dim { size: 2 } } tensor_content: '\\005\\001ab'",
        "dtype: DT_STRING tensor_shape { dim { size: 2 } } tensor_content: '\\001'",
    ],
)
def test_a_tensor_that_is_none(stub: Stub, text: str) -> None:
    proto = text_format.Parse(text, TensorProto())
    code, message = refusal(lambda: stub.Predict(request("hpt", {"x": proto})))
    assert (code, message) == (grpc.StatusCode.INVALID_ARGUMENT, "tensor parsing error: x")


X = floats(1)


@pytest.mark.parametrize(
    ("message", "code", "text"),
    [
        (predict_pb2.PredictRequest(), "INVALID_ARGUMENT", "Missing ModelSpec"),
        (request("", {"x": X}), "INVALID_ARGUMENT", "ModelSpec has no name specified."),
        (request("nobody", {"x": X}), "NOT_FOUND", "Servable not found for request: Latest(nobody)"),
        (request("hpt", {"x": X}, version=7), "NOT_FOUND", "Servable not found for request: Specific(hpt, 7)"),
        (
            request("hpt", {"x": X}, version_label="none"),
            "INVALID_ARGUMENT",
            "Unrecognized servable version label: none",
        ),
        (
            request("hpt", {"x": X}, signature_name="other"),
            "FAILED_PRECONDITION",
            'Serving signature key "other" not found.',
        ),
        (request("dtypes", {"x": X}), "FAILED_PRECONDITION", 'Serving signature key "serving_default" not found.'),
        (
            request("hpt", {"x": X, "y": X}),
            "INVALID_ARGUMENT",
            (
                "input size does not match signature: 2!=1 len({x,y}) != len({x}). Sent extra: {y}. "
                "Missing but required: {}."
            ),
        ),
        (
            request("hpt", {}),
            "INVALID_ARGUMENT",
            "input size does not match signature: 0!=1 len({}) != len({x}). Sent extra: {}. Missing but required: {x}.",
        ),
        (
            request("hpt", {"z": X}),
            "INVALID_ARGUMENT",
            (
                "Signature input alias: x(feed name: serving_default_x:0) not found in request and no default value "
                "provided. Inputs expected to be in the request {x}, or default input alias set: {}"
            ),
        ),
    ],
)
def test_what_predict_refuses(stub: Stub, message: Any, code: str, text: str) -> None:
    assert refusal(lambda: stub.Predict(message)) == (grpc.StatusCode[code], text)


def test_output_filters_that_are_refused(stub: Stub) -> None:
    message = request("hpt", {"x": X})
    message.output_filter.extend(["y", "y"])
    assert refusal(lambda: stub.Predict(message))[1] == "duplicate output tensor alias: y"
    message.output_filter[1] = "z"
    assert refusal(lambda: stub.Predict(message)) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "output tensor alias not found in signature: z Outputs expected to be in the set {y}.",
    )


def test_errors_of_the_graph(stub: Stub) -> None:
    wrong = request("hpt", {"x": np.array([1], np.int32)})
    assert refusal(lambda: stub.Predict(wrong)) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "Expects arg[0] to be float but int32 is provided",
    )
    code, text = refusal(lambda: stub.Predict(request("raising", {"x": floats(-1)})))
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert "x must not be negative" in text
    assert "{{node " in text


def test_a_long_text_is_cut(stub: Stub) -> None:
    name = "é" * 2000
    code, text = refusal(lambda: stub.Predict(request(name, {"x": X})))
    assert code == grpc.StatusCode.NOT_FOUND
    assert text.endswith("é...TRUNCATED")
    assert 1020 <= len(text.removesuffix("...TRUNCATED").encode()) <= 1024


def test_a_request_beyond_four_megabytes(stub: Stub) -> None:
    large = np.ones(3 << 20, np.float32)
    response = stub.Predict(request("hpt", {"x": large}, version=1), timeout=PATIENCE)
    assert tf.make_ndarray(response.outputs["y"]).sum() == 2.5 * large.size


def test_a_deadline(stub: Stub) -> None:
    started = time.monotonic()
    code, _ = refusal(lambda: stub.Predict(request("slow", {"seconds": np.float32(30)}), timeout=0.3))
    assert code == grpc.StatusCode.DEADLINE_EXCEEDED
    assert time.monotonic() - started < 5


def test_the_run_ends_with_its_deadline(server: Server, stub: Stub) -> None:
    refusal(lambda: stub.Predict(request("slow", {"seconds": np.float32(30)}), timeout=0.3))
    loaded = server._core.manager.registry.serving["slow"][1]
    until(lambda: loaded._pins == 0, "the run goes on", timeout=PATIENCE)


def test_services_that_are_not_there(channel: grpc.Channel) -> None:
    call = channel.unary_unary("/tensorflow.serving.SessionService/SessionRun")
    assert refusal(lambda: call(b""))[0] == grpc.StatusCode.UNIMPLEMENTED


# Metadata and status


def test_metadata(stub: Stub) -> None:
    message = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    message.model_spec.name = "hpt"
    message.model_spec.version_label = "stable"
    response = stub.GetModelMetadata(message)
    assert response.model_spec.name == "hpt"
    assert response.model_spec.version.value == 1
    assert response.model_spec.signature_name == ""
    packed = response.metadata["signature_def"]
    assert packed.type_url == "type.googleapis.com/tensorflow.serving.SignatureDefMap"
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert packed.Unpack(signatures)
    assert signatures.signature_def["serving_default"].inputs["x"].name == "serving_default_x:0"
    assert "__saved_model_init_op" in signatures.signature_def


@pytest.mark.parametrize(
    ("model", "fields", "code", "text"),
    [
        ("hpt", [], "INVALID_ARGUMENT", "GetModelMetadataRequest must specify at least one metadata_field"),
        ("nobody", ["signature_def", "other"], "INVALID_ARGUMENT", "Metadata field other is not supported"),
        ("nobody", ["signature_def"], "NOT_FOUND", "Servable not found for request: Latest(nobody)"),
        (None, ["signature_def"], "INVALID_ARGUMENT", "Missing ModelSpec"),
    ],
)
def test_what_metadata_refuses(stub: Stub, model: str | None, fields: list[str], code: str, text: str) -> None:
    message = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=fields)
    if model is not None:
        message.model_spec.name = model
    assert refusal(lambda: stub.GetModelMetadata(message)) == (grpc.StatusCode[code], text)


def test_status(model_stub: ModelStub) -> None:
    message = get_model_status_pb2.GetModelStatusRequest()
    message.model_spec.name = "hpt"
    message.model_spec.version_label = "whatever"
    versions = model_stub.GetModelStatus(message).model_version_status
    available = get_model_status_pb2.ModelVersionStatus.AVAILABLE
    assert [(v.version, v.state, v.status.error_code) for v in versions] == [(2, available, 0), (1, available, 0)]
    message.model_spec.version.value = 1
    assert [v.version for v in model_stub.GetModelStatus(message).model_version_status] == [1]


@pytest.mark.parametrize(
    ("spec", "code", "text"),
    [
        (None, "INVALID_ARGUMENT", "Missing ModelSpec"),
        ({"name": "nobody"}, "NOT_FOUND", "Could not find any versions of model nobody"),
        ({"signature_name": "s"}, "NOT_FOUND", "Could not find any versions of model "),
        ({"name": "hpt", "version": {"value": 7}}, "NOT_FOUND", "Could not find version 7 of model hpt"),
    ],
)
def test_what_status_refuses(model_stub: ModelStub, spec: dict[str, Any] | None, code: str, text: str) -> None:
    message = get_model_status_pb2.GetModelStatusRequest(model_spec=spec)
    assert refusal(lambda: model_stub.GetModelStatus(message)) == (grpc.StatusCode[code], text)


# Reload


@pytest.fixture
def reloadable(models: Models, tmp_path: Path) -> Iterator[tuple[Server, ModelStub]]:
    """A server of `a`, and a stub that may change that."""
    with (
        tfs_notebook.serve(config=config_text({"a": models.path("half_plus_two")}), rest_api_port=0, port=0) as server,
        grpc.insecure_channel(server.grpc_target) as channel,
    ):
        yield server, ModelStub(channel)


def reload_request(text: str) -> Any:
    config = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    return model_management_pb2.ReloadConfigRequest(config=config)


def served(server: Server) -> set[str]:
    return {model.name for model in server.status().models if model.config is not None}


def test_reload_replaces_the_whole_configuration(reloadable: tuple[Server, ModelStub], models: Models) -> None:
    server, stub = reloadable
    response = stub.HandleReloadConfigRequest(reload_request(config_text({"b": models.path("cnn")})), timeout=PATIENCE)
    assert response.status.error_code == 0
    assert ask(server, "GET", "/v1/models/b").json["model_version_status"][0]["state"] == "AVAILABLE"
    assert ask(server, "POST", "/v1/models/a:predict", {"instances": [1]}).status == 404
    assert served(server) == {"b"}
    stub.HandleReloadConfigRequest(reload_request("model_config_list {}"), timeout=PATIENCE)
    assert served(server) == set()


@pytest.mark.parametrize(
    ("text", "code", "error"),
    [
        (
            "",
            "INVALID_ARGUMENT",
            (
                "ServerModelConfig type not supported by HandleReloadConfigRequest. "
                "Only ModelConfigList is currently supported"
            ),
        ),
        (
            "model_config_list { config { name: 'b' base_path: 'b' model_platform: 'tensorflow' } }",
            "INVALID_ARGUMENT",
            "Expected model b to have an absolute path or URI; got base_path()=b",
        ),
        (
            "model_config_list { config { name: 'b' base_path: '/b' model_platform: 'caffe' } }",
            "INVALID_ARGUMENT",
            "Model b requests unsupported platform caffe",
        ),
    ],
)
def test_a_bad_reload_changes_nothing(reloadable: tuple[Server, ModelStub], text: str, code: str, error: str) -> None:
    server, stub = reloadable
    outcome = refusal(lambda: stub.HandleReloadConfigRequest(reload_request(text), timeout=PATIENCE))
    assert outcome == (grpc.StatusCode[code], error)
    assert ask(server, "POST", "/v1/models/a:predict", {"instances": [1]}).json == {"predictions": [2.5]}
    assert served(server) == {"a"}


def test_a_reload_that_waits_for_a_version_tells_why_before_the_deadline(
    reloadable: tuple[Server, ModelStub], models: Models, tmp_path: Path
) -> None:
    server, stub = reloadable
    (tmp_path / "b").mkdir()
    text = config_text({"a": models.path("half_plus_two"), "b": tmp_path / "b"})
    code, error = refusal(lambda: stub.HandleReloadConfigRequest(reload_request(text), timeout=2))
    assert code == grpc.StatusCode.UNKNOWN
    assert error.startswith("1 model(s) did not become available: {{{name: b} due to error: NOT_FOUND: No versions of")
    models.copy("half_plus_two", tmp_path / "b")
    until(lambda: ask(server, "POST", "/v1/models/b:predict", {"instances": [1]}).status == 200)


# Who may ask


def test_a_token(models: Models) -> None:
    with (
        tfs_notebook.serve(str(models.path("half_plus_two")), rest_api_port=0, port=0, token="secret") as server,
        grpc.insecure_channel(server.grpc_target) as channel,
    ):
        message = request("model", {"x": X})
        for value in ("secret", "Bearer secret"):
            assert Stub(channel).Predict(message, metadata=[("authorization", value)]).outputs["y"].float_val[0] == 2.5
        unauthenticated = grpc.StatusCode.UNAUTHENTICATED, "Missing or wrong token in the metadata 'authorization'"
        for metadata in ([], [("authorization", "wrong")], [("authorization", "")]):
            assert refusal(lambda m=metadata: Stub(channel).Predict(message, metadata=m)) == unauthenticated
        status = get_model_status_pb2.GetModelStatusRequest(model_spec={"name": "model"})
        assert refusal(lambda: ModelStub(channel).GetModelStatus(status)) == unauthenticated


# The unexpected


@pytest.mark.parametrize(
    ("exception", "code", "text"),
    [
        (MemoryError("1 TiB"), "RESOURCE_EXHAUSTED", "Not enough memory for this request"),
        (ZeroDivisionError("oops"), "INTERNAL", "ZeroDivisionError: oops"),
    ],
)
def test_what_nobody_expected_is_an_answer_too(
    stub: Stub,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    exception: Exception,
    code: str,
    text: str,
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise exception

    monkeypatch.setattr("tfs_notebook.api.inference.Call.predict", fail)
    with caplog.at_level(logging.ERROR, "tfs_notebook"):
        assert refusal(lambda: stub.Predict(request("hpt", {"x": X}), timeout=PATIENCE)) == (
            grpc.StatusCode[code],
            text,
        )
    assert bool(caplog.records) == (code == "INTERNAL")


# The three ways


@pytest.mark.parametrize(
    ("model", "inputs", "spec"),
    [
        ("hpt", {"x": [1.0, 2.5, -7.25]}, {}),
        ("hpt", {"x": [1.0, 2.5]}, {"version": 1}),
        ("multi", {"a": [[1.5, 2.0]], "b": [3]}, {}),
        ("cnn", {"keras_tensor": [[[[0.25]] * 28] * 28]}, {}),
        ("vocabulary", {"words": ["fox", "nobody"]}, {}),
        ("dtypes", {"x": [1, 2**40]}, {"signature_name": "int64"}),
    ],
)
def test_rest_grpc_and_the_local_call_agree(
    server: Server, stub: Stub, model: str, inputs: dict[str, Any], spec: dict[str, Any]
) -> None:
    signature_name = spec.get("signature_name", "serving_default")
    local = server.predict(model, inputs, **spec)
    arrays = {
        alias: np.array(value, np.float32 if isinstance(np.ravel(value)[0], float) else None)
        for alias, value in inputs.items()
    }
    if model == "multi":
        arrays["b"] = arrays["b"].astype(np.int32)
    response = stub.Predict(request(model, arrays, **spec))
    assert response.model_spec.version.value == local.version
    assert {alias: tf.make_ndarray(proto).tolist() for alias, proto in response.outputs.items()} == {
        alias: array.tolist() for alias, array in local.outputs.items()
    }
    path = f"/v1/models/{model}" + (f"/versions/{spec['version']}" if "version" in spec else "")
    reply = ask(server, "POST", f"{path}:predict", {"signature_name": signature_name, "inputs": inputs})
    outputs = reply.json["outputs"]
    for alias, value in (outputs if isinstance(outputs, dict) else {next(iter(local.outputs)): outputs}).items():
        array = local[alias]
        if array.dtype != object:
            np.testing.assert_array_equal(np.array(value, array.dtype), array)


@pytest.mark.parametrize(
    ("model", "spec", "code"),
    [
        ("nobody", {}, "NOT_FOUND"),
        ("hpt", {"version": 7}, "NOT_FOUND"),
        ("hpt", {"version_label": "none"}, "INVALID_ARGUMENT"),
    ],
)
def test_rest_grpc_and_the_local_call_refuse_alike(
    server: Server, stub: Stub, model: str, spec: dict[str, Any], code: str
) -> None:
    grpc_code, text = refusal(lambda: stub.Predict(request(model, {"x": X}, **spec)))
    with pytest.raises(tfs_notebook.ServingError) as caught:
        server.predict(model, [1.0], version=spec.get("version"), label=spec.get("version_label"))
    tail = f"/versions/{spec['version']}" if "version" in spec else ""
    tail = f"/labels/{spec['version_label']}" if "version_label" in spec else tail
    reply = ask(server, "POST", f"/v1/models/{model}{tail}:predict", {"instances": [1.0]})
    assert (grpc_code.name, caught.value.code.name) == (code, code)
    assert text == caught.value.message == reply.error


# What a small message can ask for


def tensor(dtype: str, *sizes: int, **values: Any) -> TensorProto:
    proto = TensorProto(dtype=f"DT_{dtype}", **values)
    for size in sizes:
        proto.tensor_shape.dim.add(size=size)
    return proto


@pytest.mark.parametrize(
    "proto",
    [
        tensor("FLOAT", *[2**62] * 80_000),
        tensor("FLOAT", *[1] * 255),
        tensor("FLOAT", *[1] * 100, float_val=[1.0]),
        tensor("FLOAT", 0, 2**62, 2**62),
        tensor("FLOAT", 2**40),
        tensor("FLOAT", 2**25),
        tensor("STRING", 2**26),
        tensor("STRING", 2**28, string_val=[b"x"]),
        tensor("COMPLEX64", 1, scomplex_val=[1.0, 2.0, 3.0]),
    ],
    ids=[
        "80k-dims",
        "255-dims",
        "100-dims",
        "zero-of-2^62",
        "2^40",
        "128MB",
        "2^26-strings",
        "2^28-strings",
        "half-a-complex",
    ],
)
def test_a_message_of_a_few_bytes_does_not_become_gigabytes_nor_hold_up_others(stub: Stub, proto: TensorProto) -> None:
    started = time.process_time()
    code, details = refusal(lambda: stub.Predict(request("hpt", {"x": proto}), timeout=PATIENCE))
    assert (code, details) == (grpc.StatusCode.INVALID_ARGUMENT, "tensor parsing error: x")
    assert time.process_time() - started < 2.0


@pytest.mark.parametrize("dimensions", [31, 33, 60])
@pytest.mark.parametrize("model", ["hpt", "vocabulary"])
def test_more_dimensions_than_tensorflow_survives(stub: Stub, model: str, dimensions: int) -> None:
    alias = {"hpt": "x", "vocabulary": "words"}[model]
    proto = tensor("STRING", *[1] * dimensions, string_val=[b"x"])
    code, details = refusal(lambda: stub.Predict(request(model, {alias: proto}), timeout=PATIENCE))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "may have at most 30 dimensions" in details


def test_names_are_looked_at_before_values(stub: Stub) -> None:
    broken = tensor("FLOAT", 7, tensor_content=b"x")
    code, details = refusal(lambda: stub.Predict(request("hpt", {"x": floats(1), "y": broken}), timeout=PATIENCE))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert details.startswith("input size does not match signature: 2!=1 len({x,y}) != len({x}). Sent extra: {y}.")
    code, details = refusal(lambda: stub.Predict(request("hpt", {"y": broken}), timeout=PATIENCE))
    assert details.startswith("Signature input alias: x(feed name: ")


def test_reloads_whose_callers_have_gone_hold_up_nobody(models: Models, tmp_path: Path) -> None:
    half = models.path("half_plus_two")
    with (
        tfs_notebook.serve(str(half), model_name="half", rest_api_port=0, port=0, grpc_max_threads=2) as server,
        grpc.insecure_channel(server.grpc_target) as channel,
    ):
        for number in range(6):
            (tmp_path / str(number)).mkdir()
            text = config_text({"half": half, f"empty{number}": tmp_path / str(number)})
            reload = model_management_pb2.ReloadConfigRequest(
                config=text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
            )
            call = ModelStub(channel).HandleReloadConfigRequest.future(reload, timeout=3600)
            until(lambda n=number: f"empty{n}" in server._core.configs)
            call.cancel()
            answer = Stub(channel).Predict(request("half", {"x": floats(1)}), timeout=PATIENCE)
            assert list(answer.outputs["y"].float_val) == [2.5]
