"""Sections 6.7 to 6.9: the Predict request, binary strings, and the Predict response."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import tfs_notebook
from tests.conformance.calls import ANY, answered, refused
from tests.support import saved_models
from tests.support.serving import ask, config_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Models
    from tfs_notebook.server.server import Server

SHARED = ("multi", "dtypes", "no_input", "scalar_output", "bytes_image", "counter", "any_width")
ITEM = "Failed to process element: {} of 'instances' list. Error: INVALID_ARGUMENT: "


@pytest.fixture(scope="module")
def server(models: Models, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serves the shared models, half_plus_two as TensorFlow 2 (`m`) and as TensorFlow 1 (`tf1`), and `echoes`."""
    echoes = tmp_path_factory.mktemp("echoes")
    saved_models.echoes(echoes / "1")
    paths = {name: models.path(name) for name in SHARED}
    paths |= {"m": models.path("half_plus_two"), "tf1": models.path("half_plus_two_tf1"), "echoes": echoes}
    with tfs_notebook.serve(config=config_text(paths), **ANY) as server:
        assert server.problems == []
        yield server


def predict(server: Server, model: str, body: Any) -> Any:
    return answered(server, f"/v1/models/{model}:predict", body)


def refused_predict(server: Server, model: str, body: Any) -> tuple[int, str]:
    return refused(server, "POST", f"/v1/models/{model}:predict", body)


# 6.7 The request: which keys


DOCUMENT = "JSON Value: {{\n    {}\n}} {}"


@pytest.mark.parametrize(
    ("model", "body", "error"),
    [
        ("m", b"[1, 2]", "JSON Value: [1, 2] Is not object"),
        ("m", b"null", "JSON Value: null Is not object"),
        ("m", b'"x"', 'JSON Value: "x" Is not object'),
        (
            "m",
            {"signature_name": None, "instances": [1]},
            DOCUMENT.format(
                '"signature_name": null,\n    "instances": [1]',
                "not formatted correctly. 'signature_name' key must be a string value.",
            ),
        ),
        ("m", {"signature_name": "a b"}, 'Serving signature name: "a b" not found in signature def'),
        ("dtypes", {"instances": [1]}, 'Serving signature name: "serving_default" not found in signature def'),
        ("no_input", {"signature_name": "constant", "inputs": {}}, "Failed to get input map for signature: constant"),
        ("counter", {"signature_name": "incr", "instances": [1]}, "Failed to get input map for signature: incr"),
        (
            "m",
            {"instances": [1], "inputs": [1]},
            DOCUMENT.format(
                '"instances": [1],\n    "inputs": [1]',
                "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist ",
            ),
        ),
        ("m", {}, "Missing 'inputs' or 'instances' key"),
        ("m", {"Instances": [1]}, "Missing 'inputs' or 'instances' key"),
        ("m", {"instances": 1}, DOCUMENT.format('"instances": 1', "Expecting 'instances' to be an list/array")),
        (
            "m",
            {"instances": {"x": 1}},
            DOCUMENT.format('"instances": {\n        "x": 1\n    }', "Expecting 'instances' to be an list/array"),
        ),
        ("m", {"instances": None}, DOCUMENT.format('"instances": null', "Expecting 'instances' to be an list/array")),
        ("m", {"instances": []}, DOCUMENT.format('"instances": []', "No values in 'instances' array")),
    ],
)
def test_keys_that_are_refused(server: Server, model: str, body: Any, error: str) -> None:
    assert refused_predict(server, model, body) == (400, error)


# 6.7 Row format


@pytest.mark.parametrize(
    ("model", "instances", "predictions"),
    [
        ("m", [1, 2.0, 5e0], [2.5, 3.0, 4.5]),
        ("m", [{"x": 1}, {"x": 2}], [2.5, 3.0]),
        ("m", [[1, 2], [3, 4]], [[2.5, 3.0], [3.5, 4.0]]),  # the declared shape is [?]
        ("m", [[[]]], [[[]]]),
        ("tf1", [1.0, 2.0], [2.5, 3.0]),  # [?, 1] is declared
        ("tf1", [[1.0], [2.0]], [[2.5], [3.0]]),
        ("multi", [{"b": 3, "a": [1, 2]}], [{"total": 3.0, "doubled": 6}]),
    ],
)
def test_rows(server: Server, model: str, instances: Any, predictions: Any) -> None:
    assert predict(server, model, {"instances": instances}) == {"predictions": predictions}


