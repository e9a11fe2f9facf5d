"""Predict bodies: the rules for `instances` and `inputs`, and the words of TensorFlow Serving when they are broken."""

from __future__ import annotations

import base64
import json
import threading
import time

import ml_dtypes
import numpy as np
import pytest

from tfs_notebook.api.json.codec import encode_error, parse_predict, parse_quickly
from tfs_notebook.engine.models.signature import Signature, TensorSpec
from tfs_notebook.errors import Code, ServingError

NUMPY = {"float": "f4", "double": "f8", "half": "f2", "bfloat16": ml_dtypes.bfloat16, "string": "O"}


def signature(**inputs: str) -> Signature:
    specs = {}
    for alias, dtype in inputs.items():
        specs[alias] = TensorSpec(alias, dtype, None, np.dtype(NUMPY.get(dtype, dtype)))
    return Signature("serving_default", specs, {})


FLOAT = signature(x="float")
INT = signature(x="int32")
STRING = signature(x="string")
TWO = signature(age="float", name="string")
ROW = "Failed to process element: {} of 'instances' list. Error: INVALID_ARGUMENT: {}"
NAMED = "Failed to process element: {} key: {} of 'instances' list. Error: INVALID_ARGUMENT: {}"


def refusal(body: bytes, wanted: Signature = FLOAT) -> ServingError:
    with pytest.raises(ServingError) as caught:
        parse_predict(body).tensors(wanted)
    return caught.value


def doc(body: bytes) -> str:
    """A small document as it stands behind "JSON Value: "."""
    text = json.dumps(json.loads(body), indent=4)
    assert "[\n" not in text
    return text


# -- what can be said before the signature is known -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "JSON Parse error: The document is empty"),
        (b'{"instances": [1,]}', "JSON Parse error: Invalid value. at offset: 17"),
        (b"[1, 2.5, [3]]", "JSON Value: [1, 2.5, [3]] Is not object"),
        (b'"text"', 'JSON Value: "text" Is not object'),
        (
            b'{"signature_name": 5}',
            (
                'JSON Value: {\n    "signature_name": 5\n} not formatted correctly.'
                " 'signature_name' key must be a string value."
            ),
        ),
    ],
)
def test_refused_before_the_signature_is_known(body: bytes, message: str) -> None:
    with pytest.raises(ServingError) as caught:
        parse_predict(body)
    assert (caught.value.code, caught.value.message) == (Code.INVALID_ARGUMENT, message)


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (b'{"instances": [1]}', ""),
        (b'{"signature_name": "", "instances": [1]}', ""),
        (b'{"signature_name": "sum", "instances": [1]}', "sum"),
        (b'{"instances": [1], "signature_name": "sum"}', "sum"),
        (b'{"signature_name": "first", "instances": [1], "signature_name": "last"}', "first"),
        (b'{"signature_name": "first", "signature\\u005fname": "last"}', "first"),
        (b'{"signature_name": "gr\\u00f6\xc3\x9fe", "inputs": "x"}', "größe"),
    ],
)
def test_signature_name(body: bytes, name: str) -> None:
    assert parse_predict(body).signature_name == name


# -- the top-level rules ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "printed"), [(b"", "DEFAULT"), (b"sum", "sum")])
def test_a_signature_without_inputs(name: bytes, printed: str) -> None:
    error = refusal(b'{"signature_name": "%b", "instances": [1]}' % name, signature())
    assert error.message == f"Failed to get input map for signature: {printed}"


BOTH = "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist "


@pytest.mark.parametrize(
    ("body", "reason", "where"),
    [
        (b'{"instances": 1, "inputs": 2}', BOTH, "inputs"),
        (b'{"instances": {"x": 1}}', "Expecting 'instances' to be an list/array", "instances"),
        (b'{"instances": 7}', "Expecting 'instances' to be an list/array", "instances"),
    ],
)
def test_top_level_rules(body: bytes, reason: str, where: str) -> None:
    error = refusal(body)
    assert (error.message, error.where) == (f"JSON Value: {doc(body)} {reason}", where)


