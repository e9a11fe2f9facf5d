"""From an object to a file, over HTTP: whole, continued, compared, and in bounded memory."""

from __future__ import annotations

import gzip
import json
import os
import random
import subprocess
import sys
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import psutil
import pytest

from tests import trees
from tests.support.serving import PATIENCE, until
from tfs_notebook.oss.client.checksum import Crc64
from tfs_notebook.oss.client.endpoint import StoreOptions
from tfs_notebook.oss.client.oss2_store import Oss2Store, open_store
from tfs_notebook.oss.client.store import Fault, StoredObject, StoreError
from tfs_notebook.oss.fetch import worker
from tfs_notebook.oss.fetch.download import PART_BYTES, fetch
from tfs_notebook.oss.fetch.process import Download

if TYPE_CHECKING:
    from pathlib import Path

    from tests.oss.stand_in.server import OssServer

KEY, PATH = "m/1/variables/variables.data-00000-of-00001", "variables/variables.data-00000-of-00001"
SMALL = random.Random(1).randbytes(1_000_000)
BIG = random.Random(2).randbytes(3 * PART_BYTES + 12345)

SHARD = 384 << 20


class Told:
    """What a download told."""

    def __init__(self) -> None:
        self.size = 0
        self.files: dict[str, bool] = {}
        self._lock = threading.Lock()

    def received(self, size: int) -> None:
        with self._lock:
            self.size += size

    def done(self, path: str, *, verified: bool) -> None:
        self.files[path] = verified


@pytest.fixture
def store(oss: OssServer) -> Oss2Store:
    return open_store("examplebucket", StoreOptions())


@pytest.fixture
def impatient(oss: OssServer) -> Oss2Store:
    """Waits for the next bytes of an answer for a second only."""
    return open_store("examplebucket", StoreOptions(), timeouts=(5, 1))


def listed(store: Oss2Store) -> StoredObject:
    (found,) = store.list(KEY).objects
    return found


def bring(store: Oss2Store, directory: Path, stored: StoredObject | None = None) -> Told:
    told = Told()
    fetch(store, {PATH: stored or listed(store)}, directory, told)
    return told


def notes(directory: Path) -> list[bytes]:
    """What downloads to `directory` have noted on the disk."""
    return [note for path in trees.files(directory, "*.json") if (note := trees.content(path))]


def asked(oss: OssServer) -> list[str]:
    """The ranges of the object that were asked for so far, "" for all of it."""
    return [request.headers.get("range", "") for request in oss.requests if request.method == "GET" and request.key]


@pytest.mark.parametrize("content", [b"", b"x", SMALL, BIG, BIG[:PART_BYTES]], ids=len)
def test_a_file_is_what_the_object_is(oss: OssServer, store: Oss2Store, tmp_path: Path, content: bytes) -> None:
    oss.put(KEY, content)
    told = bring(store, tmp_path)
    assert (tmp_path / "content" / PATH).read_bytes() == content
    assert not list((tmp_path / "parts").glob("*.part"))
    assert told.files == {PATH: True}
    assert told.size == len(content)
    assert all(request.headers.get("if-match") for request in oss.requests if request.method == "GET" and request.key)


@pytest.mark.parametrize("fault", ["cut", "reset", "stall"])
@pytest.mark.parametrize("content", [SMALL, BIG], ids=["small", "in ranges"])
def test_an_answer_that_ends_early_is_continued(
    oss: OssServer, impatient: Oss2Store, tmp_path: Path, fault: str, content: bytes
) -> None:
    oss.put(KEY, content)
    oss.fail(fault, at=700_001, times=2)
    told = bring(impatient, tmp_path)
    assert (tmp_path / "content" / PATH).read_bytes() == content
    assert (told.files, told.size) == ({PATH: True}, len(content))
    if content is SMALL and fault != "reset":  # which may lose all that was on its way
        assert asked(oss)[0] == ""
        assert 0 < int(asked(oss)[1].removeprefix("bytes=").split("-")[0]) <= 700_001


