"""`/livez` and `/readyz`, by whoever asks."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

import tfs_notebook
from tests.support.serving import ask, config_text, connect, until
from tfs_notebook.server import start

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.conftest import Models
    from tfs_notebook.server.server import Server

ANY: dict[str, Any] = {"rest_api_port": 0, "port": 0}


def probe(server: Server, path: str, **headers: str) -> tuple[int, Any]:
    reply = ask(server, "GET", path, headers=headers)
    assert reply.headers["Content-Type"] == "application/json"
    assert reply.headers["Cache-Control"] == "no-store"
    return reply.status, reply.json


@pytest.fixture
def half_ready(models: Models, tmp_path: Path) -> Mapping[str, Path]:
    """A model that comes up and one that has no version yet."""
    (tmp_path / "empty").mkdir()
    return {"good": models.path("half_plus_two"), "empty": tmp_path / "empty"}


def test_a_server_that_is_ready(models: Models) -> None:
    with tfs_notebook.serve(str(models.path("half_plus_two")), **ANY) as server:
        assert probe(server, "/livez") == (200, {"live": True})
        assert probe(server, "/readyz") == (200, {"ready": True})
        assert probe(server, "/readyz?verbose") == (200, {"ready": True})


def test_a_model_without_a_version(half_ready: Mapping[str, Path], models: Models) -> None:
    with tfs_notebook.serve(config=config_text(half_ready), **ANY) as server:
        assert probe(server, "/livez") == (200, {"live": True})
        status, told = probe(server, "/readyz")
        assert (status, told["ready"], list(told["models"])) == (503, False, ["empty"])
        assert str(half_ready["empty"]) in told["models"]["empty"]
        models.copy("half_plus_two", half_ready["empty"])
        until(lambda: probe(server, "/readyz") == (200, {"ready": True}))


def test_readiness_follows_the_configuration(half_ready: Mapping[str, Path]) -> None:
    with tfs_notebook.serve(config=config_text(half_ready), **ANY) as server:
        assert probe(server, "/readyz")[0] == 503
        start.change(server, "", config_text({"good": half_ready["good"]}), ANY)
        assert probe(server, "/readyz") == (200, {"ready": True})


def test_probes_without_the_token_are_told_the_status_alone(half_ready: Mapping[str, Path]) -> None:
    with tfs_notebook.serve(config=config_text(half_ready), token="secret", **ANY) as server:
        assert probe(server, "/livez") == (200, {"live": True})
        for headers in ({}, {"Authorization": "guess"}):
            assert probe(server, "/readyz", **headers) == (503, {"ready": False})
        status, told = probe(server, "/readyz", Authorization="Bearer secret")
        assert (status, list(told["models"])) == (503, ["empty"])
        assert ask(server, "GET", "/v1/models/good").status == 401


def test_probes_by_another_name_or_from_another_page(half_ready: Mapping[str, Path]) -> None:
    with tfs_notebook.serve(config=config_text(half_ready), **ANY) as server:
        for headers in ({"Host": "10.0.0.7:8501"}, {"Origin": "https://elsewhere.example"}):
            assert probe(server, "/livez", **headers) == (200, {"live": True})
            assert probe(server, "/readyz", **headers) == (503, {"ready": False})
            assert ask(server, "GET", "/v1/models/good", headers=headers).status == 403


def test_a_probe_without_a_body(models: Models) -> None:
    with (
        tfs_notebook.serve(str(models.path("half_plus_two")), **ANY) as server,
        closing(connect(server)) as connection,
    ):
        connection.request("HEAD", "/readyz")
        response = connection.getresponse()
        assert (response.status, response.read()) == (200, b"")


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/livez"), ("DELETE", "/readyz"), ("GET", "/livez/"), ("GET", "/LIVEZ"), ("GET", "/healthz")],
)
def test_what_is_no_probe(models: Models, method: str, path: str) -> None:
    with tfs_notebook.serve(str(models.path("half_plus_two")), **ANY) as server:
        assert ask(server, method, path).status == 404
