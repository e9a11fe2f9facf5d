"""What people are told to do about a path that cannot be served."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engine.parts import without_privileges
from tfs_notebook.engine.storage import hints


def made(base: Path, *names: str) -> Path:
    """`base` with these files in it, and directories where a name ends in a slash."""
    for name in names:
        path = base / name
        if name.endswith("/"):
            path.mkdir(parents=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("model_config_list {}" if path.suffix == ".pbtxt" else "")
    return base


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (
            ["model.tflite"],
            "model.tflite belongs in a directory named by a number ({0}/1); --prefer_tflite_model serves it.",
        ),
        (
            ["saved_model.pb"],
            "{0} is itself a SavedModel and belongs in a directory named by a number: mkdir {0}-versions && mv {0} ",
        ),
        (
            ["model_config.pbtxt", "modelA/1/"],
            "model_config.pbtxt in it is a config file: --model_config_file={0}/model",
        ),
        (
            ["modelA/1/", "modelB/2/"],
            "Versions are in modelA, modelB: serve {0}/modelA, or several models by a config.",
        ),
        (["v1/"], "v1 is no number: rename it to {0}/1"),
        (["version_2/"], "version_2 is no number: rename it to {0}/2"),
        (["1.0/"], "1.0 is no number: rename it to {0}/1"),
        (
            ["digits.keras"],
            "digits.keras is a Keras file: keras.models.load_model('{0}/digits.keras').export('{0}/1'), then serve {0}",
        ),
        (["weights.h5", "final/"], "weights.h5 is a Keras file"),
        (["final/", "saved_model.pb.old"], "{0} holds final/, saved_model.pb.old."),
        ([], "{0} holds nothing."),
    ],
)
def test_a_directory_without_a_version(tmp_path: Path, names: list[str], said: str) -> None:
    base = made(tmp_path / "base", *names)
    base.mkdir(exist_ok=True)
    assert hints.for_no_version(base).startswith(said.format(base))


def test_a_version_directory_is_not_the_models(tmp_path: Path) -> None:
    version = made(tmp_path / "digits" / "3", "saved_model.pb")
    said = f"{version} is version 3 itself: serve the directory that it is in, {version.parent}"
    assert hints.for_no_version(version) == said


def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    made(tmp_path, "modelA/", "modelB/")
    assert hints.for_missing(tmp_path / "modleB").startswith(f"Did you mean {tmp_path}/modelB? ")
    assert hints.for_missing(tmp_path / "x") == f"{tmp_path} exists and holds modelA/, modelB/"
    line = "%tfs_serve DIRECTORY --mount=/modles --model_config_file=…"
    mount = f"There is no /modles on this machine. A directory of yours stands for it with: {line}"
    assert hints.for_missing(Path("/modles/modelA")) == mount


def test_a_missing_path_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "modelB").mkdir()
    monkeypatch.chdir(tmp_path)
    assert hints.for_missing(Path("modleB")) == f"Did you mean {tmp_path}/modelB? {tmp_path} exists and holds modelB/"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "digits.keras",
            "is a Keras file: keras.models.load_model('{0}/digits.keras').export('{0}/digits/1'), then serve {0}/d",
        ),
        (
            "my digits.tflite",
            "is a TFLite model: mkdir -p '{0}/my digits/1' && cp '{0}/my digits.tflite' '{0}/my digits/1/model.tflite'",
        ),
        ("models.config", "If it is a config file: --model_config_file={0}/models.config"),
        ("notes.txt", "The base path must be a directory that can be read."),
    ],
)
def test_a_file_where_a_directory_was_expected(tmp_path: Path, name: str, said: str) -> None:
    assert said.format(tmp_path) in hints.for_file(tmp_path / name)


def test_the_file_of_a_saved_model(tmp_path: Path) -> None:
    version = made(tmp_path / "digits" / "3", "saved_model.pb")
    assert hints.for_file(version / "saved_model.pb") == hints.for_no_version(version)


def test_what_is_closed_is_no_fault(tmp_path: Path) -> None:
    base = made(tmp_path / "base", "modelA/1/", "models.pbtxt")
    with without_privileges(base):
        (base / "modelA").chmod(0)
        (base / "models.pbtxt").chmod(0)
        try:
            assert hints.for_no_version(base).startswith(f"{base} holds modelA/")
            base.chmod(0)
            assert "nothing that can be listed (Permission denied)" in hints.for_no_version(base)
        finally:
            base.chmod(0o755)
            (base / "modelA").chmod(0o755)


def test_names_that_are_not_utf_8_are_shown_as_what_can_be_printed(tmp_path: Path) -> None:
    (tmp_path / "m\udcf6del").mkdir()
    assert hints.listing(tmp_path) == "m\\xf6del/"
    assert hints.for_no_version(tmp_path) == f"{tmp_path} holds m\\xf6del/."
    assert hints.for_missing(tmp_path / "m") == f"{tmp_path} exists and holds m\\xf6del/"
