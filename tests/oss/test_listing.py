"""From keys to paths: what is taken, and what is refused and why."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfs_notebook.oss.client.store import StoredObject
from tfs_notebook.oss.listing import Tree, refusal, told


def tree(*paths: str, prefix: str = "models/") -> Tree:
    return Tree.of([StoredObject(prefix + path, len(path), f"etag of {path}") for path in paths], prefix)


def test_exactly_the_prefix_is_stripped() -> None:
    assert list(tree("modelA/1/saved_model.pb").files) == ["modelA/1/saved_model.pb"]
    assert list(tree("models/1/x").files) == ["models/1/x"]
    assert list(tree("a/1/x", prefix="").files) == ["a/1/x"]


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("a//b", "an empty part"),
        ("/a", "an empty part"),
        ("a/./b", "the part '.'"),
        ("../../etc/passwd", "the part '..'"),
        ("a/..", "the part '..'"),
        ("a\\..\\b", "a backslash"),
        ("a\nb", "a control character"),
        ("a\x00b", "a control character"),
        ("a\x7fb", "a control character"),
        ("a\x85b", "a control character"),
        ("x" * 256, "more than 255 bytes"),
        ("ü" * 128, "more than 255 bytes"),
    ],
)
def test_what_could_leave_its_directory_or_cannot_be_a_name_is_refused(path: str, reason: str) -> None:
    assert reason in refusal(path)
    found = tree(path, "modelA/1/saved_model.pb")
    assert list(found.files) == ["modelA/1/saved_model.pb"]
    assert found.refused == {path: refusal(path)}


@pytest.mark.parametrize("path", ["...", "..a", "a b", "模型/权重", "x" * 255, "-rf", "~", "%2F", "a:b", " "])
def test_odd_names_are_names(path: str) -> None:
    assert list(tree(path).files) == [path]


def test_control_characters_are_what_unicode_says() -> None:
    for number in range(256):
        refused = unicodedata.category(chr(number)) == "Cc"
        for path in (f"a{chr(number)}b", f"a{chr(number)}ü"):
            assert ("a control character" in refusal(path)) == refused


def test_drawn_directories_are_skipped_and_empty_files_kept() -> None:
    found = Tree.of([StoredObject(key, 0, "") for key in ("m/", "m/1/", "m/1/variables/", "m/1/empty")], "m/")
    assert list(found.files) == ["1/empty"]
    assert not found.refused


def test_a_key_that_is_a_file_and_a_directory_is_no_file() -> None:
    found = tree("a/1/variables", "a/1/variables/variables.index", "a/1/saved_model.pb")
    assert list(found.files) == ["a/1/saved_model.pb", "a/1/variables/variables.index"]
    assert "is a directory" in found.refused["a/1/variables"]


def test_names_that_differ_in_case_or_composition_only_are_refused_but_for_the_first() -> None:
    found = tree("A/1/x", "a/1/x", "b/1/Vocab", "b/1/vocab", "c/é", "c/e\u0301", "c/2")
    assert list(found.files) == ["A/1/x", "b/1/Vocab", "c/2", "c/e\u0301"]
    assert found.refused.keys() == {"a/1/x", "b/1/vocab", "c/é"}
    assert "'A'" in found.refused["a/1/x"]


def test_every_number_that_tensorflow_serving_takes_is_a_version() -> None:
    paths = [f"m/{name}/x" for name in ("1", "00000123", "-5", "+7", "1.5", "v1", "1a", "", "9223372036854775808")]
    assert tree(*paths).versions("m").keys() == {1, 123, -5, 7}


def test_of_several_spellings_of_a_number_the_last_is_the_version_as_on_a_disk() -> None:
    assert tree("m/001/x", "m/1/x", "m/01/x").versions("m")[1].path == "m/1"


def test_which_spellings_of_a_number_do_not_count_is_known() -> None:
    found = tree("m/1/x", "m/01/x", "m/ 1/x", "m/+1/x", "m/2/x", "n/1/x", "n/1")
    outdone = list(found.outdone("m"))
    assert outdone == [
        f"m/{name} and m/1 are one version, 1: m/1, the last by name, is taken" for name in (" 1", "+1", "01")
    ]
    assert list(found.outdone("n")) == []


def test_versions_are_directories_of_their_own_base_path() -> None:
    found = tree("m/1/a/b", "m/1/c", "m/2", "m/x/3/y", "mm/4/y", "5/z")
    assert found.versions("m").keys() == {1}
    assert list(found.versions("m")[1].files) == ["a/b", "c"]
    assert found.versions("m/x").keys() == {3}
    assert found.versions("").keys() == {5}
    assert found.has("m/x")
    assert not found.has("m/y")
    assert not found.has("m/2")


def test_refused_keys_are_told_in_a_line_for_each_reason() -> None:
    lines = told(tree("a//b", "c//d", "e//f", "g\\h").refused)
    assert len(lines) == 2
    assert any("3 keys are not taken, such as 'a//b', which has an empty part" in line for line in lines)
    assert any("the key 'g\\\\h' has a backslash in it: not taken" in line for line in lines)


@given(st.lists(st.text(st.sampled_from("aA./\\\n1é"), max_size=8), max_size=12))
def test_whatever_is_taken_is_below_and_is_either_file_or_directory(paths: list[str]) -> None:
    found = tree(*paths)
    for path in found.files:
        parts = path.split("/")
        assert not {"", ".", ".."} & set(parts)
        assert not any("/".join(parts[:count]) in found.files for count in range(1, len(parts)))
    assert len({path.casefold() for path in found.files}) == len(found.files)
    assert found.files.keys() | found.refused.keys() == {path for path in paths if not f"/{path}".endswith("/")}
