"""Many small versions in one process: how long until they are ready, and what they take while nobody asks."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from tests.benchmarks.measure import at_least, at_most, below, middle
from tests.support.serving import ALL, config_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.benchmarks.measure import Measure
    from tfs_notebook.server.server import Server

MODELS, VERSIONS = 200, 5
FEW = 40
IDLE_SECONDS = 20
_SETTLED_SECONDS = 5
_READY_SECONDS = 600


def many_versions(version: Path) -> Iterator[Measure]:
    """200 models with five copies each of the SavedModel in `version`, beside 40 such models."""
    few, ready, threads, megabytes, idle = _printed(f"_serve_many({str(version)!r})")
    what = f"{MODELS} × {VERSIONS} small versions"
    yield at_most(f"ready, {what}, per version beside {FEW} × {VERSIONS}", ready * 1e3, few * 1e3, "ms", 1.5)
    yield below(f"threads, {what}", threads, 150, "threads")
    yield below(f"memory that one of {what} adds", megabytes, 1, "MB")
    yield below(f"processor, {what}, nobody asks", idle, 1, "%")


def cell_speed(base_path: Path) -> Measure:
    """How fast a cell runs pure Python beside a server that nobody asks, and without one."""
    rates = _printed(f"_spin_in_turn({str(base_path)!r})")
    value, floor = middle(list(zip(rates[::2], rates[1::2], strict=True)))
    return at_least("a cell's own speed while nobody asks", value / 1e6, floor / 1e6, "million/s", 0.95)


def _printed(call: str) -> list[float]:
    """The numbers that a call of this module prints in a process of its own."""
    program = f"from tests.benchmarks import many; many.{call}"
    run = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=True)
    return [float(number) for number in run.stdout.split()]


def _serve_many(version: str) -> None:
    with tempfile.TemporaryDirectory(dir=Path(version).parent) as directory:
        bases = {f"m{number}": Path(directory, f"m{number}") for number in range(MODELS)}
        for base in bases.values():
            for number in range(1, VERSIONS + 1):
                shutil.copytree(version, base / str(number), copy_function=os.link)
        process = psutil.Process()
        with _serving({"m0": bases["m0"]}):
            before = process.memory_info().rss
        print(_seconds_a_version(dict(list(bases.items())[:FEW])))
        started = time.perf_counter()
        with _serving(bases):
            print((time.perf_counter() - started) / (MODELS * VERSIONS), process.num_threads())
            gc.collect()
            print((process.memory_info().rss - before) / (MODELS * VERSIONS) / 1e6)
            time.sleep(_SETTLED_SECONDS)
            on_processor, began = time.process_time(), time.perf_counter()
            time.sleep(IDLE_SECONDS)
            print(100 * (time.process_time() - on_processor) / (time.perf_counter() - began))


def _seconds_a_version(bases: dict[str, Path]) -> float:
    started = time.perf_counter()
    with _serving(bases):
        return (time.perf_counter() - started) / (len(bases) * VERSIONS)


def _serving(bases: dict[str, Path]) -> Server:
    """A server of all versions of the models in `bases`, once they serve."""
    import tfs_notebook

    server = tfs_notebook.serve(config=config_text(bases, dict.fromkeys(bases, ALL)), port=0, rest_api_port=0)
    deadline = time.monotonic() + _READY_SECONDS
    while sum(len(of) for of in server._core.manager.registry.serving.values()) < len(bases) * VERSIONS:
        assert time.monotonic() < deadline, server.problems
        time.sleep(0.01)
    return server


def _spin_in_turn(base_path: str) -> None:
    import tfs_notebook

    for _ in range(7):
        with tfs_notebook.serve(base_path, port=0, rest_api_port=0):
            print(_rounds_a_second())
        print(_rounds_a_second())


def _rounds_a_second() -> float:
    """On the processor: how much of it others leave to this process says nothing."""
    rounds, began = 0, time.thread_time()
    while time.thread_time() < began + 1.0:
        for _ in range(10_000):
            rounds += 1
    return rounds / (time.thread_time() - began)
