"""Several processes with one local copy: one writes for all, and any of them may die at any time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests import trees
from tests.oss import follower
from tests.oss.syncing import FILES, PREFIX, Watched, listings, model, upload, watched
from tests.support.serving import PATIENCE, until
from tfs_notebook.engine.config import AllVersions, Latest, Specific
from tfs_notebook.engine.storage.remote import FetchStatus
from tfs_notebook.errors import not_found
from tfs_notebook.oss.address import PRIVATE
from tfs_notebook.oss.peers.coordinator import Coordinator
from tfs_notebook.oss.peers.messages import FollowerState, Wants, WriterState, fetch_status_as_json

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Models
    from tests.oss.stand_in.server import OssServer


@contextmanager
def process(tmp_path: Path, *names: str, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Another process with the same cache, until the end of the block, when it is killed."""
    command = [sys.executable, "-m", follower.__name__, str(tmp_path), json.dumps(options), *names]
    with subprocess.Popen(command) as started:
        try:
            yield started
        finally:
            started.kill()


def private(directory: Path) -> Path:
    (directory / "followers").mkdir()
    return directory


def test_one_writes_and_the_next_takes_over(tmp_path: Path) -> None:
    first, second = Coordinator(private(tmp_path)), Coordinator(tmp_path)
    assert first.try_to_lock()
    assert not second.try_to_lock()
    assert (first.is_writer, second.is_writer) == (True, False)
    first.leave()
    assert second.try_to_lock()
    assert not first.try_to_lock()
    second.leave()


def test_a_lock_that_somebody_deleted_holds_nobody_back_and_is_given_up(tmp_path: Path) -> None:
    first, second = Coordinator(private(tmp_path)), Coordinator(tmp_path)
    assert first.try_to_lock()
    assert not first.has_lost_lock
    (tmp_path / "lock").unlink()
    assert second.try_to_lock()
    assert first.has_lost_lock
    first.leave()
    assert not first.try_to_lock()
    second.leave()


FORK = """
import os, sys
from pathlib import Path
from tfs_notebook.oss.peers.coordinator import Coordinator
coordinator = Coordinator(Path(sys.argv[1]))
assert coordinator.try_to_lock()
if not os.fork():
    os.read(0, 1)
    os._exit(0)
os.kill(os.getpid(), 9)
"""


