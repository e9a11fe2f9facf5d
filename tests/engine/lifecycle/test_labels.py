"""The rules of section 5: which labels may be given to which versions."""

from __future__ import annotations

import pytest

from tfs_notebook.engine.lifecycle.labels import Assignment, assign
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
        came = assign("m", {"canary": 2}, given={}, current=current, available=available, allow_unavailable=allow)
        kept = {name: n for name, n in current.items() if name == "canary"}
        assert (came.refusal is None) is accepted
        assert came.in_force == ({"canary": 2} if accepted else kept)
        assert came.given == ({"canary": 2} if accepted else {})


def test_the_text_is_tensorflow_servings_and_the_hint_names_what_is_there() -> None:
    wanted = {"stable": 1, "canary": 7}
    error = assign("m", wanted, given={}, current={}, available=[2, 1], allow_unavailable=False).refusal
    assert error is not None
    assert error.code is Code.FAILED_PRECONDITION
    assert error.message == (
        "Request to assign label to version 7 of model m, which is not currently available for inference"
    )
    assert error.where == "label 'canary' of model 'm'"
    assert "Available versions of m: 1, 2." in error.hint
    assert "--allow_version_labels_for_unavailable_models" in error.hint


def test_the_hint_does_not_advise_the_flag_that_is_set() -> None:
    error = assign("m", {"x": 2}, given={}, current={"x": 1}, available=[], allow_unavailable=True).refusal
    assert error is not None
    assert error.hint.strip() == "Available versions of m: none."


def test_no_labels_are_always_fine() -> None:
    came = assign("m", {}, given={}, current={"x": 1}, available=[], allow_unavailable=False)
    assert came == Assignment({}, {}, None)


@pytest.mark.parametrize("allow", [False, True])
def test_a_label_that_was_given_stays_though_its_version_has_gone(allow: bool) -> None:
    came = assign("m", {"x": 1}, given={"x": 1}, current={"x": 1}, available=[2], allow_unavailable=allow)
    assert came == Assignment({"x": 1}, {"x": 1}, None)


def test_each_label_moves_on_its_own() -> None:
    wanted, current = {"stable": 2, "canary": 3}, {"stable": 1, "canary": 2}
    came = assign("m", wanted, given={}, current=current, available=[1, 2], allow_unavailable=False)
    assert came.in_force == {"stable": 2, "canary": 2}
    assert came.given == {"stable": 2}
    assert came.refusal is not None
    assert "version 3 of model m" in came.refusal.message
