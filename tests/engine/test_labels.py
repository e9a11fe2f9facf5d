"""The rules of section 5: which labels may be given to which versions."""

from __future__ import annotations

import pytest

from tfs_notebook.engine.labels import assign
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
        labels, error = assign("m", {"canary": 2}, current=current, available=available, allow_unavailable=allow)
        assert (error is None) is accepted
        assert labels == ({"canary": 2} if accepted else {name: n for name, n in current.items() if name == "canary"})


def test_the_text_is_tensorflow_servings_and_the_hint_names_what_is_there() -> None:
    _, error = assign("m", {"stable": 1, "canary": 7}, current={}, available=[2, 1], allow_unavailable=False)
    assert error is not None
    assert error.code is Code.FAILED_PRECONDITION
    assert error.message == (
        "Request to assign label to version 7 of model m, which is not currently available for inference"
    )
    assert error.where == "label 'canary' of model 'm'"
    assert "Available versions of m: 1, 2." in error.hint
    assert "--allow_version_labels_for_unavailable_models" in error.hint


def test_the_hint_does_not_advise_the_flag_that_is_set() -> None:
    _, error = assign("m", {"x": 2}, current={"x": 1}, available=[], allow_unavailable=True)
    assert error is not None
    assert error.hint.strip() == "Available versions of m: none."


def test_no_labels_are_always_fine() -> None:
    assert assign("m", {}, current={"x": 1}, available=[], allow_unavailable=False) == ({}, None)


def test_each_label_moves_on_its_own() -> None:
    labels, error = assign(
        "m", {"stable": 2, "canary": 3}, current={"stable": 1, "canary": 2}, available=[1, 2], allow_unavailable=False
    )
    assert labels == {"stable": 2, "canary": 2}
    assert error is not None
    assert "version 3 of model m" in error.message