def test_a_fork_that_outlives_the_writer_holds_nothing(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", FORK, str(private(tmp_path))], stdin=subprocess.PIPE) as writer:
        try:
            assert writer.wait(PATIENCE) == -9
            second = Coordinator(tmp_path)
            until(second.try_to_lock)
            second.leave()
        finally:
            assert writer.stdin is not None
            writer.stdin.close()


def followers_changed(writer: Coordinator) -> bool:
    writer.followers_changed = False
    writer.read_follower_states()
    return writer.followers_changed


def wanted(writer: Coordinator) -> Wants:
    writer.read_follower_states()
    return writer.wants({})


def test_the_writer_knows_what_followers_want_as_long_as_they_live(tmp_path: Path) -> None:
    writer, one, two = Coordinator(private(tmp_path)), Coordinator(tmp_path), Coordinator(tmp_path)
    writer.try_to_lock()
    one.publish_follower_state(FollowerState({"modelA": (Latest(2), AllVersions())}))
    two.publish_follower_state(FollowerState({"modelA": (Specific((1, 2)),), "": (Latest(),)}))
    wants = wanted(writer)
    assert set(wants["modelA"]) == {Latest(2), AllVersions(), Specific((1, 2))}
    assert wants[""] == (Latest(),)
    one.publish_follower_state(FollowerState({"b": (Latest(),)}))
    two.leave()
    assert wanted(writer) == {"b": (Latest(),)}
    assert writer.wants({"b": (AllVersions(),)}) == {"b": (AllVersions(), Latest())}
    one.leave()
    assert wanted(writer) == {}
    assert not trees.names(tmp_path / "followers")
    writer.leave()


def test_a_follower_reports_again_when_somebody_deleted_its_report(tmp_path: Path) -> None:
    writer, one = Coordinator(private(tmp_path)), Coordinator(tmp_path)
    report = FollowerState({"modelA": (Latest(),)})
    one.publish_follower_state(report)
    (file,) = (tmp_path / "followers").iterdir()
    file.unlink()
    one.publish_follower_state(report)
    assert wanted(writer) == report.wants
    one.leave()


def test_a_look_that_a_follower_asks_for_is_made_once(tmp_path: Path) -> None:
    writer, one = Coordinator(private(tmp_path)), Coordinator(tmp_path)
    one.publish_follower_state(FollowerState(requested_at=0.0))
    assert followers_changed(writer)
    assert not followers_changed(writer)
    assert not writer.is_listing_requested()
    one.publish_follower_state(FollowerState(requested_at=1000.0))
    assert followers_changed(writer)
    assert [writer.is_listing_requested(), writer.is_listing_requested()] == [True, False]
    one.leave()


def test_what_a_follower_uses_or_has_not_heard_of_may_be_in_use(tmp_path: Path) -> None:
    writer, one = Coordinator(private(tmp_path)), Coordinator(tmp_path)
    published = frozenset({"m/1", "m/2"})

    def may_be_used() -> list[bool]:
        writer.read_follower_states()
        return [writer.may_use(path, published) for path in ("m/1", "m/2")]

    assert may_be_used() == [False, False]
    one.publish_follower_state(FollowerState())
    assert may_be_used() == [True, True]
    one.publish_follower_state(FollowerState(uses=frozenset({"m/1"}), published=frozenset({"m/1"})))
    assert may_be_used() == [True, True]
    one.publish_follower_state(FollowerState(uses=frozenset({"m/1"}), published=published))
    assert may_be_used() == [True, False]
    one.leave()
    assert may_be_used() == [False, False]


def test_followers_hear_what_the_writer_says_and_for_which_policies(tmp_path: Path) -> None:
    writer, one = Coordinator(private(tmp_path)), Coordinator(tmp_path)
    assert one.read_writer_state() == WriterState()
    problem = not_found("nothing", hint="look")
    said = {"m": FetchStatus(True, {1: "why"}), "n": FetchStatus(problem=problem)}
    wants = {"m": (Latest(2), AllVersions(), Specific((1,))), "n": (Latest(),)}
    writer.publish_writer_state(WriterState(said, wants, frozenset({"m/1"}), 1000.5, problem))
    writer_state = one.read_writer_state()
    assert {base: fetch_status_as_json(fetch_status) for base, fetch_status in writer_state.fetch_statuses.items()} == {
        base: fetch_status_as_json(fetch_status) for base, fetch_status in said.items()
    }
    assert (writer_state.wants, writer_state.published, writer_state.last_listing) == (
        wants,
        frozenset({"m/1"}),
        1000.5,
    )
    assert writer_state.problem is not None
    assert writer_state.problem.told == problem.told
    assert one.read_writer_state() is writer_state
    writer.publish_writer_state(WriterState(said, wants, frozenset({"m/1"}), 1000.5, not_found("nothing", hint="look")))
    again = one.read_writer_state()
    assert again.failures == writer_state.failures + 1, "another failure, though in the same words"


def test_a_process_follows_what_the_writer_said_until_it_writes_or_lets_go(tmp_path: Path) -> None:
    writer, one = Coordinator(private(tmp_path)), Coordinator(tmp_path)
    assert writer.try_to_lock()
    writer.publish_writer_state(WriterState(last_listing=1000.0))
    assert writer.other_writer is None
    assert not one.try_to_lock()
    assert one.other_writer == WriterState(last_listing=1000.0)
    one.release_lock()
    assert one.other_writer is None
    assert not one.try_to_lock()
    writer.leave()
    assert one.try_to_lock()
    assert one.other_writer is None
    one.leave()


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"{}", b'{"fetch_statuses": 1}', b'{"m": {"expects_more": true}}']
)
def test_what_is_no_bulletin_or_report_tells_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "writer.json").write_bytes(content)
    reader = Coordinator(tmp_path)
    assert reader.read_writer_state() == WriterState()
    Coordinator(tmp_path).publish_writer_state(WriterState(last_listing=1000.0))
    assert reader.read_writer_state().last_listing == 1000.0
    (tmp_path / "writer.json").write_bytes(content)
    assert reader.read_writer_state().last_listing == 1000.0
    assert FollowerState.decode(content) is None