def test_no_instances() -> None:
    error = refusal(b'{"instances": []}')
    assert error.message == "JSON Value: {\n    \"instances\": []\n} No values in 'instances' array"


def test_neither_key() -> None:
    assert refusal(b'{"foo": 1}').message == "Missing 'inputs' or 'instances' key"


def test_the_first_of_two_equal_keys_counts() -> None:
    assert parse_predict(b'{"instances": [1], "instances": [2, 3]}').tensors(FLOAT)["x"].tolist() == [1]


def test_what_stands_beside_or_behind_is_ignored() -> None:
    body = b'\xef\xbb\xbf {"id": {"a": [1, "x"]}, "instances": [1, 2]} trailing'
    assert parse_predict(body).tensors(FLOAT)["x"].tolist() == [1, 2]


def test_depth_in_an_ignored_key_is_no_limit() -> None:
    body = b'{"foo":' + b"[" * 500_000 + b"]" * 500_000 + b',"instances":[1]}'
    assert parse_predict(body).tensors(FLOAT)["x"].tolist() == [1]


def test_more_dimensions_than_an_array_can_have() -> None:
    error = refusal(b'{"instances":' + b"[" * 50_000 + b"1" + b"]" * 50_000 + b"}")
    assert error.message == "tensor parsing error: x"


# -- row format -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "wanted", "message", "where"),
    [
        (
            b'{"instances": [1, 2]}',
            TWO,
            (
                "instances is a plain list, but expecting list of objects as multiple"
                " input tensors required as per tensorinfo_map"
            ),
            "instances[0]",
        ),
        (
            b'{"instances": [{"x": 1}, [2]]}',
            FLOAT,
            "Expecting object but got list at item 1 of input list",
            "instances[1]",
        ),
        (
            b'{"instances": [{"x": "a"}, {"b64": "YQ"}]}',
            STRING,
            "Expecting object but got list at item 1 of input list",
            "instances[1]",
        ),
        (
            b'{"instances": [1, {"x": 2}]}',
            FLOAT,
            "Expecting value/list but got object at item 1 of input list",
            "instances[1]",
        ),
        (
            b'{"instances": [{"x": 1}, {"y": 1}]}',
            FLOAT,
            NAMED.format(1, "y", "JSON object: does not have named input: y"),
            "instances[1].y",
        ),
        (
            b'{"instances": [{"age": 1}]}',
            TWO,
            (
                "Failed to process element: 0 of 'instances' list. JSON object: {\n    \"age\": 1\n}"
                " keys must be equal to: age,name"
            ),
            "instances[0]",
        ),
        (b'{"instances": [[1, 2], [3]]}', FLOAT, ROW.format(1, "Expecting tensor size: 2 but got: 1"), "instances[1]"),
        (
            b'{"instances": [{"x": [1]}, {"x": [1, 2]}]}',
            FLOAT,
            NAMED.format(1, "x", "Expecting tensor size: 1 but got: 2"),
            "instances[1].x",
        ),
        (
            b'{"instances": [[1, 2], [[3, 4]]]}',
            FLOAT,
            ROW.format(1, "Expecting shape [2] but got: [1,2]"),
            "instances[1]",
        ),
        (
            b'{"instances": [[[1], 2]]}',
            FLOAT,
            ROW.format(0, "JSON Value: 2 found at incorrect level: 2 in the JSON DOM. Expected at level: 2"),
            "instances[0][1]",
        ),
        (
            b'{"instances": [[1, [2]]]}',
            FLOAT,
            ROW.format(0, "Encountered list at unexpected level: 1 expected < 1"),
            "instances[0][1]",
        ),
        (
            b'{"instances": [[[1, 2], [3]]]}',
            FLOAT,
            ROW.format(0, "Encountered list at unexpected size: 1 at level: 1 expected size: 2"),
            "instances[0][1]",
        ),
        (
            b'{"instances": [[0], [0], [0], [["a", true], [1, null]]]}',
            FLOAT,
            ROW.format(3, 'JSON Value: "a" Type: String is not of expected type: float'),
            "instances[3][0][0]",
        ),
        (
            b'{"instances": [{"age": 1, "name": "a"}, {"age": "b", "name": "c"}]}',
            TWO,
            NAMED.format(1, "age", 'JSON Value: "b" Type: String is not of expected type: float'),
            "instances[1].age",
        ),
    ],
)
def test_row_format_rules(body: bytes, wanted: Signature, message: str, where: str) -> None:
    error = refusal(body, wanted)
    assert (error.code, error.message, error.where) == (Code.INVALID_ARGUMENT, message, where)


