"""Table 4.2: TensorFlow Serving's availability-preserving policy."""

from __future__ import annotations

import itertools
import time

import pytest

from tfs_notebook.engine.events import State
from tfs_notebook.engine.lifecycle.policy import Action, VersionView, next_actions

STATES = {
    "new": State.START,
    "loading": State.LOADING,
    "ready": State.AVAILABLE,
    "unloading": State.UNLOADING,
    "disabled": State.END,
    "error": State.END,
}


def views(text: str) -> list[VersionView]:
    """The versions of a row like `1:ready:n 2:loading:y`."""
    cells = [cell.split(":") for cell in text.split()]
    return [VersionView(int(number), STATES[state], wanted == "y") for number, state, wanted in cells]


@pytest.mark.parametrize(
    ("versions", "action"),
    [
        ("1:unloading:n 2:error:n 3:ready:y 4:new:y 5:new:y", Action("load", 5)),
        ("1:unloading:n 2:error:n 3:ready:n 4:ready:y 5:new:y", Action("unload", 3)),
        ("1:disabled:n 2:ready:n 3:error:n", Action("unload", 2)),
        ("1:ready:y 2:error:y 3:loading:y 4:unloading:n 5:disabled:n", None),
        ("1:ready:n 2:loading:y", None),
        ("1:ready:n 2:error:y", None),
        ("1:ready:n 2:loading:y 3:ready:y", Action("unload", 1)),
        ("1:ready:n 2:error:y 3:ready:y", Action("unload", 1)),
        ("1:ready:n 2:ready:n 3:error:y 4:loading:y", Action("unload", 1)),
        ("", None),
        ("1:new:n", None),
        ("-1:new:y -2:new:y", Action("load", -1)),
        ("1:ready:n 2:unloading:y", None),
    ],
)
def test_table(versions: str, action: Action | None) -> None:
    for order in itertools.permutations(views(versions)):
        assert next(iter(next_actions(order)), None) == action


def test_all_that_is_possible_begins_at_once() -> None:
    versions = views("1:ready:n 2:ready:n 3:ready:y 4:new:y 5:new:y 6:new:n")
    assert next_actions(versions) == [Action("unload", 1), Action("unload", 2), Action("load", 5), Action("load", 4)]


def test_what_a_label_still_names_stays_and_the_newest_beside_it() -> None:
    held = [
        VersionView(v.number, v.state, v.aspired, held=v.number == 1) for v in views("1:ready:n 2:ready:n 3:ready:y")
    ]
    assert next_actions(held) == [Action("unload", 2)]
    held = [VersionView(v.number, v.state, v.aspired, held=v.number == 1) for v in views("1:ready:n 2:ready:n 3:new:y")]
    assert next_actions(held) == [Action("load", 3)]


def test_whatever_the_versions_the_last_ready_one_is_kept_while_a_wanted_one_is_not_ready() -> None:
    cells = [VersionView(0, state, wanted) for state in {*STATES.values()} for wanted in (True, False)]
    for first, second, third in itertools.product(cells, repeat=3):
        versions = [VersionView(n, v.state, v.aspired) for n, v in enumerate((first, second, third), 1)]
        unloaded = {action.number for action in next_actions(versions) if action.verb == "unload"}
        ready = {v.number for v in versions if v.state is State.AVAILABLE}
        assert unloaded <= ready
        assert not any(v.aspired for v in versions if v.number in unloaded)
        assert not ready or ready - unloaded or not any(v.aspired for v in versions)


def test_a_thousand_versions_take_no_time() -> None:
    versions = [VersionView(n, State.AVAILABLE, aspired=False) for n in range(10_000)]
    started = time.process_time()
    assert len(next_actions(versions)) == 10_000
    assert time.process_time() - started < 1.0
