"""A disk that is full in the middle of a download, or that takes no larger files: what is served stays, and what has
arrived is used when there is room.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest

from tests import trees
from tests.oss.syncing import FILES, PREFIX, model, upload, watched
from tests.support.serving import PATIENCE, until
from tfs_notebook.engine.config import AllVersions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Models
    from tests.oss.stand_in.server import OssServer
    from tests.oss.syncing import Watched

LARGE = "assets.extra/large"
SPARE = 64 << 20
"""Bytes that are left free."""
LIMIT = 2_000_000
"""Bytes of the largest file where files are limited."""


class Disk(Protocol):
    """A disk that can be filled, so that it says `error`, and freed."""

    error: str

    def fill(self) -> None: ...

    def free(self) -> None: ...


class SmallDisk:
    """A file system of its own."""

    error = "No space left on device"

    def __init__(self, directory: Path) -> None:
        self._filler = directory / "filler"

    def fill(self) -> None:
        with self._filler.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(1 << 16))

    def free(self) -> None:
        self._filler.unlink()


class LimitedFiles:
    """The disk that there is, on which this process may write no large files for a time: that needs no rights."""

    error = "File too large"

    def __init__(self) -> None:
        self._limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, self._limits[1]))

    def free(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, self._limits)


@contextmanager
def mounted(directory: Path, size: int) -> Iterator[bool]:
    """A file system of `size` bytes at `directory`, if this process may mount one."""
    directory.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", directory]
    mounts = sys.platform == "linux" and os.geteuid() == 0 and subprocess.run(command, check=False).returncode == 0
    try:
        yield mounts
    finally:
        if mounts:
            subprocess.run(["umount", "-l", directory], check=True)


def may_mount() -> bool:
    with tempfile.TemporaryDirectory() as directory, mounted(Path(directory), 1 << 20) as mounts:
        return mounts


CASES = [(LimitedFiles, LIMIT + 50_000)]  # it ends within the last bytes that are written
CASES += [(SmallDisk, 3_000_000), (SmallDisk, 20_000_000)] if may_mount() else []
"""The disk, and the bytes of a file: as one in this process, or as two ranges in another."""


@pytest.fixture
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    kind, size = request.param
    if kind is LimitedFiles:
        limited = LimitedFiles()
        yield limited
        limited.free()
        return
    with mounted(tmp_path / "cache", SPARE + size + 4_000_000):
        yield SmallDisk(tmp_path / "cache")


def published(seen: Watched) -> list[str]:
    """All that stands where the engine looks."""
    return trees.names(seen.directory())


def arrived(directory: Path) -> int:
    """Bytes on the disk of the large file that is on its way."""
    return sum(found.st_blocks * 512 for part in trees.files(directory, "*large.part") if (found := trees.status(part)))


@pytest.mark.parametrize(
    ("disk", "size"),
    [(case, case[1]) for case in CASES],
    indirect=["disk"],
    ids=[f"{kind.__name__}-{size}" for kind, size in CASES],
)
def test_a_disk_that_is_full_in_the_middle_is_told_and_gone_on_with_when_there_is_room(
    oss: OssServer, models: Models, tmp_path: Path, disk: Disk, size: int
) -> None:
    upload(oss, models, "modelA/1")
    upload(oss, models, "modelA/2")
    content = os.urandom(size)
    key = f"{PREFIX}/modelA/2/{LARGE}"
    oss.put(key, content)
    oss.clock_offset = 100  # nothing needs to settle
    stalled = oss.fail("stall", key=LARGE, at=1_200_000)
    with watched(tmp_path, model(policy=AllVersions()), patience=60, poll_seconds=2) as seen:
        assert stalled.reached.wait(PATIENCE)
        until(lambda: published(seen) == ["1"])
        until(lambda: arrived(tmp_path) >= 1_000_000)
        disk.fill()
        stalled.release()
        told = until(lambda: (why := seen.fetch_status().waiting.get(2, "")) and disk.error in why and why)
        assert f"the disk of {seen.directory().parent} takes no more" in told
        assert "--oss_cache_dir" in told
        assert published(seen) == ["1"]
        assert [name for name in FILES if not (seen.directory() / "1" / name).is_file()] == []
        before = len(oss.requests)
        disk.free()
        until(lambda: published(seen) == ["1", "2"])
        assert (seen.directory() / "2" / LARGE).read_bytes() == content
        again = [request.headers.get("range", "all") for request in oss.requests[before:] if request.key == key]
        assert again
        assert "all" not in again
        until(lambda: seen.status.state == "in step")


def test_what_has_arrived_before_needs_no_room_once_more(
    oss: OssServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = f"{PREFIX}/modelA/1/model.tflite"
    oss.put(key, os.urandom(1_000_000))
    oss.fail("stall", key=key, at=600_000)
    with watched(tmp_path, patience=60):
        # What the server has sent is not here yet, and what is not here is lost with its connection
        until(lambda: any(size > 500_000 for size in trees.sizes(tmp_path, "*.part").values()))
    oss.heal()
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=SPARE + 600_000))
    with watched(tmp_path) as seen:
        until((seen.directory() / "1").is_dir)
    *_, last = (request for request in oss.requests if request.key == key)
    start = int(last.headers["range"].removeprefix("bytes=").partition("-")[0])
    assert 500_000 < start <= 600_000
