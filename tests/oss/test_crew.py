"""Several processes with one local copy: one writes for all, and any of them may die at any time."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.oss import follower
from tests.oss.syncing import FILES, PREFIX, listings, model, upload, watched
from tests.serving import until
from tfs_notebook.engine.config import AllVersions, Latest, Specific
from tfs_notebook.engine.supply import Outlook
from tfs_notebook.errors import not_found
from tfs_notebook.oss.crew import Crew, as_json

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Models
    from tests.oss.server import OssServer


@contextmanager
def process(tmp_path: Path, *names: str) -> Iterator[subprocess.Popen[bytes]]:
    """Another process with the same cache, until the end of the block, when it is killed."""
    with subprocess.Popen([sys.executable, "-m", follower.__name__, str(tmp_path), *names]) as started:
        try:
            yield started
        finally:
            started.kill()


def private(directory: Path) -> Path:
    (directory / "followers").mkdir()
    return directory


def test_one_writes_and_the_next_takes_over(tmp_path: Path) -> None:
    first, second = Crew(private(tmp_path)), Crew(tmp_path)
    assert first.try_to_write()
    assert not second.try_to_write()
    assert (first.writes, second.writes) == (True, False)
    first.leave()
    assert second.try_to_write()
    assert not first.try_to_write()
    second.leave()


def test_a_lock_that_somebody_deleted_holds_nobody_back_and_is_given_up(tmp_path: Path) -> None:
    first, second = Crew(private(tmp_path)), Crew(tmp_path)
    assert first.try_to_write()
    assert not first.has_lost_lock
    (tmp_path / "lock").unlink()
    assert second.try_to_write()
    assert first.has_lost_lock
    first.leave()
    assert not first.try_to_write()
    second.leave()


FORK = """
import os, sys
from pathlib import Path
from tfs_notebook.oss.crew import Crew
crew = Crew(Path(sys.argv[1]))
assert crew.try_to_write()
if not os.fork():
    os.read(0, 1)
    os._exit(0)
os.kill(os.getpid(), 9)
"""


def test_a_fork_that_outlives_the_writer_holds_nothing(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", FORK, str(private(tmp_path))], stdin=subprocess.PIPE) as writer:
        try:
            assert writer.wait(60) == -9
            second = Crew(tmp_path)
            until(second.try_to_write)
            second.leave()
        finally:
            assert writer.stdin is not None
            writer.stdin.close()


def test_the_writer_knows_what_followers_want_as_long_as_they_live(tmp_path: Path) -> None:
    writer, one, two = Crew(private(tmp_path)), Crew(tmp_path), Crew(tmp_path)
    writer.try_to_write()
    one.ask({"modelA": (Latest(2), AllVersions())})
    two.ask({"modelA": (Specific((1, 2)),), "": (Latest(),)})
    wants = writer.wants()
    assert set(wants["modelA"]) == {Latest(2), AllVersions(), Specific((1, 2))}
    assert wants[""] == (Latest(),)
    one.ask({"b": (Latest(),)})
    two.leave()
    assert writer.wants() == {"b": (Latest(),)}
    one.leave()
    assert writer.wants() == {}
    assert not list((tmp_path / "followers").iterdir())
    writer.leave()


def test_a_follower_asks_again_when_somebody_deleted_what_it_asked(tmp_path: Path) -> None:
    writer, one = Crew(private(tmp_path)), Crew(tmp_path)
    wants = {"modelA": (Latest(),)}
    one.ask(wants)
    (file,) = (tmp_path / "followers").iterdir()
    file.unlink()
    one.ask(wants)
    assert writer.wants() == wants
    one.leave()


def test_followers_hear_what_the_writer_says_and_for_which_policies(tmp_path: Path) -> None:
    writer, one = Crew(private(tmp_path)), Crew(tmp_path)
    assert one.hear() == ({}, {})
    said = {"m": Outlook(True, {1: "why"}), "n": Outlook(problem=not_found("nothing", hint="look"))}
    wants = {"m": (Latest(2), AllVersions(), Specific((1,))), "n": (Latest(),)}
    writer.say(said, wants)
    heard, judged = one.hear()
    assert {base: as_json(outlook) for base, outlook in heard.items()} == {
        base: as_json(outlook) for base, outlook in said.items()
    }
    assert judged == wants
    (tmp_path / "outlook.json").write_text("{")
    assert one.hear() == ({}, {})


def test_what_a_follower_writes_at_this_moment_does_not_hide_what_it_wanted(tmp_path: Path) -> None:
    writer, one = Crew(private(tmp_path)), Crew(tmp_path)
    one.ask({"m": (Latest(),)})
    assert writer.wants() == {"m": (Latest(),)}
    (file,) = (tmp_path / "followers").iterdir()
    file.write_bytes(b'{"m": [{"la')
    assert writer.wants() == {"m": (Latest(),)}
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
            until(lambda: second.outlook("modelB").waiting == {2: "variables.data-00000-of-00001 not uploaded yet"})
            assert second.status.state == "following"
            assert str(second.directory("modelB")) in second.changes
            oss.fail("stall", method="LIST")
            second.mirror.want({"modelA": model("modelA", Specific((7,)))})
            assert second.outlook("modelA").coming  # until the first kernel has taken note of it
            oss.heal()
            until(lambda: 7 in second.outlook("modelA").waiting and not second.outlook("modelA").coming)
            second.mirror.want({"modelB": model("modelB")})
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


def test_a_killed_writer_is_replaced_and_its_download_continued(oss: OssServer, tmp_path: Path) -> None:
    large = os.urandom(20 << 20)
    oss.put(f"{PREFIX}/modelA/1/model.tflite", large)
    oss.put(f"{PREFIX}/modelA/1/first", b"first")
    stalled = oss.fail("stall", key="tflite", at=100_000, times=None)
    with process(tmp_path, "modelA") as other:
        assert stalled.reached.wait(60)
        with watched(tmp_path) as seen:
            until(lambda: seen.status.state == "following")
            assert not seen.directory().exists()
            other.kill()
            oss.heal()
            until((seen.directory() / "1").is_dir, timeout=60)
            assert (seen.directory() / "1" / "model.tflite").read_bytes() == large
            read = [request.key for request in oss.requests if request.operation == "GET"]
            assert read.count(f"{PREFIX}/modelA/1/first") == 1


def test_a_process_killed_during_a_download_goes_on_when_it_starts_again(
    oss: OssServer, models: Models, tmp_path: Path
) -> None:
    upload(oss, models, "modelA/1")
    stalled = oss.fail("stall", key="saved_model.pb", at=10, times=None)
    with process(tmp_path, "modelA"):
        assert stalled.reached.wait(60)
    oss.heal()
    with watched(tmp_path) as seen:
        until(lambda: seen.versions() == ["1"])
        for file in FILES:
            assert (seen.directory() / "1" / file).read_bytes() == (models.path("vocabulary") / "1" / file).read_bytes()
    before = listings(oss)
    with watched(tmp_path) as seen:
        until(lambda: listings(oss) > before + 1)
        assert seen.versions() == ["1"]