def test_a_disk_that_is_full_does_not_keep_the_writer_from_telling(tmp_path: Path) -> None:
    writer, one = Coordinator(private(tmp_path)), Coordinator(tmp_path)
    writer.publish_writer_state(WriterState(published=frozenset({"m/1", "m/2"})))
    assert one.read_writer_state().published == {"m/1", "m/2"}
    (tmp_path / "writer.json.new").mkdir()  # so that no other file can be written
    writer.publish_writer_state(WriterState(published=frozenset({"m/2"})))
    assert one.read_writer_state().published == {"m/2"}


def test_what_a_dead_writer_said_is_not_believed(tmp_path: Path) -> None:
    follower = Coordinator(private(tmp_path))
    with subprocess.Popen([sys.executable, "-c", SAY, str(tmp_path)]) as writer:
        assert writer.wait(PATIENCE) == -9
    assert follower.read_writer_state().last_listing == 1000.0
    successor = Coordinator(tmp_path)
    assert successor.try_to_lock()
    assert follower.read_writer_state() == WriterState()
    successor.publish_writer_state(WriterState(last_listing=2000.0))
    assert follower.read_writer_state().last_listing == 2000.0
    successor.leave()
    assert follower.read_writer_state() == WriterState()


SAY = """
import os, sys
from pathlib import Path
from tfs_notebook.oss.peers.coordinator import Coordinator
from tfs_notebook.oss.peers.messages import WriterState
coordinator = Coordinator(Path(sys.argv[1]))
assert coordinator.try_to_lock()
coordinator.publish_writer_state(WriterState(last_listing=1000.0))
os.kill(os.getpid(), 9)
"""


def test_what_a_follower_writes_at_this_moment_does_not_hide_what_it_reported(tmp_path: Path) -> None:
    writer, one = Coordinator(private(tmp_path)), Coordinator(tmp_path)
    one.publish_follower_state(FollowerState({"m": (Latest(),)}))
    assert wanted(writer) == {"m": (Latest(),)}
    (file,) = (tmp_path / "followers").iterdir()
    file.write_bytes(b'{"wants": {"m": [{"la')
    assert wanted(writer) == {"m": (Latest(),)}
    one.leave()


def test_a_second_kernel_follows_gets_what_it_wants_and_takes_over(
    oss: OssServer, models: Models, tmp_path: Path
) -> None:
    upload(oss, models, "modelA/1")
    upload(oss, models, "modelB/1")
    upload(oss, models, "modelB/2", *FILES[:2])
    with watched(tmp_path, model("modelA")) as first:
        until(lambda: first.versions("modelA") == ["1"])
        with watched(tmp_path, model("modelB")) as second:
            until(lambda: second.versions("modelB") == ["1"])
            until(
                lambda: second.fetch_status("modelB").waiting == {2: "variables.data-00000-of-00001 not uploaded yet"}
            )
            assert second.status.state == "following"
            assert str(second.directory("modelB")) in second.changes
            oss.fail("stall", method="LIST")
            second.mirror.want([model("modelA", Specific((7,)))])
            assert second.fetch_status("modelA").expects_more  # until the first kernel has taken note of it
            oss.heal()
            until(lambda: 7 in second.fetch_status("modelA").waiting and not second.fetch_status("modelA").expects_more)
            second.mirror.want([model("modelB")])
            first.mirror.close()
            until(lambda: second.status.state != "following")
            upload(oss, models, "modelB/2")
            until(lambda: second.versions("modelB") == ["1", "2"])


