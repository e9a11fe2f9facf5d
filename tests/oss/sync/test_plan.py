"""Which versions are to be here, and which may go."""

from __future__ import annotations

import pytest

from tfs_notebook.engine.config import AllVersions, Latest, Specific, VersionPolicy
from tfs_notebook.oss.cache.cache import Published
from tfs_notebook.oss.sync.plan import base_of, number_of, prunable, selected_by

NUMBERS = (1, 2, 3, 4, 5)


@pytest.mark.parametrize(
    ("policy", "counting", "expected"),
    [
        (Latest(1), NUMBERS, [5]),
        (Latest(0), NUMBERS, [5]),
        (Latest(2), NUMBERS, [5, 4]),
        (Latest(2), (1, 3), [5, 4, 3, 2, 1]),
        (Latest(1), (), [5, 4, 3, 2, 1]),
        (Latest(9), NUMBERS, [5, 4, 3, 2, 1]),
        (AllVersions(), (), [5, 4, 3, 2, 1]),
        (Specific((2, 9, 4)), (), [4, 2]),
        (Specific(()), NUMBERS, []),
    ],
)
def test_a_policy_looks_at_versions_until_it_has_what_it_wants(
    policy: VersionPolicy, counting: tuple[int, ...], expected: list[int]
) -> None:
    assert list(selected_by(policy, NUMBERS, counting.__contains__)) == expected


def test_a_path_is_a_base_path_and_a_number() -> None:
    assert (base_of("a/b/7"), number_of("a/b/7")) == ("a/b", 7)
    assert (base_of("007"), number_of("007")) == ("", 7)


def gone(keep: int | None, over: int = 0, wanted: tuple[str, ...] = ("a/5", "b/3")) -> list[str]:
    paths = ("a/1", "a/2", "a/4", "a/5", "b/1", "b/2", "b/3", "1")
    return list(prunable({path: Published(frozenset({("f", 10, "e")})) for path in paths}, set(wanted), keep, over))


def test_the_newest_that_nobody_wants_stay_in_each_base_path() -> None:
    assert gone(None) == []
    assert gone(3) == []
    assert sorted(gone(1)) == ["a/1", "a/2", "b/1"]
    assert sorted(gone(0)) == ["1", "a/1", "a/2", "a/4", "b/1", "b/2"]


def test_a_budget_takes_as_many_more_as_it_must_from_the_lowest_number_up() -> None:
    assert len(gone(None, over=1)) == 1
    assert number_of(gone(None, over=1)[0]) == 1
    assert sorted(map(number_of, gone(None, over=35))) == [1, 1, 1, 2]
    assert sorted(gone(None, over=1000)) == sorted(gone(0))
    assert sorted(gone(1, over=20)) == sorted(gone(1))
