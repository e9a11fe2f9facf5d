from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from tfs_notebook.api.inputs import as_inputs
from tfs_notebook.engine.models.signature import Signature, TensorSpec
from tfs_notebook.errors import Code, ServingError

DTYPES: dict[str, Any] = {
    "float": np.float32, "double": np.float64, "half": np.float16, "bfloat16": ml_dtypes.bfloat16, "int32": np.int32,
    "int64": np.int64, "uint8": np.uint8, "bool": np.bool_, "complex64": np.complex64, "string": object,
}  # fmt: skip


def signature(*dtypes: str) -> Signature:
    specs = {name: TensorSpec(f"{name}:0", name, (None,), np.dtype(DTYPES[name])) for name in dtypes}
    return Signature("serving_default", specs, {})


def convert(value: Any, dtype: str) -> np.ndarray:
    array = as_inputs(value, signature(dtype))[dtype]
    assert array.dtype == DTYPES[dtype]
    return array


@pytest.mark.parametrize(
    ("value", "dtype", "expected"),
    [
        ([1, 2.5], "float", [1.0, 2.5]),
        ([1, 2], "half", [1.0, 2.0]),
        (np.array([1, 2], ml_dtypes.bfloat16), "float", [1.0, 2.0]),
        (np.float64(3), "bfloat16", 3.0),
        ([[1], [2]], "int32", [[1], [2]]),
        (np.array([1, 255], np.int64), "uint8", [1, 255]),
        ([True, False], "bool", [True, False]),
        ([1, 1j], "complex64", [1, 1j]),
        ([], "int32", []),
        ([], "bool", []),
        (np.zeros((0, 3)), "int64", []),
        (["é", b"b"], "string", ["é".encode(), b"b"]),
        ([b"a\x00\x00", b""], "string", [b"a\x00\x00", b""]),
        ("one", "string", b"one"),
        (np.array(["a", "b"]), "string", [b"a", b"b"]),
        ([["a"], ["b"]], "string", [[b"a"], [b"b"]]),
    ],
)
def test_what_people_write(value: Any, dtype: str, expected: Any) -> None:
    assert convert(value, dtype).tolist() == expected


def test_an_array_of_the_right_dtype_is_not_copied() -> None:
    array = np.ones(3, np.float32)
    assert convert(array, "float") is array


@pytest.mark.parametrize(
    ("value", "dtype", "message", "where"),
    [
        ([1.5], "int32", "int32 takes int32[?], not float64", "int32"),
        ([1], "bool", "bool takes bool[?], not int64", "bool"),
        ([True], "float", "float takes float[?], not bool", "float"),
        (["1"], "float", "float takes float[?], not text", "float"),
        ([None], "float", "float takes float[?], not Python objects", "float"),
        ([1, 1j], "float", "float takes float[?], not complex128", "float"),
        ([[1, 256]], "uint8", "uint8 takes uint8[?], which 256 does not fit into", "uint8[0][1]"),
        ([2**31], "int32", "int32 takes int32[?], which 2147483648 does not fit into", "int32[0]"),
        (["a", 1], "string", "string takes strings, not int", "string[1]"),
        ([["a"], ["b", "c"]], "string", "string takes strings, not list", "string[0]"),
    ],
)
def test_what_does_not_fit_is_named_with_its_place(value: Any, dtype: str, message: str, where: str) -> None:
    with pytest.raises(ServingError) as caught:
        convert(value, dtype)
    assert (caught.value.code, caught.value.message, caught.value.where) == (Code.INVALID_ARGUMENT, message, where)


def test_ragged_lists() -> None:
    with pytest.raises(ServingError, match="float is ragged: "):
        convert([[1], [2, 3]], "float")


def test_several_inputs_go_by_name() -> None:
    inputs = as_inputs({"float": [1], "int32": [2]}, signature("float", "int32"))
    assert {alias: array.tolist() for alias, array in inputs.items()} == {"float": [1.0], "int32": [2]}
    with pytest.raises(ServingError, match="serving_default has the inputs float, int32: pass a mapping by name"):
        as_inputs([1], signature("float", "int32"))
    with pytest.raises(ServingError, match="serving_default has the inputs none"):
        as_inputs([1], signature())


def test_a_name_that_the_signature_lacks_is_left_to_the_call() -> None:
    assert as_inputs({"other": [1]}, signature("float"))["other"].tolist() == [1]