@pytest.mark.parametrize(
    ("body", "shape"),
    [
        (b'{"instances": [1.0, 2.0, 5.0]}', (3,)),
        (b'{"instances": [[1, 2], [3, 4.5], [5, 6]]}', (3, 2)),
        (b'{"instances": [[[[1], [2]]]]}', (1, 1, 2, 1)),
        (b'{"instances": [[], []]}', (2, 0)),
        (b'{"instances": [[[], []]]}', (1, 2, 0)),
        (b'{"instances": [{"x": 1}, {"x": 2}]}', (2,)),
        (b'{"instances": [{"x": [[1, 2]]}]}', (1, 1, 2)),
    ],
)
def test_rows_are_stacked(body: bytes, shape: tuple[int, ...]) -> None:
    request = parse_predict(body)
    array = request.tensors(FLOAT)["x"]
    assert (array.shape, array.dtype, request.row_format) == (shape, np.float32, True)


def test_rows_of_several_inputs() -> None:
    body = b'{"instances": [{"age": 1, "name": "a"}, {"name": {"b64": "/w"}, "age": 2.5}]}'
    tensors = parse_predict(body).tensors(TWO)
    assert tensors["age"].tolist() == [1, 2.5]
    assert tensors["name"].tolist() == [b"a", b"\xff"]


def test_a_key_twice_in_a_row_adds_values_of_which_the_first_are_used() -> None:
    tensors = parse_predict(b'{"instances": [{"x": 1, "x": 2}, {"x": 3}]}').tensors(FLOAT)
    assert tensors["x"].tolist() == [1, 2]


# -- columnar format --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "wanted", "message", "where"),
    [
        (
            b'{"inputs": [1, 2]}',
            TWO,
            (
                "inputs is a plain value/list, but expecting an object as multiple"
                " input tensors required as per tensorinfo_map"
            ),
            "inputs",
        ),
        (b'{"inputs": {"age": 1}}', TWO, "Missing named input: name in 'inputs' object.", "inputs"),
        (
            b'{"inputs": {"x": [1, 2, 3, 4, true]}}',
            FLOAT,
            "JSON Value: true Type: True is not of expected type: float",
            "inputs.x[4]",
        ),
        (
            b'{"inputs": [[1], []]}',
            FLOAT,
            "Encountered list at unexpected size: 0 at level: 1 expected size: 1",
            "inputs[1]",
        ),
    ],
)
def test_columnar_format_rules(body: bytes, wanted: Signature, message: str, where: str) -> None:
    error = refusal(body, wanted)
    assert (error.code, error.message, error.where) == (Code.INVALID_ARGUMENT, message, where)


@pytest.mark.parametrize(
    ("body", "shape"),
    [
        (b'{"inputs": 5}', ()),
        (b'{"inputs": [5]}', (1,)),
        (b'{"inputs": []}', (0,)),
        (b'{"inputs": [[1, 2], [3, 4]]}', (2, 2)),
        (b'{"inputs": {"x": 5}}', ()),
        (b'{"inputs": {"x": [[1]], "extra": "ignored"}}', (1, 1)),
    ],
)
def test_columns_get_no_batch_dimension(body: bytes, shape: tuple[int, ...]) -> None:
    request = parse_predict(body)
    array = request.tensors(FLOAT)["x"]
    assert (array.shape, array.dtype, request.row_format) == (shape, np.float32, False)


