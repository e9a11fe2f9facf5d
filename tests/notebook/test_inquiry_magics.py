"""`%tfs_call` and `%tfs_doctor` on the line, with and without a server."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.notebook.conftest import ANY, Notebook
from tfs_notebook.errors import ServingError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Models


def test_call_information_of_a_label(asking: Notebook) -> None:
    information = asking.run("%tfs_call half --label stable")
    assert information.programs.keys() == {"curl", "urllib", "requests", "JavaScript", "gRPC"}
    shown = repr(information)
    assert shown.startswith("Call half, version 1")
    assert "/v1/models/half/labels/stable:predict" in shown
    assert "%tfs_call half --show_token" not in shown, "none is needed"
    other = asking.run("%tfs_call multi --signature_name one_output")
    assert '"signature_name": "one_output"' in other.body


def test_what_cannot_be_called(asking: Notebook) -> None:
    assert "Did you mean 'half'?" in asking.refuse("%tfs_call halve")
    assert "give one of them" in asking.refuse("%tfs_call half --version 1 --label stable")
    assert "Did you mean 'stable'?" in asking.refuse("%tfs_call half --label stabl")


def test_without_a_server(notebook: Notebook) -> None:
    assert notebook.refuse("%tfs_call half") == "Nothing is served: %tfs_serve PATH starts a server"
    assert "Looked at: ports 8501 and 8500; memory" in repr(notebook.run("%tfs_doctor"))


def test_the_token_of_a_running_server(notebook: Notebook, models: Models) -> None:
    notebook.run(f"%tfs_serve {models.path('half_plus_two')} {ANY} --token=secret")
    assert "secret" not in repr(notebook.run("%tfs_call model"))
    assert "Authorization: secret" in notebook.run("%tfs_call model --show_token").programs["curl"]


def test_the_doctor_looks_at_a_path_and_at_what_is_served(notebook: Notebook, models: Models, tmp_path: Path) -> None:
    base = tmp_path / "modelA"
    notebook.run(f"%tfs_serve {models.path('half_plus_two')} {ANY}")
    models.copy("half_plus_two", base).rename(base / "v1")
    report = notebook.run(f"%tfs_doctor {base}")
    assert [finding.remedy for finding in report.findings if finding.about == "modelA"] == [
        f"v1 is no number: rename it to {base / '1'}"
    ]
    assert "the 1 served model" in report.checked
    assert "There is no" in notebook.refuse(f"%tfs_doctor {tmp_path}/nothing")


@pytest.mark.parametrize("magic", ["tfs_call", "tfs_doctor"])
def test_help_has_an_example(notebook: Notebook, magic: str, capsys: pytest.CaptureFixture[str]) -> None:
    notebook.run(f"%{magic}?")
    shown = capsys.readouterr().out
    assert f"%{magic} model" in shown
    assert "In a script: tfs_notebook." in shown


def test_the_functions_without_magics_import_nothing_before_they_are_called(models: Models) -> None:
    import tfs_notebook

    script = (
        "import sys, tfs_notebook; tfs_notebook.doctor; print(sorted({'tensorflow', 'grpc', 'numpy'} & {*sys.modules}))"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "[]\n"
    with tfs_notebook.serve(models.path("half_plus_two"), port=0, rest_api_port=0) as server:
        information = tfs_notebook.call_information("model", server=server, version=1)
        assert information.body == '{"instances": [1.0]}'
        with pytest.raises(ServingError, match="whole number"):
            tfs_notebook.call_information("model", server=server, version="1")  # type: ignore[arg-type]
