"""`%tfs_label`, `%tfs_policy`, `%tfs_config`, `%tfs_load`, `%tfs_unload` on a model with three versions."""

from __future__ import annotations

import subprocess
import sys
from shutil import copytree
from typing import TYPE_CHECKING

import pytest

import tfs_notebook
from tests.notebook.conftest import ANY, Notebook
from tests.notebook.test_completion import complete
from tests.support.saved_models import truncated_pb
from tests.support.serving import ask
from tfs_notebook.engine.config import parse_config
from tfs_notebook.errors import ServingError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Models
    from tfs_notebook.notebook.configuration.record import ConfigRecord


@pytest.fixture
def path(models: Models, tmp_path: Path) -> Path:
    """A base path with versions 1, 2 and 3 of a model m, beside that of a model n."""
    for number in ("1", "2", "3"):
        copytree(models.path("half_plus_two") / "1", tmp_path / "m" / number)
    copytree(models.path("half_plus_two") / "1", tmp_path / "n" / "7")
    return tmp_path / "m"


@pytest.fixture
def serving(notebook: Notebook, path: Path) -> Notebook:
    """A notebook that serves version 3 of m."""
    notebook.run(f"%tfs_serve {path} --model_name=m {ANY}")
    return notebook


def changed(record: ConfigRecord) -> list[str]:
    return [str(row) for row in record.rows]


def status_of(notebook: Notebook, path: str) -> int:
    assert notebook.server is not None
    return ask(notebook.server, "POST", f"/v1/models/{path}:predict", {"instances": [1.0]}).status


def test_a_canary_from_loading_to_unloading(serving: Notebook, path: Path) -> None:
    loaded = serving.run("%tfs_load m 2")
    assert changed(loaded) == ["m: policy latest 1 → specific 2, 3"]
    assert loaded.notes == ("New versions of m are no longer taken up by themselves: %tfs_policy m latest=1 does that",)
    assert changed(serving.run("%tfs_label m canary=3 stable=2")) == ["m: labels none → canary=3 stable=2"]
    assert [status_of(serving, f"m/labels/{label}") for label in ("canary", "stable")] == [200, 200]
    assert serving.refuse("%tfs_unload m 2") == (
        "FAILED_PRECONDITION: Version 2 of m stays, as the label 'stable' names it: %tfs_label m stable= takes the "
        "label away, %tfs_label m stable=3 moves it"
    )
    assert "the label 'stable' names it" in serving.refuse("%tfs_policy m latest=1")
    assert changed(serving.run("%tfs_label m canary= stable=3")) == ["m: labels canary=3 stable=2 → stable=3"]
    assert changed(serving.run("%tfs_unload m 2")) == ["m: policy specific 2, 3 → specific 3"]
    assert [status_of(serving, f"m/versions/{number}") for number in (2, 3)] == [404, 200]
    assert serving.refuse("%tfs_unload m 3") == (
        "FAILED_PRECONDITION: Version 3 is the only one of m: %tfs_unload m takes the model away"
    )


def test_policies(serving: Notebook, path: Path) -> None:
    assert changed(serving.run("%tfs_policy m")) == ["m: policy latest 1", "m: serves 3", "m: on disk 1, 2, 3"]
    assert changed(serving.run("%tfs_policy m latest=2")) == ["m: policy latest 1 → latest 2"]
    assert changed(serving.run("%tfs_policy m all")) == ["m: policy latest 2 → all"]
    assert "Version 1 of m serves already" in serving.refuse("%tfs_load m 1")
    assert changed(serving.run("%tfs_policy m specific=1,3")) == ["m: policy all → specific 1, 3"]
    assert [status_of(serving, f"m/versions/{number}") for number in (1, 2, 3)] == [200, 404, 200]
    assert serving.refuse("%tfs_policy m specific=1,4") == (
        f"NOT_FOUND: There is no version 4 of m: {path} holds 1, 2, 3"
    )
    for word in ("newest", "latest", "latest=1,2", "all=1"):
        assert (
            serving.refuse(f"%tfs_policy m {word}")
            == f"{word} is no policy: a policy is latest=N, all, or specific=1,2"
        )
    assert "'two' is no version" in serving.refuse("%tfs_policy m latest=two")
    assert "at least one version" in serving.refuse("%tfs_policy m latest=0")


