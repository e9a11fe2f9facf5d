"""A root and its copy, over HTTP, with real SavedModels: every rule, and every bad moment."""

from __future__ import annotations

import json
import shutil
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests import trees
from tests.oss.syncing import FILES, PREFIX, listings, model, upload, watched
from tests.support.serving import PATIENCE, until
from tfs_notebook.engine.config import AllVersions, Latest, Specific
from tfs_notebook.oss.address import PRIVATE
from tfs_notebook.oss.client.checksum import Crc64
from tfs_notebook.oss.peers.coordinator import Coordinator

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Models
    from tests.oss.stand_in.server import OssServer


def looked(oss: OssServer, times: int = 3) -> None:
    """Wait until the bucket was listed so many times more."""
    before = listings(oss)
    until(lambda: listings(oss) >= before + times)


# Complete


def test_what_is_not_uploaded_yet_is_awaited_by_its_name(oss: OssServer, models: Models, tmp_path: Path) -> None:
    upload(oss, models, "modelA/1", *FILES[:2])
    with watched(tmp_path) as seen:
        until(lambda: seen.fetch_status().waiting == {1: "variables.data-00000-of-00001 not uploaded yet"})
        assert not seen.fetch_status().expects_more
        assert seen.status.waiting == {"modelA/1": "variables.data-00000-of-00001 not uploaded yet"}
        assert seen.status.state == "waiting"
        oss.put(f"{PREFIX}/modelA/1/variables/variables.data-00000-of-00002", b"half")
        until(lambda: seen.fetch_status().waiting == {1: "variables.data-00001-of-00002 not uploaded yet"})
        oss.delete(f"{PREFIX}/modelA/1/variables/variables.data-00000-of-00002")
        upload(oss, models, "modelA/1", *FILES[2:])
        until(lambda: seen.versions() == ["1"])
        until(lambda: seen.status.state == "in step")
        assert not seen.fetch_status().waiting


@pytest.mark.parametrize("order", [FILES, FILES[::-1], FILES[2:] + FILES[:2]])
def test_a_slow_upload_is_published_after_its_last_file_whatever_the_order(
    oss: OssServer, models: Models, tmp_path: Path, order: tuple[str, ...]
) -> None:
    with watched(tmp_path) as seen:
        needed = [name for name in order if name != "fingerprint.pb"]  # which no graph asks for
        for name in needed[:-1]:
            upload(oss, models, "modelA/1", name)
            looked(oss)
            assert seen.versions() == []
        upload(oss, models, "modelA/1", *order)
        until(lambda: seen.versions() == ["1"])


def test_models_that_were_there_before_are_brought_without_waiting_for_a_poll(
    oss: OssServer, models: Models, tmp_path: Path
) -> None:
    upload(oss, models, "modelA/1")
    oss.clock_offset = 100
    with watched(tmp_path, poll_seconds=60) as seen:
        until(lambda: seen.versions() == ["1"])
        until(lambda: listings(oss) == 2)  # the second confirms what was brought
        assert seen.versions() == ["1"]


def test_new_files_wait_for_a_second_listing(oss: OssServer, models: Models, tmp_path: Path) -> None:
    upload(oss, models, "modelA/1")
    with watched(tmp_path, poll_seconds=60) as seen:
        until(lambda: seen.fetch_status().waiting == {1: "its files have not been the same for 60 s yet"})
        assert seen.fetch_status().expects_more
        assert seen.versions() == []


def test_what_changes_while_it_is_brought_is_brought_again(oss: OssServer, models: Models, tmp_path: Path) -> None:
    upload(oss, models, "modelA/1")
    graph = f"{PREFIX}/modelA/1/saved_model.pb"
    oss.fail("swap", key="assets/", content=(models.path("vocabulary") / "1" / FILES[3]).read_bytes() + b"another\n")
    with watched(tmp_path) as seen:
        until(lambda: seen.versions() == ["1"])
        published = (seen.directory() / "1" / FILES[3]).read_bytes()
        assert published.endswith(b"another\n")
        assert graph in oss.objects


