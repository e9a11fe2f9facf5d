"""REST over real sockets, with real SavedModels, as TensorFlow Serving answers."""

from __future__ import annotations

import base64
import gzip
import json
import socket
import threading
import time
from contextlib import ExitStack, closing, suppress
from typing import TYPE_CHECKING, Any

import pytest

import tfs_notebook
from tests.support.serving import ALL, PATIENCE, ask, ask_on, config_text, connect, label, serving_threads, until
from tfs_notebook.api.http import server as http_server

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.conftest import Models
    from tfs_notebook.server.server import Server

SHARED = ("cnn", "multi", "vocabulary", "bytes_image", "no_input", "scalar_output", "dtypes", "raising", "slow")


@pytest.fixture(scope="module")
def server(models: Models, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serves the shared models, and `hpt` with the versions 1 (x/2 + 2, stable) and 2 (3x, canary)."""
    from tests.support import saved_models

    hpt = tmp_path_factory.mktemp("hpt")
    saved_models.half_plus_two(hpt / "1")
    saved_models.half_plus_two(hpt / "2", scale=3, offset=0)
    paths = {"hpt": hpt, **{name: models.path(name) for name in SHARED}}
    labels = label("stable", 1) + label("canary", 2)
    text = config_text(paths, {"hpt": ALL + labels})
    with tfs_notebook.serve(config=text, rest_api_port=0, port=0, rest_api_max_body_mb=2) as server:
        assert server.problems == []
        yield server


# Predict


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("hpt", [3, 6, 15]),
        ("hpt/versions/1", [2.5, 3.0, 4.5]),
        ("hpt/versions/2", [3, 6, 15]),
        ("hpt/versions/001", [2.5, 3.0, 4.5]),
        ("hpt/labels/stable", [2.5, 3.0, 4.5]),
        ("hpt/labels/canary", [3, 6, 15]),
        ("hpt/labels/%73table", [2.5, 3.0, 4.5]),
        ("%68pt", [3, 6, 15]),
    ],
)
def test_predict_by_name_version_and_label(server: Server, path: str, expected: list[float]) -> None:
    reply = ask(server, "POST", f"/v1/models/{path}:predict", {"instances": [1.0, 2.0, 5.0]})
    assert (reply.status, reply.json) == (200, {"predictions": expected})
    assert reply.headers["Content-Type"] == "application/json"
    assert int(reply.headers["Content-Length"]) == len(reply.body)


def test_the_columnar_form_of_a_request_is_the_form_of_its_reply(server: Server) -> None:
    assert ask(server, "POST", "/v1/models/hpt:predict", {"inputs": [1, 2]}).json == {"outputs": [3, 6]}
    assert ask(server, "POST", "/v1/models/hpt:predict", {"inputs": {"x": [1, 2]}}).json == {"outputs": [3, 6]}


def test_several_inputs_and_outputs(server: Server) -> None:
    rows = [{"a": [1, 2], "b": 3}, {"a": [4, 5], "b": 6}]
    assert ask(server, "POST", "/v1/models/multi:predict", {"instances": rows}).json == {
        "predictions": [{"total": 3, "doubled": 6}, {"total": 9, "doubled": 12}]
    }
    columns = {"a": [[1, 2], [4, 5]], "b": [3, 6]}
    assert ask(server, "POST", "/v1/models/multi:predict", {"inputs": columns}).json == {
        "outputs": {"total": [3, 9], "doubled": [6, 12]}
    }


def test_a_signature_by_name(server: Server) -> None:
    body = {"signature_name": "one_output", "instances": [{"a": [1, 2], "b": 3}]}
    assert ask(server, "POST", "/v1/models/multi:predict", body).json == {"predictions": [3]}


def test_strings_and_b64_in_and_out(server: Server) -> None:
    image = bytes(range(256))
    coded = {"b64": base64.b64encode(image).decode()}
    reply = ask(server, "POST", "/v1/models/bytes_image:predict", {"instances": [coded, "plain"]})
    plain = {"b64": base64.b64encode(b"plain").decode()}
    assert reply.json == {"predictions": [{"length": 256, "echo_bytes": coded}, {"length": 5, "echo_bytes": plain}]}


def test_a_string_signature_answers_with_json_strings(server: Server) -> None:
    body = {"signature_name": "string", "instances": ["é", {"b64": "aGk="}]}
    assert ask(server, "POST", "/v1/models/dtypes:predict", body).json == {"predictions": ["é!", "hi!"]}


def test_an_asset_of_the_model_is_found(server: Server) -> None:
    reply = ask(server, "POST", "/v1/models/vocabulary:predict", {"inputs": ["quick", "nobody"]})
    assert reply.json["outputs"]["ids"] == [1, 4]


def test_ten_probabilities_of_the_guides_image(server: Server) -> None:
    reply = ask(server, "POST", "/v1/models/cnn:predict", {"instances": [[[[1.0]] * 28] * 28]})
    (probabilities,) = reply.json["predictions"]
    assert len(probabilities) == 10
    assert sum(probabilities) == pytest.approx(1)


@pytest.mark.parametrize(
    ("model", "body", "status", "error"),
    [
        ("hpt", b"", 400, "JSON Parse error: The document is empty"),
        ("hpt", b"{", 400, "JSON Parse error: Missing a name for object member. at offset: 1"),
        ("hpt", [], 400, "JSON Value: [] Is not object"),
        ("hpt", {}, 400, "Missing 'inputs' or 'instances' key"),
        (
            "hpt",
            {"signature_name": 1, "instances": [1]},
            400,
            (
                'JSON Value: {\n    "signature_name": 1,\n    "instances": [1]\n} not formatted correctly. '
                "'signature_name' key must be a string value."
            ),
        ),
        (
            "hpt",
            {"signature_name": "other", "instances": [1]},
            400,
            'Serving signature name: "other" not found in signature def',
        ),
        ("hpt", {"instances": []}, 400, "JSON Value: {\n    \"instances\": []\n} No values in 'instances' array"),
        (
            "hpt",
            {"instances": ["a"]},
            400,
            (
                "Failed to process element: 0 of 'instances' list. Error: INVALID_ARGUMENT: "
                'JSON Value: "a" Type: String is not of expected type: float'
            ),
        ),
        (
            "hpt",
            {"instances": [1, [2, 3]]},
            400,
            (
                "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: "
                "Expecting tensor size: 1 but got: 2"
            ),
        ),
        (
            "multi",
            {"instances": [[1, 2]]},
            400,
            (
                "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
                "tensorinfo_map"
            ),
        ),
        ("multi", {"inputs": {"a": [[1, 2]]}}, 400, "Missing named input: b in 'inputs' object."),
        (
            "no_input",
            {"signature_name": "constant", "instances": [1]},
            400,
            "Failed to get input map for signature: constant",
        ),
        ("scalar_output", {"instances": [1]}, 400, "Tensor name: mean has no shape information "),
        ("nobody", {"instances": [1]}, 404, "Servable not found for request: Latest(nobody)"),
        ("hpt/versions/9", {"instances": [1]}, 404, "Servable not found for request: Specific(hpt, 9)"),
        ("hpt/labels/none", {"instances": [1]}, 400, "Unrecognized servable version label: none"),
        ("nobody/labels/none", {"instances": [1]}, 400, "Unrecognized servable version label: none"),
        # what is wrong first is told first: JSON, then the model, then the signature, then the values
        ("nobody", b"{", 400, "JSON Parse error: Missing a name for object member. at offset: 1"),
        ("nobody", {"signature_name": "other"}, 404, "Servable not found for request: Latest(nobody)"),
        ("hpt", {"signature_name": "o"}, 400, 'Serving signature name: "o" not found in signature def'),
    ],
)
def test_what_predict_refuses(server: Server, model: str, body: Any, status: int, error: str) -> None:
    reply = ask(server, "POST", f"/v1/models/{model}:predict", body)
    assert (reply.status, reply.error) == (status, error)


def test_an_error_of_the_graph_has_its_code_and_text(server: Server) -> None:
    reply = ask(server, "POST", "/v1/models/raising:predict", {"instances": [1, -1]})
    assert reply.status == 400
    assert "x must not be negative" in reply.error
    reply = ask(server, "POST", "/v1/models/cnn:predict", {"instances": [[1.0, 2.0]]})
    assert reply.status == 400


def test_a_request_that_takes_longer_than_the_timeout(models: Models) -> None:
    with tfs_notebook.serve(str(models.path("slow")), rest_api_port=0, port=0, rest_api_timeout_in_ms=200) as server:
        started = time.monotonic()
        reply = ask(server, "POST", "/v1/models/model:predict", {"inputs": 20.0})
        assert (reply.status, reply.error) == (504, "Timed out waiting for notification")
        assert time.monotonic() - started < 10


# URLs


@pytest.mark.parametrize(
    ("method", "path", "status", "error"),
    [
        ("GET", "/v1/models", 400, "Missing model name in request."),
        ("GET", "/v1/models/", 400, "Malformed request: GET /v1/models/"),
        ("GET", "/v1/models/hpt/", 400, "Malformed request: GET /v1/models/hpt/"),
        ("GET", "/v1/models/hpt?x=1", 404, "Could not find any versions of model hpt?x=1"),
        ("GET", "/v1/models/hpt/metadata?x", 400, "Malformed request: GET /v1/models/hpt/metadata?x"),
        ("GET", "/v1/models/metadata", 404, "Could not find any versions of model metadata"),
        ("GET", "/v1/models/versions/3", 400, "Missing model name in request."),
        ("GET", "/v1/models/hpt/versions/9", 404, "Could not find version 9 of model hpt"),
        ("GET", "/v1/models/nobody", 404, "Could not find any versions of model nobody"),
        ("GET", "/v1/models/nobody/metadata", 404, "Servable not found for request: Latest(nobody)"),
        ("GET", "/v1/models/hpt/labels/none/metadata", 400, "Unrecognized servable version label: none"),
        ("GET", "/v1/models/hpt:predict", 400, "Malformed request: GET /v1/models/hpt:predict"),
        ("POST", "/v1/models/hpt:predict?x=1", 400, "Malformed request: POST /v1/models/hpt:predict?x=1"),
        ("POST", "/v1/models/hpt:predict/", 400, "Malformed request: POST /v1/models/hpt:predict/"),
        ("POST", "/v1/models/hpt:PREDICT", 400, "Malformed request: POST /v1/models/hpt:PREDICT"),
        ("POST", "/v1/models/hpt:multiInference", 400, "Malformed request: POST /v1/models/hpt:multiInference"),
        ("POST", "/v1/models/hpt/metadata", 400, "Malformed request: POST /v1/models/hpt/metadata"),
        (
            "POST",
            "/v1/models/hpt/versions/1/labels/x:predict",
            400,
            "Malformed request: POST /v1/models/hpt/versions/1/labels/x:predict",
        ),
        (
            "POST",
            "/v1/models/hpt/versions/18446744073709551615:predict",
            400,
            "Failed to convert version: 18446744073709551615 to numeric.",
        ),
        ("PUT", "/v1/models/hpt", 400, "Malformed request: PUT /v1/models/hpt"),
        ("DELETE", "/v1/models/hpt", 400, "Malformed request: DELETE /v1/models/hpt"),
        ("PATCH", "/v1/models/hpt:predict", 400, "Malformed request: PATCH /v1/models/hpt:predict"),
    ],
)
def test_urls_that_are_refused(server: Server, method: str, path: str, status: int, error: str) -> None:
    reply = ask(server, method, path, {"instances": [1]} if method == "POST" else None)
    assert (reply.status, reply.error) == (status, error)


def test_head_is_malformed_and_without_a_body(server: Server) -> None:
    reply = ask(server, "HEAD", "/v1/models/hpt")
    assert (reply.status, reply.body) == (400, b"")
    assert reply.headers["Content-Type"] == "application/json"


def test_urls_in_any_case_but_names_in_theirs(server: Server) -> None:
    assert ask(server, "POST", "/V1/Models/hpt/Versions/1:predict", {"instances": [1]}).json == {"predictions": [2.5]}
    assert ask(server, "POST", "/V1/MODELS/HPT:predict", {"instances": [1]}).status == 404
    assert "model_version_status" in ask(server, "GET", "/v1/models/hpt/METADATA").json


def test_a_proxys_absolute_url(server: Server) -> None:
    assert ask(server, "GET", f"{server.rest_url}/v1/models/cnn").status == 200
    assert ask(server, "GET", f"{server.rest_url}/healthz").status == 404


@pytest.mark.parametrize("path", ["/", "/healthz", "/metrics", "/v2/models/hpt", "/v1"])
def test_everything_else_is_libevents_page(server: Server, path: str) -> None:
    reply = ask(server, "GET", path)
    assert reply.status == 404
    assert reply.headers["Content-Type"] == "text/html"
    assert reply.headers["Connection"] == "close"
    assert reply.body == (
        b"<HTML><HEAD>\n<TITLE>404 Not Found</TITLE>\n</HEAD><BODY>\n<H1>Not Found</H1>\n</BODY></HTML>\n"
    )


# Status and metadata


def test_status(server: Server) -> None:
    fine = {"error_code": "OK", "error_message": ""}
    first = {"version": "1", "state": "AVAILABLE", "status": fine}
    second = {"version": "2", "state": "AVAILABLE", "status": fine}
    reply = ask(server, "GET", "/v1/models/hpt")
    assert (reply.status, reply.json) == (200, {"model_version_status": [second, first]})
    assert reply.body.startswith(b'{\n "model_version_status": [\n  {\n')
    assert reply.body.endswith(b"\n}\n")
    assert ask(server, "GET", "/v1/models/hpt/versions/1").json == {"model_version_status": [first]}
    assert ask(server, "GET", "/v1/models/hpt/labels/any").json == {"model_version_status": [second, first]}


def test_metadata(server: Server) -> None:
    reply = ask(server, "GET", "/v1/models/hpt/labels/stable/metadata")
    assert reply.status == 200
    assert reply.json["model_spec"] == {"name": "hpt", "signature_name": "", "version": "1"}
    signatures = reply.json["metadata"]["signature_def"]["signature_def"]
    vector = {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False}
    assert signatures["serving_default"] == {
        "inputs": {"x": {"dtype": "DT_FLOAT", "tensor_shape": vector, "name": "serving_default_x:0"}},
        "outputs": {"y": {"dtype": "DT_FLOAT", "tensor_shape": vector, "name": "StatefulPartitionedCall:0"}},
        "method_name": "tensorflow/serving/predict",
        "defaults": {},
    }
    unknown = {"dtype": "DT_INVALID", "name": "NoOp", "tensor_shape": {"dim": [], "unknown_rank": True}}
    assert signatures["__saved_model_init_op"]["outputs"] == {"__saved_model_init_op": unknown}
    assert ask(server, "GET", "/v1/models/hpt/metadata").json["model_spec"]["version"] == "2"


# OPTIONS and CORS


def test_options_never_reach_the_api(server: Server) -> None:
    known = ask(server, "OPTIONS", "/v1/models/hpt", headers={"Origin": "https://example.com"})
    assert (known.status, known.body) == (200, b"")
    for headers in ({}, {"Origin": "null"}):
        reply = ask(server, "OPTIONS", "/v1/models/hpt", headers=headers)
        assert (reply.status, reply.body) == (400, b"")


def test_cors_headers_only_when_asked_for(server: Server, models: Models) -> None:
    cors = {
        "Access-Control-Allow-Origin": "*",
        "Access-Control-Allow-Methods": "POST, GET",
        "Access-Control-Allow-Headers": "Content-Type",
    }
    assert not cors.keys() & ask(server, "GET", "/v1/models/hpt").headers.keys()
    path = str(models.path("half_plus_two"))
    with tfs_notebook.serve(path, rest_api_port=0, port=0, token="s", rest_api_enable_cors_support=True) as other:
        token = {"Authorization": "s"}
        for reply in (
            ask(other, "GET", "/v1/models/model", headers=token),
            ask(other, "GET", "/v1/models/nobody", headers=token),
            ask(other, "GET", "/v1/models/model"),
            ask(other, "OPTIONS", "/v1/models/model:predict", headers={"Origin": "http://a"}),
        ):
            assert cors.items() <= dict(reply.headers).items()
        preflight = ask(other, "OPTIONS", "/v1/models/model:predict", headers={"Origin": "http://a"})
        assert preflight.status == 200


# Transport


def test_a_connection_is_kept_for_the_next_request(server: Server) -> None:
    with closing(connect(server)) as connection:
        ask_on(connection, "POST", "/v1/models/hpt:predict", {"instances": [1]})
        port = connection.sock.getsockname()[1]
        assert ask_on(connection, "POST", "/v1/models/hpt:predict", b"{").status == 400
        assert ask_on(connection, "POST", "/v1/models/hpt:predict", {"instances": [2]}).json == {"predictions": [6]}
        assert connection.sock.getsockname()[1] == port
        reply = ask_on(connection, "GET", "/v1/models/hpt", headers={"Connection": "close"})
        assert reply.headers["Connection"] == "close"


def raw(server: Server) -> socket.socket:
    connection = connect(server)
    return socket.create_connection((connection.host, connection.port), timeout=PATIENCE)


def read_all(sock: socket.socket) -> bytes:
    pieces = []
    while piece := sock.recv(65536):
        pieces.append(piece)
    return b"".join(pieces)


def test_http_1_0(server: Server) -> None:
    with raw(server) as sock:
        sock.sendall(b"GET /v1/models/cnn HTTP/1.0\r\n\r\n")
        assert read_all(sock).startswith(b"HTTP/1.0 200 OK\r\n")


def test_chunked_bodies(server: Server) -> None:
    pieces = (b'{"insta', b'nces": [1, ', b"2]}")
    with closing(connect(server)) as connection:
        connection.request("POST", "/v1/models/hpt:predict", iter(pieces), encode_chunked=True)
        assert json.load(connection.getresponse()) == {"predictions": [3, 6]}


def test_the_content_type_is_ignored(server: Server) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    assert ask(server, "POST", "/v1/models/hpt:predict", {"instances": [1]}, headers).status == 200


def test_gzip_bodies(server: Server) -> None:
    headers = {"Content-Encoding": "gzip"}
    body = gzip.compress(json.dumps({"instances": [1, 2]}).encode())
    assert ask(server, "POST", "/v1/models/hpt:predict", body, headers).json == {"predictions": [3, 6]}
    for broken in (body[:-9], b"no gzip"):
        reply = ask(server, "POST", "/v1/models/hpt:predict", broken, headers)
        assert (reply.status, reply.error) == (400, "JSON Parse error: The document is empty")
    reply = ask(server, "POST", "/v1/models/hpt:predict", gzip.compress(b" " * (3 << 20)), headers)
    assert reply.status == 413


def test_expect_continue(server: Server) -> None:
    with raw(server) as sock:
        head = b"POST /v1/models/hpt:predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\nConnection: close\r\n"
        body = b'{"instances": [1]}'
        sock.sendall(head % len(body) + b"Expect: 100-continue\r\n\r\n")
        assert sock.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(body)
        reply = read_all(sock)
        assert reply.startswith(b"HTTP/1.1 200 OK\r\n")
        assert reply.endswith(b'{"predictions":[3.0]}')


def test_a_body_that_announces_a_gigabyte_is_refused_before_it_is_sent(server: Server) -> None:
    with raw(server) as sock:
        head = b"POST /v1/models/hpt:predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1073741824\r\n"
        sock.sendall(head + b"Expect: 100-continue\r\n\r\n")
        reply = sock.recv(65536)
    assert reply.startswith(b"HTTP/1.1 413 ")
    assert b"Connection: close\r\n" in reply
    assert json.loads(reply.partition(b"\r\n\r\n")[2]) == {
        "error": "Request body of 1073741824 bytes is larger than 2 MiB; --rest_api_max_body_mb sets the limit"
    }


def test_a_chunked_body_beyond_the_limit(server: Server) -> None:
    with closing(connect(server)) as connection:
        pieces = (b" " * 65536 for _ in range(48))
        connection.request("POST", "/v1/models/hpt:predict", pieces, encode_chunked=True)
        response = connection.getresponse()
        assert response.status == 413
        assert "2 MiB; --rest_api_max_body_mb" in json.load(response)["error"]


def test_a_body_just_below_the_limit(server: Server) -> None:
    body = json.dumps({"instances": [1.0]}).encode().ljust(2 << 20)
    assert ask(server, "POST", "/v1/models/hpt:predict", body).json == {"predictions": [3.0]}


def test_a_body_that_would_fill_the_memory_is_refused(models: Models) -> None:
    with tfs_notebook.serve(str(models.path("half_plus_two")), rest_api_port=0, port=0) as server:
        reply = ask(server, "POST", "/v1/models/model:predict", b'{"instances": ' + b"[" * (20 << 20))
    assert reply.status == 429
    assert reply.error.startswith("Reading this JSON would take about ")


@pytest.mark.parametrize("dimensions", [31, 33, 40])
def test_more_dimensions_than_tensorflow_survives(server: Server, dimensions: int) -> None:
    body = b'{"inputs": %s"a"%s}' % (b"[" * dimensions, b"]" * dimensions)
    for model in ("bytes_image", "vocabulary"):
        reply = ask(server, "POST", f"/v1/models/{model}:predict", body)
        assert reply.status == 400
        assert "may have at most 30 dimensions" in reply.error


def test_a_small_request_for_much_work_holds_up_nobody(models: Models) -> None:
    path = str(models.path("sized"))
    with tfs_notebook.serve(path, rest_api_port=0, port=0, rest_api_timeout_in_ms=300) as server:
        for _ in range(40):
            assert ask(server, "POST", "/v1/models/model:predict", {"inputs": 10}).status == 200
        replies: list[Any] = []
        body = {"inputs": 300_000_000}
        asking = threading.Thread(target=lambda: replies.append(ask(server, "POST", "/v1/models/model:predict", body)))
        asking.start()
        while asking.is_alive():
            assert ask(server, "GET", "/v1/models/model").status == 200
        assert replies[0].status == 504, "a call on the loop's thread could not be ended"


def test_json_nested_half_a_million_deep(server: Server) -> None:
    depth = 500_000
    nested = b"[" * depth + b"]" * depth
    replies = []
    body = b'{"ignored": %s, "instances": [1]}' % nested
    asking = threading.Thread(target=lambda: replies.append(ask(server, "POST", "/v1/models/hpt:predict", body)))
    asking.start()
    served = 0
    while asking.is_alive():
        served += ask(server, "GET", "/v1/models/hpt").status == 200
    assert replies[0].json == {"predictions": [3.0]}
    assert served > 10, "others had to wait"
    reply = ask(server, "POST", "/v1/models/hpt:predict", b'{"instances": %s}' % nested)
    assert reply.status == 400


def test_long_urls_and_headers(server: Server) -> None:
    name = "m" * 20_000
    reply = ask(server, "GET", f"/v1/models/{name}", headers={"Cookie": "c" * 20_000})
    assert (reply.status, reply.error) == (404, f"Could not find any versions of model {name}")
    digits = "9" * 5000
    reply = ask(server, "GET", f"/v1/models/hpt/versions/{digits}")
    assert (reply.status, reply.error) == (400, f"Failed to convert version: {digits} to numeric.")


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01 no http\r\n\r\n",
        b"GET /v1/models/hpt HTTP/1.1\r\n" + b"A: b\r\n" * 500 + b"\r\n",
        b"GET /v1/models/hpt HTTP/1.1\r\nHost: localhost\r\nA: " + b"a" * 100_000 + b"\r\n\r\n",
    ],
    ids=["no-http", "many-headers", "long-header"],
)
def test_what_is_no_http_is_answered_and_does_not_disturb(
    server: Server, capfd: pytest.CaptureFixture[str], sent: bytes
) -> None:
    with raw(server) as sock:
        sock.sendall(sent)
        reply = read_all(sock)
        assert reply.startswith(b"HTTP/1.")
        assert b"Content-Type: application/json\r\n" in reply
        assert json.loads(reply.partition(b"\r\n\r\n")[2])["error"]
    assert ask(server, "GET", "/v1/models/cnn").status == 200
    assert capfd.readouterr().err == ""


def test_a_dripping_client_does_not_hold_up_others(server: Server) -> None:
    body = b'{"instances": [1, 2]}'
    with raw(server) as sock:
        head = b"POST /v1/models/hpt:predict HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        sock.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body))
        for byte in body:
            assert ask(server, "POST", "/v1/models/hpt:predict", {"instances": [1]}).status == 200
            sock.sendall(bytes([byte]))
        assert read_all(sock).endswith(b'{"predictions":[3.0,6.0]}')


def test_a_slow_model_does_not_hold_up_others(server: Server) -> None:
    answers = []
    slow = threading.Thread(
        target=lambda: answers.append(ask(server, "POST", "/v1/models/slow:predict", {"inputs": 1.5}).status)
    )
    slow.start()
    served = 0
    while slow.is_alive():
        assert ask(server, "POST", "/v1/models/hpt:predict", {"instances": [1]}).status == 200
        served += 1
    assert answers == [200]
    assert served > 20


def test_clients_that_leave_in_the_middle_of_a_body_or_an_answer(server: Server) -> None:
    head = b"POST /v1/models/slow:predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 15\r\n\r\n"
    for sent in (head, head + b'{"inputs"', head + b'{"inputs": 0.2}'):
        with raw(server) as sock:
            sock.sendall(sent)
    assert ask(server, "POST", "/v1/models/hpt:predict", {"instances": [1]}).status == 200
    loaded = server._core.manager.registry.serving["slow"][1]
    until(lambda: loaded._pins == 0, "a request that nobody waits for still has the model pinned")


def test_what_waits_for_a_thread_is_not_run_for_a_client_that_has_gone(models: Models) -> None:
    text = config_text({"gated": models.path("gated")})
    with tfs_notebook.serve(config=text, rest_api_port=0, port=0, rest_api_num_threads=1) as server:
        loaded = server._core.manager.registry.serving["gated"][1]
        head = b"POST /v1/models/gated:predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 18\r\n\r\n"
        with raw(server) as first, raw(server) as third:
            first.sendall(head + b'{"instances": [1]}')
            until(lambda: loaded._pins == 1)
            with raw(server) as second:
                second.sendall(head + b'{"instances": [2]}')
                until(lambda: loaded._pins == 2)
            until(lambda: loaded._pins == 1, "who has gone still waits for a thread")
            third.sendall(head + b'{"instances": [3]}')
            for sock, answer in ((first, b"[1.0"), (third, b"[3.0")):
                server.predict("gated", [0.0], signature_name="let_in")
                assert answer in sock.recv(4096)
        assert loaded.stats["serving_default"].summary().count == 2


# Who may ask


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1", "127.0.0.1:8501", "[::1]", "[::1]:8501"])
def test_hosts_that_are_this_machine(server: Server, host: str) -> None:
    assert ask(server, "GET", "/v1/models/cnn", headers={"Host": host}).status == 200


@pytest.mark.parametrize("path", ["/v1/models/cnn", "/"])
@pytest.mark.parametrize("host", ["attacker.example", "attacker.example:8501", "localhost.attacker.example"])
def test_a_name_that_was_made_to_resolve_to_this_machine(server: Server, host: str, path: str) -> None:
    name = host.partition(":")[0]
    reply = ask(server, "GET", path, headers={"Host": host})
    assert reply.status == 403
    assert reply.error == f"Host {name} is not this server's; --allowed_hosts={name} admits it"


@pytest.mark.parametrize("host", ["", ":8501"])
def test_an_empty_host(server: Server, host: str) -> None:
    reply = ask(server, "GET", "/v1/models/cnn", headers={"Host": host})
    assert reply.status == 403
    assert reply.error == "The Host header is empty; localhost, or a name in --allowed_hosts, is this server's"


def test_allowed_hosts(models: Models) -> None:
    path = str(models.path("half_plus_two"))
    with tfs_notebook.serve(path, rest_api_port=0, port=0, allowed_hosts="Lab.example, other") as server:
        for host in ("lab.example:8501", "OTHER", "localhost"):
            assert ask(server, "GET", "/v1/models/model", headers={"Host": host}).status == 200
        assert ask(server, "GET", "/v1/models/model", headers={"Host": "third"}).status == 403


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Authorization": "sécret"}, 200),
        ({"authorization": "Bearer sécret"}, 200),
        ({"Authorization": "bearer sécret"}, 200),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": "sécre"}, 401),
        ({"Authorization": ""}, 401),
        ({}, 401),
    ],
)
def test_a_token(with_token: Server, headers: Mapping[str, str], status: int) -> None:
    sent: dict[str, Any] = {name: value.encode() for name, value in headers.items()}
    for method, path in (("GET", "/v1/models/model"), ("POST", "/v1/models/model:predict")):
        reply = ask(with_token, method, path, {"instances": [1]} if method == "POST" else None, sent)
        assert reply.status == status
    if status == 401:
        assert reply.error == "Missing or wrong token in the header 'authorization'"
        assert reply.headers["WWW-Authenticate"] == "Bearer"


@pytest.fixture(scope="module")
def with_token(models: Models) -> Iterator[Server]:
    path = str(models.path("half_plus_two"))
    with tfs_notebook.serve(path, rest_api_port=0, port=0, token="sécret") as server:
        yield server


# The unexpected


@pytest.mark.parametrize(
    ("exception", "status", "error"),
    [
        (MemoryError("1 TiB"), 429, "Not enough memory for this request"),
        (ZeroDivisionError("oops"), 500, "ZeroDivisionError: oops"),
    ],
)
def test_what_nobody_expected_is_an_answer_too(
    server: Server, monkeypatch: pytest.MonkeyPatch, exception: Exception, status: int, error: str
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise exception

    monkeypatch.setattr("tfs_notebook.api.inference.Call.predict", fail)
    for body in ({"instances": [1]}, json.dumps({"instances": [1]}).encode().ljust((1 << 20) + 1)):
        reply = ask(server, "POST", "/v1/models/hpt:predict", body)
        assert (reply.status, reply.error) == (status, error)
    monkeypatch.undo()
    assert ask(server, "POST", "/v1/models/hpt:predict", {"instances": [1]}).status == 200


def test_stopping_answers_what_is_under_way_and_ends_the_connections(models: Models) -> None:
    before = serving_threads()
    server = tfs_notebook.serve(str(models.path("slow")), rest_api_port=0, port=0)
    with closing(connect(server)) as connection, closing(connect(server)) as idle:
        assert ask_on(idle, "GET", "/v1/models/model").status == 200
        connection.request("POST", "/v1/models/model:predict", b'{"inputs": 1.0}')
        loaded = server._core.manager.registry.serving["model"][1]
        until(lambda: loaded._pins > 0)
        server.stop()
        response = connection.getresponse()
        assert response.headers["Connection"] == "close"
        assert json.load(response)["outputs"] >= 1.0
        with pytest.raises(OSError, match=r"refused|reset|closed"):
            ask_on(idle, "GET", "/v1/models/model")
    until(lambda: serving_threads() == before)


# Pages of other sites


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site", "Content-Type": "text/plain"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://localhost:8888"}, 200),
        ({"Origin": "https://hub.example", "Sec-Fetch-Site": "same-origin"}, 200),
        ({}, 200),
    ],
)
def test_a_page_of_another_site_may_not_ask(server: Server, headers: dict[str, str], status: int) -> None:
    reply = ask(server, "POST", "/v1/models/hpt:predict", {"instances": [1.0]}, headers)
    assert reply.status == status
    assert status == 200 or f"A page of {headers['Origin']} may not ask this server" in reply.error


def test_a_page_of_another_site_may_not_even_look(server: Server) -> None:
    """An image or a script of a page is asked for without an Origin."""
    reply = ask(server, "GET", "/v1/models/hpt/metadata", headers={"Sec-Fetch-Site": "cross-site"})
    assert (reply.status, "A page of another site may not ask" in reply.error) == (403, True)
    for site in ("same-origin", "same-site", "none"):
        assert ask(server, "GET", "/v1/models/hpt/metadata", headers={"Sec-Fetch-Site": site}).status == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_a_page_of_another_site_may_not_ask_on_every_interface_either(models: Models, host: str) -> None:
    """There any name may be this machine's, so a page of its own is one of the host that was asked."""
    path = str(models.path("half_plus_two"))
    with tfs_notebook.serve(path, host=host, allow_without_token=True, rest_api_port=0, port=0) as server:
        for headers, status in (
            ({"Origin": "http://evil.example"}, 403),
            ({"Origin": "null"}, 403),
            ({"Sec-Fetch-Site": "cross-site"}, 403),
            ({"Origin": "http://evil.example", "Sec-Fetch-Site": "same-site"}, 200),
            ({"Host": "box.example:8501", "Origin": "http://box.example:8888"}, 200),
            ({"Host": "box.example:8501"}, 200),
        ):
            assert ask(server, "GET", "/v1/models/model", headers=headers).status == status, headers


@pytest.mark.parametrize("options", [{"token": "t"}, {"rest_api_enable_cors_support": True}])
def test_a_page_of_another_site_may_ask_when_that_is_wanted(models: Models, options: dict[str, Any]) -> None:
    headers = {"Origin": "http://other.example", "Sec-Fetch-Site": "cross-site", "Authorization": "t"}
    with tfs_notebook.serve(str(models.path("half_plus_two")), rest_api_port=0, port=0, **options) as server:
        assert ask(server, "POST", "/v1/models/model:predict", {"instances": [1.0]}, headers).status == 200


# Connections


def test_connections_on_which_nothing_is_asked_make_room(models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever opens very many keeps nobody out; half a head is nothing asked."""
    monkeypatch.setattr(http_server, "max_connections", lambda: 20)
    with (
        tfs_notebook.serve(str(models.path("half_plus_two")), rest_api_port=0, port=0) as server,
        ExitStack() as stack,
    ):
        sockets = []
        for _ in range(20):
            sockets.append(stack.enter_context(raw(server)))
            sockets[-1].sendall(b"POST /v1/models/model:predict HTTP/1.1\r\n")
        until(lambda: connections(server) == 20)
        assert ask(server, "GET", "/v1/models/model").status == 200
        assert sockets[0].recv(1) == b"", "the one that has been silent for longest goes"
        sockets[-1].sendall(b"Content-Length: 18\r\n\r\n" + b'{"instances": [1]}')
        assert sockets[-1].recv(4096).startswith(b"HTTP/1.1 200 OK")


def test_more_connections_than_the_kernel_has_files_for(models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "max_connections", lambda: 3)
    text = config_text({"gated": models.path("gated")})
    with tfs_notebook.serve(config=text, rest_api_port=0, port=0) as server, ExitStack() as stack:
        loaded = server._core.manager.registry.serving["gated"][1]
        sockets = [stack.enter_context(raw(server)) for _ in range(3)]
        for sock in sockets:
            sock.sendall(
                b"POST /v1/models/gated:predict HTTP/1.1\r\nContent-Length: 18\r\n\r\n" + b'{"instances": [1]}'
            )
        until(lambda: loaded._pins == 3)
        refused = ask(server, "GET", "/v1/models/gated")
        assert (refused.status, refused.error) == (503, "Too many connections")
        for _ in sockets:
            server.predict("gated", [0.0], signature_name="let_in")
        for sock in sockets:
            assert sock.recv(4096).startswith(b"HTTP/1.1 200 OK")
        assert ask(server, "GET", "/v1/models/gated").status == 200


def connections(server: Server) -> int:
    return len(server._endpoints._rest._http.connections)


def test_a_client_that_does_not_read_is_not_sent_more(server: Server) -> None:
    """It asks for 60 MB in small replies; what does not fit into the operating system's buffers is not made."""
    asked = 20_000
    counted = server._endpoints._rest._http
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", int(server.rest_url.rpartition(":")[2])))
        before = counted.answered
        requests = b"GET /v1/models/dtypes/metadata HTTP/1.1\r\nHost: localhost\r\n\r\n" * asked
        sending = threading.Thread(target=_ignore_broken_pipe, args=(sock, requests))
        sending.start()
        until(lambda: counted.answered > before)
        others = 0

        def rests() -> bool:
            """Whether nothing more is made for it while others are answered."""
            nonlocal others
            made = counted.answered - others
            for _ in range(20):
                assert ask(server, "GET", "/v1/models/cnn").status == 200
            others += 20
            return counted.answered - others == made

        until(rests)
        assert counted.answered - others - before < asked / 2
    sending.join()


def _ignore_broken_pipe(sock: socket.socket, data: bytes) -> None:
    with suppress(OSError):
        sock.sendall(data)


def test_a_long_reply_leaves_before_the_server_has_stopped(models: Models) -> None:
    server = tfs_notebook.serve(str(models.path("wide")), rest_api_port=0, port=0)
    body = json.dumps({"instances": [0.123456] * 200}).encode()
    with raw(server) as sock:
        head = b"POST /v1/models/model:predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
        sock.sendall(head % len(body) + body)
        reply = sock.recv(1000)  # it has begun
        rest = server._endpoints._rest
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        until(lambda: not rest.listening)
        assert len(rest._http.connections) == 1  # most of it is still to leave
        reply += read_all(sock)
        stopping.join()
    head, _, sent = reply.partition(b"\r\n\r\n")
    assert int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]) == len(sent) > 10 << 20
    assert len(json.loads(sent)["predictions"]) == 200


def test_words_of_libevent(server: Server, models: Models) -> None:
    for method, status in ((b"TRACE", b"501"), (b"CONNECT", b"501")):
        with raw(server) as sock:
            sock.sendall(method + b" /v1/models/hpt HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert read_all(sock).startswith(b"HTTP/1.1 " + status)
    with tfs_notebook.serve(str(models.path("slow")), rest_api_port=0, port=0, rest_api_timeout_in_ms=50) as timed:
        connection = connect(timed)
        with closing(connection):
            connection.request("POST", "/v1/models/model:predict", b'{"inputs": 5.0}')
            response = connection.getresponse()
            assert (response.status, response.reason) == (504, "Gateway Time-out")


def test_a_signature_that_is_an_operation(server: Server) -> None:
    body = {"signature_name": "__saved_model_init_op", "instances": [1.0]}
    reply = ask(server, "POST", "/v1/models/hpt:predict", body)
    assert (reply.status, reply.error) == (400, "Failed to get input map for signature: __saved_model_init_op")
