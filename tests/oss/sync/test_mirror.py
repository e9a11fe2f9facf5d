"""All that a server serves from OSS: base paths, roots, and what the engine is told."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from tests.oss.syncing import PREFIX, ROOT, listings, model, open_impatiently, upload, watched
from tests.support.serving import PATIENCE, until
from tests.support.threads import no_more_threads
from tfs_notebook.engine.config import AllVersions, Specific
from tfs_notebook.errors import ServingError
from tfs_notebook.oss.address import OssAddress
from tfs_notebook.oss.client.store import StoreError
from tfs_notebook.oss.sync.mirror import Mirror, MirrorOptions

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Models
    from tests.oss.stand_in.server import OssServer
    from tfs_notebook.oss.client.store import ObjectStore


@pytest.fixture
def idle(tmp_path: Path) -> Mirror:
    """A mirror that brings nothing, with the root at /models."""
    made = Mirror(MirrorOptions(cache_dir=str(tmp_path)), open_impatiently, lambda directory: None)
    made.mount(ROOT, "/models")
    return made


# Base paths


def test_base_paths_below_the_mount_and_their_addresses_are_one_directory(idle: Mirror) -> None:
    directory = idle.directory("/models/modelA/")
    assert directory == idle.directory("/models/modelA") == idle.directory(f"{ROOT}modelA/")
    assert (
        idle.directory("/models")
        == idle.directory(str(ROOT))
        == idle.directory("oss://examplebucket/models/tf_serving")
    )
    assert directory == f"{idle.directory('/models')}/modelA"


@pytest.mark.parametrize("path", ["/data/modelA", "file:///data/modelA", "/modelsA/x", "s3://b/c", "relative", ""])
def test_a_path_that_is_not_in_oss_is_its_own_directory(idle: Mirror, path: str) -> None:
    assert idle.directory(path) == path
    fetch_status = idle.fetch_status(path)
    assert (fetch_status.expects_more, fetch_status.waiting, fetch_status.problem) == (False, {}, None)


def test_an_address_outside_of_the_mount_is_a_root_of_its_own(idle: Mirror) -> None:
    sibling = idle.directory("oss://examplebucket/models/tf_serving2/modelA")
    assert not sibling.startswith(idle.directory("/models") + "/")
    assert sibling != idle.directory("oss://another-bucket/models/tf_serving2/modelA")
    assert idle.directory("oss://examplebucket/") != idle.directory("/models")


@pytest.mark.parametrize("path", ["oss://examplebucket/a/../../b", "oss://examplebucket/a//b", "oss://B/x", "oss://"])
def test_an_address_that_cannot_be_a_base_path_is_told_and_kept_out(idle: Mirror, path: str, oss: OssServer) -> None:
    assert idle.directory(path) == path
    assert idle.fetch_status(path).problem is not None
    idle.want([model(base_path=path)])
    assert idle.status() == ()
    idle.close()


def test_the_longest_mount_holds_a_base_path(idle: Mirror) -> None:
    idle.mount(OssAddress.parse(f"{ROOT}deep/"))
    assert idle.directory(f"{ROOT}deep/modelA").endswith("deep/modelA")
    assert not idle.directory(f"{ROOT}deep/modelA").startswith(idle.directory("/models") + "/")


# Roots


def test_all_base_paths_of_a_mount_share_one_listing(oss: OssServer, models: Models, tmp_path: Path) -> None:
    names = [f"model{number}" for number in range(5)]
    for name in names:
        upload(oss, models, f"{name}/1", model="half_plus_two")
    oss.clock_offset = 100
    with watched(tmp_path, *map(model, names), poll_seconds=60) as seen:
        until(lambda: all(seen.versions(name) == ["1"] for name in names))
        assert len(seen.mirror.status()) == 1
        asked = [request for request in oss.requests if request.operation == "LIST"]
        assert {request.query["prefix"] for request in asked} == {f"{PREFIX}/"}
        assert not any(request.query.get("delimiter") for request in asked)
        assert len(asked) < 8  # one, and one to confirm each time that downloads have ended


def test_a_root_that_begins_on_a_busy_machine_deletes_nothing_that_is_wanted(
    oss: OssServer, models: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (1, 2):
        upload(oss, models, f"modelA/{number}", model="half_plus_two")
    both = model(policy=AllVersions())
    with watched(tmp_path, both, keep_versions=0) as seen:
        until(lambda: seen.versions() == ["1", "2"])
    start, before = threading.Thread.start, len(oss.requests)

    def start_late(thread: threading.Thread) -> None:
        """Let it have done something before whoever starts it goes on."""
        start(thread)
        if thread.name == "tfs-oss-sync":
            until(lambda: len(oss.requests) > before)

    monkeypatch.setattr(threading.Thread, "start", start_late)
    with watched(tmp_path, both, keep_versions=0) as seen:
        until(lambda: seen.status.state == "in step")
        assert seen.versions() == ["1", "2"]
    assert {request.operation for request in oss.requests[before:]} == {"LIST"}


def test_a_root_begins_with_the_first_model_that_wants_it_and_ends_with_the_last(
    oss: OssServer, models: Models, tmp_path: Path
) -> None:
    upload(oss, models, "modelA/1")
    oss.put_tree("elsewhere/modelB/1", models.path("half_plus_two") / "1")
    elsewhere = model("modelB", base_path="oss://examplebucket/elsewhere/modelB/")
    with watched(tmp_path, model()) as seen:
        until(lambda: seen.versions() == ["1"])
        seen.mirror.want([model(), elsewhere])
        until((tmp_path / seen.mirror.directory(elsewhere.base_path) / "1").is_dir)
        assert [status.address for status in seen.mirror.status()] == [elsewhere.base_path, str(ROOT)]
        seen.mirror.want([elsewhere])
        until(lambda: [status.address for status in seen.mirror.status()] == [elsewhere.base_path])
        assert seen.versions() == ["1"]
        seen.mirror.want([])
        assert seen.mirror.status() == ()
        until(lambda: not [thread for thread in threading.enumerate() if thread.name == "tfs-oss-sync"])


def test_the_bucket_itself_can_be_a_base_path(oss: OssServer, models: Models, tmp_path: Path) -> None:
    oss.put_tree("5", models.path("half_plus_two") / "1")
    bucket = model(base_path="oss://examplebucket")
    with watched(tmp_path, bucket) as seen:
        until((tmp_path / seen.mirror.directory(bucket.base_path) / "5").is_dir)


def test_models_with_one_base_path_each_get_what_they_want(oss: OssServer, models: Models, tmp_path: Path) -> None:
    for number in (1, 2, 3):
        upload(oss, models, f"modelA/{number}", model="half_plus_two")
    with watched(tmp_path, model("one"), model("two")) as seen:
        same = f"{ROOT}modelA"
        seen.mirror.want([model("one", Specific((1,)), same), model("two", Specific((2,)), same)])
        until(lambda: seen.versions() == ["1", "2"])


# What the engine is told


def test_the_first_look_and_a_transfer_are_worth_waiting_for(oss: OssServer, models: Models, tmp_path: Path) -> None:
    upload(oss, models, "modelA/1")
    listing, read = oss.fail("stall", method="LIST"), oss.fail("stall", key="assets/")
    with watched(tmp_path, patience=60) as seen:
        assert listing.reached.wait(PATIENCE)
        assert seen.fetch_status().expects_more
        assert seen.status.state == "starting"
        listing.release()
        assert read.reached.wait(PATIENCE)
        until(lambda: seen.fetch_status().waiting == {1: "it is being brought"})
        assert seen.status.state == "transferring"
        assert seen.fetch_status().expects_more
        (transfer,) = seen.status.transfers
        assert (transfer.name, transfer.files_in_all) == ("modelA/1", 5)
        assert transfer.size_in_all == sum(stored.size for stored in oss.objects.values())
        read.release()
        until(lambda: seen.versions() == ["1"])
        until(lambda: not seen.fetch_status().expects_more)


def test_every_change_is_told_with_the_directory_it_is_in(oss: OssServer, models: Models, tmp_path: Path) -> None:
    upload(oss, models, "modelA/1")
    with watched(tmp_path, model(policy=AllVersions()), model("modelB")) as seen:
        until(lambda: seen.versions() == ["1"])
        until(lambda: seen.status.state == "in step" and not seen.fetch_status().expects_more)
        before = listings(oss)
        until(lambda: listings(oss) > before + 1)
        assert set(seen.changes) == {str(seen.directory()), str(seen.directory("modelB"))}
        seen.changes.clear()
        before = listings(oss)
        until(lambda: listings(oss) > before + 2)
        assert seen.changes == []
        upload(oss, models, "modelA/2", "saved_model.pb")
        until(lambda: seen.changes == [str(seen.directory())] * len(seen.changes) and seen.changes)


def test_a_status_has_times_and_places(oss: OssServer, models: Models, tmp_path: Path) -> None:
    upload(oss, models, "modelA/1")
    with watched(tmp_path) as seen:
        until(lambda: seen.status.state == "in step")
        status = seen.status
        assert status.address == str(ROOT)
        assert status.directory == str(seen.directory().parent)
        assert status.last_listing == pytest.approx(time.time(), abs=30)
        assert status.next_listing == pytest.approx(time.time(), abs=30)
        assert (status.transfers, status.problem, status.warnings) == ((), None, ())


def test_a_look_is_of_the_moment_when_it_was_asked_for(oss: OssServer, tmp_path: Path) -> None:
    """Whoever uploads after that, and asks for a look, must not take this one for it."""
    stalled = oss.fail("stall", method="LIST")
    with watched(tmp_path, poll_seconds=60, patience=60) as seen:
        assert stalled.reached.wait(PATIENCE)
        uploaded = time.time()
        stalled.release()
        assert until(lambda: seen.status.last_listing) <= uploaded


def test_a_callback_that_fails_stops_nothing(oss: OssServer, models: Models, tmp_path: Path) -> None:
    upload(oss, models, "modelA/1")

    def changed(directory: str) -> None:
        raise ValueError(directory)

    made = Mirror(MirrorOptions(poll_seconds=0.05, cache_dir=str(tmp_path)), open_impatiently, changed)
    made.want([model(base_path=f"{ROOT}modelA")])
    try:
        until((tmp_path / made.directory(f"{ROOT}modelA") / "1").is_dir)
        until(lambda: made.status()[0].state == "in step")
    finally:
        made.close()


# On demand


def test_sync_now_looks_without_waiting_for_the_poll(oss: OssServer, models: Models, tmp_path: Path) -> None:
    upload(oss, models, "modelA/1", model="half_plus_two")
    oss.clock_offset = 100
    with watched(tmp_path, poll_seconds=60) as seen:
        until(lambda: seen.versions() == ["1"])
        upload(oss, models, "modelA/2", model="half_plus_two")
        oss.clock_offset = 200
        seen.mirror.sync_now()
        until(lambda: seen.versions() == ["1", "2"])


def test_on_demand_only_a_request_is_a_reason_to_look_until_it_is_answered(
    oss: OssServer, models: Models, tmp_path: Path
) -> None:
    upload(oss, models, "modelA/1", model="half_plus_two")
    with watched(tmp_path, model(policy=AllVersions()), on_demand=True) as seen:
        until(lambda: seen.versions() == ["1"])
        until(lambda: seen.status.next_listing is None)
        before = listings(oss)
        upload(oss, models, "modelA/2", model="half_plus_two")
        seen.mirror.sync_now()
        until(lambda: seen.versions() == ["1", "2"])
        until(lambda: seen.status.next_listing is None)
        assert listings(oss) > before
        oss.delete(f"{PREFIX}/modelA/1/")
        seen.mirror.sync_now()
        until(lambda: seen.versions() == ["2"])
        until(lambda: seen.status.next_listing is None)


def test_on_demand_what_changes_while_it_is_brought_is_looked_at_again(
    oss: OssServer, models: Models, tmp_path: Path
) -> None:
    upload(oss, models, "modelA/1")
    oss.fail("error", status=412, code="PreconditionFailed", key="assets/")
    with watched(tmp_path, on_demand=True) as seen:
        until(lambda: seen.versions() == ["1"])
        until(lambda: seen.status.next_listing is None)


def test_while_paused_nothing_is_asked_or_brought(oss: OssServer, models: Models, tmp_path: Path) -> None:
    upload(oss, models, "modelA/1")
    read = oss.fail("stall", key="assets/", times=None)
    with watched(tmp_path, patience=60) as seen:
        assert read.reached.wait(PATIENCE)
        seen.mirror.pause()
        until(lambda: seen.status.state == "paused" and not seen.status.transfers)
        assert not seen.fetch_status().expects_more
        assert seen.status.next_listing is None
        oss.heal()
        before = len(oss.requests)
        seen.mirror.want([model(policy=AllVersions())])
        upload(oss, models, "modelA/2")
        seen.mirror.resume()
        until(lambda: seen.versions() == ["1", "2"])
        assert len(oss.requests) > before


def test_what_is_not_kept_in_step_cannot_be_replaced(idle: Mirror) -> None:
    for path in ("/data/modelA", "/models/modelA", "oss://examplebucket/a//b"):
        with pytest.raises(ServingError):
            idle.replace(path, 1)


# The end


@pytest.mark.parametrize("stalled", ["LIST", "GET"])
def test_closing_does_not_wait_for_an_answer_that_does_not_come(
    oss: OssServer, models: Models, tmp_path: Path, stalled: str
) -> None:
    upload(oss, models, "modelA/1")
    fault = oss.fail("stall", method=stalled, times=None)
    before = set(threading.enumerate())
    with watched(tmp_path, patience=60) as seen:
        assert fault.reached.wait(PATIENCE)
        begun = time.monotonic()
        seen.mirror.close()
        assert time.monotonic() - begun < 5.0
        until(lambda: not [thread for thread in set(threading.enumerate()) - before if "tfs-" in thread.name])
        seen.mirror.want([model()])
        assert seen.mirror.status() == ()


def test_a_store_that_is_opened_while_it_ends_is_asked_nothing_and_closed(oss: OssServer, tmp_path: Path) -> None:
    opening, may_open, before = threading.Event(), threading.Event(), set(threading.enumerate())
    opened = []

    def open_slowly(bucket: str) -> ObjectStore:
        opening.set()
        assert may_open.wait(PATIENCE)
        opened.append(open_impatiently(bucket))
        return opened[0]

    mirror = Mirror(MirrorOptions(cache_dir=str(tmp_path)), open_slowly, lambda directory: None)
    mirror.mount(ROOT, "/models")
    mirror.want([model()])
    assert opening.wait(PATIENCE)
    mirror.close()
    may_open.set()
    until(lambda: not [thread for thread in set(threading.enumerate()) - before if "tfs-" in thread.name])
    assert oss.requests == []
    with pytest.raises(StoreError, match="ClosedError"):
        opened[0].list("")


def test_no_connection_stays_open(oss: OssServer, models: Models, tmp_path: Path) -> None:
    upload(oss, models, "modelA/1")
    with watched(tmp_path) as seen:
        until(lambda: seen.versions() == ["1"])
        assert oss.connections
    until(lambda: not oss.connections)


def test_a_root_whose_thread_cannot_start_is_refused_and_wanted_again_later(idle: Mirror, oss: OssServer) -> None:
    with no_more_threads(), pytest.raises(ServingError, match="No thread can be started"):
        idle.want([model()])
    assert idle.status() == ()
    idle.want([model()])
    assert len(idle.status()) == 1
    idle.close()