@pytest.mark.parametrize(
    ("model", "instances", "error"),
    [
        (
            "multi",
            [1],
            (
                "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
                "tensorinfo_map"
            ),
        ),
        ("multi", [{"a": [1, 2], "b": 1}, [1]], "Expecting object but got list at item 1 of input list"),
        ("m", [{"x": 1}, 2], "Expecting object but got list at item 1 of input list"),
        ("m", [1, {"x": 1}], "Expecting value/list but got object at item 1 of input list"),
        (
            "m",
            [{"y": 1}],
            (
                "Failed to process element: 0 key: y of 'instances' list. Error: INVALID_ARGUMENT: JSON object: "
                "does not have named input: y"
            ),
        ),
        (
            "multi",
            [{"a": [1, 2], "b": 1}, {"a": [1, 2]}],
            (
                "Failed to process element: 1 of 'instances' list. JSON object: {\n    \"a\": [1, 2]\n} "
                "keys must be equal to: a,b"
            ),
        ),
        ("m", [{}], "Failed to process element: 0 of 'instances' list. JSON object: {} keys must be equal to: x"),
        ("m", [[1, 2], [3]], ITEM.format(1) + "Expecting tensor size: 2 but got: 1"),
        ("m", [[1, 2], [[3, 4]]], ITEM.format(1) + "Expecting shape [2] but got: [1,2]"),
        ("m", [1, [1]], ITEM.format(1) + "Expecting shape [] but got: [1]"),
        (
            "multi",
            [{"a": [1, 2], "b": 1}, {"a": [1], "b": 1}],
            (
                "Failed to process element: 1 key: a of 'instances' list. Error: INVALID_ARGUMENT: Expecting tensor "
                "size: 2 but got: 1"
            ),
        ),
        (
            "multi",
            [{"a": [1, 2], "b": 1.5}],
            (
                "Failed to process element: 0 key: b of 'instances' list. Error: INVALID_ARGUMENT: JSON Value: 1.5 "
                "Type: Number is not of expected type: int32"
            ),
        ),
        ("m", [True], ITEM.format(0) + "JSON Value: true Type: True is not of expected type: float"),
        ("m", [1, None], ITEM.format(1) + "JSON Value: null Type: Null is not of expected type: float"),
        (
            "m",
            [{"b64": "AA=="}],
            ITEM.format(0) + 'JSON Value: {\n    "b64": "AA=="\n} Type: Object is not of expected type: float',
        ),
    ],
)
def test_rows_that_are_refused(server: Server, model: str, instances: Any, error: str) -> None:
    assert refused_predict(server, model, {"instances": instances}) == (400, error)


# 6.7 Columnar format


@pytest.mark.parametrize(
    ("model", "inputs", "outputs"),
    [
        ("m", [1, 2], [2.5, 3.0]),
        ("m", 1, 2.5),
        ("m", [], []),
        ("m", {"x": [1, 2]}, [2.5, 3.0]),
        ("m", {"x": 1, "more": "ignored"}, 2.5),
        ("multi", {"a": [[1, 2]], "b": [1, 2, 3]}, {"total": [3.0], "doubled": [2, 4, 6]}),
        ("multi", {"a": [[1, 2]], "b": 4}, {"total": [3.0], "doubled": 8}),
    ],
)
def test_columns(server: Server, model: str, inputs: Any, outputs: Any) -> None:
    assert predict(server, model, {"inputs": inputs}) == {"outputs": outputs}


@pytest.mark.parametrize(
    ("model", "inputs", "error"),
    [
        (
            "multi",
            [1],
            (
                "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
                "tensorinfo_map"
            ),
        ),
        ("multi", {"a": [[1, 2]]}, "Missing named input: b in 'inputs' object."),
        ("m", {"y": 1}, "Missing named input: x in 'inputs' object."),
        ("m", {}, "Missing named input: x in 'inputs' object."),
        ("m", ["a"], 'JSON Value: "a" Type: String is not of expected type: float'),
        ("m", [[1, 2], 3], "JSON Value: 3 found at incorrect level: 2 in the JSON DOM. Expected at level: 2"),
        ("m", [1, [2]], "Encountered list at unexpected level: 1 expected < 1"),
        ("m", [[1, 2], [3]], "Encountered list at unexpected size: 1 at level: 1 expected size: 2"),
        ("m", [[[1]], [[2, 3]]], "Encountered list at unexpected size: 2 at level: 2 expected size: 1"),
        ("m", {"x": {"y": 1}}, 'JSON Value: {\n    "y": 1\n} Type: Object is not of expected type: float'),
    ],
)
def test_columns_that_are_refused(server: Server, model: str, inputs: Any, error: str) -> None:
    assert refused_predict(server, model, {"inputs": inputs}) == (400, error)


# 6.7 Value conversion