def test_a_paused_kernel_leaves_the_work_to_the_other(oss: OssServer, models: Models, tmp_path: Path) -> None:
    upload(oss, models, "modelA/1")
    with watched(tmp_path) as first, watched(tmp_path) as second:
        until(lambda: {first.status.state, second.status.state} == {"in step", "following"})
        assert first.versions() == ["1"]
        writer, other = (first, second) if second.status.state == "following" else (second, first)
        writer.mirror.pause()
        until(lambda: other.status.state == "in step")
        upload(oss, models, "modelA/2")
        until(lambda: other.versions() == ["1", "2"])
        writer.mirror.resume()
        until(lambda: writer.status.state == "following")


@contextmanager
def following(oss: OssServer, tmp_path: Path, uses: set[int], **options: Any) -> Iterator[Watched]:
    """A mirror here that follows another process, which keeps nothing that is not wanted or used; both have modelA/1.

    `uses` are the versions that are loaded here.
    """
    with process(tmp_path, "modelA", keep_versions=0, **options):
        until(lambda: listings(oss) > 1)
        with watched(tmp_path, in_use=lambda _, number: number in uses, **options) as seen:
            until(lambda: seen.versions() == ["1"])
            until(lambda: seen.status.state == "following" and not seen.fetch_status().expects_more)
            yield seen


def looked(oss: OssServer, times: int = 4) -> None:
    """Wait until the bucket was listed so many times more."""
    before = listings(oss)
    until(lambda: listings(oss) >= before + times)


def test_the_writer_keeps_what_another_process_has_loaded(oss: OssServer, models: Models, tmp_path: Path) -> None:
    upload(oss, models, "modelA/1")
    uses = {1}
    with following(oss, tmp_path, uses) as seen:
        upload(oss, models, "modelA/2")
        until(lambda: "2" in seen.versions())
        looked(oss)
        assert seen.versions() == ["1", "2"]
        uses.clear()
        until(lambda: seen.versions() == ["2"])


def test_what_is_gone_from_the_bucket_is_deleted_when_no_process_has_it_loaded(
    oss: OssServer, models: Models, tmp_path: Path
) -> None:
    upload(oss, models, "modelA/1")
    uses = {1}
    with following(oss, tmp_path, uses) as seen:
        upload(oss, models, "modelA/2")
        until(lambda: "2" in seen.versions())
        oss.delete(f"{PREFIX}/modelA/1/")
        until(lambda: seen.versions() == ["2"])
        looked(oss)
        trash = seen.directory().parent / PRIVATE / "trash"
        assert trees.files(trash, "*/saved_model.pb")
        uses.clear()
        until(lambda: not trees.names(trash))


def test_the_writer_keeps_what_a_paused_process_has_loaded(oss: OssServer, models: Models, tmp_path: Path) -> None:
    upload(oss, models, "modelA/1")
    uses = {1}
    with watched(tmp_path, in_use=lambda _, number: number in uses) as seen:
        until(lambda: seen.versions() == ["1"])
        seen.mirror.pause()
        with process(tmp_path, "modelA", keep_versions=0):
            upload(oss, models, "modelA/2")
            until(lambda: "2" in seen.versions())
            looked(oss)
            assert seen.versions() == ["1", "2"]
            uses.clear()
            until(lambda: seen.versions() == ["2"])


def test_a_look_that_a_follower_is_asked_for_is_made_by_the_writer(
    oss: OssServer, models: Models, tmp_path: Path
) -> None:
    upload(oss, models, "modelA/1")
    oss.clock_offset = 100
    with following(oss, tmp_path, set(), poll_seconds=60) as seen:
        first = until(lambda: seen.status.last_listing)
        upload(oss, models, "modelA/2")
        oss.clock_offset = 200
        seen.mirror.sync_now()
        until(lambda: "2" in seen.versions())
        until(lambda: (seen.status.last_listing or 0.0) > first)
        oss.fail("error", method="LIST", times=None, status=400, code="InvalidArgument")
        before = None
        for _ in range(2):
            seen.mirror.sync_now()
            before = until(lambda: (problem := seen.status.problem) is not before and problem)  # noqa: B023
            assert "InvalidArgument" in before.told
        assert seen.status.state == "following"


