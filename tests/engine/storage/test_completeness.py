"""What keeps half-copied versions from being loaded."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.engine.parts import without_privileges
from tfs_notebook.engine.storage.completeness import has_model, missing_part

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Models


@pytest.mark.parametrize("name", ["half_plus_two", "half_plus_two_tf1", "vocabulary", "aliased", "no_input"])
def test_exported_models_are_complete(models: Models, name: str) -> None:
    assert missing_part(models.path(name) / "1") == ""


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("half_plus_two", "saved_model.pb"),
        ("half_plus_two", "variables/variables.index"),
        ("half_plus_two", "variables/variables.data-00000-of-00001"),
        ("half_plus_two_tf1", "variables/variables.index"),
        ("vocabulary", "assets/vocabulary.txt"),
    ],
)
def test_a_missing_file_is_named(models: Models, tmp_path: Path, name: str, part: str) -> None:
    version = models.copy(name, tmp_path)
    (version / part).unlink()
    assert missing_part(version) == f"{part} is missing"


@pytest.mark.parametrize(("name", "part"), [("half_plus_two", "variables"), ("vocabulary", "assets")])
def test_a_missing_directory_is_a_missing_file(models: Models, tmp_path: Path, name: str, part: str) -> None:
    version = models.copy(name, tmp_path)
    shutil.rmtree(version / part)
    assert missing_part(version).startswith(f"{part}/")


def test_a_copy_is_complete_with_its_last_file_and_not_before(models: Models, tmp_path: Path) -> None:
    """Whatever the order in which a copy brings the files."""
    source = models.path("vocabulary") / "1"
    names = ["saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001",
             "assets/vocabulary.txt"]  # fmt: skip
    for round_, order in enumerate((names, names[::-1], names[2:] + names[:2])):
        version = tmp_path / str(round_)
        for name in order:
            assert missing_part(version)
            (version / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source / name, version / name)
        assert missing_part(version) == ""


def test_every_shard_of_one_set_is_needed(models: Models, tmp_path: Path) -> None:
    version = models.copy("half_plus_two", tmp_path)
    shard = version / "variables" / "variables.data-00000-of-00001"
    for number in (0, 2):
        shutil.copy(shard, shard.with_name(f"variables.data-{number:05}-of-00003"))
    shard.unlink()
    assert missing_part(version) == "variables/variables.data-00001-of-00003 is missing"
    (version / "variables" / "variables.data-00001-of-00002").touch()  # of another set
    assert missing_part(version)
    (version / "variables" / "variables.data-00001-of-00003").touch()
    assert missing_part(version) == ""


def test_an_empty_saved_model_is_a_copy_that_has_just_begun(models: Models, tmp_path: Path) -> None:
    version = models.copy("half_plus_two", tmp_path)
    (version / "saved_model.pb").write_bytes(b"")
    assert missing_part(version) == "saved_model.pb is empty"


@pytest.mark.parametrize("content", [b"\xff\xff\xff", b"not a SavedModel"])
def test_a_corrupt_saved_model_is_left_to_the_loader_to_explain(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "saved_model.pb").write_bytes(content)
    assert missing_part(tmp_path) == ""


def test_the_operations_of_a_graph_are_not_parsed(tmp_path: Path) -> None:
    """Parsing a frozen graph of 300 MB would keep every request of other models waiting for a second."""
    from tensorflow.core.protobuf.meta_graph_pb2 import MetaGraphDef
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    rest = MetaGraphDef()
    rest.asset_file_def.add(filename="words.txt")
    no_graph = b"\xff" * 1000
    graph = bytes([MetaGraphDef.GRAPH_DEF_FIELD_NUMBER << 3 | 2]) + encoded(len(no_graph)) + no_graph
    meta_graph = graph + rest.SerializeToString()
    content = bytes([SavedModel.META_GRAPHS_FIELD_NUMBER << 3 | 2]) + encoded(len(meta_graph)) + meta_graph
    (tmp_path / "saved_model.pb").write_bytes(content)
    assert missing_part(tmp_path) == "assets/words.txt is missing"


def encoded(size: int) -> bytes:
    """`size`, under 2**14, as protobuf writes it."""
    return bytes([size & 127 | 128, size >> 7])


def test_the_text_form(models: Models, tmp_path: Path) -> None:
    from google.protobuf import text_format
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    version = models.copy("vocabulary", tmp_path)
    binary = version / "saved_model.pb"
    saved_model = SavedModel.FromString(binary.read_bytes())
    binary.unlink()
    (version / "saved_model.pbtxt").write_text(text_format.MessageToString(saved_model))
    assert missing_part(version) == ""
    (version / "assets" / "vocabulary.txt").unlink()
    assert missing_part(version) == "assets/vocabulary.txt is missing"
    (version / "saved_model.pbtxt").write_text("meta_graphs { nonsense }")
    assert missing_part(version) == ""


def test_what_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "5").write_text("a file")
    (tmp_path / "6").symlink_to(tmp_path / "6")
    assert missing_part(tmp_path / "5") == "5 is not a directory"
    assert missing_part(tmp_path / "6") == "6 is not a directory"
    assert missing_part(tmp_path / "7") == "7 is not a directory"


def test_a_name_that_the_file_system_cannot_hold_is_told_and_does_not_raise(tmp_path: Path) -> None:
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    saved_model = SavedModel()
    saved_model.meta_graphs.add().asset_file_def.add().filename = "x" * 300
    (tmp_path / "saved_model.pb").write_bytes(saved_model.SerializeToString())
    assert "x" * 300 in missing_part(tmp_path)


def test_a_closed_directory_is_told_and_does_not_raise(models: Models, tmp_path: Path) -> None:
    version = models.copy("half_plus_two", tmp_path)
    assert missing_part(version) == ""
    with without_privileges(version):
        for directory in (version / "variables", version):
            directory.chmod(0)
            try:
                assert "cannot be read (Permission denied)" in missing_part(version)
            finally:
                directory.chmod(0o755)


def test_a_preferred_tflite_model_is_all_there_is_to_be(models: Models, tmp_path: Path) -> None:
    version = models.copy("half_plus_two", tmp_path)
    (version / "variables" / "variables.index").unlink()
    file = version / "model.tflite"
    assert missing_part(version, prefer_tflite=True) == "variables/variables.index is missing"
    file.touch()
    assert missing_part(version, prefer_tflite=True) == "model.tflite is empty"
    file.write_bytes(b"whatever: loading it will tell")
    assert missing_part(version, prefer_tflite=True) == ""
    assert missing_part(version) == "variables/variables.index is missing"


def test_a_tflite_model_that_is_not_preferred_is_no_model(tmp_path: Path) -> None:
    assert missing_part(tmp_path, prefer_tflite=True) == "saved_model.pb is missing"
    (tmp_path / "model.tflite").write_bytes(b"TFL3")
    assert missing_part(tmp_path) == "saved_model.pb is missing (model.tflite is served with --prefer_tflite_model)"
    assert has_model(tmp_path, prefer_tflite=True)
    assert not has_model(tmp_path)