@pytest.mark.parametrize(
    ("dtype", "literal", "value"),
    [
        ("float", "1", 1.0),
        ("float", "0.1", float(np.float32(0.1))),
        ("float", "1e39", math.inf),
        ("float", "-1e39", -math.inf),
        ("float", "1e-50", 0.0),
        ("float", "NaN", math.nan),
        ("float", "-Infinity", -math.inf),
        ("float", "16777217", 16777216.0),
        ("double", "0.1", 0.1),
        ("double", "-Inf", -math.inf),
        ("double", "9007199254740993", 9007199254740992.0),
        ("int32", "-2147483648", -2147483648),
        ("int32", "2147483647", 2147483647),
        ("int16", "65535", -1),  # no range check
        ("int8", "128", -128),
        ("uint8", "-1", 255),
        ("uint8", "256", 0),
        ("int64", "-9223372036854775808", -9223372036854775808),
        ("int64", "9223372036854775807", 9223372036854775807),
        ("uint32", "4294967295", 4294967295),
        ("uint64", "18446744073709551615", 18446744073709551615),
        ("bool", "true", True),
        ("string", '"é\\n"', "é\n"),
        ("string", '{"b64": "w6k="}', "é"),
        ("string", '{"b64": "w6k"}', "é"),
        ("half", "0.5", 0.5),  # TensorFlow Serving refuses these three
        ("bfloat16", "0.5", 0.5),
        ("uint16", "65535", 65535),
    ],
)
def test_values_of_every_dtype(server: Server, dtype: str, literal: str, value: Any) -> None:
    body = f'{{"signature_name": "{dtype}", "inputs": [{literal}]}}'.encode()
    (output,) = predict(server, "echoes", body)["outputs"]
    dtypes = {"float": np.float32, "half": np.float16}
    if isinstance(value, float):
        found, expected = (np.array(x, dtypes.get(dtype, np.float64)) for x in (output, value))
        np.testing.assert_array_equal(found, expected)
        assert math.copysign(1, found) == math.copysign(1, expected) or math.isnan(value)
    else:
        assert (output, type(output)) == (value, type(value))


@pytest.mark.parametrize(
    ("dtype", "literal", "type_word"),
    [
        ("float", '"1"', "String"),
        ("float", "true", "True"),
        ("double", "null", "Null"),
        ("int32", "1.0", "Number"),
        ("int32", "1e2", "Number"),
        ("int32", "2147483648", "Number"),
        ("int8", "2147483648", "Number"),
        ("int16", "0.5", "Number"),
        ("uint8", "false", "False"),
        ("int64", "9223372036854775808", "Number"),
        ("int64", "1.0", "Number"),
        ("uint32", "-1", "Number"),
        ("uint32", "4294967296", "Number"),
        ("uint64", "-1", "Number"),
        ("uint64", "18446744073709551616", "Number"),
        ("bool", "1", "Number"),
        ("bool", '"true"', "String"),
        ("string", "1", "Number"),
        ("string", "null", "Null"),
    ],
)
def test_values_that_are_refused(server: Server, dtype: str, literal: str, type_word: str) -> None:
    printed = {"1e2": "100.0", "18446744073709551616": "18446744073709552000.0"}.get(literal, literal)
    error = f"JSON Value: {printed} Type: {type_word} is not of expected type: {dtype}"
    columns = f'{{"signature_name": "{dtype}", "inputs": [{literal}]}}'.encode()
    assert refused_predict(server, "echoes", columns) == (400, error)
    rows = f'{{"signature_name": "{dtype}", "instances": [{literal}]}}'.encode()
    assert refused_predict(server, "echoes", rows) == (400, ITEM.format(0) + error)


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_dtypes_that_cannot_be_sent(server: Server, dtype: str) -> None:
    error = f"Conversion of JSON Value: 1 to type: {dtype}"
    assert refused_predict(server, "echoes", {"signature_name": dtype, "inputs": [1]}) == (501, error)
    rows = {"signature_name": dtype, "instances": [1]}
    prefix = ITEM.format(0).replace("INVALID_ARGUMENT", "UNIMPLEMENTED")
    assert refused_predict(server, "echoes", rows) == (400, prefix + error)


# 6.8 Binary strings