@pytest.mark.parametrize("content", [SMALL, BIG], ids=["small", "in ranges"])
def test_what_was_broken_off_is_continued_by_another_download(
    oss: OssServer, store: Oss2Store, tmp_path: Path, content: bytes
) -> None:
    oss.put(KEY, content)
    oss.fail("cut", at=600_000, after=2 if content is BIG else 0, times=1)
    oss.fail("error", status=404, code="NoSuchKey", after=2 if content is BIG else 0, times=None)
    with pytest.raises(StoreError) as raised:
        bring(store, tmp_path)
    assert raised.value.fault is Fault.MISSING
    assert not (tmp_path / "content" / PATH).exists()
    oss.heal()
    before = len(asked(oss))
    assert bring(store, tmp_path).size == len(content)
    assert (tmp_path / "content" / PATH).read_bytes() == content
    assert "" not in asked(oss)[before:]


def test_what_was_damaged_on_the_disk_meanwhile_is_not_trusted(
    oss: OssServer, store: Oss2Store, tmp_path: Path
) -> None:
    oss.put(KEY, SMALL)
    oss.fail("cut", at=600_000)
    oss.fail("error", status=404, code="NoSuchKey")
    with pytest.raises(StoreError):
        bring(store, tmp_path)
    (part,) = (tmp_path / "parts").glob("*.part")
    with part.open("r+b") as file:
        file.write(b"damaged")
    assert bring(store, tmp_path).files == {PATH: True}
    assert (tmp_path / "content" / PATH).read_bytes() == SMALL


@pytest.mark.parametrize("content", [SMALL, BIG], ids=["small", "in ranges"])
def test_a_file_that_is_there_is_compared_and_kept_or_brought_again(
    oss: OssServer, store: Oss2Store, tmp_path: Path, content: bytes
) -> None:
    oss.put(KEY, content)
    bring(store, tmp_path)
    before = len(asked(oss))
    assert bring(store, tmp_path).size == len(content)
    assert len(asked(oss)) == before
    with (tmp_path / "content" / PATH).open("r+b") as file:
        file.write(b"damaged")
    bring(store, tmp_path)
    assert len(asked(oss)) > before
    assert (tmp_path / "content" / PATH).read_bytes() == content


def test_an_object_written_again_is_another_file(oss: OssServer, store: Oss2Store, tmp_path: Path) -> None:
    oss.put(KEY, SMALL)
    old = listed(store)
    bring(store, tmp_path)
    oss.put(KEY, SMALL[::-1])
    bring(store, tmp_path)
    assert (tmp_path / "content" / PATH).read_bytes() == SMALL[::-1]
    with pytest.raises(StoreError) as raised:
        bring(store, tmp_path, old)
    assert raised.value.fault is Fault.CHANGED
    assert not (tmp_path / "content" / PATH).exists()


def test_an_object_swapped_while_it_is_read_in_ranges_is_noticed(
    oss: OssServer, store: Oss2Store, tmp_path: Path
) -> None:
    oss.put(KEY, BIG)
    oss.fail("swap", after=2, content=BIG[::-1])
    with pytest.raises(StoreError) as raised:
        bring(store, tmp_path)
    assert raised.value.fault is Fault.CHANGED
    assert bring(store, tmp_path).files == {PATH: True}
    assert (tmp_path / "content" / PATH).read_bytes() == BIG[::-1]


def test_an_object_swapped_before_its_rest_is_asked_for_is_noticed(
    oss: OssServer, store: Oss2Store, tmp_path: Path
) -> None:
    oss.put(KEY, SMALL)
    oss.fail("cut", at=600_000)
    oss.fail("swap", content=SMALL[::-1])
    with pytest.raises(StoreError) as raised:
        bring(store, tmp_path)
    assert raised.value.fault is Fault.CHANGED
    assert bring(store, tmp_path).files == {PATH: True}
    assert (tmp_path / "content" / PATH).read_bytes() == SMALL[::-1]


@pytest.mark.parametrize("fault", ["corrupt", "checksum"])
@pytest.mark.parametrize("content", [SMALL, BIG], ids=["small", "in ranges"])
def test_bytes_that_are_not_those_of_the_object_are_never_a_file(
    oss: OssServer, store: Oss2Store, tmp_path: Path, fault: str, content: bytes
) -> None:
    oss.put(KEY, content)
    oss.fail(fault, at=500_000, times=None)
    with pytest.raises(StoreError) as raised:
        bring(store, tmp_path)
    assert raised.value.fault is Fault.DAMAGED
    assert not (tmp_path / "content" / PATH).exists()
    oss.heal()
    assert bring(store, tmp_path).size == len(content)
    assert (tmp_path / "content" / PATH).read_bytes() == content


