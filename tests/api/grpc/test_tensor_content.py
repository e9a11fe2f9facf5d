"""--enable_serialization_as_tensor_content: gRPC Predict answers with bytes of numbers instead of typed fields."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework.tensor_pb2 import TensorProto
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

import tfs_notebook
from tests.support.serving import PATIENCE
from tfs_notebook.api.tensor_proto import encode_outputs, to_array
from tfs_notebook.server import start

if TYPE_CHECKING:
    from tests.conftest import Models
    from tfs_notebook.server.server import Server

DTYPES = (
    np.float16, ml_dtypes.bfloat16, np.float32, np.float64, np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16,
    np.uint32, np.uint64, np.bool_, np.complex64, np.complex128,
)  # fmt: skip
TYPED = [name for name in TensorProto.DESCRIPTOR.fields_by_name if name.endswith("_val")]


def reply_of(outputs: dict[str, Any]) -> dict[str, Any]:
    return dict(predict_pb2.PredictResponse.FromString(encode_outputs(outputs, as_content=True)).outputs)


@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3), (2, 0, 3), (40, 50)], ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: np.dtype(dtype).name)
def test_numbers_become_content_that_tensorflow_reads(dtype: type, shape: tuple[int, ...]) -> None:
    array = (np.random.default_rng(0).normal(0, 50, shape) + 100).astype(dtype)
    proto = reply_of({"y": array})["y"]
    assert proto.tensor_content == array.tobytes()
    assert not any(len(getattr(proto, name)) for name in TYPED)
    read = tf.make_ndarray(proto)
    assert (read.dtype, read.shape) == (array.dtype, array.shape)
    np.testing.assert_array_equal(read, array)
    np.testing.assert_array_equal(to_array("y", proto), array)


def test_strings_stay_typed() -> None:
    protos = reply_of({"s": np.array([[b"a", b"\xff\x00"]], object), "n": np.arange(6, dtype=np.int32).reshape(2, 3).T})
    assert list(protos["s"].string_val) == [b"a", b"\xff\x00"]
    assert protos["s"].tensor_content == b""
    assert tf.make_ndarray(protos["n"]).tolist() == [[0, 3], [1, 4], [2, 5]]


def answer(server: Server, signature_name: str, value: Any) -> Any:
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "model", signature_name
    request.inputs["x"].CopyFrom(tf.make_tensor_proto(value))
    with grpc.insecure_channel(server.grpc_target) as channel:
        reply = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request, timeout=PATIENCE)
    assert (reply.model_spec.name, reply.model_spec.version.value) == ("model", 1)
    return reply.outputs["y"]


def test_a_server_answers_as_asked_for(models: Models) -> None:
    path = str(models.path("dtypes"))
    ports = {"port": 0, "rest_api_port": 0}
    with tfs_notebook.serve(path, enable_serialization_as_tensor_content=True, **ports) as server:
        y = answer(server, "int32", np.array([1, 2], np.int32))
        assert (y.tensor_content, list(y.int_val)) == (np.array([2, 3], np.int32).tobytes(), [])
        assert list(answer(server, "string", [b"a"]).string_val) == [b"a!"]
        start.change(server, path, "", {})
        y = answer(server, "int32", np.array([1, 2], np.int32))
        assert (y.tensor_content, list(y.int_val)) == (b"", [2, 3])
