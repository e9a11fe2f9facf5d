"""Large replies, compressed for those who accept it."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import pytest

import tfs_notebook
from tests.support.serving import Reply, ask
from tfs_notebook.api.rest.gzip import accepts_gzip

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Models
    from tfs_notebook.server.server import Server

ANY: dict[str, Any] = {"rest_api_port": 0, "port": 0}
MANY = 20_000
PREDICT = "/v1/models/model:predict"


@pytest.fixture(scope="module")
def server(models: Models) -> Iterator[Server]:
    with tfs_notebook.serve(str(models.path("half_plus_two")), **ANY) as server:
        yield server


def predict(server: Server, count: int, accept: str | None = "gzip, deflate") -> Reply:
    headers = {} if accept is None else {"Accept-Encoding": accept}
    return ask(server, "POST", PREDICT, {"instances": list(range(count))}, headers)


def test_a_large_reply(server: Server) -> None:
    plain, reply = predict(server, MANY, "identity"), predict(server, MANY)
    assert (reply.status, reply.headers["Content-Type"]) == (200, "application/json")
    assert (reply.headers["Content-Encoding"], reply.headers["Vary"]) == ("gzip", "Accept-Encoding")
    assert gzip.decompress(reply.body) == plain.body
    assert int(reply.headers["Content-Length"]) == len(reply.body) < len(plain.body) / 2
    assert plain.json == {"predictions": [x / 2 + 2 for x in range(MANY)]}


@pytest.mark.parametrize("accept", [None, "", "identity", "deflate, br", "gzip;q=0", "*;q=0, br"])
def test_clients_that_do_not_accept_it(server: Server, accept: str | None) -> None:
    reply = predict(server, MANY, accept)
    assert "Content-Encoding" not in reply.headers
    assert len(reply.json["predictions"]) == MANY


def test_small_replies_and_errors_are_as_they_are(server: Server) -> None:
    for reply in (predict(server, 100), ask(server, "GET", "/v1/models/none", headers={"Accept-Encoding": "gzip"})):
        assert "Content-Encoding" not in reply.headers
        assert json.loads(reply.body)


def test_compression_both_ways(server: Server) -> None:
    body = gzip.compress(json.dumps({"instances": list(range(MANY))}).encode())
    reply = ask(server, "POST", PREDICT, body, {"Content-Encoding": "gzip", "Accept-Encoding": "gzip"})
    assert json.loads(gzip.decompress(reply.body)) == {"predictions": [x / 2 + 2 for x in range(MANY)]}


def test_with_cors(models: Models) -> None:
    path = str(models.path("half_plus_two"))
    with tfs_notebook.serve(path, rest_api_enable_cors_support=True, **ANY) as server:
        headers = predict(server, MANY).headers
        assert (headers["Content-Encoding"], headers["Access-Control-Allow-Origin"]) == ("gzip", "*")


@pytest.mark.parametrize(("from_kb", "count", "compressed"), [(0, MANY, False), (1, 500, True), (1, 50, False)])
def test_from_which_size(models: Models, from_kb: int, count: int, compressed: bool) -> None:
    with tfs_notebook.serve(str(models.path("half_plus_two")), rest_api_gzip_from_kb=from_kb, **ANY) as server:
        assert ("Content-Encoding" in predict(server, count).headers) == compressed


@pytest.mark.parametrize(
    ("headers", "accepted"),
    [
        (["gzip"], True),
        (["GZIP"], True),
        (["deflate, gzip;q=0.5"], True),
        (["br", "gzip"], True),
        (["*"], True),
        (["gzip; q=1"], True),
        ([], False),
        (["br;q=1.0, *;q=0"], False),
        (["*, gzip;q=0"], False),
        (["gzip; q=0.000"], False),
        (["gzipped"], False),
        ([";;;,,,q=0"], False),
    ],
)
def test_accept_encoding(headers: list[str], accepted: bool) -> None:
    assert accepts_gzip(", ".join(headers)) == accepted