def test_a_version_that_failed_is_loaded_again(serving: Notebook, path: Path) -> None:
    assert serving.server is not None
    good = (path / "2" / "saved_model.pb").read_bytes()
    truncated_pb(path / "2")
    failed = serving.run("%tfs_load m 2")
    assert "version: 2" in repr(failed) or "saved_model.pb" in repr(failed)
    assert [status_of(serving, f"m/versions/{number}") for number in (2, 3)] == [404, 200]
    (path / "2" / "saved_model.pb").write_bytes(good)
    assert serving.run("%tfs_load m 2").notes == ()
    assert [status_of(serving, f"m/versions/{number}") for number in (2, 3)] == [200, 200]


def test_a_label_that_cannot_be_given_says_how_it_can(serving: Notebook, path: Path) -> None:
    assert serving.refuse("%tfs_label m canary=3 stable=2") == (
        "FAILED_PRECONDITION: The label 'stable' cannot name version 2 of m, which does not serve (those that do: 3): "
        "%tfs_load m 2 loads it"
    )
    assert changed(serving.run("%tfs_label m")) == ["m: labels none"], "nothing has changed"
    assert serving.refuse("%tfs_label m stable=9") == f"NOT_FOUND: There is no version 9 of m: {path} holds 1, 2, 3"
    assert "There is no model 'mm'. Did you mean 'm'?" in serving.refuse("%tfs_label mm stable=3")
    serving.run("%tfs_label m stable=3")
    assert "m has no label 'stabel'. Did you mean 'stable'?" in serving.refuse("%tfs_label m stabel=")
    assert "no LABEL=VERSION" in serving.refuse("%tfs_label m stable")
    assert "'x' is no version" in serving.refuse("%tfs_label m stable=x")
    assert "give each label once" in serving.refuse("%tfs_label m stable=3 stable=2")


def test_models_come_and_go(serving: Notebook, path: Path) -> None:
    other = path.with_name("n")
    assert changed(serving.run(f"%tfs_load {other}")) == [f"n: model none → {other}, latest 1"]
    assert status_of(serving, "n/versions/7") == 200
    assert changed(serving.run(f"%tfs_load {other} --model_name=o")) == [f"o: model none → {other}, latest 1"]
    assert "a model 'n' already" in serving.refuse(f"%tfs_load {other}")
    assert "n is configured already: %tfs_load n VERSION" in serving.refuse("%tfs_load n")
    gone = serving.run("%tfs_unload n")
    assert changed(gone) == [f"n: model {other}, latest 1 → none"]
    assert gone.notes == ("%tfs_load n or %tfs_config --undo brings it back",)
    assert status_of(serving, "n") == 404
    serving.run("%tfs_load n")
    assert status_of(serving, "n") == 200
    assert "There is no model 'q'" in serving.refuse("%tfs_load q")
    assert f"There is no directory {path}s" in serving.refuse(f"%tfs_load {path}s")
    assert "Version 8 of n is not loaded; there are: 7" in serving.refuse("%tfs_unload n 8")


def test_the_configuration_is_shown_saved_and_undone(serving: Notebook, path: Path, tmp_path: Path) -> None:
    assert serving.server is not None
    first = serving.run("%tfs_config")
    assert parse_config(repr(first)) == serving.server.config
    serving.run("%tfs_label m stable=3")
    saved = tmp_path / "saved.pbtxt"
    assert repr(serving.run(f"%tfs_config --save {saved}")).endswith(f"# Saved as {saved}")
    assert parse_config(saved.read_text()) == serving.server.config
    assert changed(serving.run("%tfs_config --undo")) == ["m: labels stable=3 → none"]
    assert serving.run("%tfs_config").text == first.text
    assert "no earlier configuration" in serving.refuse("%tfs_config --undo")
    assert "could not be written" in serving.refuse(f"%tfs_config --save {tmp_path}/nothing/x")
    html = first._repr_mimebundle_()["text/html"]
    assert html.startswith("<pre")
    assert "base_path: &quot;" in html


