"""The quickstart notebook, executed in a real kernel, as `make demo` does it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the examples, so that a run leaves nothing in the checkout; the trained models are made once."""
    directory = tmp_path_factory.mktemp("examples") / "examples"
    shutil.copytree(EXAMPLES, directory)
    quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    subprocess.run([sys.executable, "models.py"], cwd=directory, env=quiet, check=True, capture_output=True)
    return directory


@pytest.mark.timeout(300)
def test_the_demo_shows_what_was_served_and_answered(examples: Path) -> None:
    demo = subprocess.run(
        [sys.executable, "demo.py"], cwd=examples, check=True, capture_output=True, text=True, timeout=280
    )
    shown = demo.stdout
    for row in ("modelA  1        ● AVAILABLE", "modelB  1        ● AVAILABLE  stable", "modelC  3        ● AVAILABLE"):
        assert row in shown
    assert "modelC  1" not in shown.split("%%tfs_serve")[0], "latest 2 leaves version 1 out"
    for way in ("modelA version 1 · serving_default · local", "modelA · serving_default · rest", "· grpc"):
        assert way in shown
    assert "version 3 [[" in shown, "the gRPC client asked for version 3"
    assert shown.count("'predictions': [[") == 1, "the urllib client got its probabilities"
    page = Path(shown.rsplit("The executed page: ", 1)[1].strip())
    assert "● AVAILABLE" in page.read_text()
