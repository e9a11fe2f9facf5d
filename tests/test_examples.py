"""The notebooks, executed in a real kernel, as `make demo` does it."""

from __future__ import annotations

import json
import os
import re
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


def shown_by(examples: Path, *arguments: str, **environment: str) -> str:
    """What demo.py prints."""
    command, environment = [sys.executable, "demo.py", *arguments], {**os.environ, **environment}
    demo = subprocess.run(command, cwd=examples, env=environment, check=True, capture_output=True, text=True)
    return demo.stdout


@pytest.mark.parametrize("name", ["quickstart", "deployment", "oss"])
def test_notebooks_are_kept_without_outputs(name: str) -> None:
    cells = json.loads((EXAMPLES / f"{name}.ipynb").read_text())["cells"]
    assert [cell for cell in cells if cell.get("outputs") or cell.get("execution_count")] == []
    assert "".join(cells[-1]["source"]) == "%tfs_stop"


def test_the_demo_shows_what_was_served_and_answered(examples: Path) -> None:
    shown = shown_by(examples)
    for row in ("modelA  1        ● AVAILABLE", "modelB  1        ● AVAILABLE  stable", "modelC  3        ● AVAILABLE"):
        assert row in shown
    assert "modelC  1" not in shown.split("%%tfs_serve")[0], "latest 2 leaves version 1 out"
    for way in ("modelA · version 1 · ", " · local · ", " · rest · ", " · grpc · "):
        assert way in shown
    assert "version 3 [[" in shown, "the gRPC client asked for version 3"
    assert shown.count("'predictions': [[") == 1, "the urllib client got its probabilities"
    assert re.search(r"^accuracy 0\.\d+ · \d+ of 360 right$", shown, re.MULTILINE)
    page = Path(shown.rsplit("The executed page: ", 1)[1].strip()).read_text()
    assert "● AVAILABLE" in page
    assert page.count("data:image/png;base64,") >= 24


def test_the_rehearsal_shows_what_a_deployment_does(examples: Path, tmp_path: Path) -> None:
    shown = shown_by(examples, "deployment", TMPDIR=str(tmp_path))
    assert "modelB  2        ● AVAILABLE  canary" in shown
    answered = re.search(r"(\d+) requests, 0 lost: \{'version 2': (\d+), 'version 1': (\d+)\}", shown)
    assert answered, "the canary moved from version 2 to version 1, and each request was answered by one of them"
    asked, by_second, by_first = map(int, answered.groups())
    assert asked == by_second + by_first
    by_hand = ("canary=1 stable=1 → canary=2 stable=1", "canary=2 stable=1 → canary=1 stable=1")
    for moved in by_hand:
        assert f"\nmodelB: labels {moved}\n" in shown
    for count in ('model_name="modelA",status="OK"\': 20.0', 'model_name="modelX",status="NOT_FOUND"\': 1.0'):
        assert count in shown
    batched = re.search(r"(\d+) requests ran in (\d+) batches of ([\d.]+) images", shown)
    assert batched
    assert int(batched[1]) > int(batched[2]), "batches hold several requests"
    assert "20 requests, the first for modelA with (1, 28, 28, 1)" in shown
    assert "Number of warmup records read: 20." in shown
    assert re.search(r"^version 2 sees a \d$", shown, re.MULTILINE), "over TLS"
    for state in ("UNAVAILABLE\n", "SERVING\n", '{"ready":true}'):
        assert f"\n{state}" in shown
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("rehearsal-")], "nothing is left"


def test_the_bucket_is_followed(examples: Path, tmp_path: Path) -> None:
    without_account = {name: "" for name in os.environ if name.startswith("OSS_")}
    shown = shown_by(examples, "oss", TMPDIR=str(tmp_path), **without_account)
    root = "oss://examplebucket/models/tf_serving/"
    for model, version in [("modelA", 1), ("modelB", 1), ("modelB", 2), ("modelC", 1), ("modelC", 2), ("modelC", 3)]:
        assert f"\n{model}/{version} is version {version} of {root}{model}/, " in shown
    for row in ("modelA  1        ● AVAILABLE", "modelB  2        ● AVAILABLE  canary", "modelC  3        ● AVAILABLE"):
        assert row in shown
    assert re.search(rf"^Fetched from {root} in [\d.]+ s$", shown, re.MULTILINE)
    assert "modelA follows it within 4 s; %tfs_sync now waits for it." in shown
    assert re.search(r"^\d+ requests, 0 failed; modelA serves \[1, 2\]$", shown, re.MULTILINE)
    assert "modelD  1        ● AVAILABLE" in shown
    assert re.search(r"^ *modelD/2 +… variables.index not uploaded yet", shown, re.MULTILINE), "neutral, in its row"
    assert "\nmodelD serves [2]\n" in shown
    assert "example-secret" not in shown
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("oss-")], "nothing is left"
