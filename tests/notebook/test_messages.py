"""Messages as a newcomer reads them: what is wrong, what goes on meanwhile, and the line that helps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.notebook.conftest import ANY, Notebook
from tests.support.serving import config_text, until

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.conftest import Models


def table(value: Any) -> list[str]:
    text: str = value._repr_mimebundle_()["text/plain"]
    return text.splitlines()


def test_a_config_of_another_machine(notebook: Notebook, capsys: pytest.CaptureFixture[str]) -> None:
    text = config_text({name: f"/models/{name}" for name in ("modelA", "modelB", "modelC")})
    server = notebook.run(f"%%tfs_serve {ANY}\n{text}")
    assert capsys.readouterr().err == "3 of 3 models not found; details below (%tfs_status)\n"
    remedy = "%tfs_serve DIRECTORY --mount=/models --model_config_file=…"
    assert [line.endswith(remedy) for line in table(server)][-2:] == [False, True], "once, below all three"
    assert "\n".join(table(server)).count(remedy) == 1


def test_a_missing_brace(notebook: Notebook) -> None:
    refused = notebook.refuse(f"%%tfs_serve {ANY}\nmodel_config_list {{\n  config {{\n    name: 'x'\n  \n}}")
    assert "The block opened at 2:3 (config) is not closed" in refused
    assert "Did you mean" not in refused


def test_garbage_as_a_saved_model_while_another_version_answers(
    notebook: Notebook, models: Models, tmp_path: Path
) -> None:
    models.copy("half_plus_two", tmp_path)
    server = notebook.run(f"%tfs_serve {tmp_path} {ANY}")
    (tmp_path / "2").mkdir()
    (tmp_path / "2" / "saved_model.pb").write_bytes(b"hi")
    shown = until(lambda: (lines := table(server)) and any("FAILED" in line for line in lines) and lines)
    assert "✗ FAILED, retry in " in shown[2]
    assert "s; version 1 keeps answering" in shown[2]
    assert shown[-1] == "saved_model.pb is not a SavedModel (2 bytes), or only a part of one: export or copy it again"
    notebook.run("%tfs_stop")
    assert "AVAILABLE" not in "".join(table(server)), "nothing is once it has stopped"


def test_a_new_version_whose_files_still_come(notebook: Notebook, models: Models, tmp_path: Path) -> None:
    models.copy("half_plus_two", tmp_path)
    server = notebook.run(f"%tfs_serve {tmp_path} {ANY}")
    (tmp_path / "2").mkdir()
    shown = until(lambda: (lines := table(server)) and any("WAITING" in line for line in lines) and lines)
    assert "… WAITING: saved_model.pb is missing" in shown[2]
    assert len(shown) == 4, "a line for the version, and none that comes and goes below the table"
