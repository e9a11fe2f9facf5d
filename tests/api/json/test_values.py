"""JSON values to arrays, dtype by dtype: what is taken, with which bits, and what is refused."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from tfs_notebook.api.json.codec import parse_predict
from tfs_notebook.engine.models.signature import Signature, TensorSpec
from tfs_notebook.errors import Code, ServingError

DTYPES = {
    "float": np.float32,
    "double": np.float64,
    "half": np.float16,
    "bfloat16": ml_dtypes.bfloat16,
    "int8": np.int8,
    "int16": np.int16,
    "int32": np.int32,
    "int64": np.int64,
    "uint8": np.uint8,
    "uint16": np.uint16,
    "uint32": np.uint32,
    "uint64": np.uint64,
    "bool": np.bool_,
    "string": np.object_,
}

TAKEN = [
    ("float", "0.1", np.float32(0.1)),
    ("float", "7", 7.0),
    ("float", "1e39", np.inf),
    ("float", "-1e39", -np.inf),
    ("float", "1e-60", 0.0),
    ("float", "-1e-60", -0.0),
    ("float", "-0", 0.0),
    ("float", "-0.0", -0.0),
    ("float", "16777217", 16777216.0),
    ("float", "18446744073709551616", 2.0**64),
    ("float", "NaN", np.nan),
    ("float", "-Infinity", -np.inf),
    ("double", "0.1", 0.1),
    ("double", "10e308", np.inf),
    ("double", "1e-400", 0.0),
    ("double", "Inf", np.inf),
    ("half", "0.1", np.float16(0.1)),
    ("half", "70000", np.inf),
    ("bfloat16", "0.1", ml_dtypes.bfloat16(0.1)),
    ("int8", "300", 44),
    ("int16", "-40000", 25536),
    ("uint8", "-1", 255),
    ("uint16", "65537", 1),
    ("int32", "-2147483648", -(2**31)),
    ("int64", "9223372036854775807", 2**63 - 1),
    ("uint32", "4294967295", 2**32 - 1),
    ("uint32", "-0", 0),
    ("uint64", "18446744073709551615", 2**64 - 1),
    ("bool", "true", True),
    ("bool", "false", False),
    ("string", '"text"', b"text"),
    ("string", '"\\u00e9\\u0000"', b"\xc3\xa9\x00"),
    ("string", '{"b64": "aGk="}', b"hi"),
]

REFUSED = [
    ("float", '"1"', '"1"', "String"),
    ("float", "true", "true", "True"),
    ("float", "null", "null", "Null"),
    ("float", '{"b64": "aGk="}', '{\n    "b64": "aGk="\n}', "Object"),
    ("double", "false", "false", "False"),
    ("half", '"1"', '"1"', "String"),
    ("int32", "1.0", "1.0", "Number"),
    ("int32", "1e2", "100.0", "Number"),
    ("int32", "2147483648", "2147483648", "Number"),
    ("int32", "-2147483649", "-2147483649", "Number"),
    ("int32", "NaN", "", "Number"),
    ("uint8", "2147483648", "2147483648", "Number"),
    ("uint16", "1.5", "1.5", "Number"),
    ("int64", "9223372036854775808", "9223372036854775808", "Number"),
    ("int64", "-9223372036854775809", "-9223372036854776000.0", "Number"),
    ("uint32", "-1", "-1", "Number"),
    ("uint32", "4294967296", "4294967296", "Number"),
    ("uint64", "-1", "-1", "Number"),
    ("uint64", "18446744073709551616", "18446744073709552000.0", "Number"),
    ("bool", "1", "1", "Number"),
    ("bool", "{}", "{}", "Object"),
    ("string", "1", "1", "Number"),
    ("string", "null", "null", "Null"),
]

BASE64 = [
    ("", b""),
    ("aGk=", b"hi"),
    ("aGk", b"hi"),
    ("aA==", b"h"),
    ("aA", b"h"),
    ("aB", b"h"),
    ("a G\\tk\\n=", b"hi"),
    ("+/+/", b"\xfb\xff\xbf"),
]


def convert(dtype: str, value: str) -> np.ndarray:
    spec = TensorSpec("x", dtype, None, np.dtype(DTYPES.get(dtype, dtype)))
    return parse_predict(b'{"inputs": [%b]}' % value.encode()).tensors(Signature("s", {"x": spec}, {}))["x"]


@pytest.mark.parametrize(("dtype", "value", "expected"), TAKEN)
def test_taken(dtype: str, value: str, expected: object) -> None:
    array = convert(dtype, value)
    assert (array.shape, array.dtype) == ((1,), np.dtype(DTYPES[dtype]))
    wanted = np.array([expected], DTYPES[dtype])
    np.testing.assert_array_equal(array, wanted)
    if array.dtype.kind == "f":
        np.testing.assert_array_equal(np.signbit(array), np.signbit(wanted))


@pytest.mark.parametrize(("dtype", "value", "printed", "kind"), REFUSED)
def test_wrong_types(dtype: str, value: str, printed: str, kind: str) -> None:
    with pytest.raises(ServingError) as caught:
        convert(dtype, value)
    assert caught.value.code is Code.INVALID_ARGUMENT
    assert caught.value.message == f"JSON Value: {printed} Type: {kind} is not of expected type: {dtype}"
    assert caught.value.where == "inputs[0]"


@pytest.mark.parametrize(("encoded", "decoded"), BASE64)
def test_base64_with_or_without_padding(encoded: str, decoded: bytes) -> None:
    assert convert("string", f'{{"b64": "{encoded}"}}').tolist() == [decoded]


@pytest.mark.parametrize("encoded", ["a", "aGk==", "aGkx=", "a-_a", "aG=k", "*", "aaaaa"])
def test_broken_base64(encoded: str) -> None:
    with pytest.raises(ServingError) as caught:
        convert("string", f'{{"b64": "{encoded}"}}')
    assert caught.value.message == "Unable to base64 decode"


@pytest.mark.parametrize("value", ['{"b64": 1}', '{"b64": "aA", "c": 1}', '{"B64": "aA"}', "{}"])
def test_objects_that_are_no_binary_strings(value: str) -> None:
    with pytest.raises(ServingError) as caught:
        convert("string", value)
    assert caught.value.message.startswith("JSON Value: {")
    assert caught.value.message.endswith(" not formatted correctly for base64 data")


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_dtypes_that_json_cannot_carry(dtype: str) -> None:
    with pytest.raises(ServingError) as caught:
        convert(dtype, "1")
    assert caught.value.code is Code.UNIMPLEMENTED
    assert caught.value.message == f"Conversion of JSON Value: 1 to type: {dtype}"


def test_arrays_of_numbers_are_writable() -> None:
    for dtype in ("float", "double", "int32", "int64"):
        assert convert(dtype, "1").flags.writeable