@pytest.mark.parametrize(
    ("coded", "value"),
    [("", ""), ("aGk=", "hi"), ("aGk", "hi"), ("Pz8/", "???"), ("Pj4+", ">>>")],
)
def test_b64(server: Server, coded: str, value: str) -> None:
    string = {"signature_name": "string"}
    assert predict(server, "echoes", {**string, "inputs": {"b64": coded}}) == {"outputs": value}
    assert predict(server, "echoes", {**string, "inputs": {"x": {"b64": coded}}}) == {"outputs": value}
    assert predict(server, "echoes", {**string, "instances": [{"b64": coded}, "s"]}) == {"predictions": [value, "s"]}
    assert predict(server, "echoes", {**string, "instances": [{"x": {"b64": coded}}]}) == {"predictions": [value]}


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ({"b64": "!"}, "Unable to base64 decode"),
        ({"b64": "aGk=="}, "Unable to base64 decode"),
        ({"b64": 1}, 'JSON Value: {\n    "b64": 1\n} not formatted correctly for base64 data'),
        ({"c": "a"}, 'JSON Value: {\n    "c": "a"\n} not formatted correctly for base64 data'),
        (
            {"b64": "aGk=", "c": 1},
            'JSON Value: {\n    "b64": "aGk=",\n    "c": 1\n} not formatted correctly for base64 data',
        ),
    ],
)
def test_what_is_no_b64(server: Server, value: Any, error: str) -> None:
    body = {"signature_name": "string", "inputs": [value]}
    assert refused_predict(server, "echoes", body) == (400, error)


# 6.9 The response


@pytest.mark.parametrize(
    ("model", "body", "reply"),
    [
        ("scalar_output", {"inputs": [1, 3]}, {"outputs": {"doubled": [2.0, 6.0], "mean": 2.0}}),
        ("bytes_image", {"instances": ["hi"]}, {"predictions": [{"length": 2, "echo_bytes": {"b64": "aGk="}}]}),
        (
            "bytes_image",
            {"inputs": ["hi", ""]},
            {"outputs": {"length": [2, 0], "echo_bytes": [{"b64": "aGk="}, {"b64": ""}]}},
        ),
        ("echoes", {"signature_name": "x_bytes", "inputs": ["a"]}, {"outputs": [{"b64": "YQ=="}]}),
        ("echoes", {"signature_name": "none_of", "instances": [1, 2]}, {"predictions": []}),
        ("echoes", {"signature_name": "none_of", "inputs": [1, 2]}, {"outputs": []}),
    ],
)
def test_replies(server: Server, model: str, body: Any, reply: Any) -> None:
    assert predict(server, model, body) == reply


@pytest.mark.parametrize(
    ("model", "body", "error"),
    [
        ("scalar_output", {"instances": [1, 3]}, "Tensor name: mean has no shape information "),
        ("echoes", {"signature_name": "sum", "instances": [1]}, "Tensor name: y has no shape information "),
        (
            "echoes",
            {"signature_name": "unequal", "instances": [1, 2]},
            "Tensor name: b has inconsistent batch size: 4 expecting: 2",
        ),
        (
            "echoes",
            {"signature_name": "as_complex", "inputs": [1]},
            "Failed to write JSON value for tensor type: complex64",
        ),
    ],
)
def test_replies_that_json_cannot_tell(server: Server, model: str, body: Any, error: str) -> None:
    assert refused_predict(server, model, body) == (400, error)


@pytest.mark.parametrize(
    ("dtype", "literal", "text"),
    [
        ("float", "9000000", "9e+06"),
        ("float", "999999", "999999.0"),
        ("float", "0.00003", "3e-05"),
        ("float", "0.0003", "0.0003"),
        ("float", "555557.5", "555557.5"),
        ("float", "0.333333343", "0.333333343"),
        ("float", "1435774380", "1.43577434e+09"),
        ("double", "0.1", "0.1"),
        ("double", "0.33333333333333331", "0.33333333333333331"),
        ("double", "0.30000000000000004", "0.30000000000000004"),
        ("double", "1e22", "1e+22"),
        ("double", "123456789", "123456789.0"),
        ("double", "5", "5.0"),
        ("double", "-0.0", "-0.0"),
        ("float", "NaN", "NaN"),
        ("float", "Inf", "Infinity"),
        ("double", "-Inf", "-Infinity"),
    ],
)
def test_numbers_have_the_value_of_tensorflow_servings_text(
    server: Server, dtype: str, literal: str, text: str
) -> None:
    body = f'{{"signature_name": "{dtype}", "instances": [{literal}]}}'.encode()
    reply = ask(server, "POST", "/v1/models/echoes:predict", body)
    (written,) = json.loads(reply.body, parse_constant=str, parse_float=str)["predictions"]
    precision = np.float32 if dtype == "float" else np.float64
    assert isinstance(written, str)  # a number with a point, so that readers take it for a float
    np.testing.assert_array_equal(precision(written), precision(text))
    assert written.startswith("-") == text.startswith("-")