def test_a_file_added_during_the_download_is_part_of_what_is_published(
    oss: OssServer, models: Models, tmp_path: Path
) -> None:
    upload(oss, models, "modelA/1")
    stalled = oss.fail("stall", key="assets/")
    with watched(tmp_path, patience=60) as seen:
        assert stalled.reached.wait(PATIENCE)
        oss.put(f"{PREFIX}/modelA/1/assets.extra/late", b"late")
        stalled.release()
        until(lambda: seen.versions() == ["1"])
        assert (seen.directory() / "1" / "assets.extra" / "late").read_bytes() == b"late"


def test_a_version_that_vanishes_while_it_is_brought_leaves_nothing(
    oss: OssServer, models: Models, tmp_path: Path
) -> None:
    upload(oss, models, "modelA/1")
    upload(oss, models, "modelA/2")
    stalled = oss.fail("stall", key="2/assets/")
    with watched(tmp_path, patience=60) as seen:
        assert stalled.reached.wait(PATIENCE)
        oss.delete(f"{PREFIX}/modelA/2/")
        stalled.release()
        until(lambda: seen.versions() == ["1"])
        until(lambda: not trees.names(seen.directory().parent / ".tfs-sync" / "staging"))


# The marker


def test_with_a_marker_nothing_is_brought_before_it_is_there(oss: OssServer, models: Models, tmp_path: Path) -> None:
    upload(oss, models, "modelA/1")
    with watched(tmp_path, marker="_SUCCESS") as seen:
        until(lambda: seen.fetch_status().waiting == {1: "_SUCCESS not uploaded yet"})
        looked(oss)
        assert seen.versions() == []
        oss.put(f"{PREFIX}/modelA/1/_SUCCESS", b"")
        until(lambda: seen.versions() == ["1"])


def test_a_manifest_must_be_true(oss: OssServer, models: Models, tmp_path: Path) -> None:
    upload(oss, models, "modelA/1")
    files = []
    for key, stored in oss.objects.items():
        crc64 = Crc64()
        crc64.update((models.path("vocabulary") / "1" / key.removeprefix(f"{PREFIX}/modelA/1/")).read_bytes())
        files.append({"path": key.removeprefix(f"{PREFIX}/modelA/1/"), "size": stored.size, "crc64": str(crc64.value)})
    wrong = [{**files[0], "crc64": "1"}, *files[1:]]
    oss.put(f"{PREFIX}/modelA/1/manifest.json", json.dumps({"files": wrong}).encode())
    with watched(tmp_path, marker="manifest.json") as seen:
        until(lambda: "checksum" in seen.fetch_status().waiting.get(1, ""))
        assert seen.versions() == []
        oss.put(f"{PREFIX}/modelA/1/manifest.json", json.dumps({"files": files}).encode())
        until(lambda: seen.versions() == ["1"])


# Which versions


def test_the_policies_decide_what_is_brought(oss: OssServer, models: Models, tmp_path: Path) -> None:
    for number in (1, 2, 3, "00000004"):
        upload(oss, models, f"modelA/{number}", model="half_plus_two")
    with watched(tmp_path, model(policy=Latest(1))) as seen:
        until(lambda: seen.versions() == ["00000004"])
        looked(oss)
        seen.mirror.want([model(policy=Latest(2))])
        until(lambda: seen.versions() == ["00000004", "3"])
        seen.mirror.want([model(), model("other", Specific((1, 9)), "/models/modelA")])
        until(lambda: seen.versions() == ["00000004", "1", "3"])
        assert "does not hold it" in seen.fetch_status().waiting[9]
        seen.mirror.want([model(policy=AllVersions())])
        until(lambda: seen.versions() == ["00000004", "1", "2", "3"])


def test_an_incomplete_newest_version_is_passed_over_until_it_is_complete(
    oss: OssServer, models: Models, tmp_path: Path
) -> None:
    upload(oss, models, "modelA/1")
    upload(oss, models, "modelA/2", *FILES[:2])
    with watched(tmp_path) as seen:
        until(lambda: seen.versions() == ["1"])
        until(lambda: seen.fetch_status().waiting == {2: "variables.data-00000-of-00001 not uploaded yet"})
        upload(oss, models, "modelA/2")
        until(lambda: seen.versions() == ["1", "2"])


