from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.notebook.conftest import ANY, Notebook
from tests.support.saved_models import half_plus_two
from tests.support.serving import config_text, label

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Models


@pytest.fixture
def two(notebook: Notebook, models: Models, tmp_path: Path) -> Notebook:
    """A notebook that serves half: 1 stable, 2 canary, which adds 2.5 instead of 2; and cnn."""
    models.copy("half_plus_two", tmp_path / "half", 1)
    half_plus_two(tmp_path / "half" / "2", offset=2.5)
    labels = label("stable", 1) + label("canary", 2)
    served = {"half": tmp_path / "half", "cnn": models.path("cnn")}
    text = config_text(served, {"half": "model_version_policy { all {} }" + labels})
    notebook.run(f"%%tfs_serve {ANY} --allow_version_labels_for_unavailable_models\n{text}")
    notebook["np"], notebook["x"] = np, np.array([2.0, 4.0], np.float32)
    return notebook


def test_labels_versions_and_models_are_compared(two: Notebook) -> None:
    both = two.run("%tfs_predict half x --label stable --label canary --truth [3.0,4.5] --out got")
    assert list(both.answers) == ["stable", "canary"]
    assert [answer.version for answer in both.answers.values()] == [1, 2]
    assert both.predictions == {"stable": [3.0, 4.0], "canary": [3.5, 4.5]}
    assert two["got"]["canary"].tolist() == [3.5, 4.5]
    assert repr(both).startswith(
        "2 of 2 differ, by up to 0.5; mean absolute error: stable 0.250, canary 0.250\nhalf · version 1 · stable · "
    )
    page = both._repr_mimebundle_()["text/html"]
    assert "2 of 2 differ, by up to 0.5" in page
    assert both.differ.tolist() == [0, 1]
    versions = two.run("%tfs_predict half x --version 2 --version 2 --version 1 --via rest")
    assert list(versions.answers) == ["version 2", "version 1"]
    same = two.run("%tfs_predict cnn,cnn np.zeros((2, 28, 28, 1))")
    assert same.model == "cnn"  # the same model twice is one
    refused = two.refuse("%tfs_predict half,hafl x")
    assert "There is no model 'hafl'. Did you mean 'half'?" in refused
    assert "too many to compare" in two.refuse("%tfs_predict half x " + " ".join(f"--version {n}" for n in range(7)))


def test_a_label_or_a_version_of_none_is_still_one_answer(two: Notebook) -> None:
    assert two.run("%tfs_predict half x --label canary").label == "canary"
    assert two.run("%tfs_predict half x --version 1").version == 1
