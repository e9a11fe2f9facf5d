"""What the doctor says of directories and configs that are wrong in the ways people get them wrong."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.support.saved_models import truncated_pb, without_asset, without_shard
from tests.support.serving import ALL, config_text, label, until
from tfs_notebook.errors import ServingError
from tfs_notebook.notebook.doctor.models import look_at, look_at_served

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Models


def told(path: Path) -> list[str]:
    return [str(finding) for finding in look_at(path)[1]]


def test_a_good_model(models: Models, tmp_path: Path) -> None:
    base = tmp_path / "model"
    models.copy("half_plus_two", base, 3)
    (base / "notes.txt").write_text("anything")
    assert look_at(base) == (f"the model in {base}", [])
    assert look_at(base / "3") == (f"the SavedModel in {base / '3'}", [])
    above, found = look_at(tmp_path)
    assert found == []
    assert "model" in above.removeprefix(str(tmp_path.parent))


def test_what_is_no_version(models: Models, tmp_path: Path) -> None:
    base = tmp_path / "model"
    models.copy("half_plus_two", base, 2)
    shutil.copytree(base / "2", base / "v3")
    shutil.copytree(base / "2", base / "latest")
    shutil.copytree(base / "2", base / "02")
    assert told(base) == [
        f"model: 02 and 2 are one number: only 2 is served. rename {base / '02'}",
        f"model: the directory latest is no version: its name is no number. mv {base / 'latest'} {base / '3'}",
        f"model: the directory v3 is no version: its name is no number. mv {base / 'v3'} {base / '3'}",
    ]


def test_versions_that_are_not_whole(models: Models, tmp_path: Path) -> None:
    base = tmp_path / "model"
    without_shard(models.copy("half_plus_two", base, 1))
    without_asset(models.copy("vocabulary", base, 2))
    (models.copy("half_plus_two", base, 3) / "saved_model.pb").write_bytes(b"hi")
    (base / "4").mkdir()
    found = look_at(base)[1]
    assert [(finding.about, finding.problem) for finding in found] == [
        ("model 4", "saved_model.pb is missing"),
        ("model 3", "saved_model.pb is not a SavedModel (2 bytes)"),
        ("model 2", "assets/vocabulary.txt is missing"),
        ("model 1", "variables/variables.data-00000-of-00001 is missing"),
    ]
    assert all("model.export(DIRECTORY)" in finding.remedy for finding in found)


def test_a_saved_model_that_nobody_can_call(tmp_path: Path) -> None:
    import tensorflow as tf

    tf.saved_model.save(tf.Module(), str(tmp_path / "1"))
    (finding,) = look_at(tmp_path)[1]
    assert finding.problem == "the SavedModel has no signature: nobody can call it"


def test_a_directory_with_nothing(tmp_path: Path) -> None:
    (tmp_path / "model.keras").write_bytes(b"")
    (finding,) = told(tmp_path)
    assert finding == (
        f"{tmp_path.name}: {tmp_path} has no version of a model. model.keras is a Keras file: "
        f"keras.models.load_model('{tmp_path / 'model.keras'}').export('{tmp_path}/1'), then serve {tmp_path}"
    )
    with pytest.raises(ServingError, match="There is no"):
        look_at(tmp_path / "nothing")


def test_a_config(models: Models, tmp_path: Path) -> None:
    base = tmp_path / "model"
    models.copy("half_plus_two", base, 1)
    models.copy("half_plus_two", base, 2)
    config = tmp_path / "models.config"
    extra = {"old": label("stable", 1), "gone": label("stable", 7), "fine": f"{ALL} {label('stable', 1)}"}
    paths = {"old": base, "gone": base, "fine": base, "nowhere": tmp_path / "nowhere"}
    config.write_text(config_text(paths, extra))
    old, gone, nowhere = look_at(config)[1]
    assert old.problem == "the label stable names version 1, which latest 1 does not serve"
    assert old.remedy == "model_version_policy { specific { versions: 1 versions: 2 } }"
    assert gone.problem == "the label stable names version 7, which is not there"
    assert gone.remedy == "version_labels { key: 'stable' value: … } with 1, 2, or export version 7"
    assert nowhere.problem == f"its base path {tmp_path / 'nowhere'} is no directory"
    assert nowhere.remedy == f"{tmp_path} exists and holds model/, models.config"
    config.write_text("model_config_list {\n  config {\n    name: 'x'\n  \n}")
    (finding,) = told(config)
    assert "The block opened at 2:3 (config) is not closed" in finding


def test_what_a_server_serves(models: Models, tmp_path: Path) -> None:
    import tfs_notebook

    good, broken = tmp_path / "good", tmp_path / "broken"
    models.copy("half_plus_two", good)
    models.copy("half_plus_two", broken, 1)
    with tfs_notebook.serve(config=config_text({"good": good, "broken": broken}), port=0, rest_api_port=0) as server:
        assert look_at_served(server) == ("the 2 served models", [])
        truncated_pb(models.copy("half_plus_two", broken, 2))
        until(lambda: look_at_served(server)[1])
        found = until(
            lambda: [f for f in look_at_served(server)[1] if "Can't parse" in f.problem or "not a" in f.problem]
        )
        assert {finding.about for finding in found} == {"broken 2"}
