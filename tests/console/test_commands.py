"""The table of commands: every row can be run, and what is wrong with a question is told."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

import tfs_notebook
from tests.support.serving import ALL, config_text, label
from tfs_notebook.console.actions import Calls, Reply
from tfs_notebook.console.commands import COMMANDS, run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Models
    from tfs_notebook.server.server import Server


@pytest.fixture(scope="module")
def server(models: Models) -> Iterator[Server]:
    text = config_text({"half": models.path("half_plus_two"), "many": models.path("multi")}, {"half": ALL})
    with tfs_notebook.serve(config=text, port=0, rest_api_port=0, token="secret") as running:
        yield running


def value(server: Server, command: str, **arguments: str) -> Any:
    outcome = run(server, command, arguments)
    assert outcome.ok, outcome
    return outcome.value


def test_every_row_has_a_line_for_cells_and_one_for_scripts() -> None:
    assert len({command.id for command in COMMANDS}) == len(COMMANDS)
    for command in COMMANDS:
        assert command.magic.startswith("%tfs_" if "\n" not in command.magic else "%%tfs_")
        assert command.python.startswith(("server.", "tfs_notebook."))
        for argument in command.arguments:
            assert f"{{{argument.name}}}" in command.magic, f"{command.id}: {argument.name}"


def test_the_body_of_a_description_is_answered(server: Server) -> None:
    described: Calls = value(server, "describe", model="half", version="1")
    assert (described.path, described.token) == ("/v1/models/half/versions/1", "secret")
    (signature,) = (each for each in described.signatures if each.name == "serving_default")
    reply: Reply = value(server, "predict", model="half", version="1", body=signature.body)
    assert reply.status == 200, reply.body
    assert json.loads(reply.body) == {"predictions": [2.5]}
    assert reply.size == len(reply.body)
    assert 0 < reply.milliseconds < 60_000
    assert dict(reply.headers)["Content-Type"] == "application/json"


def test_every_signature_has_a_body_that_is_answered(server: Server) -> None:
    described: Calls = value(server, "describe", model="many")
    for signature in described.signatures:
        reply = value(server, "predict", model="many", signature=signature.name, body=signature.body)
        assert reply.status == 200, (signature, reply.body)


@pytest.mark.parametrize(
    ("command", "arguments", "code", "told"),
    [
        ("launch", {}, "INVALID_ARGUMENT", "There is no command 'launch'"),
        (["stop"], {}, "INVALID_ARGUMENT", "There is no command"),
        ("stop", {"now": "yes"}, "INVALID_ARGUMENT", "Stop takes nothing, not 'now'"),
        ("describe", {}, "INVALID_ARGUMENT", "needs model"),
        ("describe", {"model": 5}, "INVALID_ARGUMENT", "model is a text, not 5"),
        ("describe", {"model": "absent"}, "NOT_FOUND", "model absent"),
        ("describe", {"model": "half", "version": "9"}, "NOT_FOUND", "version 9 of model half"),
        ("describe", {"model": "half", "version": "-1"}, "INVALID_ARGUMENT", "'-1'"),
        ("describe", {"model": "half", "version": "1", "label": "a"}, "INVALID_ARGUMENT", "give one of them"),
        ("predict", {"model": "half", "body": "{"}, "INVALID_ARGUMENT", "no JSON"),
        ("predict", {"model": "half", "body": "[]"}, "INVALID_ARGUMENT", '{"instances": [...]}'),
        ("predict", "everything", "INVALID_ARGUMENT", "needs model"),
    ],
)
def test_what_is_wrong_is_told(server: Server, command: Any, arguments: Any, code: str, told: str) -> None:
    outcome = run(server, command, arguments)
    assert not outcome.ok
    assert outcome.code == code
    assert told in outcome.message


def test_labels_policies_and_the_way_back(models: Models) -> None:
    text = config_text({"half": models.path("half_plus_two")}, {"half": label("stable", 1)})
    with tfs_notebook.serve(config=text, port=0, rest_api_port=0) as server:
        before = value(server, "config")
        assert 'key: "stable"' in before
        value(server, "label", model="half", label="canary", version="1")
        reply = value(server, "predict", model="half", label="canary", body='{"instances": [1.0]}')
        assert json.loads(reply.body) == {"predictions": [2.5]}
        value(server, "policy", model="half", policy="all")
        assert "all {" in value(server, "config")
        value(server, "undo")
        value(server, "undo")
        assert value(server, "config") == before
        value(server, "apply", text=before.replace("stable", "steady"))
        assert dict(server.status().models[0].labels) == {"steady": 1}
        refused = run(server, "apply", {"text": before.replace("base_path", "base_paht")})
        assert (refused.ok, refused.code) == (False, "INVALID_ARGUMENT")
        assert "base_paht" in refused.message
        assert run(server, "apply", {"text": "# nothing"}).code == "INVALID_ARGUMENT"
        assert run(server, "label", {"model": "half", "label": "canary", "version": "9"}).code == "FAILED_PRECONDITION"
        assert dict(server.status().models[0].labels) == {"steady": 1}


def test_an_error_of_the_model_is_a_reply(server: Server) -> None:
    reply: Reply = value(server, "predict", model="half", body='{"instances": [["text"]]}')
    assert reply.status == 400
    assert "error" in json.loads(reply.body)


def test_a_name_is_quoted_in_the_path(models: Models) -> None:
    name = "a b/ü?"
    text = config_text({name: models.path("half_plus_two")}, {name: label("<b>", 1)})
    with tfs_notebook.serve(config=text, port=0, rest_api_port=0) as server:
        reply: Reply = value(server, "predict", model=name, body='{"instances": [1.0]}', label="<b>")
        assert json.loads(reply.body) == {"predictions": [2.5]}, reply
        assert run(server, "stop", {}).ok
        assert not server.running