def test_nothing_else_than_what_is_wanted_is_asked_for(oss: OssServer, models: Models, tmp_path: Path) -> None:
    for number in (1, 2):
        upload(oss, models, f"modelA/{number}")
    upload(oss, models, "modelB/1")
    oss.clock_offset = 100
    with watched(tmp_path) as seen:
        until(lambda: seen.versions() == ["2"])
        looked(oss)
        read = {request.key for request in oss.requests if request.operation == "GET"}
        assert read == {f"{PREFIX}/modelA/2/{name}" for name in FILES}


# What is published


def test_a_version_written_again_is_kept_and_replaced_only_when_asked(
    oss: OssServer, models: Models, tmp_path: Path
) -> None:
    upload(oss, models, "modelA/1")
    with watched(tmp_path) as seen:
        until(lambda: seen.versions() == ["1"])
        oss.put(f"{PREFIX}/modelA/1/{FILES[3]}", b"another\n")
        until(lambda: "modelA/1 was written again in the bucket" in seen.warnings)
        looked(oss)
        assert (seen.directory() / "1" / FILES[3]).read_bytes() != b"another\n"
        seen.mirror.replace("/models/modelA", 1)
        until(lambda: trees.content(seen.directory() / "1" / FILES[3]) == b"another\n")
        until(lambda: not seen.warnings)


def test_of_two_spellings_of_a_number_the_last_by_name_is_brought_and_the_other_told(
    oss: OssServer, models: Models, tmp_path: Path
) -> None:
    upload(oss, models, "modelA/00000123")
    with watched(tmp_path, keep_versions=0) as seen:
        until(lambda: seen.versions() == ["00000123"])
        upload(oss, models, "modelA/123", *FILES[:2])
        until(
            lambda: (
                "modelA/00000123 and modelA/123 are one version, 123: modelA/123, the last by name, is taken"
                in seen.warnings
            )
        )
        looked(oss)
        assert seen.versions() == ["00000123"], "serves until the other is here"
        upload(oss, models, "modelA/123")
        until(lambda: seen.versions() == ["123"])
        oss.delete(f"{PREFIX}/modelA/00000123/")
        until(lambda: not seen.warnings)
        assert seen.versions() == ["123"]


def test_a_version_that_goes_is_withdrawn_after_two_listings_and_deleted_when_it_is_not_used(
    oss: OssServer, models: Models, tmp_path: Path
) -> None:
    upload(oss, models, "modelA/1")
    upload(oss, models, "modelA/2")
    used = {2}
    with watched(tmp_path, model(policy=AllVersions()), in_use=lambda directory, number: number in used) as seen:
        until(lambda: seen.versions() == ["1", "2"])
        trash = seen.directory().parent / ".tfs-sync" / "trash"
        oss.delete(f"{PREFIX}/modelA/2/")
        until(lambda: seen.versions() == ["1"])
        until(lambda: seen.changes[-1] == str(seen.directory()))
        assert trees.names(trash)
        used.clear()
        until(lambda: not trees.names(trash))


def test_versions_stay_when_their_model_lists_none_any_more(oss: OssServer, models: Models, tmp_path: Path) -> None:
    upload(oss, models, "modelA/1")
    oss.put(f"{PREFIX}/modelA/README.md", b"")
    upload(oss, models, "modelB/1")
    with watched(tmp_path) as seen:
        until(lambda: seen.versions() == ["1"])
        oss.delete(f"{PREFIX}/modelA/1/")
        until(lambda: "no version is listed below oss://examplebucket/models/tf_serving/modelA" in seen.warnings)
        looked(oss)
        assert seen.versions() == ["1"]


def test_an_empty_listing_changes_nothing(oss: OssServer, models: Models, tmp_path: Path) -> None:
    upload(oss, models, "modelA/1")
    with watched(tmp_path) as seen:
        until(lambda: seen.versions() == ["1"])
        oss.fail("empty", method="LIST", times=None)
        until(lambda: "was empty: nothing is changed" in seen.warnings)
        looked(oss)
        assert seen.versions() == ["1"]
        oss.heal()
        until(lambda: not seen.warnings)