def test_a_record_stays_as_it_was_and_says_that_a_file_is_followed(notebook: Notebook, path: Path) -> None:
    file = path.with_name("config.pbtxt")
    file.write_text(f"model_config_list {{ config {{ name: 'm<' base_path: '{path}' model_platform: 'tensorflow' }} }}")
    notebook.run(f"%tfs_serve --model_config_file={file} --model_config_file_poll_wait_seconds=3600 {ANY}")
    record = notebook.run("%tfs_label 'm<' stable=3")
    shown = record._repr_mimebundle_()
    notebook.run("%tfs_label 'm<' stable=")
    assert record._repr_mimebundle_() == shown
    assert "m<: labels none → stable=3" in shown["text/plain"]
    assert f"{file} is followed, and replaces this when its text changes" in shown["text/plain"]
    assert '<td align="left">m&lt;</td>' in shown["text/html"]


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("%tfs_label ", ["m"]),
        ("%tfs_label m ", ["stable=", "canary="]),
        ("%tfs_label m stable=3 ", ["canary="]),
        ("%tfs_label m stable=", ["stable=3", "stable=2"]),
        ("%tfs_policy m ", ["latest=", "all", "specific="]),
        ("%tfs_policy m specific=3,", ["specific=3,2", "specific=3,1"]),
        ("%tfs_load m ", ["1"]),
        ("%tfs_unload m ", ["3", "2"]),
        ("%tfs_config --", ["--save=", "--undo"]),
    ],
)  # fmt: skip
def test_tab(known: Notebook, typed: str, completed: list[str]) -> None:
    assert [offered.rpartition(" ")[2] for offered in complete(known, typed)] == completed


@pytest.fixture
def known(serving: Notebook) -> Notebook:
    serving.run("%tfs_policy m latest=2")
    serving.run("%tfs_label m stable=3")
    return serving


@pytest.mark.parametrize("magic", ["label", "policy", "config", "load", "unload"])
def test_help_has_an_example(notebook: Notebook, magic: str, capsys: pytest.CaptureFixture[str]) -> None:
    notebook.run(f"%tfs_{magic}?")
    shown = capsys.readouterr().out
    assert f"\n%tfs_{magic}" in shown
    assert f"tfs_notebook.{magic}(" in shown
    words = "" if magic == "config" else " m"
    assert notebook.refuse(f"%tfs_{magic}{words}") == "Nothing is served: %tfs_serve PATH starts a server"


def test_in_a_script_the_newest_server_is_meant(path: Path) -> None:
    script = "import sys, tfs_notebook; tfs_notebook.label; print('tensorflow' in sys.modules, 'grpc' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"
    with tfs_notebook.serve(path, port=0, rest_api_port=0) as older:
        with tfs_notebook.serve(path, model_name="m", port=0, rest_api_port=0):
            assert changed(tfs_notebook.load("m", 1)) == ["m: policy latest 1 → specific 1, 3"]
            assert changed(tfs_notebook.label("m", {"of-1": 1}, new=3)) == ["m: labels none → new=3 of-1=1"]
            assert changed(tfs_notebook.label("m", {"of-1": None})) == ["m: labels new=3 of-1=1 → new=3"]
            assert changed(tfs_notebook.unload("m", 1)) == ["m: policy specific 1, 3 → specific 3"]
            assert changed(tfs_notebook.policy("model", latest=2, server=older)) == [
                "model: policy latest 1 → latest 2"
            ]
            with pytest.raises(ServingError, match="whole number"):
                tfs_notebook.label("m", new="3")  # type: ignore[arg-type]
        assert "model" in repr(tfs_notebook.config())
    with pytest.raises(ServingError, match="Nothing is served"):
        tfs_notebook.config()