def test_columns_need_not_agree_in_their_first_dimension() -> None:
    tensors = parse_predict(b'{"inputs": {"age": [1, 2, 3], "name": "a"}}').tensors(TWO)
    assert (tensors["age"].shape, tensors["name"].shape, tensors["name"].item()) == ((3,), (), b"a")


def test_an_unsupported_dtype_keeps_its_code_in_columnar_format_only() -> None:
    wanted = signature(x="complex64")
    message = "Conversion of JSON Value: 1 to type: complex64"
    error = refusal(b'{"inputs": [1]}', wanted)
    assert (error.code, error.message) == (Code.UNIMPLEMENTED, message)
    error = refusal(b'{"instances": [1]}', wanted)
    assert error.code is Code.INVALID_ARGUMENT
    assert error.message == f"Failed to process element: 0 of 'instances' list. Error: UNIMPLEMENTED: {message}"


# -- errors on the wire, threads --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "body"),
    [
        ("Servable not found", b'{\n    "error": "Servable not found"\n}'),
        ('a "b" \\ / \n \x01 é', '{\n    "error": "a \\"b\\" \\\\ / \\n \\u0001 é"\n}'.encode()),
    ],
)
def test_error_bodies_are_pretty_printed(message: str, body: bytes) -> None:
    assert encode_error(message) == body


def test_invalid_utf8_comes_back_as_it_was() -> None:
    assert b'"\xff"' in encode_error(refusal(b'{"instances": ["\xff"]}').message).replace(b"\\", b"")


def test_several_threads_read_at_once() -> None:
    bodies = {n: json.dumps({"instances": [[n / 10] * 2000] * 5}).encode() for n in range(8)}
    wrong = []

    def read(n: int) -> None:
        for _ in range(50):
            array = parse_predict(bodies[n]).tensors(FLOAT)["x"]
            if array.shape != (5, 2000) or not (array == np.float32(n / 10)).all():
                wrong.append(n)

    threads = [threading.Thread(target=read, args=(n,)) for n in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_large_binary_string() -> None:
    data = bytes(range(256)) * 1000
    body = json.dumps({"instances": [{"b64": base64.b64encode(data).decode()}]}).encode()
    assert parse_predict(body).tensors(STRING)["x"].tolist() == [data]


@pytest.mark.parametrize("piece", [b"[", b"{},", b'{"":', b'"ab",', b'{"x":1},'])
def test_json_that_would_take_many_times_its_size_is_refused_before_it_is_read(piece: bytes) -> None:
    body = b'{"instances":[' + piece * ((24 << 20) // len(piece))
    started = time.process_time()
    with pytest.raises(ServingError) as refused:
        parse_predict(body, max_bytes=256 << 20)
    assert time.process_time() - started < 1.0
    assert refused.value.code is Code.RESOURCE_EXHAUSTED
    assert "Reading this JSON would take about" in refused.value.message
    assert "256 MiB is the limit" in refused.value.message


def test_numbers_and_long_strings_cost_what_they_are() -> None:
    numbers = b'{"instances":[' + b"1.5," * 4_000_000 + b"1.5]}"
    assert parse_predict(numbers, max_bytes=1).row_format
    image = b'{"instances":[{"b64":"' + b"A" * (24 << 20) + b'"}]}'
    assert parse_predict(image, max_bytes=25 << 20).row_format


def test_only_what_is_quickly_read_is_read_at_once() -> None:
    for body in (b'{"instances":[[1,2],[3,4]]}', b'{"instances":["a"]}', b'{"instances":[' + b"1.5," * 9000 + b"1]}"):
        assert parse_quickly(body) is not None
    assert parse_quickly(b'{"instances":[' + b'"a",' * 9000 + b'"a"]}') is None
    with pytest.raises(ServingError):
        parse_quickly(b'{"instances":')