def test_bytes_damaged_once_are_brought_once_more(oss: OssServer, store: Oss2Store, tmp_path: Path) -> None:
    oss.put(KEY, SMALL)
    oss.fail("corrupt", at=500_000)
    told = bring(store, tmp_path)
    assert (told.files, told.size) == ({PATH: True}, len(SMALL))


def test_without_a_checksum_the_size_must_do_and_is_said_to(oss: OssServer, store: Oss2Store, tmp_path: Path) -> None:
    oss.put(KEY, SMALL)
    oss.fail("no_checksum", times=None)
    assert bring(store, tmp_path).files == {PATH: False}


def test_a_checksum_that_a_marker_tells_must_be_right(oss: OssServer, store: Oss2Store, tmp_path: Path) -> None:
    oss.put(KEY, SMALL)
    oss.fail("no_checksum", times=None)
    crc64 = Crc64()
    crc64.update(SMALL)
    assert bring(store, tmp_path, replace(listed(store), crc64=crc64.value)).files == {PATH: True}
    with pytest.raises(StoreError, match="twice"):
        bring(store, tmp_path, replace(listed(store), crc64=crc64.value ^ 1))


def test_what_is_stored_compressed_is_refused_with_the_remedy(oss: OssServer, store: Oss2Store, tmp_path: Path) -> None:
    for content in (SMALL, BIG):
        oss.put(KEY, gzip.compress(content, 0), content_encoding="gzip")
        with pytest.raises(StoreError, match="stored with Content-Encoding: gzip") as raised:
            bring(store, tmp_path)
        assert "upload it again" in raised.value.hint


@pytest.mark.parametrize("encoding", ["identity", "utf-8", "UTF-8", "aws-chunked", "binary", "gzip"])
def test_a_content_encoding_that_changes_no_byte_is_left_alone(
    oss: OssServer, store: Oss2Store, tmp_path: Path, encoding: str
) -> None:
    oss.put(KEY, SMALL, content_encoding=encoding)
    assert bring(store, tmp_path).files == {PATH: True}
    assert (tmp_path / "content" / PATH).read_bytes() == SMALL


@pytest.mark.parametrize(("fault", "expected"), [("archived", Fault.ARCHIVED), ("expired", Fault.EXPIRED)])
def test_refusals_are_told_as_what_they_are(
    oss: OssServer, store: Oss2Store, tmp_path: Path, fault: str, expected: Fault
) -> None:
    oss.put(KEY, SMALL)
    oss.fail(fault, times=None)
    with pytest.raises(StoreError) as raised:
        bring(store, tmp_path)
    assert raised.value.fault is expected


# In a process of its own


def started(oss: OssServer, store: Oss2Store, directory: Path) -> tuple[Download, threading.Event]:
    ended = threading.Event()
    return Download("m/1", store, {PATH: listed(store)}, directory, ended.set), ended


def children() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if worker.__name__ in " ".join(child.cmdline())]


def test_a_large_download_has_a_process_that_gets_its_keys_over_a_pipe(
    oss: OssServer, store: Oss2Store, tmp_path: Path
) -> None:
    oss.put(KEY, BIG)
    oss.fail("slow", rate=4 << 20, times=None)
    download, ended = started(oss, store, tmp_path)
    (process,) = until(children)
    assert oss.key_secret not in " ".join(process.cmdline())
    assert os.getpgid(process.pid) == process.pid
    until(lambda: 0 < download.progress().size < len(BIG))
    assert process.nice() == min(os.nice(0) + 10, 19)  # serving goes first
    assert download.progress().size_in_all == len(BIG)
    oss.heal()
    assert ended.wait(PATIENCE)
    assert download.error is None
    assert download.progress().files == 1
    assert (tmp_path / "content" / PATH).read_bytes() == BIG
    assert not children()


