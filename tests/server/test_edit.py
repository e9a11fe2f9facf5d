"""A configuration that is edited while it is in force: the others' changes stay, and a refused edit changes nothing."""

from __future__ import annotations

import threading
from functools import partial
from pathlib import Path
from shutil import copytree
from typing import TYPE_CHECKING, Any

import pytest

import tfs_notebook
from tests.support.serving import ALL, ask, config_text, label, until
from tfs_notebook.engine.config import parse_config
from tfs_notebook.errors import Code, ServingError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tensorflow_serving.config.model_server_config_pb2 import ModelConfig, ModelServerConfig

    from tests.conftest import Models
    from tfs_notebook.server.server import Server

ANY: dict[str, Any] = {"rest_api_port": 0, "port": 0}


@pytest.fixture
def path(models: Models, tmp_path: Path) -> Path:
    """A base path with versions 1, 2 and 3."""
    for number in ("1", "2", "3"):
        copytree(models.path("half_plus_two") / "1", tmp_path / "m" / number)
    return tmp_path / "m"


@pytest.fixture
def server(path: Path) -> Iterator[Server]:
    with tfs_notebook.serve(config=config_text({"m": path}, {"m": ALL}), **ANY) as server:
        yield server


def model(config: ModelServerConfig, name: str = "m") -> ModelConfig:
    return next(each for each in config.model_config_list.config if each.name == name)


def label_two(config: ModelServerConfig) -> None:
    model(config).version_labels["two"] = 2


def add(config: ModelServerConfig, name: str, path: Path) -> None:
    config.model_config_list.config.add(name=name, base_path=str(path), model_platform="tensorflow")


def names(server: Server) -> list[str]:
    return [each.name for each in server.config.model_config_list.config]


def test_an_edit_is_in_force_when_it_returns(server: Server) -> None:
    server.edit(label_two)
    assert ask(server, "POST", "/v1/models/m/labels/two:predict", {"instances": [1.0]}).status == 200

    def only_three(config: ModelServerConfig) -> None:
        del model(config).version_labels["two"]
        model(config).model_version_policy.specific.versions.append(3)

    server.edit(only_three)
    assert ask(server, "GET", "/v1/models/m/versions/3").status == 200
    assert "specific" in server.config_text()
    assert ask(server, "POST", "/v1/models/m/versions/1:predict", {"instances": [1.0]}).status == 404


def test_an_edit_may_return_another_configuration(server: Server, path: Path) -> None:
    server.edit(lambda _: parse_config(config_text({"other": path})))
    assert names(server) == ["other"]


def test_the_text_is_what_was_configured(server: Server, path: Path, tmp_path: Path) -> None:
    logging = f"logging_config {{ log_collector_config {{ filename_prefix: '{tmp_path}/log' }} }}"
    text = config_text({"m": path}, {"m": f"{ALL} {label('three', 3)} {logging}"})
    server.reload(parse_config(text))
    assert parse_config(server.config_text()) == parse_config(text) == server.config


def test_a_mounted_path_keeps_its_spelling(path: Path) -> None:
    text = config_text({"m": Path("/models/m")})
    with tfs_notebook.serve(str(path.parent), mount="/models", config=text, **ANY) as server:
        server.edit(lambda config: add(config, "n", path))
        assert [each.base_path for each in server.config.model_config_list.config] == ["/models/m", str(path)]
        assert server.problems == []


def test_what_was_changed_in_a_copy_is_not_in_force(server: Server) -> None:
    label_two(server.config)
    assert "two" not in server.config_text()


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda config: model(config).version_labels.update({"nine": 9}), "label to version 9"),
        (lambda config: add(config, "relative", "models/m"), "absolute path"),
        (lambda config: add(config, "m", "/models/m"), "multiple times"),
    ],
    ids=["a label without its version", "a relative path", "a name twice"],
)
def test_a_refused_edit_changes_nothing(server: Server, edit: Any, message: str) -> None:
    before = server.config_text()
    with pytest.raises(ServingError, match=message):
        server.edit(edit)
    assert server.config_text() == before
    assert ask(server, "POST", "/v1/models/m:predict", {"instances": [1.0]}).status == 200