def test_a_copy_that_somebody_deletes_is_brought_again(oss: OssServer, models: Models, tmp_path: Path) -> None:
    upload(oss, models, "modelA/1")
    with watched(tmp_path) as seen:
        until(lambda: seen.versions() == ["1"])
        shutil.rmtree(seen.directory() / "1")
        until(lambda: seen.versions() == ["1"])


def test_a_cache_that_somebody_clears_is_filled_again(oss: OssServer, models: Models, tmp_path: Path) -> None:
    upload(oss, models, "modelA/1")
    with watched(tmp_path) as seen:
        until(lambda: seen.versions() == ["1"])
        shutil.rmtree(tmp_path / "cache", ignore_errors=True)
        until(lambda: seen.versions() == ["1"])
        until(lambda: seen.status.problem is None)
        other = Coordinator(seen.directory().parent / PRIVATE)
        assert not other.try_to_lock()  # still this one does
        seen.mirror.pause()
        until(other.try_to_lock)
        other.leave()
        shutil.rmtree(tmp_path / "cache")
        seen.mirror.resume()
        until(lambda: seen.versions() == ["1"])


def test_a_directory_in_the_way_is_left_alone(oss: OssServer, models: Models, tmp_path: Path) -> None:
    upload(oss, models, "modelA/1")
    with watched(tmp_path, model("modelB")) as seen:
        (seen.directory() / "1").mkdir(parents=True)
        seen.mirror.want([model()])
        until(lambda: "was not brought by this" in seen.fetch_status().waiting.get(1, ""))
        assert not trees.names(seen.directory() / "1")
        (seen.directory() / "1").rmdir()
        until(lambda: seen.directory().is_dir() and seen.versions() == ["1"])


# Room


def test_versions_that_nobody_wants_go_but_for_the_newest_and_those_in_use(
    oss: OssServer, models: Models, tmp_path: Path
) -> None:
    for number in range(1, 6):
        upload(oss, models, f"modelA/{number}", model="half_plus_two")
    used = {1}
    with watched(
        tmp_path, model(policy=AllVersions()), keep_versions=1, in_use=lambda _, number: number in used
    ) as seen:
        until(lambda: len(seen.versions()) == 5)
        seen.mirror.want([model(policy=Latest(2))])
        until(lambda: seen.versions() == ["1", "3", "4", "5"])
        looked(oss)
        assert seen.versions() == ["1", "3", "4", "5"]
        used.clear()
        until(lambda: seen.versions() == ["3", "4", "5"])


def test_the_version_that_serves_stays_until_the_next_is_here(oss: OssServer, models: Models, tmp_path: Path) -> None:
    upload(oss, models, "modelA/1")
    with watched(tmp_path, patience=60, keep_versions=0) as seen:
        until(lambda: seen.versions() == ["1"])
        stalled = oss.fail("stall", key="modelA/2/assets/")
        upload(oss, models, "modelA/2")
        assert stalled.reached.wait(PATIENCE)
        looked(oss)
        assert seen.versions() == ["1"]
        stalled.release()
        until(lambda: seen.versions() == ["2"])


def test_the_disk_budget_makes_room_or_says_why_it_cannot(oss: OssServer, models: Models, tmp_path: Path) -> None:
    upload(oss, models, "modelA/1", model="half_plus_two")
    size = sum(stored.size for stored in oss.objects.values())
    with watched(tmp_path, model(policy=Latest(1)), keep_versions=None, disk_budget=2 * size + 10) as seen:
        for number in (1, 2, 3):
            upload(oss, models, f"modelA/{number}", model="half_plus_two")
            until(lambda: str(number) in seen.versions(), timeout=PATIENCE)  # noqa: B023 - each waits for the disk ten times
        until(lambda: seen.versions() == ["2", "3"])
        seen.mirror.want([model(policy=Latest(3))])
        until(lambda: "disk budget" in seen.fetch_status().waiting.get(1, ""))
        assert seen.versions() == ["2", "3"]


def test_what_is_on_its_way_counts_as_well(oss: OssServer, tmp_path: Path) -> None:
    for number in (1, 2):
        oss.put(f"{PREFIX}/modelA/{number}/model.tflite", b"x" * 1000)
    stalled = oss.fail("stall", key="modelA/2/")
    with watched(tmp_path, model(policy=Latest(2)), patience=60, disk_budget=1500) as seen:
        assert stalled.reached.wait(PATIENCE)
        until(lambda: "disk budget" in seen.fetch_status().waiting.get(1, ""))
        stalled.release()
        until((seen.directory() / "2").is_dir)
        looked(oss)
        assert not (seen.directory() / "1").exists()


