"""Table 4.2: TensorFlow Serving's availability-preserving policy."""

from __future__ import annotations

import itertools

import pytest

from tfs_notebook.engine.events import State
from tfs_notebook.engine.transition import Action, VersionView, next_action

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
        assert next_action(order) == action


def test_whatever_the_versions_the_last_ready_one_is_kept_while_a_wanted_one_is_not_ready() -> None:
    cells = [VersionView(0, state, wanted) for state in {*STATES.values()} for wanted in (True, False)]
    for first, second, third in itertools.product(cells, repeat=3):
        versions = [VersionView(n, v.state, v.aspired) for n, v in enumerate((first, second, third), 1)]
        action = next_action(versions)
        ready = [v for v in versions if v.state is State.AVAILABLE]
        if action is not None and action.verb == "unload":
            (gone,) = (v for v in versions if v.number == action.number)
            assert gone in ready
            assert not gone.aspired
            wanted = any(v.aspired for v in versions)
            assert len(ready) > 1 or not wanted
