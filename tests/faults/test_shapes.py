"""No rank or size that a request can have ends the process: single operations, and models as people build them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.support.one_operation import UNTRIED
from tfs_notebook.engine.input_checks.checked_operations import CHECKED

ROOT = Path(__file__).parents[2]


def run(module: str, *arguments: str) -> tuple[int, list[str]]:
    """The exit code of a program of the tests and the lines that it writes."""
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    return done.returncode, done.stdout.splitlines()


def test_a_graph_of_one_operation_for_each_that_is_let_through() -> None:
    code, lines = run("tests.support.one_operation", "--graphs=1", "--calls=20", "--together")
    (found,) = map(json.loads, lines)
    assert (code, found["end"]) == (0, ""), found
    assert found["operation"] == max(CHECKED - UNTRIED)
    assert found["good"] > len(CHECKED)


def test_models_as_people_build_them() -> None:
    code, lines = run("tests.faults.shapes_of_models", "--calls=20")
    assert code == 0, lines[-1:]
    assert lines[-1] == "no model ended the process"
