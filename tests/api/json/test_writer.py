"""Replies: row and columnar form, dtype by dtype, and what cannot be written."""

from __future__ import annotations

import json
import math

import ml_dtypes
import numpy as np
import pytest

from tfs_notebook.api.json.codec import encode_predict
from tfs_notebook.api.json.writer import encode_classes, encode_values
from tfs_notebook.errors import Code, ServingError

A = np.array([[1, 2], [3, 4]], np.float32)
S = np.array([b"hi", b"\xc3\xa9"], object)


def row(**outputs: np.ndarray) -> bytes:
    return encode_predict(outputs, row_format=True)


def columns(**outputs: np.ndarray) -> bytes:
    return encode_predict(outputs, row_format=False)


def objects(*values: bytes) -> np.ndarray:
    return np.array(values, object)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (row(y=np.array([2.5, 3, 4.5], np.float32)), {"predictions": [2.5, 3.0, 4.5]}),
        (row(y=A), {"predictions": [[1.0, 2.0], [3.0, 4.0]]}),
        (
            row(a=np.array([1, 2], "f4"), b=A),
            {"predictions": [{"a": 1.0, "b": [1.0, 2.0]}, {"a": 2.0, "b": [3.0, 4.0]}]},
        ),
        (row(y=np.empty((0, 3), np.float32)), {"predictions": []}),
        (row(y=np.empty((2, 0), np.float32)), {"predictions": [[], []]}),
        (row(a=np.empty(0, np.int32), b=np.empty((0, 2))), {"predictions": []}),
        (row(y_bytes=S), {"predictions": [{"b64": "aGk="}, {"b64": "w6k="}]}),
        (row(y=S), {"predictions": ["hi", "é"]}),
        (row(y=S.reshape(1, 2)), {"predictions": [["hi", "é"]]}),
        (row(a=np.array([1, 2]), s=S), {"predictions": [{"a": 1, "s": "hi"}, {"a": 2, "s": "é"}]}),
        (columns(y=np.array([3.5, 4], np.float64)), {"outputs": [3.5, 4.0]}),
        (columns(y=np.array(7, np.float32)), {"outputs": 7.0}),
        (columns(a=A, s=np.array(7, np.float32)), {"outputs": {"a": [[1.0, 2.0], [3.0, 4.0]], "s": 7.0}}),
        (
            columns(a=A, s_bytes=objects(b"hi")),
            {"outputs": {"a": [[1.0, 2.0], [3.0, 4.0]], "s_bytes": [{"b64": "aGk="}]}},
        ),
        (columns(y=np.array(b"hi", object)), {"outputs": "hi"}),
        (columns(y=np.empty((0,), np.float32)), {"outputs": []}),
        (columns(y=np.empty((2, 0), object)), {"outputs": [[], []]}),
    ],
)
def test_request_form_decides_reply_form(body: bytes, expected: object) -> None:
    assert json.loads(body) == expected


@pytest.mark.parametrize(
    ("dtype", "values"),
    [
        ("bool", [True, False]),
        ("int8", [-128, 127]),
        ("uint8", [0, 255]),
        ("int16", [-32768, 32767]),
        ("uint16", [0, 65535]),
        ("int32", [-(2**31), 2**31 - 1]),
        ("uint32", [0, 2**32 - 1]),
        ("int64", [-(2**63), 2**63 - 1]),
        ("uint64", [0, 2**64 - 1]),
        ("float16", [0.5, -2.0]),
        ("bfloat16", [0.5, -2.0]),
    ],
)
def test_dtypes(dtype: str, values: list[object]) -> None:
    kind = ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype
    written = json.loads(row(y=np.array(values, kind)))["predictions"]
    assert written == values
    assert {type(value) for value in written} == {type(value) for value in values}


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_floats_round_trip_in_their_own_precision_and_stay_floats(dtype: str) -> None:
    bits = np.random.default_rng(0).bytes(8 * 20_000)
    values = np.frombuffer(bits, dtype)
    values = np.concatenate([values[np.isfinite(values)], np.array([5, 0.1, 1 / 3, 1e4, -0.0, 2048], dtype)])
    written = json.loads(row(y=values))["predictions"]
    assert {type(value) for value in written} == {float}
    read = np.array(written, np.float64).astype(dtype)
    assert read.tobytes() == values.tobytes()


