from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from IPython.core.completer import provisionalcompleter

from tests.notebook.test_magics import LIVE_OPTIONS
from tfs_notebook.options import FLAGS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.notebook.conftest import Notebook


PREDICT_OPTIONS = ("classes", "truth", "label", "version", "plot", "out", "via", "signature_name")


def complete(notebook: Notebook, cell: str) -> list[str]:
    """What Tab at the end of `cell` makes of it, candidate by candidate."""
    completer = notebook.shell.Completer
    with provisionalcompleter():
        found = list(completer.completions(cell, len(cell)))
    return [cell[: item.start] + item.text for item in found]


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("%tfs_serve --model_co", ["--model_config_file=", "--model_config_file_poll_wait_seconds="]),
        ("%tfs_serve /models --allow_v", ["--allow_version_labels_for_unavailable_models"]),
        ("server = %tfs_serve --rest_api_po", ["--rest_api_port="]),
        ("x = 1\n%tfs_serve --rest_api_po", ["--rest_api_port="]),
        ("%%tfs_serve --mou", ["--mount="]),
        ("%tfs_serve --allow_without_token=t", ["true"]),
        ("%%tfs_predict ha", ["half"]),
        ("%%tfs_predict t", ["'team/cnn 100%'"]),
        ("%%tfs_predict 'team/cnn 1", ["'team/cnn 100%'"]),
        ("%%tfs_predict --via=rest ha", ["half"]),
        ("%%tfs_predict half --v", ["--version=", "--via="]),
        ("%%tfs_predict half --via=", ["local", "rest", "grpc"]),
        ("%%tfs_predict half --via g", ["grpc"]),
        ("%%tfs_predict half --version=", ["1"]),
        ("%%tfs_predict half --version ", ["1"]),
        ("%%tfs_predict half --label=s", ["stable"]),
        ("%%tfs_predict multi --signature_name=o", ["one_output"]),
        ("%tfs_call ha", ["half"]),
        ("%tfs_call half --la", ["--label="]),
        ("%tfs_call half --label=s", ["stable"]),
        ("%tfs_call half --version ", ["1"]),
        ("%tfs_call multi --signature_name=o", ["one_output"]),
        ("%tfs_call half --show_token ", ["--version=", "--label=", "--signature_name="]),
        ("%tfs_predict half ", [f"--{name}=" for name in PREDICT_OPTIONS]),
        (
            "%%tfs_predict half --via=rest --out=x --",
            [f"--{name}=" for name in PREDICT_OPTIONS if name not in {"via", "out"}],
        ),
        ("%tfs_predict half --plot=l", ["lines"]),
    ],
)
def test_tab_offers_what_can_stand_there(asking: Notebook, typed: str, completed: list[str]) -> None:
    offered = complete(asking, typed)
    assert len(offered) == len(completed)
    for text, end in zip(offered, completed, strict=True):
        assert text.endswith((f" {end}", f"={end}"))


def test_every_flag_is_offered_once(notebook: Notebook) -> None:
    offered = complete(notebook, "%tfs_serve --")
    assert sorted(text.removeprefix("%tfs_serve --").rstrip("=") for text in offered) == sorted([*FLAGS, *LIVE_OPTIONS])
    assert "%tfs_serve --port=1 --port=" not in complete(notebook, "%tfs_serve --port=1 --po")


def test_without_a_server_there_are_no_names(notebook: Notebook) -> None:
    assert "%%tfs_predict half --label=stable" not in complete(notebook, "%%tfs_predict half --label=s")
    assert "%%tfs_predict half" not in complete(notebook, "%%tfs_predict ha")


def test_paths_are_completed_by_what_can_be_served(notebook: Notebook, tmp_path: Path) -> None:
    (tmp_path / "my models" / "modelA").mkdir(parents=True)
    (tmp_path / "my models" / "model.config").touch()
    assert complete(notebook, f"%tfs_serve {tmp_path}/my") == [f"%tfs_serve '{tmp_path}/my models/'"]
    inside = f"'{tmp_path}/my models/mo"
    assert complete(notebook, f"%tfs_serve {inside}") == [f"%tfs_serve {inside}delA/'"]
    assert complete(notebook, f"%tfs_serve --model_config_file={inside}") == [
        f"%tfs_serve --model_config_file={inside}del.config'",
        f"%tfs_serve --model_config_file={inside}delA/'",
    ]


def test_the_doctor_takes_directories_and_files(notebook: Notebook, tmp_path: Path) -> None:
    (tmp_path / "modelA").mkdir()
    (tmp_path / "model.config").touch()
    line = f"%tfs_doctor {tmp_path}/mo"
    assert complete(notebook, line) == [f"{line}del.config", f"{line}delA/"]


def test_directories_here_are_offered_before_anything_is_typed(
    notebook: Notebook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("b", "a", "\udcf6"):  # a name that is not UTF-8 cannot be typed
        (tmp_path / name).mkdir()
    (tmp_path / "notes.txt").touch()
    assert complete(notebook, "%tfs_serve ") == ["%tfs_serve a/", "%tfs_serve b/"]


def test_the_expression_of_a_line_is_completed_as_python(asking: Notebook) -> None:
    asking["x_test"] = 1
    for line in ("%tfs_predict half x_te", "%tfs_predict half x_test --truth=x_te", "%tfs_predict half --truth x_te"):
        assert any(text.endswith("x_test") for text in complete(asking, line)), line


def test_other_cells_are_none_of_our_business(asking: Notebook) -> None:
    assert complete(asking, "%timei") == ["%timeit", "%%timeit"]
    asking["half_of_it"] = 1
    for cell in ("hal", "print(hal", "%%tfs_predict half\nhal"):
        assert any(text.endswith("half_of_it") for text in complete(asking, cell)), cell