def test_a_full_disk_is_told_before_anything_is_brought(
    oss: OssServer, models: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(oss, models, "modelA/1")
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1 << 20))
    with watched(tmp_path) as seen:
        until(lambda: "do not fit" in seen.fetch_status().waiting.get(1, ""))
        assert not [request for request in oss.requests if request.operation == "GET"]
        monkeypatch.undo()
        until(lambda: seen.versions() == ["1"])


# Bad moments

PASSING: list[dict[str, Any]] = [
    {"fault": "cut", "at": 10, "times": 5},
    {"fault": "reset", "times": 2},
    {"fault": "reset", "at": 10, "times": 5},
    {"fault": "stall", "at": 10, "times": 2, "key": "assets"},
    {"fault": "corrupt", "at": 3, "times": 5},
    {"fault": "checksum", "times": 3},
    {"fault": "lost", "times": 3},
    {"fault": "error", "status": 503, "times": 6, "key": "assets"},
    {"fault": "error", "status": 500, "times": 2, "method": "LIST"},
    {"fault": "error", "status": 404, "code": "NoSuchKey", "times": 2},
    {"fault": "error", "status": 404, "code": "NoSuchBucket", "times": 2, "method": "LIST"},
    {"fault": "archived", "times": 2},
    {"fault": "expired", "times": 2},
    {"fault": "expired", "times": 2, "method": "LIST"},
    {"fault": "cut", "at": 100, "times": 2, "method": "LIST"},
    {"fault": "reset", "times": 2, "method": "LIST"},
    {"fault": "stall", "times": 1, "method": "LIST"},
    {"fault": "slow", "rate": 100_000, "times": 3},
    {"fault": "skew", "seconds": -1000, "times": 2, "method": "LIST"},
]


@pytest.mark.parametrize("fault", PASSING, ids=lambda fault: "-".join(map(str, fault.values())))
def test_bad_moments_pass_and_nothing_half_is_ever_published(
    oss: OssServer, models: Models, tmp_path: Path, fault: dict[str, Any]
) -> None:
    upload(oss, models, "modelA/1")
    oss.fail(**fault)
    with watched(tmp_path) as seen:
        until(lambda: seen.versions() == ["1"], timeout=PATIENCE)
        for name in FILES:
            expected = (models.path("vocabulary") / "1" / name).read_bytes()
            assert (seen.directory() / "1" / name).read_bytes() == expected
        until(lambda: seen.status.problem is None)


@pytest.mark.parametrize("method", ["LIST", "GET"])
def test_what_is_forbidden_stops_for_five_minutes_or_until_somebody_asks_again(
    oss: OssServer, models: Models, tmp_path: Path, method: str
) -> None:
    upload(oss, models, "modelA/1")
    oss.fail("error", status=403, code="AccessDenied", method=method, times=None)
    with watched(tmp_path) as seen:
        until(lambda: seen.status.state == "stopped")
        assert "AccessDenied" in seen.problem or "denied" in seen.problem.lower()
        assert seen.fetch_status().problem is not None
        assert not seen.fetch_status().expects_more
        until(lambda: seen.status.next_listing == pytest.approx(time.time() + 315, abs=30))
        before = len(oss.requests)
        oss.heal()
        seen.mirror.sync_now()
        until(lambda: seen.versions() == ["1"])
        assert len(oss.requests) > before


def test_an_archived_object_is_told_with_the_remedy(oss: OssServer, models: Models, tmp_path: Path) -> None:
    upload(oss, models, "modelA/1")
    upload(oss, models, "modelA/2")
    oss.fail("archived", key="modelA/2/assets", times=None)
    with watched(tmp_path) as seen:
        until(lambda: seen.versions() == ["1"])
        until(lambda: "restore" in seen.fetch_status().waiting.get(2, ""))
        oss.heal()
        seen.mirror.sync_now()
        until(lambda: seen.versions() == ["1", "2"])