def test_an_edit_that_fails_changes_nothing_and_raises_its_own_error(server: Server) -> None:
    def fail(config: ModelServerConfig) -> None:
        label_two(config)
        raise LookupError("no such thing")

    with pytest.raises(LookupError, match="no such thing"):
        server.edit(fail)
    assert "two" not in server.config_text()
    server.edit(label_two)


def test_edits_of_several_threads_are_all_in_force(server: Server, path: Path) -> None:
    def add_some(prefix: str) -> None:
        for number in range(4):
            server.edit(partial(add, name=f"{prefix}{number}", path=path))

    threads = [threading.Thread(target=add_some, args=(prefix,)) for prefix in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(names(server)) == sorted(["m", *(f"{prefix}{number}" for prefix in "abc" for number in range(4))])
    assert server.problems == []


def test_edits_whose_labels_wait_for_their_versions_are_all_in_force(server: Server, path: Path) -> None:
    server.reload(parse_config(config_text({"m": path}, {"m": "model_version_policy { specific { versions: 3 } }"})))

    def load_and_label(config: ModelServerConfig, number: int) -> None:
        model(config).model_version_policy.specific.versions.append(number)
        model(config).version_labels[f"of_{number}"] = number

    threads = [
        threading.Thread(target=server.edit, args=(partial(load_and_label, number=number),)) for number in (1, 2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert dict(model(server.config).version_labels) == {"of_1": 1, "of_2": 2}
    assert server.problems == []


def test_an_edit_keeps_what_others_changed_before(server: Server, path: Path) -> None:
    server.reload(parse_config(config_text({"m": path, "n": path})))
    server.edit(lambda config: add(config, "o", path))
    assert names(server) == ["m", "n", "o"]


def test_a_file_that_is_followed_replaces_an_edit_when_its_text_changes(path: Path, tmp_path: Path) -> None:
    file = tmp_path / "model_config.pbtxt"
    file.write_text(config_text({"m": path}, {"m": ALL}))
    polled = {"model_config_file": str(file), "model_config_file_poll_wait_seconds": 1}
    with tfs_notebook.serve(**polled, **ANY) as server:
        server.edit(label_two)
        changed = file.with_suffix(".new")
        changed.write_text(config_text({"m": path, "n": path}, {"m": ALL}))
        assert "two" in server.config_text()
        changed.replace(file)
        until(lambda: names(server) == ["m", "n"])
        assert "two" not in server.config_text()
        server.undo()
        assert "two" in server.config_text()


def test_undo_goes_back_step_by_step_whoever_made_the_step(server: Server, path: Path) -> None:
    first = server.config_text()
    server.edit(label_two)
    second = server.config_text()
    server.reload(parse_config(config_text({"n": path})))
    server.undo()
    assert server.config_text() == second
    assert ask(server, "POST", "/v1/models/m/labels/two:predict", {"instances": [1.0]}).status == 200
    server.undo()
    assert server.config_text() == first
    with pytest.raises(ServingError, match="no earlier configuration") as refused:
        server.undo()
    assert refused.value.code is Code.FAILED_PRECONDITION
    assert server.config_text() == first


def test_a_refused_edit_is_no_step(server: Server) -> None:
    server.edit(label_two)
    with pytest.raises(ServingError):
        server.edit(lambda config: model(config).version_labels.update({"nine": 9}))
    server.undo()
    assert "two" not in server.config_text()


def test_a_server_that_has_stopped_is_not_edited(server: Server) -> None:
    server.stop()
    with pytest.raises(ServingError, match="has been stopped"):
        server.edit(label_two)
