"""The magics with models in OSS, as a person writes them: `%tfs_serve oss://…`, `%tfs_sync`, `%tfs_push`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
import tensorflow as tf
from IPython.core.completer import provisionalcompleter

import tfs_notebook
from tests.notebook.conftest import ANY, Notebook
from tests.oss.guide import CONFIG, KEY, ROOT, Guide
from tests.support.serving import ask
from tfs_notebook.errors import Code, ServingError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.oss.stand_in.server import OssServer

QUICK = f"{ANY} --oss_poll_wait_seconds=1"
WHOLE = f"{ROOT} --mount=/models --model_config_file={CONFIG} {QUICK}"


def served(notebook: Notebook) -> list[str]:
    """The versions that serve, like `modelA 1`."""
    assert notebook.server is not None
    return [
        f"{model.name} {version.number}"
        for model in notebook.server.status().models
        for version in model.versions
        if version.state.name == "AVAILABLE"
    ]


def text(value: Any) -> str:
    """What is shown where there are no pages."""
    shown: str = value._repr_mimebundle_()["text/plain"]
    return shown


def words(table: str) -> list[list[str]]:
    return [line.split() for line in table.splitlines()]


# %tfs_serve


def test_the_guides_two_scenarios(notebook: Notebook, guide: Guide, capsys: pytest.CaptureFixture[str]) -> None:
    guide.oss.fail("slow", key="saved_model.pb", rate=16_000, times=None)
    notebook.run(f"%tfs_serve {ROOT}modelA/ {QUICK}")
    assert served(notebook) == ["model 1"]
    shown = text(notebook.run(f"%tfs_serve {WHOLE} --model_config_file_poll_wait_seconds=30"))
    assert served(notebook) == ["modelA 1", "modelB 2", "modelB 1", "modelC 3", "modelC 2"]
    assert ["modelB", "2", "●", "AVAILABLE", "canary", "0", "0", "specific", "1,", "2"] in words(shown)
    assert any(row[:4] == [ROOT, "●", "in", "step"] for row in words(shown))
    out, err = capsys.readouterr()
    assert err == ""
    assert re.search(rf"^Fetched from {ROOT}(modelA/)? in [\d.]+ s$", out, re.MULTILINE)


def test_a_config_in_the_cell_names_addresses(notebook: Notebook, guide: Guide) -> None:
    notebook.run(
        f"%%tfs_serve {QUICK}\nmodel_config_list {{ "
        f"config {{ name: 'a' base_path: '{ROOT}modelA' model_platform: 'tensorflow' }} "
        f"config {{ name: 'c' base_path: '{ROOT}modelC/' model_platform: 'tensorflow' }} }}"
    )
    assert served(notebook) == ["a 1", "c 3"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("oss://examplebuckett/modelA/", ["NOT_FOUND", "oss://examplebuckett/modelA/ is not there", "check the name"]),
        (f"{ROOT}modelA/1/", ["is a version itself", f"for this version: {ROOT}modelA/"]),
        (ROOT, ["holds modelA/, modelB/, modelC/, model_config.pbtxt", f"like {ROOT}modelA/"]),
        (f"{ROOT}modelD/", ["Nothing lies below", f"%tfs_push MODEL {ROOT}modelD/"]),
        ("oss://Example/modelA", ["is no address in OSS", "lower-case letters"]),
        (f"{ROOT} --mount=/models --model_config_file={ROOT}config", [f"{ROOT}config is not there", "an object with"]),
        (f"{ROOT}modelA/ --oss_endpoint=ftp://x", ["--oss_endpoint 'ftp://x' is no endpoint"]),
        (f"{ROOT}modelA/ --oss_marker=", ["--oss_marker= is empty: write --oss_marker=_SUCCESS, or leave it out"]),
        (f"{ROOT}modelA/ --oss_marker=a/b", ["--oss_marker=a/b is no name of a marker", "like _SUCCESS"]),
        (
            "oss:/examplebucket/modelA",
            ["'oss:/examplebucket/modelA' is neither", "is oss://examplebucket/modelA meant?"],
        ),
        (
            "--model_config_file=oss//bucket/config",
            ["'oss//bucket/config' is neither", "is oss://bucket/config meant?"],
        ),
        (f"{ROOT}modelA/ --oss_access_key_id=x", ["unknown option --oss_access_key_id"]),
        (f"{ROOT} --mount=/models --model_name=modelD", ["No versions of servable modelD", f"{ROOT}modelD"]),
    ],
)
def test_what_cannot_be_served(notebook: Notebook, guide: Guide, line: str, said: list[str]) -> None:
    refused = notebook.refuse(f"%tfs_serve {line} {ANY}")
    for part in said:
        assert part in refused
    assert notebook.server is None


def test_a_missing_region_key_or_package_is_told_with_its_remedy(
    notebook: Notebook, guide: Guide, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as without:
        without.delenv("OSS_REGION")
        assert "--oss_region" in notebook.refuse(f"%tfs_serve {ROOT}modelA/ {ANY}")
    with monkeypatch.context() as without:
        without.delenv("OSS_ACCESS_KEY_SECRET")
        assert "OSS_ACCESS_KEY_SECRET is not" in notebook.refuse(f"%tfs_serve {ROOT}modelA/ {ANY}")
    guide.oss.revoke(guide.oss.key_id)
    refused = notebook.refuse(f"%tfs_serve {ROOT}modelA/ {ANY}")
    assert "InvalidAccessKeyId" in refused
    assert guide.oss.key_id not in refused


# %tfs_sync


def test_looking_pausing_and_resuming_by_hand(notebook: Notebook, guide: Guide) -> None:
    notebook.run(f"%tfs_serve {WHOLE} --oss_poll_wait_seconds=2")
    guide.put("modelA", 2)
    shown = repr(notebook.run("%tfs_sync now"))
    assert "modelA 2" in served(notebook)
    assert words(shown)[1][:4] == [ROOT, "●", "in", "step"]
    assert words(repr(notebook.run("%tfs_sync pause")))[1][:3] == [ROOT, "○", "paused"]
    assert "is paused" in notebook.refuse("%tfs_sync now")
    assert "paused" in repr(notebook.run("%tfs_sync"))
    assert "paused" not in repr(notebook.run("%tfs_sync resume"))
    page = notebook.run("%tfs_sync status")._repr_mimebundle_()
    assert f'<td class="tfs-name" title="{ROOT}">' in page["text/html"]
    assert page["text/plain"].splitlines()[0].startswith("Source")


def test_a_source_that_stopped_says_how_it_goes_on_and_does_when_asked(notebook: Notebook, guide: Guide) -> None:
    notebook.run(f"%tfs_serve {ROOT}modelA/ {QUICK}")
    guide.oss.fail("error", method="LIST", times=1, status=403, code="AccessDenied")
    stopped = repr(notebook.run("%tfs_sync now"))
    assert words(stopped)[1][:3] == [f"{ROOT}modelA/", "✗", "stopped"]
    assert words(stopped)[1][3] == "until"
    assert f"it is asked again at {words(stopped)[1][4]}, with other credentials or %tfs_sync now at once" in stopped
    resumed = repr(notebook.run("%tfs_sync resume"))
    assert words(resumed)[1][:4] == [f"{ROOT}modelA/", "●", "in", "step"]
    assert "AccessDenied" not in resumed


def test_what_is_waited_for_is_named(notebook: Notebook, guide: Guide) -> None:
    notebook.run(f"%tfs_serve {ROOT}modelA/ {QUICK}")
    guide.put("modelA", 2, without="variables")
    shown = repr(notebook.run("%tfs_sync now"))
    assert re.search(r"^  2 +… .*variables", shown, re.MULTILINE)
    assert served(notebook) == ["model 1"]


def test_there_is_nothing_to_synchronise(notebook: Notebook, guide: Guide, models: Any) -> None:
    assert "Nothing is served" in notebook.refuse("%tfs_sync now")
    notebook.run(f"%tfs_serve {models.path('half_plus_two')} {ANY}")
    assert "%tfs_serve oss://BUCKET/PREFIX/" in notebook.refuse("%tfs_sync")
    assert "invalid choice: 'later'" in notebook.refuse("%tfs_sync later")


# %tfs_push


@pytest.fixture
def module() -> tf.Module:
    module = tf.Module()
    module.double = tf.function(lambda x: 2.0 * x, input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    return module


def test_a_served_model_becomes_the_next_version(
    notebook: Notebook, guide: Guide, capsys: pytest.CaptureFixture[str]
) -> None:
    notebook.run(f"%tfs_serve {WHOLE}")
    capsys.readouterr()
    notebook.run(f"%tfs_push modelC {ROOT}modelA/")
    line = capsys.readouterr().out.splitlines()[-1]
    assert re.fullmatch(rf"modelC is version 2 of {ROOT}modelA/, [\d.]+ kB\. modelA follows it within 2 s; .*", line)
    assert line.endswith("%tfs_sync now waits for it.")
    notebook.run("%tfs_sync now")
    assert "modelA 2" in served(notebook)
    assert notebook.server is not None
    reply = ask(notebook.server, "POST", "/v1/models/modelA:predict", {"instances": [0.0]})
    assert reply.json == {"predictions": [3.0]}, "what was version 3 of modelC"


def test_a_path_and_a_number(notebook: Notebook, guide: Guide, capsys: pytest.CaptureFixture[str]) -> None:
    notebook.run(f"%tfs_push {guide.version(1)} {ROOT}modelB/ --version=7")
    assert f"is version 7 of {ROOT}modelB/" in (told := capsys.readouterr().out)
    assert told.endswith(f"%tfs_serve {ROOT}modelB/ serves it.\n")
    assert f"{KEY}/modelB/7/saved_model.pb" in guide.oss.objects
    notebook.run(f"%tfs_push {guide.version(1)} '{ROOT}with blank/'")
    assert capsys.readouterr().out.endswith(f"%tfs_serve '{ROOT}with blank/' serves it.\n")
    refused = notebook.refuse(f"%tfs_push {guide.version(2)} {ROOT}modelB/ --version=7")
    assert "ALREADY_EXISTS" in refused
    assert "push without a number to make it version 8" in refused


def test_models_in_memory(
    notebook: Notebook, guide: Guide, module: tf.Module, capsys: pytest.CaptureFixture[str]
) -> None:
    keras = tf.keras.Sequential([tf.keras.Input([2]), tf.keras.layers.Dense(1, name="out")])
    notebook["net"], notebook["module"] = keras, module
    notebook.run(f"%tfs_push net {ROOT}net/")
    notebook.run(f"%tfs_push module {ROOT}net/")
    notebook.run(f"%tfs_serve {ROOT}net/ {QUICK}")
    assert served(notebook) == ["model 2"]
    assert notebook.server is not None
    reply = ask(notebook.server, "POST", "/v1/models/model:predict", {"instances": [4.0]})
    assert reply.json == {"predictions": [8.0]}
    assert "Assets" not in "".join(capsys.readouterr())


def test_a_model_that_nobody_could_ask_is_not_pushed(notebook: Notebook, guide: Guide) -> None:
    before = dict(guide.oss.objects)
    module = tf.Module()
    module.weight = tf.Variable(1.0)
    notebook["module"] = module
    said = notebook.refuse(f"%tfs_push module {ROOT}net/")
    assert "The Module has no signature that could be asked" in said
    assert "@tf.function(input_signature=" in said
    module.double = tf.function(lambda x: 2.0 * x)
    assert "has no signature" in notebook.refuse(f"%tfs_push module {ROOT}net/")
    assert dict(guide.oss.objects) == before


def test_where_the_running_server_will_not_follow(
    notebook: Notebook, guide: Guide, capsys: pytest.CaptureFixture[str]
) -> None:
    notebook.run(f"%tfs_serve {WHOLE}")
    notebook.run(f"%tfs_push modelA {ROOT}modelB/")
    assert "The policy of modelB (specific 1, 2) does not ask for it." in capsys.readouterr().out
    notebook.run("%tfs_sync pause")
    notebook.run(f"%tfs_push modelB {ROOT}modelC/")
    assert "modelC follows it when asked: %tfs_sync resume." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("modelA", "the following arguments are required: address"),
        (f"modelA {ROOT[6:]}modelA/", "is no address in OSS"),
        (f"nowhere/modelA {ROOT}modelA/", "nowhere/modelA does not exist"),
        (f"thing {ROOT}modelA/", "The variable thing is a list"),
        (f"model {ROOT}modelA/", "'model' is both a served model and a variable"),
        (f"half {ROOT}modelA/", "is not complete: "),
        (f"{{here}}/1 {ROOT}modelA/ --version=one", "invalid int value: 'one'"),
        (f"{{here}}/1 {ROOT}modelA/ --version=-1", "-1 is no number of a version"),
        (f"{{here}}/1 {ROOT}modelA/ --token=x", "unknown option --token"),
        ("{here}/1 oss://nobucket/modelA/", "oss://nobucket/modelA/ is not there"),
    ],
)
def test_what_cannot_be_pushed(
    notebook: Notebook, guide: Guide, module: tf.Module, tmp_path: Path, line: str, said: str
) -> None:
    (tmp_path / "half" / "1").mkdir(parents=True)
    (tmp_path / "half" / "1" / "saved_model.pb").write_bytes(b"")
    notebook["thing"], notebook["model"], notebook["half"] = [1], module, str(tmp_path / "half")
    notebook.run(f"%tfs_serve {ROOT}modelA/ {QUICK}")
    before = dict(guide.oss.objects)
    assert said in notebook.refuse(f"%tfs_push {line.format(here=guide.version(1).parent)}")
    assert dict(guide.oss.objects) == before


def test_pushing_from_python(guide: Guide, module: tf.Module, tmp_path: Path) -> None:
    assert tfs_notebook.push(guide.version(2), f"{ROOT}new") == f"{ROOT}new/1/"
    assert tfs_notebook.push(module, f"{ROOT}new/", version=5, oss_marker="_SUCCESS") == f"{ROOT}new/5/"
    assert f"{KEY}/new/5/_SUCCESS" in guide.oss.objects
    with pytest.raises(ServingError, match="already there") as refused:
        tfs_notebook.push(guide.version(1), f"{ROOT}new/5/")
    assert refused.value.code is Code.ALREADY_EXISTS
    with pytest.raises(ServingError, match="A dict cannot be pushed"):
        tfs_notebook.push({}, f"{ROOT}new/")
    with pytest.raises(ServingError, match="There is no option 'oss_end'; did you mean 'oss_endpoint'"):
        tfs_notebook.push(module, f"{ROOT}new/", oss_end="x")


# Tab, help and secrets


def complete(notebook: Notebook, cell: str) -> list[str]:
    with provisionalcompleter():
        return [item.text for item in notebook.shell.Completer.completions(cell, len(cell))]


def test_tab(notebook: Notebook, guide: Guide, module: tf.Module) -> None:
    notebook["my_module"], notebook["my_list"] = module, [1]
    assert complete(notebook, "%tfs_sync ") == ["now", "pause", "resume", "status"]
    assert complete(notebook, "%tfs_sync p") == ["pause"]
    assert complete(notebook, "%tfs_serve --oss_po") == ["--oss_poll_wait_seconds="]
    assert "my_module" in (offered := complete(notebook, "%tfs_push my_"))
    assert "my_list" not in offered
    assert complete(notebook, "%tfs_push my_module ") == ["oss://"]
    notebook.run(f"%tfs_serve {WHOLE}")
    assert complete(notebook, "%tfs_push modelA oss") == [f"{ROOT}model{name}/" for name in "ABC"]
    assert {"modelA", "modelB"} <= set(complete(notebook, "%tfs_push mo"))
    expected = ["--version=", "--oss_endpoint=", "--oss_region=", "--oss_cname", "--oss_marker="]
    assert complete(notebook, f"%tfs_push modelA {ROOT} --") == expected


def test_help(notebook: Notebook, capsys: pytest.CaptureFixture[str]) -> None:
    for magic, said in {
        "tfs_serve": ["models in OSS:", "--oss_endpoint=STR", "oss://BUCKET/PREFIX/"],
        "tfs_sync": ["now", "pause", "resume"],
        "tfs_push": ["--version", "--oss_marker"],
    }.items():
        notebook.run(f"%{magic}?")
        shown = capsys.readouterr().out
        for part in said:
            assert part in shown


def test_no_output_holds_a_secret(notebook: Notebook, guide: Guide, capsys: pytest.CaptureFixture[str]) -> None:
    oss: OssServer = guide.oss
    shown = text(notebook.run(f"%tfs_serve {WHOLE}"))
    oss.fail("error", method="LIST", times=1)
    shown += repr(notebook.run("%tfs_sync now"))
    notebook.run(f"%tfs_push modelA {ROOT}modelA/")
    oss.grant(oss.key_id, "another-secret")
    shown += notebook.refuse(f"%tfs_serve {ROOT}modelA/ {QUICK}")
    shown += repr(notebook.run("%tfs_sync now"))
    assert "SignatureDoesNotMatch" in shown
    out, err = capsys.readouterr()
    assert not [secret for secret in (oss.key_id, oss.key_secret) if secret in shown + out + err]
