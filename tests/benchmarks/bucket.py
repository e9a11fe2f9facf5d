"""Models from OSS: how fast a large file comes, and what that costs those who ask the server meanwhile.

The bucket is the tests' own OSS server in a process on this machine: what is measured is this project and the disk, and
a network only where one is imitated. It gives way to all others, as it stands for another machine.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

import psutil
import requests

from tests import trees
from tests.benchmarks import load
from tests.benchmarks.measure import ROUNDS, Measure, at_least, at_most, below, in_turn, middle
from tests.benchmarks.processes import running
from tests.support.serving import until
from tfs_notebook.oss.fetch.download import AT_ONCE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LARGE = 2 << 30
MEDIUM = 1 << 29
LASTING = 4 << 30
GIGABIT = 125_000_000
_SERVER = ("chrt", "--idle", "0", sys.executable, "-m", "tests.oss.stand_in.server", "--public", "--directory")
_COMING = "*.data-00000-of-00001.part"
_ASK = b'{"instances": [1.0, 2.0, 5.0]}'
_CONFIG = """model_config_list {
  config { name: "model" base_path: "/models/half_plus_two" model_platform: "tensorflow" }
  config { name: "large" base_path: "/models/large" model_platform: "tensorflow" }
}"""


@contextmanager
def _bucket(directory: Path, *options: str) -> Iterator[str]:
    """The endpoint of an OSS server of the files in `directory`, which this process's children find, too."""
    process = subprocess.Popen(
        [*_SERVER, str(directory), *options],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        endpoint = process.stdout.readline().strip()
        told = dict(process.stdout.readline().removeprefix("export ").strip().split("=", 1) for _ in range(6))
        with patch.dict(os.environ, told):
            yield endpoint
    finally:
        process.terminate()
        process.wait(10)


def _memory() -> int:
    """Bytes that this process and the one that fetches for it have to themselves."""
    size = 0
    here = psutil.Process()
    for process in (here, *here.children()):
        with suppress(psutil.Error):  # it has just begun, or ended
            if process == here or "tfs_notebook.oss.fetch.worker" in process.cmdline():
                size += process.memory_full_info().uss
    return size


def _add_large(bucket: Path, model: Path, number: int, size: int) -> None:
    """A version like `model` but for the variables: so many bytes, of which all are zero; each version has the same
    file, as reading another takes this machine's memory and not that of the other one, which the bucket stands for.
    """
    version, large = bucket / "models" / "large" / str(number), bucket / "large"
    shutil.copytree(model, version)
    if not large.exists():
        large.touch()
        os.truncate(large, size)
    variables = version / "variables" / "variables.data-00000-of-00001"
    variables.unlink()
    variables.hardlink_to(large)


def large_files(root: Path) -> Iterator[Measure]:
    """From a new address to a version that is published, beside reading its largest file into one.

    Beside reading it and doing nothing with it the disk is what is measured.
    """
    bucket = root / "bucket"
    _add_large(bucket, root / "cnn" / "1", 1, LARGE)
    with _bucket(bucket) as endpoint:
        _synchronise(root, LARGE)
        for title, keep in (("file on the disk", True), ("read and nothing", False)):
            found = in_turn(
                lambda: _synchronise(root, LARGE), lambda keep=keep: _read(root, endpoint, LARGE, keep=keep)
            )
            yield at_least(f"OSS, a version of 2 GiB, beside a {title}", *found, "MB/s", 0.7)
        before, seen = _memory(), [0]
        _synchronise(root, LARGE, lambda: seen.append(_memory() - before))
        yield below("memory for it, the process that fetches included", max(seen) / 1e6, 64, "MB")
    shutil.rmtree(bucket)


def over_a_network(root: Path) -> Iterator[Measure]:
    """The same, as fast as a network brings it: beside one stream that has all of the network and keeps nothing."""
    bucket = root / "bucket"
    _add_large(bucket, root / "cnn" / "1", 1, MEDIUM)
    shared = "--rate", str(GIGABIT // AT_ONCE)
    with _bucket(bucket, "--rate", str(GIGABIT)) as endpoint, _bucket(bucket, *shared):
        found = in_turn(lambda: _synchronise(root, MEDIUM), lambda: _read(root, endpoint, MEDIUM, keep=False))
    yield at_least("OSS, a version of 512 MiB at 1 Gbit/s, beside a read", *found, "MB/s", 0.7)
    shutil.rmtree(bucket)


def _synchronise(root: Path, size: int, look: Callable[[], None] = lambda: None) -> float:
    """MB/s from a new address to the version that is published, of so many bytes."""
    from tfs_notebook.engine.config import Latest, ModelConfig
    from tfs_notebook.oss.client.endpoint import StoreOptions
    from tfs_notebook.oss.client.oss2_store import open_store
    from tfs_notebook.oss.sync.mirror import Mirror, MirrorOptions

    model = ModelConfig("large", "oss://examplebucket/models/large", policy=Latest())
    with tempfile.TemporaryDirectory(dir=root) as cache:
        options = MirrorOptions(poll_seconds=0.2, cache_dir=cache)
        mirror = Mirror(options, lambda name: open_store(name, StoreOptions()), lambda _: None)
        arrived = Path(mirror.directory(model.base_path)) / "1"
        started = time.perf_counter()
        mirror.want([model])
        try:
            while not arrived.exists():
                look()
                time.sleep(0.02)
            return size / (time.perf_counter() - started) / 1e6
        finally:
            mirror.close()


def _read(root: Path, endpoint: str, size: int, *, keep: bool) -> float:
    """MB/s of a plain streaming read of the large file, into a file on the disk or into nothing."""
    url = f"{endpoint}/examplebucket/models/large/1/variables/variables.data-00000-of-00001"
    with tempfile.NamedTemporaryFile(dir=root) if keep else Path(os.devnull).open("wb") as file:
        started = time.perf_counter()
        with requests.get(url, stream=True, timeout=60) as reply:
            for piece in reply.iter_content(1 << 20):
                file.write(piece)
        file.flush()
        if keep:
            os.fsync(file.fileno())
        return size / (time.perf_counter() - started) / 1e6


def meanwhile(root: Path) -> Iterator[Measure]:
    """REST's p99 while a large version comes, beside an idle one: over a network of 1 Gbit/s, and as fast as it can.

    In the second case the bucket, the download, the server and the load share this machine's processors: that is
    what a network that is faster than the machine would cost.
    """
    found = _meanwhile(root, ROUNDS, 1 << 30, "--rate", str(GIGABIT // AT_ONCE))
    yield at_most("REST p99 while a version comes from OSS at 1 Gbit/s", *found, "ms", 2)
    yield at_most("REST p99 while a version comes from OSS at any speed", *_meanwhile(root, 3, LASTING), "ms", 2)


def _meanwhile(root: Path, versions: int, size: int, *options: str) -> tuple[float, float]:
    """Milliseconds while one of some versions of `size` bytes comes, and before."""
    bucket, cache = root / "bucket", root / "copies"
    shutil.copytree(root / "half_plus_two", bucket / "models" / "half_plus_two")
    (bucket / "models" / "config").write_text(_CONFIG)
    with _bucket(bucket, *options):
        flags = (
            "mount=/models", "model_config_file=/models/config", "oss_poll_wait_seconds=5", "oss_keep_versions=0",
            f"oss_cache_dir={cache}",
        )  # fmt: skip
        with running("serve", "oss://examplebucket/models", *flags) as (port, _):
            load.rest(port, _ASK)
            rounds = []
            for number in range(1, versions + 1):
                idle = load.rest(port, _ASK).p99
                _add_large(bucket, root / "cnn" / "1", number, size)
                until(lambda: _has(cache, _COMING), timeout=120)
                rounds.append((load.rest(port, _ASK).p99 * 1e3, idle * 1e3))
                assert _has(cache, _COMING), "it came before it could be measured"
                until(lambda number=number: _has(cache, f"*/large/{number}/saved_model.pb"), timeout=120)
    shutil.rmtree(bucket)
    shutil.rmtree(cache)
    return middle(rounds)


def _has(directory: Path, pattern: str) -> bool:
    """Whether there is such a file."""
    return bool(trees.files(directory, pattern))
