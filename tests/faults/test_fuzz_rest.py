"""Whatever bytes come over REST: an answer that is not 500, and the next request is answered as ever."""

from __future__ import annotations

import gzip
import json
import re
import select
import socket
from contextlib import closing
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.faults.parts import FIXED, FUZZED, WAYS, assert_answers, serving_as
from tests.support.serving import PATIENCE, ask, connect

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Models
    from tfs_notebook.server.server import Server

GOOD = b'{"instances": [1.0, 2.0]}'


@pytest.fixture(scope="module", params=WAYS)
def server(
    request: pytest.FixtureRequest, models: Models, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    with serving_as(request.param, models, tmp_path_factory.mktemp("fuzz")) as server:
        yield server


numbers = st.integers(-(2**70), 2**70) | st.integers(-3, 3) | st.floats() | st.sampled_from([0.5, -1.0, 2**31, 1e39])
texts = st.text(max_size=6) | st.sampled_from(
    ["YQ==", "serving_default", "regress_x_to_y", "float", "a", "\0", "\ud800"]
)
leaves = numbers | texts | st.booleans() | st.none() | texts.map(lambda text: {"b64": text})
KEYS = (
    "x", "a", "b", "z", "words", "image_bytes", "keras_tensor", "b64", "instances", "inputs", "signature_name",
    "examples", "context", "",
)  # fmt: skip
HEADERS = (
    "Content-Type", "Accept-Encoding", "Content-Encoding", "Authorization", "Origin", "Cookie", "Range", "If-Match",
    "Upgrade", "Expect",
)  # fmt: skip
keys = st.sampled_from(KEYS)
values = st.recursive(leaves, lambda v: st.lists(v, max_size=4) | st.dictionaries(keys, v, max_size=3), max_leaves=12)
matrices = st.tuples(st.integers(0, 4), st.integers(0, 4)).flatmap(
    lambda shape: st.lists(
        st.lists(st.floats(-4, 4) | st.integers(-3, 300), min_size=shape[1], max_size=shape[1]),
        min_size=shape[0],
        max_size=shape[0],
    )
)
documents = st.one_of(
    st.dictionaries(keys, values, max_size=4),
    st.fixed_dictionaries({"instances": st.lists(leaves, max_size=4) | matrices | values}),
    st.fixed_dictionaries({"inputs": matrices | st.dictionaries(keys, values, max_size=3)}),
    st.fixed_dictionaries({"instances": matrices, "signature_name": texts}),
    st.fixed_dictionaries({"examples": st.lists(st.dictionaries(keys, values, max_size=3), max_size=3)}),
    st.fixed_dictionaries({"context": st.dictionaries(keys, leaves), "examples": st.just([{"x": 1.0}, {}])}),
    values,
)


@st.composite
def damaged(draw: st.DrawFn, sound: st.SearchStrategy[bytes]) -> bytes:
    """What `sound` gives with some bytes put in, taken out or exchanged."""
    body = draw(sound)
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(body)))
        piece = draw(st.binary(max_size=3) | st.sampled_from([b"[", b"]", b'"', b"1e999", b"NaN", b"\xff", b"\r\n"]))
        body = body[:start] + piece + body[start + draw(st.integers(0, 4)) :]
    return body


bodies = damaged(documents.map(lambda document: json.dumps(document).encode())) | st.binary(max_size=60)
actions = st.sampled_from(["predict", "classify", "regress"])
paths = st.builds("/v1/models/{}:{}".format, st.sampled_from(FUZZED), actions)
visible = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=12)
odd_paths = st.one_of(
    st.builds("/v1/models/{}{}:{}".format, st.sampled_from(FUZZED) | visible, visible, actions | visible),
    st.builds(
        "/v1/models/half_plus_two/{}/{}{}".format, st.sampled_from(["versions", "labels", "x"]), visible, visible
    ),
    visible.map("/{}".format),
    visible.map("/v1/{}".format),
    visible.map("/monitoring/{}".format),
    st.sampled_from(["/v1/models/half_plus_two/versions/" + "9" * 40, "/v1/models/half_plus_two/metadata", "*", "//"]),
    st.sampled_from(["/v1/models/%00:predict", "/v1/models/%ff/versions/1", "/readyz?%"]),
)
methods = st.sampled_from(["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE", "PRI", "post"])
headers = st.dictionaries(
    st.sampled_from(HEADERS),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=12)
    | st.sampled_from(["gzip", "gzip, br", "gzip;q=0", "http://localhost", "http://evil", "100-continue", "websocket"]),
    max_size=3,
)