def test_a_missing_checksum_is_said(oss: OssServer, models: Models, tmp_path: Path) -> None:
    upload(oss, models, "modelA/1")
    oss.fail("no_checksum", times=None)
    with watched(tmp_path) as seen:
        until(lambda: seen.versions() == ["1"])
        until(lambda: "modelA/1 was verified by size only" in seen.warnings)


def test_trouble_is_asked_about_less_and_less_often(oss: OssServer, models: Models, tmp_path: Path) -> None:
    upload(oss, models, "modelA/1")
    with watched(tmp_path) as seen:
        until(lambda: seen.versions() == ["1"])
        oss.fail("error", status=400, code="Whatever", method="LIST", times=None)
        until(lambda: seen.status.problem is not None)
        until(lambda: (seen.status.next_listing or 0) - (seen.status.last_listing or 0) > 1.0)
        assert seen.versions() == ["1"]
        oss.heal()
        seen.mirror.sync_now()
        until(lambda: seen.status.problem is None)


def test_an_unknown_endpoint_stops_with_what_to_set(
    tmp_path: Path, oss: OssServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OSS_ENDPOINT")
    monkeypatch.delenv("OSS_REGION")
    with watched(tmp_path) as seen:
        until(lambda: seen.status.state == "stopped")
        assert "OSS_REGION" in seen.problem


def test_a_cache_that_cannot_be_written_is_told(tmp_path: Path, oss: OssServer, models: Models) -> None:
    upload(oss, models, "modelA/1")
    (tmp_path / "cache").write_text("a file")
    with watched(tmp_path) as seen:
        until(lambda: str(tmp_path / "cache") in seen.problem)
        (tmp_path / "cache").unlink()
        until(lambda: seen.versions() == ["1"])


# Odd keys


def test_keys_that_could_leave_their_directory_never_do(oss: OssServer, models: Models, tmp_path: Path) -> None:
    upload(oss, models, "modelA/1")
    evil = ("../../../../evil", "/evil", "a/../../evil", "a\\..\\evil", "evil\n", "./evil", "x" * 256)
    for name in evil:
        oss.put(f"{PREFIX}/modelA/1/{name}", b"evil")
        oss.put(f"{PREFIX}/{name}/1/saved_model.pb", b"evil")
    oss.put(f"{PREFIX}/modelA/1/", b"")
    oss.put(f"{PREFIX}/modelA/1/assets", b"a file that is a directory")
    oss.put(f"{PREFIX}/modelA/1/模 型 %2F..%2F", b"odd, but a name")
    oss.put(f"{PREFIX}/modelA/1/assets.extra/empty", b"")
    with watched(tmp_path) as seen:
        until(lambda: seen.versions() == ["1"])
        version = seen.directory() / "1"
        names = {path.relative_to(version).as_posix() for path in trees.files(version)}
        assert names == {*FILES, "模 型 %2F..%2F", "assets.extra/empty"}
        for reason in ("'..'", "an empty part", "a backslash", "control character", "255 bytes", "is a directory"):
            assert reason in seen.warnings
    assert not list(tmp_path.rglob("*evil*"))


def test_every_spelling_of_a_number_is_a_version(oss: OssServer, models: Models, tmp_path: Path) -> None:
    for name in ("-1", "+2", "00000123", "v3", "1.0"):
        upload(oss, models, f"modelA/{name}", model="half_plus_two")
    with watched(tmp_path, model(policy=AllVersions())) as seen:
        until(lambda: seen.versions() == ["+2", "-1", "00000123"])


def test_what_a_base_path_holds_instead_of_versions_is_told(oss: OssServer, models: Models, tmp_path: Path) -> None:
    upload(oss, models, "modelA/v1", "saved_model.pb")
    with watched(tmp_path, model(), model("modelB")) as seen:
        until(lambda: seen.fetch_status().problem is not None)
        problem = seen.fetch_status().problem
        assert problem is not None
        assert "Did you forget to name your leaf directory as a number" in problem.message
        assert problem.hint == "It holds v1."
        other = seen.fetch_status("modelB").problem
        assert other is not None
        assert other.message == "Nothing is below oss://examplebucket/models/tf_serving/modelB/."
        assert "modelA" in other.hint
        assert not seen.fetch_status("modelB").expects_more
