"""Classify and regress bodies: what a JSON value becomes, and TensorFlow Serving's words for what it cannot become."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tensorflow.core.example.example_pb2 import Example

from tests.api.json.test_codec import doc
from tfs_notebook.api.json.examples import ExamplesBody
from tfs_notebook.errors import Code, ServingError

if TYPE_CHECKING:
    from tensorflow.core.example.feature_pb2 import Feature


def parse(body: Any) -> ExamplesBody:
    return ExamplesBody(body if isinstance(body, bytes) else json.dumps(body).encode())


def features(serialized: bytes) -> dict[str, Feature]:
    return dict(Example.FromString(serialized).features.feature)


def feature(text: bytes) -> tuple[str | None, list[Any]]:
    """The kind and the values of the feature that the JSON `text` becomes."""
    (serialized,) = parse(b'{"examples":[{"f":' + text + b"}]}").examples
    found = features(serialized)["f"]
    kind = found.WhichOneof("kind")
    return kind, list(getattr(found, kind).value) if kind else []


def refusal(body: Any) -> ServingError:
    with pytest.raises(ServingError) as caught:
        parse(body)
    return caught.value


@pytest.mark.parametrize(
    ("text", "kind", "values"),
    [
        (b"20", "int64_list", [20]),
        (b"-0", "int64_list", [0]),
        (b"[1, 2, -3]", "int64_list", [1, 2, -3]),
        (b"[9223372036854775807, -9223372036854775808]", "int64_list", [2**63 - 1, -(2**63)]),
        (b"true", "int64_list", [1]),
        (b"[false, 2, true]", "int64_list", [0, 2, 1]),
        (b"20.0", "float_list", [20.0]),
        (b"1e2", "float_list", [100.0]),
        (b"0.1", "float_list", [float(np.float32(0.1))]),
        (b"[1e300, -Infinity, Inf]", "float_list", [np.inf, -np.inf, np.inf]),
        (b"18446744073709551616", "float_list", [2.0**64]),  # beyond 64 bits RapidJSON reads a double
        (b'"word"', "bytes_list", [b"word"]),
        (b'["", "\xc3\xa9", "\xff"]', "bytes_list", [b"", "é".encode(), b"\xff"]),
        (b'{"b64": "/wA="}', "bytes_list", [b"\xff\0"]),
        (b'["a", {"b64": "YQ"}]', "bytes_list", [b"a", b"a"]),
        (b"[]", None, []),
    ],
)
def test_a_value_decides_the_kind_of_its_feature(text: bytes, kind: str | None, values: list[Any]) -> None:
    assert feature(text) == (kind, values)


def test_nan_is_a_float() -> None:
    kind, (value,) = feature(b"NaN")
    assert kind == "float_list"
    assert np.isnan(value)


def test_names_are_those_of_the_members() -> None:
    (serialized,) = parse(b'{"examples": [{"\xc3\xa9": 1, "a\\u0000b": 2, "b64": "YQ=="}]}').examples
    assert set(features(serialized)) == {"é", "a", "b64"}  # a C string ends at its zero; an example is no b64 object


def test_of_equal_members_the_last_counts_in_an_example_and_the_first_outside() -> None:
    parsed = parse(b'{"signature_name":"a","examples":[{"f":1,"f":2}],"signature_name":"b","examples":[]}')
    assert parsed.signature_name == "a"
    assert list(features(parsed.examples[0])["f"].int64_list.value) == [2]


def test_the_context_is_in_every_example_and_gives_way_to_it() -> None:
    parsed = parse({"context": {"a": 1, "b": 2}, "examples": [{"b": 3}, {}], "signature_name": "s", "other": None})
    assert parsed.signature_name == "s"
    found = [{k: f.int64_list.value[0] for k, f in features(example).items()} for example in parsed.examples]
    assert found == [{"a": 1, "b": 3}, {"a": 1, "b": 2}]


def test_a_small_body_does_not_become_a_huge_tensor() -> None:
    body = {"context": {"a": "x" * (1 << 20)}, "examples": [{}] * 300}
    error = refusal(body)
    assert error.code is Code.RESOURCE_EXHAUSTED
    assert error.message.endswith("in each of 300 examples takes 300 MiB; 256 MiB is the limit: send fewer "
                                  "examples at a time")  # fmt: skip


MISSING = "When method is classify, key 'examples' is expected and was not found"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({}, MISSING),
        ({"instances": []}, MISSING),
        ({"context": {}}, MISSING),
        ({"examples": {"a": 1}}, "Expecting 'examples' value to be an list/array"),
        ({"examples": None}, "Expecting 'examples' value to be an list/array"),
        ({"examples": []}, "'examples' value is an empty array"),
        ({"examples": [], "signature_name": 1},
         "not formatted correctly. 'signature_name' key must be a string value."),
    ],
)  # fmt: skip
def test_a_body_without_examples(body: Any, reason: str) -> None:
    error = refusal(body)
    assert (error.code, error.message) == (
        Code.INVALID_ARGUMENT,
        f"JSON Value: {doc(json.dumps(body).encode())} {reason}",
    )


@pytest.mark.parametrize(
    ("body", "message", "where"),
    [
        (b"", "JSON Parse error: The document is empty", ""),
        (b'{"examples": [1,]}', "JSON Parse error: Invalid value. at offset: 16", ""),
        (b"[]", "JSON Value: [] Is not object", ""),
        ({"examples": [{}, []]}, "Example must be JSON object but got JSON Array", "examples[1]"),
        ({"examples": [20]}, "Example must be JSON object but got JSON Number", "examples[0]"),
        ({"examples": ["a"]}, "Example must be JSON object but got JSON String", "examples[0]"),
        # the context is looked at first
        ({"context": None, "examples": [1]}, "Example must be JSON object but got JSON Null", "context"),
        ({"context": {"f": None}}, "Feature: f has element with unexpected JSON type: Null", "context.f"),
        ({"examples": [{"f": [1, None]}]}, "Feature: f has element with unexpected JSON type: Null",
         "examples[0].f[1]"),
        ({"examples": [{"f": [[1]]}]}, "Feature: f has element with unexpected JSON type: Array", "examples[0].f[0]"),
        ({"examples": [{"f": {}}]}, "Feature: f has element with unexpected JSON type: Object", "examples[0].f"),
        ({"examples": [{"f": {"b64": "YQ==", "c": 1}}]}, "Feature: f has element with unexpected JSON type: Object",
         "examples[0].f"),
        ({"examples": [{"f": ["a", 1]}]}, "Unexpected element type in feature: f expecting type: bytes",
         "examples[0].f[1]"),
        ({"examples": [{"f": [1.5, 1]}]}, "Unexpected element type in feature: f expecting type: float",
         "examples[0].f[1]"),
        ({"examples": [{"f": [1, 1.5]}]}, "Unexpected element type in feature: f expecting type: int64",
         "examples[0].f[1]"),
        ({"examples": [{"f": [1.5, 2**63]}]}, "Unexpected element type in feature: f expecting type: float",
         "examples[0].f[1]"),
        ({"examples": [{"f": [True, "a"]}]}, "Unexpected element type in feature: f expecting type: int64",
         "examples[0].f[1]"),
        ({"examples": [{"f": 2**63}]}, "Feature: f has uint64_t element. Only int64_t is supported.", "examples[0].f"),
        ({"examples": [{"f": {"b64": "?"}}]}, "Unable to base64 decode", "examples[0].f"),
        (b'{"examples": [{"\xff": 1}]}', "Feature: \udcff has a name that is not UTF-8", "examples[0].\udcff"),
    ],
)  # fmt: skip
def test_what_cannot_become_an_example(body: Any, message: str, where: str) -> None:
    error = refusal(body)
    assert (error.code, error.message, error.where) == (Code.INVALID_ARGUMENT, message, where)
