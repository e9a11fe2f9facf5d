from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tfs_notebook.notebook.predict.answer import Answer, kept

if TYPE_CHECKING:
    from tests.notebook.conftest import Notebook


def answered(**outputs: np.ndarray) -> Answer:
    return Answer("m", 1, "serving_default", "local", 0.0015, outputs)


def test_rows_are_left_out_of_an_answer_before_columns() -> None:
    lines = repr(answered(y=np.arange(3600.0).reshape(360, 10), z=np.zeros((3, 50)))).splitlines()
    assert lines[1] == "y: float64[360, 10]"
    assert lines[2].split() == ["[[", *(f"{n}." for n in range(9)), "9.]"]
    assert " ..." in lines
    assert any("3599.]]" in line for line in lines)


def test_predictions_are_rows_as_rest_answers_them() -> None:
    assert answered(y=np.array([1.5, 2.5])).predictions == [1.5, 2.5]
    words = np.array([b"the", b"\xff"], dtype=object)
    both = answered(ids=np.array([1, 2]), words_bytes=words)
    assert both.predictions == [
        {"ids": 1, "words_bytes": "the"}, {"ids": 2, "words_bytes": {"b64": "/w=="}},
    ]  # fmt: skip
    with pytest.raises(ValueError, match=r"not one a row \(mean\[\], y\[2\]\)"):
        _ = answered(mean=np.array(1.0), y=np.zeros(2)).predictions


def test_an_answer_never_changes(asking: Notebook) -> None:
    asking["x"] = np.zeros((1, 28, 28, 1), np.float32)
    answer = asking.run("%tfs_predict 'team/cnn 100%' x --out got")
    before = answer._repr_mimebundle_()
    asking["x"] += 1
    asking["got"][:] = 7
    answer.numpy()[:] = 7
    assert answer._repr_mimebundle_() == before
    for array in (answer.outputs["output_0"], answer.inputs["keras_tensor"]):
        with pytest.raises(ValueError, match="read-only"):
            array[:] = 7


def test_of_a_very_large_batch_the_first_rows_are_kept() -> None:
    large = kept({"x": np.ones((1000, 20_000), np.float64)})["x"]
    assert large.shape == (400, 20_000)


def test_times_are_told_by_stage(asking: Notebook) -> None:
    answer = asking.run("%tfs_predict half [1.0]")
    assert 0 < answer.times["run"] < answer.times["total"] == answer.seconds
    assert answer.times["total"] < 60
    assert "run" not in asking.run("%tfs_predict half [1.0] --via grpc").times
    assert f"{answer.at:%H:%M:%S}" in repr(answer)


def test_without_pandas_there_is_no_frame_but_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="pip install pandas"):
        answered(y=np.zeros(2)).to_pandas()


def test_no_picture_when_none_is_wanted(asking: Notebook) -> None:
    assert set(asking.run("%tfs_predict half [1.0] --plot none")._repr_mimebundle_()) == {"text/plain"}
    assert set(asking.run("%tfs_predict half [1.0]")._repr_mimebundle_()) == {"text/plain", "text/html"}
