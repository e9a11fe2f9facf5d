from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.notebook.conftest import Notebook

CNN = "'team/cnn 100%'"


@pytest.fixture
def images(asking: Notebook) -> Notebook:
    """A notebook with 40 images x, and y, the class that the model gives each: all are right."""
    asking["np"] = np
    asking["x"] = np.random.default_rng(1).random((40, 28, 28, 1), dtype=np.float32)
    asking["y"] = asking.run(f"%tfs_predict {CNN} x").numpy().argmax(axis=1)
    asking["names"] = [f"class {number}" for number in range(10)]
    return asking


@pytest.mark.parametrize(
    ("expression", "truth"),
    [
        ("x", "y"),
        ("x[:24]", "y"),
        ("x[:24]", "y[:24]"),
        ("x[5:30:2]", "y"),
        ("x[[3, 1]]", "y"),
        ("x[np.arange(40) % 2 == 0]", "y"),
        ("x[-9:] * 1.0", "y"),
        ("x[:9].astype('float32')", "y"),
        ("x[:9, ...]", "y"),
        ("x[:9]", "np.eye(10)[y[:9]]"),
        ("x[:9]", "[names[i] for i in y[:9]]"),
        ("x[:9]", "'y[:9] + 0'"),
        ("x", "y.reshape(-1, 1).astype(float)"),
    ],
)
def test_truth_is_of_the_rows_that_are_asked(images: Notebook, expression: str, truth: str) -> None:
    answer = images.run(f"%tfs_predict {CNN} {expression} --truth {truth} --classes names")
    rows = len(answer.predictions)
    assert f"accuracy 1.000 · {rows} of {rows} right" in repr(answer)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--truth y[:5]", ["--truth y[:5] has 5 values for 24 rows: take the same rows, like y[:24]"]),
        ("--truth 3", ["has no values for 24 rows"]),
        ("--truth ['a']*24 --classes names", ["holds 'a', none of --classes: class 0, class 1"]),
        ("--truth ['a']*24", ["'a', a name, and --classes is not given"]),
        ("--classes names[:9]", ["--classes names[:9] gives 9 names, and output_0 has 10 classes"]),
        ("--classes 3", ["--classes 3 is 3: a list of names, or a file of a name a line"]),
    ],
)
def test_what_does_not_fit_is_told_and_the_answer_kept(images: Notebook, options: str, said: list[str]) -> None:
    refused = images.refuse(f"%tfs_predict {CNN} x[:24] {options} --out got")
    for text in said:
        assert text in refused
    assert "--classes 3" in options or images["got"].shape == (24, 10)


def test_class_names_come_from_what_there_is(images: Notebook, tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("\n".join(images["names"]))
    images["numbered"] = dict(enumerate(images["names"]))
    images["by_name"] = {name: number for number, name in enumerate(images["names"])}
    for classes in (f"'{tmp_path}/labels.txt'", f"{tmp_path}/labels.txt", "names", "numbered", "by_name",
                    "np.array(names)", "[f'class {i}' for i in range(10)]"):  # fmt: skip
        answer = images.run(f"%tfs_predict {CNN} x[:2] --classes {classes}")
        assert answer.view.classes == tuple(images["names"])
        assert f"#0  class {images['y'][0]} " in repr(answer)