def test_float32_has_no_noise_digits() -> None:
    assert row(y=np.array([0.1, 5, 1 / 3], np.float32)) == b'{"predictions":[0.1,5.0,0.33333334]}'


def test_non_finite_numbers_are_bare_words() -> None:
    values = np.array([[np.nan, 1.5], [np.inf, -np.inf]], np.float32)
    assert row(y=values) == b'{"predictions":[[NaN,1.5],[Infinity,-Infinity]]}'
    assert columns(y=values.astype(np.float16)) == b'{"outputs":[[NaN,1.5],[Infinity,-Infinity]]}'
    assert columns(y=np.array(np.nan)) == b'{"outputs":NaN}'
    assert row(a=values, null=values[:, 0]) == (
        b'{"predictions":[{"a":[NaN,1.5],"null":NaN},{"a":[Infinity,-Infinity],"null":Infinity}]}'
    )
    assert math.isnan(json.loads(row(y=values))["predictions"][0][0])


def test_strings_keep_their_bytes() -> None:
    assert columns(y=objects(b'\xff"\\\n\x01/\x7f')) == b'{"outputs":["\xff\\"\\\\\\n\\u0001/\x7f"]}'


def test_alias_ending_in_bytes_matters_for_strings_only() -> None:
    assert columns(y_bytes=np.array([1, 2])) == b'{"outputs":[1,2]}'


def test_layout_in_memory_does_not_matter() -> None:
    assert json.loads(row(y=A.T)) == {"predictions": [[1.0, 3.0], [2.0, 4.0]]}
    assert json.loads(row(y=A.astype(">f4"))) == {"predictions": [[1.0, 2.0], [3.0, 4.0]]}
    assert json.loads(row(y=A[:, 1])) == {"predictions": [2.0, 4.0]}


@pytest.mark.parametrize(
    ("outputs", "row_format", "message"),
    [
        ({}, True, "Cannot convert empty tensor map to JSON"),
        ({}, False, "Cannot convert empty tensor map to JSON"),
        ({"y": np.array(1.0)}, True, "Tensor name: y has no shape information "),
        ({"a": A, "b": A[:1]}, True, "Tensor name: b has inconsistent batch size: 1 expecting: 2"),
        ({"y": np.array([1j], np.complex64)}, True, "Failed to write JSON value for tensor type: complex64"),
        ({"y": np.array(1j)}, False, "Failed to write JSON value for tensor type: complex128"),
    ],
)
def test_what_cannot_be_written(outputs: dict[str, np.ndarray], row_format: bool, message: str) -> None:
    with pytest.raises(ServingError) as caught:
        encode_predict(outputs, row_format=row_format)
    assert (caught.value.code, caught.value.message) == (Code.INVALID_ARGUMENT, message)


def test_outputs_of_unequal_batch_are_fine_in_columnar_form() -> None:
    assert json.loads(columns(a=A, b=A[:1])) == {"outputs": {"a": A.tolist(), "b": A[:1].tolist()}}


# Classify and regress


def test_classes_are_pairs_and_values_are_numbers() -> None:
    labels = np.array([[b"a", b'"'], [b"\xff", b""]], object)
    scores = np.array([[0.1, math.nan], [-math.inf, 1]], np.float32)
    assert encode_classes(labels, scores) == b'{"results":[[["a",0.1],["\\"",NaN]],[["\xff",-Infinity],["",1.0]]]}'
    assert encode_values(np.array([0.1, math.inf, 1, math.nan], np.float32)) == b'{"results":[0.1,Infinity,1.0,NaN]}'


def test_examples_without_classes() -> None:
    assert encode_classes(np.empty((2, 0), object), np.empty((2, 0), np.float32)) == b'{"results":[[],[]]}'
