"""The rules of section 5: which labels may be given to which versions."""

from __future__ import annotations

import pytest

from tfs_notebook.engine.labels import refusal
from tfs_notebook.errors import Code


@pytest.mark.parametrize(
    ("current", "available", "without_flag", "with_flag"),
    [
        ({}, [1, 2], True, True),
        ({"canary": 1}, [1, 2], True, True),
        ({"canary": 2}, [1, 2], True, True),
        ({}, [1], False, True),
        ({"other": 1}, [1], False, True),
        ({"canary": 1}, [1], False, False),
        ({"canary": 2}, [1], False, True),
        ({}, [], False, True),
    ],
    ids=[
        "available-new", "available-moved", "available-same",
        "unavailable-new", "unavailable-new-beside-another", "unavailable-moved", "unavailable-same", "nothing-served",
    ],
)  # fmt: skip
def test_table(current: dict[str, int], available: list[int], *, without_flag: bool, with_flag: bool) -> None:
    for allow, accepted in ((False, without_flag), (True, with_flag)):
        error = refusal("m", {"canary": 2}, current=current, available=available, allow_unavailable=allow)
        assert (error is None) is accepted


def test_the_text_is_tensorflow_servings_and_the_hint_names_what_is_there() -> None:
    error = refusal("m", {"stable": 1, "canary": 7}, current={}, available=[2, 1], allow_unavailable=False)
    assert error is not None
    assert error.code is Code.FAILED_PRECONDITION
    assert error.message == (
        "Request to assign label to version 7 of model m, which is not currently available for inference"
    )
    assert error.where == "label 'canary' of model 'm'"
    assert "Available versions of m: 1, 2." in error.hint
    assert "--allow_version_labels_for_unavailable_models" in error.hint


def test_the_hint_does_not_advise_the_flag_that_is_set() -> None:
    error = refusal("m", {"x": 2}, current={"x": 1}, available=[], allow_unavailable=True)
    assert error is not None
    assert error.hint.strip() == "Available versions of m: none."


def test_no_labels_are_always_fine() -> None:
    assert refusal("m", {}, current={"x": 1}, available=[], allow_unavailable=False) is None