def asked(server: Server, method: str, path: str, body: bytes, headers: dict[str, str]) -> int:
    """The status of one request, whose reply must come whole."""
    with closing(connect(server)) as connection:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        response.read()
    return response.status


def assert_fine(server: Server, status: int) -> None:
    assert status != 500
    assert_answers(server)


@FIXED
@given(path=paths, body=bodies)
def test_bodies(server: Server, path: str, body: bytes) -> None:
    assert_fine(server, asked(server, "POST", path, body, {}))


@FIXED
@given(method=methods, path=odd_paths, headers=headers)
def test_methods_paths_and_headers(server: Server, method: str, path: str, headers: dict[str, str]) -> None:
    assert_fine(server, asked(server, method, path, GOOD if method not in {"GET", "HEAD"} else b"", headers))


@FIXED
@given(path=paths, body=damaged(documents.map(lambda document: gzip.compress(json.dumps(document).encode()))))
def test_compressed_bodies(server: Server, path: str, body: bytes) -> None:
    assert_fine(server, asked(server, "POST", path, body, {"Content-Encoding": "gzip", "Accept-Encoding": "gzip"}))


def chunked(pieces: list[bytes]) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces if piece) + b"0\r\n\r\n"


chunks = st.lists(bodies, min_size=1, max_size=3).map(chunked) | st.just(chunked([GOOD[:7], GOOD[7:]]))
heads = st.sampled_from(
    [
        b"POST /v1/models/half_plus_two:predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST /v1/models/half_plus_two:predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 25\r\n\r\n",
        b"POST /v1/models/half_plus_two:predict HTTP/1.0\r\nContent-Length: 25\r\nConnection: close\r\n\r\n",
        b"POST /v1/models/cnn:predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"GET /v1/models/multi HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
        b"GET http://[/v1/models/multi HTTP/1.1\r\nHost: [\r\n\r\n",
    ]
)


@FIXED
@given(message=damaged(st.builds(bytes.__add__, heads, chunks | st.just(GOOD))))
def test_http_itself(server: Server, message: bytes) -> None:
    """What is no HTTP may end the connection, which has then been answered or was ended by the client."""
    address = urlsplit(server.rest_url or "")
    with socket.create_connection((address.hostname, address.port), timeout=PATIENCE) as connection:
        connection.sendall(message)
        select.select([connection], [], [], 0.1)  # who ends before the answer gets none; what is not whole waits
        connection.shutdown(socket.SHUT_WR)
        reply = b""
        try:
            while piece := connection.recv(1 << 16):
                reply += piece
        except ConnectionResetError:  # closed with bytes of ours unread
            pass
    assert reply == b"" or reply.startswith(b"HTTP/")
    assert re.search(rb"HTTP/\d\.\d 500", reply) is None
    assert_answers(server)


@FIXED
@given(messages=st.lists(st.tuples(paths, bodies), min_size=2, max_size=5))
def test_one_connection_for_all(server: Server, messages: list[tuple[str, bytes]]) -> None:
    """A refusal leaves the connection open for the next request."""
    with closing(connect(server)) as connection:
        connection.connect()
        kept: Any = connection.sock
        for path, body in messages:
            connection.request("POST", path, body)
            response = connection.getresponse()
            response.read()
            assert response.status != 500
        connection.request("POST", "/v1/models/half_plus_two:predict", GOOD)
        assert json.loads(connection.getresponse().read()) == {"predictions": [2.5, 3.0]}
        assert connection.sock is kept
    assert ask(server, "GET", "/v1/models/half_plus_two").status == 200
