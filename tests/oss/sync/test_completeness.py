"""When is a version complete: each rule on its own, and what a version is said to wait for."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tfs_notebook.engine.storage.completeness import Parts
from tfs_notebook.oss.client.store import StoredObject
from tfs_notebook.oss.listing import Tree, Version
from tfs_notebook.oss.sync.completeness import Marker, ParsedFiles, RootListing, StabilityCheck, not_uploaded

if TYPE_CHECKING:
    from tests.conftest import Models

SHARDED = Parts(variables=True, assets=("vocabulary.txt",))
NAMES = ("saved_model.pb", "variables/variables.index", "assets/vocabulary.txt")
SHARDS = ("variables/variables.data-00000-of-00002", "variables/variables.data-00001-of-00002")


def version(*names: str, modified: float = 1000.0, size: int = 7) -> Version:
    return Version("m/1", 1, {name: StoredObject(f"m/1/{name}", size, f"etag of {name}", modified) for name in names})


def changed(before: Version, name: str, **changes: object) -> Version:
    return replace(before, files={**before.files, name: replace(before.files[name], **changes)})  # type: ignore[arg-type]


# 1. The files


def test_all_that_the_graph_asks_for_is_awaited_in_the_words_of_an_uploader() -> None:
    assert not_uploaded(version(*SHARDS), None) == "saved_model.pb not uploaded yet"
    assert not_uploaded(version(*NAMES), None) == "saved_model.pb has not been read yet"
    assert not_uploaded(version(*NAMES[:1], *SHARDS), SHARDED) == "variables.index not uploaded yet"
    assert not_uploaded(version(*NAMES), SHARDED) == "variables.data-00000-of-00001 not uploaded yet"
    assert not_uploaded(version(*NAMES, SHARDS[0]), SHARDED) == "variables.data-00001-of-00002 not uploaded yet"
    assert not_uploaded(version(*NAMES[:2], *SHARDS), SHARDED) == "assets/vocabulary.txt not uploaded yet"
    assert not_uploaded(version(*NAMES, *SHARDS), SHARDED) == ""


def test_an_empty_graph_is_an_upload_that_has_begun() -> None:
    assert not_uploaded(version("saved_model.pb", size=0), None) == "saved_model.pb is empty"


def test_a_graph_without_variables_needs_nothing_else() -> None:
    assert not_uploaded(version("saved_model.pb"), Parts()) == ""


def test_a_tflite_version_is_its_file() -> None:
    assert not_uploaded(version("model.tflite"), None) == ""
    assert not_uploaded(version("model.tflite", size=0), None) == "model.tflite is empty"


@pytest.mark.parametrize("name", ["half_plus_two", "vocabulary", "aliased", "half_plus_two_tf1"])
def test_a_listing_of_a_real_model_is_complete_with_every_file_and_incomplete_without_one(
    models: Models, name: str
) -> None:
    directory = models.path(name) / "1"
    names = [path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file()]
    parts = Parts.of(directory / "saved_model.pb")
    assert not_uploaded(version(*names), parts) == ""
    for needed in {n for n in names if n.startswith(("variables/", "assets/"))}:
        assert needed.endswith(not_uploaded(version(*set(names) - {needed}), parts).split(" ")[0].split("/")[-1])


# 2. The quiet


def listing(of: Version, *, time: float, requested_at: float) -> RootListing:
    return RootListing(Tree.of(of.files.values(), ""), time, requested_at, requested_at + 0.1)


def settles(*looks: tuple[float, Version], poll: float = 30.0, start: float = 2000.0) -> list[bool]:
    """Whether the version counts as settled after each look, given by its second."""
    stability, before, outcome = StabilityCheck(), None, []
    for second, seen in looks:
        now = listing(seen, time=start + second, requested_at=100 + second)
        stability.on_listing(seen, now, before, poll)
        outcome.append(stability.is_stable(now, poll))
        before = now
    return outcome


def test_new_files_must_be_the_same_in_two_listings_a_poll_apart() -> None:
    fresh = version(*NAMES, modified=1995)
    assert settles((0, fresh), (31, fresh)) == [False, True]
    assert settles((0, fresh), (10, fresh), (20, fresh), (31, fresh)) == [False, False, False, True]


@pytest.mark.parametrize("change", [{"size": 8}, {"etag": "another"}])
def test_any_change_begins_the_quiet_again(change: dict[str, object]) -> None:
    fresh = version(*NAMES, modified=1995)
    other = changed(fresh, "saved_model.pb", modified=2020.0, **change)
    assert settles((0, fresh), (31, other), (50, other), (62, other)) == [False, False, False, True]


def test_a_file_more_or_less_begins_the_quiet_again() -> None:
    few, many = version(*NAMES[:2], modified=1995), version(*NAMES, modified=1995)
    assert settles((0, few), (31, replace(many, files={**many.files})), (62, many)) == [False, False, True]
    assert settles((0, many), (31, few)) == [False, False]


def test_files_that_all_are_older_than_a_poll_are_settled_at_the_first_look() -> None:
    assert settles((0, version(*NAMES, modified=1000))) == [True]
    assert settles((0, version(*NAMES, modified=1969))) == [True]
    assert settles((0, version(*NAMES, modified=1969.5))) == [False]
    assert settles((0, changed(version(*NAMES), NAMES[1], modified=1999.0))) == [False]


def test_a_new_file_that_says_it_is_older_than_the_look_that_did_not_show_it_is_not_believed() -> None:
    """Replication and moves keep times: the neighbours of such a file may still be on their way."""
    few, many = version(*NAMES[:2]), version(*NAMES)
    assert settles((0, few), (5, many), (20, many), (36, many)) == [True, False, False, True]


def test_files_uploaded_during_a_long_pause_are_believed() -> None:
    few, many = version(*NAMES[:2]), version(*NAMES[:2])
    uploaded = version(NAMES[2], modified=2100)
    many = replace(many, files={**many.files, **uploaded.files})
    assert settles((0, few), (300, many)) == [True, True]


# 4. The marker


def manifest(**files: object) -> Marker:
    return Marker.parse(json.dumps({"files": [{"path": path, **entry} for path, entry in files.items()]}).encode())  # type: ignore[dict-item]


def test_an_empty_marker_must_not_be_older_than_what_it_speaks_of() -> None:
    marked = version("saved_model.pb", "_SUCCESS")
    assert Marker.parse(b"").mismatch("_SUCCESS", marked) == ""
    later = changed(marked, "saved_model.pb", modified=1001.0)
    assert Marker.parse(b" \n").mismatch("_SUCCESS", later) == "_SUCCESS is older than saved_model.pb"


def test_a_manifest_names_every_file_with_its_size() -> None:
    listed = version("saved_model.pb", "manifest.json")
    good = manifest(**{"saved_model.pb": {"size": 7, "crc64": "18446744073709551615"}})
    assert good.mismatch("manifest.json", listed) == ""
    assert good.crc64("saved_model.pb") == 2**64 - 1
    assert good.crc64("other") is None
    more = manifest(**{"saved_model.pb": {"size": 7}, "assets/a": {"size": 1}})
    assert more.mismatch("manifest.json", listed) == "assets/a not uploaded yet"
    other = manifest(**{"saved_model.pb": {"size": 8}})
    assert other.mismatch("manifest.json", listed) == "saved_model.pb has 7 bytes, and manifest.json says 8"
    assert manifest().mismatch("manifest.json", listed) == "saved_model.pb is not in manifest.json"


@pytest.mark.parametrize(
    "content", [b"{", b"[]", b"{}", b'{"files": 1}', b'{"files": [1]}', b'{"files": [{"path": "a"}]}', b"\xff"]
)
def test_a_marker_that_cannot_be_understood_keeps_its_version_waiting(content: bytes) -> None:
    assert "manifest.json is no manifest" in Marker.parse(content).mismatch("manifest.json", version("manifest.json"))


def test_what_must_be_read_before_more_can_be_said() -> None:
    evidence, listed = ParsedFiles(), version("saved_model.pb", "_SUCCESS")
    assert evidence.to_parse(listed, "") == ["saved_model.pb"]
    assert evidence.to_parse(listed, "_SUCCESS") == ["saved_model.pb", "_SUCCESS"]
    assert evidence.missing_part(version("saved_model.pb"), "_SUCCESS") == "saved_model.pb has not been read yet"
    evidence.parts, evidence.marker = Parts(), Marker()
    evidence.etags = {name: stored.etag for name, stored in listed.files.items()}
    evidence.forget_changed(listed, "_SUCCESS")
    assert evidence.to_parse(listed, "_SUCCESS") == []
    assert evidence.missing_part(listed, "_SUCCESS") == ""
    assert evidence.missing_part(version("saved_model.pb"), "_SUCCESS") == "_SUCCESS not uploaded yet"
    evidence.forget_changed(changed(listed, "saved_model.pb", etag="another"), "_SUCCESS")
    assert evidence.to_parse(listed, "_SUCCESS") == ["saved_model.pb"]
