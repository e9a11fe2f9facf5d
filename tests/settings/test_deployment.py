"""What is to be served, before anything is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.serving import config_text
from tfs_notebook.errors import Code, ServingError
from tfs_notebook.options import ANY_PORT
from tfs_notebook.settings.deployment import notebook_options, plan


def served(path: str, text: str = "", **given: Any) -> dict[str, str]:
    """The models of the plan, name to base path."""
    configs = plan(path, text, given).config.model_config_list.config
    return {config.name: config.base_path for config in configs}


@pytest.fixture
def base_path(tmp_path: Path) -> Path:
    (tmp_path / "m" / "1").mkdir(parents=True)
    return tmp_path / "m"


def test_a_notebooks_defaults() -> None:
    options = notebook_options({})
    assert (options.rest_api_port, options.port, options.model_name) == (8501, 8500, "model")
    free = notebook_options({"rest_api_port": 0, "port": 0})
    assert (free.rest_api_port, free.port) == (ANY_PORT, ANY_PORT)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"port": "8500"}, "Option port is of type int, not '8500'"),
        ({"port": True}, "Option port is of type int, not True"),
        ({"per_process_gpu_memory_fraction": "0.5"}, "Option per_process_gpu_memory_fraction is of type float"),
        ({"per_process_gpu_memory_fraction": True}, "Option per_process_gpu_memory_fraction is of type float"),
        ({"num_tflite_pools": 1.5}, "Option num_tflite_pools is of type int, not 1.5"),
        ({"enable_profilers": True}, "There is no option 'enable_profilers'; did you mean 'enable_profiler'?"),
    ],
)
def test_options_that_are_none(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ServingError, match=re.escape(said)):
        notebook_options(given)


def test_a_whole_number_is_a_number_and_a_flag_without_effect_no_option() -> None:
    options = notebook_options({"per_process_gpu_memory_fraction": 1, "enable_profiler": False})
    assert options.per_process_gpu_memory_fraction == 1


def test_a_path(base_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert served(str(base_path)) == {"model": str(base_path)}
    assert served(str(base_path), model_name="m") == {"m": str(base_path)}
    monkeypatch.chdir(base_path.parent)
    assert served("m") == {"model": str(base_path)}
    monkeypatch.setenv("HOME", str(base_path.parent))
    assert served("~/m") == {"model": str(base_path)}


def test_a_link_keeps_the_name_that_people_know(base_path: Path) -> None:
    link = base_path.parent / "link"
    link.symlink_to(base_path)
    assert served(str(link)) == {"model": str(link)}


def test_a_file_comes_before_a_path_as_in_tensorflow_serving(base_path: Path) -> None:
    file = base_path.parent / "models.config"
    file.write_text(config_text({"of_file": base_path}))
    given = {"model_config_file": str(file), "model_base_path": str(base_path)}
    assert served("", "  \n", **given) == {"of_file": str(base_path)}
    del given["model_config_file"]
    assert served("", **given) == {"model": str(base_path)}


@pytest.mark.parametrize(
    ("path", "text", "given", "said"),
    [
        ("", "", {}, "What is to be served?"),
        ("", "model_config_list {}", {"model_config_file": "/f"}, "The cell and --model_config_file=/f are two"),
        ("/a", "", {"model_base_path": "/b"}, "/a and --model_base_path=/b are two models"),
        ("", "# nothing yet", {}, "The cell lists no model: write model_config_list { config { name: … } }"),
        ("", "model_config_list {}", {"mount": "/models"}, "--mount=/models needs the directory that it stands for"),
        ("", "model_config_list {}", {"model_root": "/r"}, "--model_root=/r needs the path it stands for"),
    ],
)
def test_what_cannot_be_meant(path: str, text: str, given: dict[str, str], said: str) -> None:
    with pytest.raises(ServingError, match=re.escape(said)) as caught:
        plan(path, text, given, source="cell")
    assert caught.value.code is Code.INVALID_ARGUMENT


def test_an_empty_list_is_a_config_that_serves_nothing() -> None:
    assert served("", "model_config_list {}") == {}


@pytest.mark.parametrize("path", ["gs://bucket/m", "s3://bucket/models/modelA"])
def test_a_uri_is_not_taken_for_a_relative_path(path: str) -> None:
    with pytest.raises(ServingError, match=f"Could not find base path {path} for servable model") as caught:
        plan(path, "", {})
    assert "Only directories and oss://BUCKET/PREFIX/ can be served" in caught.value.hint


def test_a_mounted_config_file_and_its_paths(base_path: Path) -> None:
    root = base_path.parent
    (root / "model_config.pbtxt").write_text(config_text({"m": Path("/models/m")}))
    given = {"mount": "/models", "model_config_file": "/models/model_config.pbtxt"}
    deployed = plan(str(root), "", given)
    assert deployed.file is not None
    assert deployed.file.path == str(root / "model_config.pbtxt")
    assert served(str(root), **given) == {"m": "/models/m"}
    outside = {**given, "model_config_file": str(root / "model_config.pbtxt")}
    assert served(str(root), **outside) == {"m": "/models/m"}


def test_a_mount_alone_serves_the_model_of_that_name(base_path: Path) -> None:
    assert served(str(base_path.parent), mount="/models/", model_name="m") == {"m": "/models/m"}
    with pytest.raises(ServingError, match="Could not find base path") as caught:
        served(str(base_path.parent), mount="/models")
    assert caught.value.code is Code.NOT_FOUND
    assert "exists and holds m/" in caught.value.hint


def test_a_text_that_is_none_names_its_source() -> None:
    with pytest.raises(ServingError) as caught:
        plan("", "\nmodel_config_list {", {}, source="cell")
    assert caught.value.where.startswith("cell:2:")