def test_a_cancelled_download_ends_with_its_process_and_keeps_what_came(
    oss: OssServer, store: Oss2Store, tmp_path: Path
) -> None:
    oss.put(KEY, BIG)
    oss.fail("stall", at=1000, after=3, times=None)
    download, ended = started(oss, store, tmp_path)
    until(lambda: any(len(json.loads(note)["parts"]) == 3 for note in notes(tmp_path / "parts")))
    download.cancel()
    assert ended.wait(PATIENCE)
    assert not children()
    assert download.error is None
    oss.heal()
    before = len(asked(oss))
    again, ended = started(oss, store, tmp_path)
    assert ended.wait(PATIENCE)
    assert again.error is None
    assert len(asked(oss)) - before == 1
    assert (tmp_path / "content" / PATH).read_bytes() == BIG


def test_a_process_that_is_killed_is_an_error_that_can_be_tried_again(
    oss: OssServer, store: Oss2Store, tmp_path: Path
) -> None:
    oss.put(KEY, BIG)
    oss.fail("stall", at=PART_BYTES // 2, times=None)
    download, ended = started(oss, store, tmp_path)
    until(lambda: download.progress().size > 0)
    children()[0].kill()
    assert ended.wait(PATIENCE)
    assert isinstance(download.error, StoreError)
    assert download.error.fault is Fault.UNREACHABLE


def test_an_error_of_the_store_comes_back_from_the_process(oss: OssServer, store: Oss2Store, tmp_path: Path) -> None:
    oss.put(KEY, BIG)
    stored = listed(store)
    oss.put(KEY, BIG[::-1])
    ended = threading.Event()
    download = Download("m/1", store, {PATH: stored}, tmp_path, ended.set)
    assert ended.wait(PATIENCE)
    assert isinstance(download.error, StoreError)
    assert download.error.fault is Fault.CHANGED


def test_an_error_of_the_disk_comes_back_from_the_process(oss: OssServer, store: Oss2Store, tmp_path: Path) -> None:
    oss.put(KEY, BIG)
    (tmp_path / "parts").write_text("in the way")
    download, ended = started(oss, store, tmp_path)
    assert ended.wait(PATIENCE)
    assert isinstance(download.error, OSError)
    assert "parts" in str(download.error.filename)


STARTER = """
import sys, threading
from pathlib import Path
from tfs_notebook.oss.client.endpoint import StoreOptions
from tfs_notebook.oss.client.oss2_store import open_store
from tfs_notebook.oss.fetch.process import Download
store = open_store("examplebucket", StoreOptions())
(stored,) = store.list(sys.argv[1]).objects
Download("m/1", store, {"f": stored}, Path(sys.argv[2]), lambda: None)
threading.Event().wait()
"""


def test_the_process_dies_with_the_one_that_started_it(oss: OssServer, tmp_path: Path) -> None:
    oss.put(KEY, BIG)
    fault = oss.fail("stall", at=1000, times=None)
    with subprocess.Popen([sys.executable, "-c", STARTER, KEY, str(tmp_path)]) as parent:
        try:
            assert fault.reached.wait(PATIENCE)
            helpers = [child for child in psutil.Process(parent.pid).children() if child.is_running()]
            assert len(helpers) == 1
        finally:
            parent.kill()
    until(lambda: not helpers[0].is_running() or helpers[0].status() == psutil.STATUS_ZOMBIE)


def test_the_process_imports_no_tensorflow_and_its_memory_is_bounded(
    oss: OssServer, store: Oss2Store, tmp_path: Path
) -> None:
    """A large shard takes less than 64 MB above what the process takes anyway."""
    shard = tmp_path / "shard"
    with shard.open("wb") as file:
        file.truncate(SHARD)
    oss.put(KEY, shard)
    probe = (
        "import resource, os, sys; end = os._exit\n"
        "from tfs_notebook.oss.client import oss2_store; from tfs_notebook.oss.fetch import worker\n"
        "def told(code):\n"
        "    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "    print(peak - baseline, 'tensorflow' in sys.modules, file=sys.stderr, flush=True); end(code)\n"
        "import oss2, fastcrc; os._exit = told; baseline = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "worker.main()\n"
    )
    request = worker.request(store.portable(), {PATH: listed(store)}, tmp_path / "staging")
    with subprocess.Popen(
        [sys.executable, "-c", probe], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(request)
        process.stdin.flush()
        lines = [json.loads(line) for line in process.stdout]
        growth, imported = process.stderr.read().split()
    assert lines[-1] == {"end": {}}
    assert sum(line.get("received", 0) for line in lines) == SHARD
    assert imported == b"False"
    assert int(growth) < 64 << 10
