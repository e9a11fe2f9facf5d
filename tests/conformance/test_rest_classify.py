"""Section 6.10: classify and regress."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import tfs_notebook
from tests.conformance.calls import ANY, answered, refused, says
from tests.support import example_models
from tests.support.serving import ALL, config_text, label

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Models
    from tfs_notebook.server.server import Server


@pytest.fixture(scope="module")
def server(models: Models, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serves `heads` (1 is stable), `unfit`, `tf2`, and TensorFlow Serving's own half_plus_two as `tf1`."""
    root = tmp_path_factory.mktemp("models")
    for export in (example_models.heads, example_models.unfit, example_models.tf2):
        export(root / export.__name__ / "1")
    paths = {name: root / name for name in ("heads", "unfit", "tf2")}
    paths["tf1"] = models.path("half_plus_two_tf1")
    with tfs_notebook.serve(config=config_text(paths, {"heads": ALL + label("stable", 1)}), **ANY) as server:
        assert server.problems == []
        yield server


@pytest.mark.parametrize(
    ("path", "body", "results"),
    [
        (
            "heads:classify",
            {"examples": [{"x": 0.25, "word": "cat"}]},
            [[["cat", 0.25], ["other", 0.75]]],
        ),
        ("heads:classify", {"signature_name": "scores_only", "examples": [{"x": 0.25}]}, [[["", 0.25], ["", 0.75]]]),
        (
            "heads:classify",
            {"signature_name": "classes_only", "examples": [{"word": "cat"}, {}]},
            [[["cat", 0.0], ["other", 0.0]], [["", 0.0], ["other", 0.0]]],
        ),
        ("heads/labels/stable:regress", {"signature_name": "regress", "examples": [{"x": 2.0}, {}]}, [3.0, 2.0]),
        ("heads/versions/1:regress", {"signature_name": "regress", "examples": [{"x": [1e0]}]}, [2.5]),
        ("heads:regress", {"signature_name": "double_n", "examples": [{"n": 3}, {"n": True}, {"n": False}]}, [6, 2, 0]),
        ("heads:regress", {"signature_name": "count", "examples": [{"words": ["a", "b"]}, {"words": []}]}, [2.0, 0.0]),
        (
            "heads:classify",
            {"examples": [{"x": 0.5, "word": {"b64": "Y2F0"}}]},
            [[["cat", 0.5], ["other", 0.5]]],
        ),
        # the context completes every example, and is overruled by it
        (
            "heads:regress",
            {"signature_name": "regress", "context": {"x": 4.0}, "examples": [{}, {"x": 2.0}]},
            [4.0, 3.0],
        ),
        ("heads:regress", {"signature_name": "regress", "context": {}, "examples": [{"x": 2.0}]}, [3.0]),
        # a signature of another method that has the right keys
        ("tf2:regress", {"signature_name": "regress", "examples": [{"x": 2.0}]}, [3.0]),
        ("tf1:regress", {"signature_name": "regress_x_to_y", "examples": [{"x": 1.0}, {"x": 2.0}]}, [2.5, 3.0]),
        ("tf1:classify", {"signature_name": "classify_x_to_y", "examples": [{"x": 1.0}]}, [[["", 2.5]]]),
        ("unfit:classify", {"signature_name": "no_classes", "examples": [{"x": 1.0}]}, [[]]),
    ],
)
def test_results(server: Server, path: str, body: Any, results: Any) -> None:
    assert answered(server, f"/v1/models/{path}", body) == {"results": results}


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Inf"])
def test_numbers_that_are_none_are_floats(server: Server, literal: str) -> None:
    body = b'{"signature_name": "regress", "examples": [{"x": %s}]}' % literal.encode()
    (result,) = answered(server, "/v1/models/heads:regress", body)["results"]
    assert repr(result) == {"NaN": "nan", "Infinity": "inf", "-Inf": "-inf"}[literal]


def example(feature: str) -> bytes:
    """A body with one example of the feature x."""
    return b'{"examples": [{"x": %s}]}' % feature.encode()


UNEXPECTED = "Feature: x has element with unexpected JSON type: {}"
MIXED = "Unexpected element type in feature: x expecting type: {}"


@pytest.mark.parametrize("method", ["classify", "regress"])
@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"[]", "JSON Value: [] Is not object"),
        (b"{}", "JSON Value: {} When method is classify, key 'examples' is expected and was not found"),
        (
            b'{"examples": {}}',
            "JSON Value: {\n    \"examples\": {}\n} Expecting 'examples' value to be an list/array",
        ),
        (b'{"examples": []}', "JSON Value: {\n    \"examples\": []\n} 'examples' value is an empty array"),
        (
            b'{"signature_name": 1, "examples": [{}]}',
            (
                'JSON Value: {\n    "signature_name": 1,\n    "examples": [{}]\n} not formatted correctly. '
                "'signature_name' key must be a string value."
            ),
        ),
        (b'{"examples": [1]}', "Example must be JSON object but got JSON Number"),
        (b'{"examples": [{}, []]}', "Example must be JSON object but got JSON Array"),
        (b'{"context": "x", "examples": [{}]}', "Example must be JSON object but got JSON String"),
        (b'{"context": null, "examples": 1}', "Example must be JSON object but got JSON Null"),  # the context first
        (example("null"), UNEXPECTED.format("Null")),
        (example("[[1]]"), UNEXPECTED.format("Array")),
        (example('{"a": 1}'), UNEXPECTED.format("Object")),
        (example("[1, null]"), UNEXPECTED.format("Null")),
        (example('["a", 1]'), MIXED.format("bytes")),
        (example('[1.5, "a"]'), MIXED.format("float")),
        (example("[1.5, 1]"), MIXED.format("float")),
        (example("[1, 1.5]"), MIXED.format("int64")),
        (example("[true, 1.0]"), MIXED.format("int64")),
        (example("9223372036854775808"), "Feature: x has uint64_t element. Only int64_t is supported."),
        (example("18446744073709551615"), "Feature: x has uint64_t element. Only int64_t is supported."),
    ],
)
def test_bodies_that_are_refused(server: Server, method: str, body: bytes, error: str) -> None:
    assert refused(server, "POST", f"/v1/models/heads:{method}", body) == (400, error)


def test_a_whole_number_is_no_float(server: Server) -> None:
    status, error = refused(server, "POST", "/v1/models/heads:classify", {"examples": [{"x": 20}]})
    assert status == 400
    assert "Data types don't match" in error


@pytest.mark.parametrize(
    ("path", "signature", "status", "text"),
    [
        ("no:classify", "", 404, "Servable not found for request: Latest(no)"),
        ("heads/labels/no:regress", "", 400, "Unrecognized servable version label: no"),
        ("heads:classify", "no", 400, "No signature was found with the name: no"),
        ("heads:regress", "no", 400, "No signature was found with the name: no"),
        ("heads:regress", "", 400, "Expected one output Tensor."),
        ("unfit:classify", "three_outputs", 400, "Expected one or two output Tensors, found 3"),
        ("unfit:classify", "two_inputs", 400, "Expected one input Tensor."),
        (
            "unfit:regress",
            "wide",
            400,
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got [1,2]",
        ),
    ],
)
def test_signatures_and_models(server: Server, path: str, signature: str, status: int, text: str) -> None:
    body = {"signature_name": signature, "examples": [{"x": 1.0}]}
    found, error = refused(server, "POST", f"/v1/models/{path}", body)
    assert found == status
    assert says(error, text), error
