"""Sections 6.1 to 6.5, 6.11 and 6.12: routing, CORS, headers, status codes, order of checks, status, metadata."""

from __future__ import annotations

import gzip
import json
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf import json_format
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

import tfs_notebook
from tests.conformance.calls import ANY, answered, refused, says
from tests.support import saved_models
from tests.support.serving import ALL, ask, config_text, connect, label

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Models
    from tfs_notebook.server.server import Server

ONE = {"instances": [1.0]}
NAMES = ("m", "metadata", "a/b", "c:d", "e+f", "50%", "é")


@pytest.fixture(scope="module")
def server(models: Models, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serves x/2 + 2 under each of the NAMES, `m` with the versions 1 (stable) and 2, and some with errors."""
    two = tmp_path_factory.mktemp("two")
    models.copy("half_plus_two", two, 1)
    models.copy("half_plus_two", two, 2)
    failing = tmp_path_factory.mktemp("failing")
    saved_models.failing(failing / "1")
    paths = {name: models.path("half_plus_two") for name in NAMES[1:]}
    paths |= {"m": two, "failing": failing, **{name: models.path(name) for name in ("slow", "raising", "counter")}}
    config = config_text(paths, {"m": ALL + label("stable", 1) + label("a b", 2)})
    with tfs_notebook.serve(config=config, rest_api_timeout_in_ms=500, **ANY) as server:
        assert server.problems == []
        yield server


@pytest.fixture(scope="module")
def with_cors(models: Models) -> Iterator[Server]:
    """Serves `model` with --rest_api_enable_cors_support."""
    with tfs_notebook.serve(str(models.path("half_plus_two")), rest_api_enable_cors_support=True, **ANY) as server:
        yield server


# 6.1 Routing


@pytest.mark.parametrize(
    "path",
    [
        "/v1/models/m:predict",
        "/v1/models/m/versions/1:predict",
        "/v1/models/m/versions/000002:predict",
        "/v1/models/m/labels/stable:predict",
        "/v1/models/m/labels/a%20b:predict",
        "/v1/models/m/labels/%73%74able:predict",
        "/V1/Models/m:predict",
        "/v1/MODELS/m/VERSIONS/1:predict",
        "/v1/models/m/Labels/stable:predict",
        "/v1/models/a%2Fb:predict",
        "/v1/models/a%2fb:predict",
        "/v1/models/c%3Ad:predict",
        "/v1/models/e+f:predict",
        "/v1/models/e%2Bf:predict",
        "/v1/models/50%25:predict",
        "/v1/models/%C3%A9:predict",
        "/v1/models/metadata:predict",
    ],
)
def test_post_is_routed(server: Server, path: str) -> None:
    assert answered(server, path, ONE) == {"predictions": [2.5]}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/models/"),
        ("GET", "/v1/models/m/"),
        ("GET", "/v1/models/m/metadata?x"),
        ("GET", "/v1/models/m/metadata/"),
        ("GET", "/v1/models/m/versions/"),
        ("GET", "/v1/models/m/versions/x"),
        ("GET", "/v1/models/m/versions/-1"),
        ("GET", "/v1/models/m/versions/1.0"),
        ("GET", "/v1/models/m/labels/"),
        ("GET", "/v1/models/m/versions/1/labels/stable"),
        ("GET", "/v1/models/m:predict"),
        ("GET", "/v1/models/a/b"),
        ("GET", "/v1/"),
        ("GET", "/v1/other"),
        ("GET", "/v1/models/m/metadata#f"),
        ("POST", "/v1/models/m"),
        ("POST", "/v1/models/m:predict?x=1"),
        ("POST", "/v1/models/m:predict/"),
        ("POST", "/v1/models/m:PREDICT"),
        ("POST", "/v1/models/m:Classify"),
        ("POST", "/v1/models/m:multiInference"),
        ("POST", "/v1/models/m/metadata"),
        ("POST", "/v1/models/m/versions/1/labels/x:predict"),
        ("POST", "/v1/models/:predict"),
        ("POST", "/v1/models/a/b:predict"),
        ("POST", "/v1/models/c:d:predict"),
        ("PUT", "/v1/models/m:predict"),
        ("DELETE", "/v1/models/m"),
        ("PATCH", "/v1/models/m:predict"),
    ],
)
def test_malformed_requests(server: Server, method: str, path: str) -> None:
    assert refused(server, method, path) == (400, f"Malformed request: {method} {path}")


@pytest.mark.parametrize(
    ("method", "path", "status", "error"),
    [
        ("GET", "/v1/models", 400, "Missing model name in request."),
        ("GET", "/v1/models/versions/3", 400, "Missing model name in request."),
        ("GET", "/v1/models/m?x=1", 404, "Could not find any versions of model m?x=1"),
        ("GET", "/v1/models/M", 404, "Could not find any versions of model M"),
        ("GET", "/v1/models/e%20f", 404, "Could not find any versions of model e f"),
        ("GET", "/v1/models/m/versions/3", 404, "Could not find version 3 of model m"),
        ("GET", "/v1/models/no/metadata", 404, "Servable not found for request: Latest(no)"),
        ("GET", "/v1/models/m/versions/7/metadata", 404, "Servable not found for request: Specific(m, 7)"),
        ("GET", "/v1/models/m/labels/no/metadata", 400, "Unrecognized servable version label: no"),
        ("POST", "/v1/models/no:predict", 404, "Servable not found for request: Latest(no)"),
        ("POST", "/v1/models/M:predict", 404, "Servable not found for request: Latest(M)"),
        ("POST", "/v1/models/m/versions/7:predict", 404, "Servable not found for request: Specific(m, 7)"),
        ("POST", "/v1/models/m/labels/no:predict", 400, "Unrecognized servable version label: no"),
        ("POST", "/v1/models/m/labels/STABLE:predict", 400, "Unrecognized servable version label: STABLE"),
        ("POST", "/v1/models/no/labels/no:predict", 400, "Unrecognized servable version label: no"),
        (  # TensorFlow Serving's body is empty
            "POST",
            "/v1/models/m/versions/18446744073709551615:predict",
            400,
            "Failed to convert version: 18446744073709551615 to numeric.",
        ),
    ],
)
def test_requests_that_name_nothing(server: Server, method: str, path: str, status: int, error: str) -> None:
    body = ONE if method == "POST" else None
    assert refused(server, method, path, body) == (status, error)


@pytest.mark.parametrize("name", ["%zz", "%", "m%2", "%FF", "m/labels/%zz"])
def test_a_name_that_cannot_be_decoded(server: Server, name: str) -> None:
    status, error = refused(server, "POST", f"/v1/models/{name}:predict", ONE)
    assert (status, error.split(":")[0]) == (400, "Malformed request")  # TensorFlow Serving's body is empty


def test_head_is_malformed_without_a_body(server: Server) -> None:
    reply = ask(server, "HEAD", "/v1/models/m")
    assert (reply.status, reply.body) == (400, b"")


@pytest.mark.parametrize("path", ["/", "/healthz", "/metrics", "/v2/models/m", "/v1", "/models/m", "/x/v1/models/m"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_libevents_page_for_what_is_not_there(server: Server, method: str, path: str) -> None:
    reply = ask(server, method, path)
    assert (reply.status, reply.headers["Connection"]) == (404, "close")
    assert reply.headers["Content-Type"].startswith("text/html")
    page = "<HTML><HEAD>\n<TITLE>404 Not Found</TITLE>\n</HEAD><BODY>\n<H1>Not Found</H1>\n</BODY></HTML>\n"
    assert reply.body.decode() == page


@pytest.mark.parametrize("method", ["TRACE", "CONNECT"])
def test_methods_that_libevent_does_not_know(server: Server, method: str) -> None:
    assert ask(server, method, "/v1/models/m").status == 501


# 6.2 OPTIONS and CORS


@pytest.mark.parametrize(
    ("origin", "status"),
    [("http://a.example", 200), ("https://b.example:8443", 200), ("null", 400), ("a.example", 400), (None, 400)],
)
def test_options_never_reach_the_api(with_cors: Server, server: Server, origin: str | None, status: int) -> None:
    for one in (server, with_cors):
        for path in ("/v1/models/m:predict", "/v1/nothing"):
            reply = ask(one, "OPTIONS", path, headers={} if origin is None else {"Origin": origin})
            assert (reply.status, reply.body, reply.headers["Content-Length"]) == (status, b"", "0")
            assert reply.headers["Content-Type"] == "text/html; charset=ISO-8859-1"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/v1/models/model", None),
        ("GET", "/v1/models/no", None),
        ("GET", "/v1/models/", None),
        ("DELETE", "/v1/models/model", None),
        ("POST", "/v1/models/model:predict", ONE),
        ("POST", "/v1/models/model:predict", {}),
    ],
)
def test_cors_headers_are_on_every_reply_or_on_none(
    with_cors: Server, server: Server, method: str, path: str, body: Any
) -> None:
    def cors(server: Server) -> dict[str, str]:
        headers = ask(server, method, path, body).headers
        return {name: value for name, value in headers.items() if name.startswith("Access-Control-")}

    assert cors(server) == {}
    assert cors(with_cors) == {
        "Access-Control-Allow-Origin": "*",
        "Access-Control-Allow-Methods": "POST, GET",
        "Access-Control-Allow-Headers": "Content-Type",
    }


# 6.3 Response headers and transport


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [("GET", "/v1/models/m", None), ("GET", "/v1/models", None), ("POST", "/v1/models/m:predict", ONE)],
)
def test_headers_of_replies(server: Server, method: str, path: str, body: Any) -> None:
    reply = ask(server, method, path, body)
    assert reply.headers["Content-Type"] == "application/json"
    assert reply.headers["Content-Length"] == str(len(reply.body))
    assert reply.headers["Date"].endswith(" GMT")
    assert reply.headers["Content-Encoding"] is None


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"Content-Type": "application/x-www-form-urlencoded"}, json.dumps(ONE).encode()),
        ({"Content-Type": "no/thing; charset=utf-16"}, json.dumps(ONE).encode()),
        ({"Content-Encoding": "gzip"}, gzip.compress(json.dumps(ONE).encode(), mtime=0)),
        ({"Content-Encoding": "x-gzip"}, gzip.compress(json.dumps(ONE).encode(), mtime=0)),
        ({"Content-Encoding": "identity"}, json.dumps(ONE).encode()),
    ],
)
def test_bodies(server: Server, headers: dict[str, str], body: bytes) -> None:
    reply = ask(server, "POST", "/v1/models/m:predict", body, headers)
    assert (reply.status, reply.json) == (200, {"predictions": [2.5]})


@pytest.mark.parametrize("body", [b"no gzip", gzip.compress(b"{}", mtime=0)[:-6], json.dumps(ONE).encode()])
def test_a_body_that_cannot_be_inflated_is_empty(server: Server, body: bytes) -> None:
    reply = ask(server, "POST", "/v1/models/m:predict", body, {"Content-Encoding": "gzip"})
    assert (reply.status, reply.error) == (400, "JSON Parse error: The document is empty")


def test_close_is_echoed_and_chunks_are_put_together(server: Server) -> None:
    with closing(connect(server)) as connection:
        body = iter([b'{"instances"', b": [1", b"]}"])
        connection.request("POST", "/v1/models/m:predict", body, {"Connection": "close"})
        response = connection.getresponse()
        assert (response.status, response.headers["Connection"]) == (200, "close")
        assert json.loads(response.read()) == {"predictions": [2.5]}


# 6.4 Status code mapping


@pytest.mark.parametrize(
    ("model", "body", "status", "reason", "error"),
    [
        ("raising", {"instances": [-1.0]}, 400, "Bad Request", "x must not be negative"),
        ("failing", {"signature_name": "out_of_range", "inputs": "x"}, 400, "Bad Request", "is closed and has"),
        ("failing", {"signature_name": "failed_precondition", "inputs": "x"}, 400, "Bad Request", "uninitialized"),
        ("failing", {"signature_name": "not_found", "inputs": "/nowhere"}, 404, "Not Found", "No such file"),
        ("failing", {"signature_name": "cancelled", "inputs": "x"}, 499, "Client Error", "already closed"),
        ("failing", {"signature_name": "data_loss", "inputs": "x"}, 500, "Internal Server Error", "corrupted record"),
        ("failing", {"signature_name": "complex", "inputs": 1}, 501, "Not Implemented", "Conversion of JSON Value: 1"),
        ("slow", {"inputs": 30.0}, 504, "Gateway Time-out", "Timed out waiting for notification"),
    ],
)
def test_codes(server: Server, tmp_path: Path, model: str, body: Any, status: int, reason: str, error: str) -> None:
    if body.get("signature_name") == "data_loss":
        (tmp_path / "records").write_bytes(b"x" * 100)
        body = {**body, "inputs": str(tmp_path / "records")}
    with closing(connect(server)) as connection:
        connection.request("POST", f"/v1/models/{model}:predict", json.dumps(body).encode())
        response = connection.getresponse()
        assert (response.status, response.reason) == (status, reason)
        assert error in json.loads(response.read())["error"]


def test_an_error_is_the_bare_text(server: Server) -> None:
    reply = ask(server, "GET", "/v1/models/%C3%A9%2F%22")
    assert reply.body.decode() == '{\n    "error": "Could not find any versions of model é/\\""\n}'
    name = "x" * 5000
    assert refused(server, "GET", f"/v1/models/{name}") == (404, f"Could not find any versions of model {name}")


# 6.5 Order of checks


@pytest.mark.parametrize(
    ("path", "body", "status", "text"),
    [
        ("no:predict", b"{", 400, "JSON Parse error: …"),
        ("no:predict", b"[]", 400, "JSON Value: [] Is not object"),
        ("no:predict", {"signature_name": 1}, 400, "JSON Value: {…"),
        ("no:predict", {"signature_name": "no"}, 404, "Servable not found for request: Latest(no)"),
        ("no:predict", {}, 404, "Servable not found for request: Latest(no)"),
        ("m:predict", {"signature_name": "no"}, 400, 'Serving signature name: "no" not found in signature def'),
        ("counter:predict", {"signature_name": "incr"}, 400, "Failed to get input map for signature: incr"),
        ("m:predict", {}, 400, "Missing 'inputs' or 'instances' key"),
        ("m:predict", {"instances": ["a"]}, 400, "Failed to process element: 0 of 'instances' list.…"),
        (
            "no:classify",
            {},
            400,
            "JSON Value: {} When method is classify, key 'examples' is expected and was not found",
        ),
        ("no:classify", {"examples": [{"x": None}]}, 400, "Feature: x has element with unexpected JSON type: Null"),
        ("no:regress", {"examples": [{}]}, 404, "Servable not found for request: Latest(no)"),
    ],
)
def test_which_error_wins(server: Server, path: str, body: Any, status: int, text: str) -> None:
    found, error = refused(server, "POST", f"/v1/models/{path}", body)
    assert found == status
    assert says(error, text), error


# 6.11 Status


def status_of(*versions: int) -> dict[str, Any]:
    okay = {"state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    return {"model_version_status": [{"version": str(version), **okay} for version in versions]}


@pytest.mark.parametrize(
    ("path", "versions"),
    [
        ("m", (2, 1)),
        ("m/versions/1", (1,)),
        ("m/versions/01", (1,)),
        ("m/labels/stable", (2, 1)),
        ("m/labels/nobody", (2, 1)),
        ("m/METADATA", (2, 1)),
        ("metadata", (1,)),
        ("a%2Fb", (1,)),
    ],
)
def test_status(server: Server, path: str, versions: tuple[int, ...]) -> None:
    reply = ask(server, "GET", f"/v1/models/{path}")
    assert (reply.status, reply.json) == (200, status_of(*versions))


# 6.12 Metadata


@pytest.mark.parametrize(
    ("path", "name", "version"),
    [
        ("m/metadata", "m", "2"),
        ("m/versions/1/metadata", "m", "1"),
        ("m/labels/stable/metadata", "m", "1"),
        ("metadata/metadata", "metadata", "1"),
        ("a%2Fb/metadata", "a/b", "1"),
    ],
)
def test_metadata(server: Server, models: Models, path: str, name: str, version: str) -> None:
    reply = ask(server, "GET", f"/v1/models/{path}")
    assert reply.status == 200
    assert reply.json["model_spec"] == {"name": name, "signature_name": "", "version": version}
    saved = SavedModel.FromString((models.path("half_plus_two") / "1" / "saved_model.pb").read_bytes())
    signatures = reply.json["metadata"]["signature_def"]["signature_def"]
    assert reply.json["metadata"].keys() == {"signature_def"}
    assert signatures.keys() == {"__saved_model_init_op", "serving_default"}
    for key, signature in signatures.items():
        assert json_format.ParseDict(signature, SignatureDef()) == saved.meta_graphs[0].signature_def[key]
    default = signatures["serving_default"]
    assert default["defaults"] == {}
    shape = {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False}
    assert (default["inputs"]["x"]["tensor_shape"], default["inputs"]["x"]["dtype"]) == (shape, "DT_FLOAT")
    init = signatures["__saved_model_init_op"]["outputs"]["__saved_model_init_op"]
    assert (init["dtype"], init["name"]) == ("DT_INVALID", "NoOp")
