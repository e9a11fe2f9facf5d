"""TensorProto ↔ numpy, held against TensorFlow's own conversion."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework.tensor_pb2 import TensorProto
from tensorflow.core.framework.types_pb2 import DataType
from tensorflow_serving.apis.predict_pb2 import PredictResponse

from tfs_notebook.api.tensor_proto import encode_outputs, from_array, to_array
from tfs_notebook.errors import Code, ServingError

DTYPES = (
    np.float16, ml_dtypes.bfloat16, np.float32, np.float64, np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16,
    np.uint32, np.uint64, np.bool_, np.complex64, np.complex128,
)  # fmt: skip


@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3), (2, 0, 3)], ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: np.dtype(dtype).name)
def test_arrays_become_typed_fields_that_tensorflow_reads(dtype: type, shape: tuple[int, ...]) -> None:
    array = (np.random.default_rng(0).normal(0, 50, shape) + 100).astype(dtype)
    proto = from_array(array)
    assert proto.tensor_content == b""
    assert TensorProto.FromString(proto.SerializeToString()) == proto
    read = tf.make_ndarray(proto)
    assert read.dtype == array.dtype
    np.testing.assert_array_equal(read, array)
    back = to_array("x", proto)
    assert (back.dtype, back.shape) == (array.dtype, array.shape)
    np.testing.assert_array_equal(back, array)


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: np.dtype(dtype).name)
def test_what_tensorflow_writes_is_read(dtype: type) -> None:
    array = np.arange(6).reshape(2, 3).astype(dtype)
    np.testing.assert_array_equal(to_array("x", tf.make_tensor_proto(array)), array)
    assert to_array("x", tf.make_tensor_proto(array[0, 1])).shape == ()


def test_arrays_in_any_memory_order() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3).T
    assert list(from_array(array).float_val) == [0, 3, 1, 4, 2, 5]
    assert list(from_array(array[::-1]).float_val) == [2, 5, 1, 4, 0, 3]


@pytest.mark.parametrize("size", [0, 1, 30, 40, 5000])
def test_outputs_are_the_bytes_of_a_predict_response(size: int) -> None:
    outputs = {
        "probabilities": np.arange(size, dtype=np.float32).reshape(1, size),
        "p" * 200: np.full((size, 1), 1 + 2j),
        "größe": np.arange(size),
        "names": np.array([b"x"] * size, object),
    }
    response = PredictResponse.FromString(encode_outputs(outputs))
    assert {alias: tf.make_ndarray(proto).tolist() for alias, proto in response.outputs.items()} == {
        alias: array.tolist() for alias, array in outputs.items()
    }
    assert not response.HasField("model_spec")
    assert encode_outputs({}) == b""


def test_strings() -> None:
    array = np.array([[b"", b"a\x00\x00"], [b"\xff", b"d"]], object)
    proto = from_array(array)
    assert (proto.dtype, list(proto.string_val)) == (DataType.DT_STRING, [b"", b"a\x00\x00", b"\xff", b"d"])
    assert to_array("x", proto).tolist() == array.tolist()
    assert to_array("x", from_array(np.array(b"one", object))).item() == b"one"


def test_strings_as_tensor_content() -> None:
    long = b"x" * 300
    proto = TensorProto(dtype=DataType.DT_STRING, tensor_content=b"\x00\xac\x02\x01" + long + b"y")
    proto.tensor_shape.dim.add(size=3)
    assert to_array("x", proto).tolist() == [b"", long, b"y"]


@pytest.mark.parametrize(
    ("size", "values", "expected"),
    [(4, [1, 2], [1, 2, 2, 2]), (3, [], [0, 0, 0]), (2, [1, 2, 3], [1, 2]), (0, [], [])],
)
def test_the_last_value_goes_on(size: int, values: list[int], expected: list[int]) -> None:
    proto = TensorProto(dtype=DataType.DT_INT64, int64_val=values)
    proto.tensor_shape.dim.add(size=size)
    assert to_array("x", proto).tolist() == expected
    strings = TensorProto(dtype=DataType.DT_STRING, string_val=[b"%d" % value for value in values])
    strings.tensor_shape.dim.add(size=size)
    assert to_array("x", strings).tolist() == [b"%d" % value if values else b"" for value in expected]


def test_values_too_large_for_the_dtype_wrap() -> None:
    small = TensorProto(dtype=DataType.DT_UINT8, int_val=[-1, 256])
    small.tensor_shape.dim.add(size=2)
    assert to_array("x", small).tolist() == [255, 0]
    half = TensorProto(dtype=DataType.DT_HALF, half_val=[0x3C00 + 0x10000, -0x4400])
    half.tensor_shape.dim.add(size=2)
    assert to_array("x", half).tolist() == [1.0, -1.0]


@pytest.mark.parametrize(
    "proto",
    [
        TensorProto(),
        TensorProto(dtype=DataType.DT_RESOURCE),
        TensorProto(dtype=DataType.DT_FLOAT, tensor_content=b"123"),
        TensorProto(dtype=DataType.DT_FLOAT, tensor_shape={"unknown_rank": True}),
        TensorProto(dtype=DataType.DT_FLOAT, tensor_shape={"dim": [{"size": -1}]}),
        TensorProto(dtype=DataType.DT_FLOAT, tensor_shape={"dim": [{"size": 2**40}, {"size": 2**40}]}),
        TensorProto(dtype=DataType.DT_STRING, tensor_shape={"dim": [{"size": 2**31}]}),
        TensorProto(dtype=DataType.DT_STRING, tensor_content=b"\xff" * 20),
        TensorProto(dtype=DataType.DT_STRING, tensor_content=b"\x05ab"),
    ],
)
def test_what_is_no_tensor(proto: TensorProto) -> None:
    with pytest.raises(ServingError) as caught:
        to_array("alias", proto)
    assert (caught.value.code, caught.value.message) == (Code.INVALID_ARGUMENT, "tensor parsing error: alias")


def test_an_array_that_tensorflow_has_no_dtype_for() -> None:
    with pytest.raises(ServingError, match="TensorFlow has no dtype for numpy's datetime64"):
        from_array(np.array(["2020-01-01"], "datetime64[D]"))