def test_a_look_that_is_asked_for_during_another_is_made_after_it(
    oss: OssServer, models: Models, tmp_path: Path
) -> None:
    upload(oss, models, "modelA/1")
    oss.clock_offset = 100
    with following(oss, tmp_path, set(), poll_seconds=60) as seen:
        stalled = oss.fail("stall", method="LIST", times=1)
        seen.mirror.sync_now()
        assert stalled.reached.wait(PATIENCE)
        before = listings(oss)
        (report,) = trees.files(tmp_path, "*/followers/*.json")
        reported = report.read_bytes()
        seen.mirror.sync_now()
        until(lambda: report.read_bytes() != reported)
        stalled.release()
        until(lambda: listings(oss) >= before + 2)  # the stalled one counts when it is over


def test_what_a_killed_writer_said_is_not_believed_by_those_that_follow_the_next(
    oss: OssServer, models: Models, tmp_path: Path
) -> None:
    with process(tmp_path, "modelA"):
        until(lambda: trees.files(tmp_path / "cache", "*/.tfs-sync/writer.json"))
    upload(oss, models, "modelA/1")
    stalled = oss.fail("stall", method="LIST", times=None)
    with process(tmp_path, "modelA", patience=60):
        assert stalled.reached.wait(PATIENCE)
        with watched(tmp_path, patience=60) as seen:
            until(lambda: seen.status.state == "following")
            assert seen.fetch_status().expects_more
            assert seen.fetch_status().problem is None
            oss.heal()
            until(lambda: seen.versions() == ["1"])


def test_a_report_that_cannot_be_read_is_trouble_that_passes(oss: OssServer, models: Models, tmp_path: Path) -> None:
    upload(oss, models, "modelA/1")
    with watched(tmp_path, poll_seconds=1) as seen:
        until(lambda: seen.versions() == ["1"])
        strange = seen.directory().parent / PRIVATE / "followers" / "strange.json"
        strange.mkdir()
        until(lambda: "strange.json cannot be used (Is a directory)" in seen.problem)
        strange.rmdir()
        seen.mirror.sync_now()
        until(lambda: seen.status.state == "in step" and not seen.problem)


def test_a_killed_writer_is_replaced_and_its_download_continued(oss: OssServer, tmp_path: Path) -> None:
    large = os.urandom(20 << 20)
    oss.put(f"{PREFIX}/modelA/1/model.tflite", large)
    oss.put(f"{PREFIX}/modelA/1/first", b"first")
    stalled = oss.fail("stall", key="tflite", at=100_000, times=None)
    with process(tmp_path, "modelA") as other:
        assert stalled.reached.wait(PATIENCE)
        with watched(tmp_path) as seen:
            until(lambda: seen.status.state == "following")
            assert not seen.directory().exists()
            other.kill()
            oss.heal()
            until((seen.directory() / "1").is_dir)
            assert (seen.directory() / "1" / "model.tflite").read_bytes() == large
            read = [request.key for request in oss.requests if request.operation == "GET"]
            assert read.count(f"{PREFIX}/modelA/1/first") == 1


def test_a_process_killed_during_a_download_goes_on_when_it_starts_again(
    oss: OssServer, models: Models, tmp_path: Path
) -> None:
    upload(oss, models, "modelA/1")
    stalled = oss.fail("stall", key="saved_model.pb", at=10, times=None)
    with process(tmp_path, "modelA"):
        assert stalled.reached.wait(PATIENCE)
    oss.heal()
    with watched(tmp_path) as seen:
        until(lambda: seen.versions() == ["1"])
        for file in FILES:
            assert (seen.directory() / "1" / file).read_bytes() == (models.path("vocabulary") / "1" / file).read_bytes()
    before = listings(oss)
    with watched(tmp_path) as seen:
        until(lambda: listings(oss) > before + 1)
        assert seen.versions() == ["1"]
