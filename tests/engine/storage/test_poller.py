"""Polls of many base paths: what is new is found, what is not costs little, what hangs holds up nobody else."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.engine.parts import Loads, until
from tests.engine.storage.test_scan import put
from tests.engine.test_core import config, entry, states
from tests.support.serving import PATIENCE
from tfs_notebook.engine.core import CoreOptions, ServerCore
from tfs_notebook.engine.lifecycle.manager import Manager, RetryPolicy
from tfs_notebook.engine.storage import poller
from tfs_notebook.engine.storage import scan as storage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tfs_notebook.engine.events import EventStream

ALL = "all {}"
POLL_SECONDS = 0.02


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The name of each base path that was listed, by whatever look."""
    listed, names_in = [], storage.names_in
    monkeypatch.setattr(storage, "names_in", lambda base: listed.append(Path(base).name) or names_in(base))
    return listed


@pytest.fixture
def scanned(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The model of each full scan."""
    scanned, scan = [], storage.Storage.scan
    monkeypatch.setattr(
        storage.Storage, "scan", lambda self, name, *more: scanned.append(name) or scan(self, name, *more)
    )
    return scanned


@contextlib.asynccontextmanager
async def serving(
    events: EventStream, *bases: Path, loads: Loads | None = None, poll_seconds: float = POLL_SECONDS
) -> AsyncIterator[ServerCore]:
    """A core that serves all versions of the models in `bases`, each called by its directory's name."""
    manager = Manager(loads or Loads(), events, retry_policy=RetryPolicy(0))
    core = ServerCore(manager, events, CoreOptions(poll_seconds=poll_seconds, settle_seconds=0.0))
    try:
        entries = (entry(base, ALL, name=base.name) for base in bases)
        with contextlib.suppress(Exception):
            await core.apply(config(*entries), patient=False, timeout=0.5)
        yield core
    finally:
        await core.close()


async def polled(listed: list[str], *names: str, times: int = 3) -> None:
    """Wait until each of the base paths has been listed so often from now on."""
    before = {name: listed.count(name) for name in names}
    await until(lambda: all(listed.count(name) >= before[name] + times for name in names))


def bases(tmp_path: Path, *names: str) -> list[Path]:
    for name in names:
        put(tmp_path / name, "1", "2")
    return [tmp_path / name for name in names]


async def test_where_nothing_changes_polls_compare_names_and_scan_nothing(
    tmp_path: Path, events: EventStream, listed: list[str], scanned: list[str]
) -> None:
    async with serving(events, *bases(tmp_path, "a", "b", "c")) as core:
        await until(lambda: all(core._lookouts[name].names is not None for name in "abc"))
        before = len(scanned)
        await polled(listed, "a", "b", "c")
        assert len(scanned) == before


@pytest.mark.parametrize(
    ("change", "versions"),
    [
        (lambda base: put(base, "3"), {3: "AVAILABLE", 2: "AVAILABLE", 1: "AVAILABLE"}),
        (lambda base: shutil.rmtree(base / "2"), {2: "END", 1: "AVAILABLE"}),
        (lambda base: (base / "2").rename(base / "9"), {9: "AVAILABLE", 2: "END", 1: "AVAILABLE"}),
        (lambda base: base.rename(base.parent / "old") and put(base, "4"), {4: "AVAILABLE", 2: "END", 1: "END"}),
    ],
    ids=["added", "removed", "renamed", "exchanged"],
)
async def test_a_change_of_names_is_found_by_the_next_poll_and_scans_no_other_model(
    tmp_path: Path,
    events: EventStream,
    listed: list[str],
    scanned: list[str],
    change: Callable[[Path], object],
    versions: dict[int, str],
) -> None:
    async with serving(events, *bases(tmp_path, "a", "b")) as core:
        await until(lambda: all(core._lookouts[name].names is not None for name in "ab"))
        others = scanned.count("b")
        change(tmp_path / "a")
        await until(lambda: states(core, "a") == versions)
        assert scanned.count("b") == others


async def test_a_link_that_is_turned_to_another_directory_is_a_change(tmp_path: Path, events: EventStream) -> None:
    put(tmp_path / "first", "1")
    put(tmp_path / "second", "2")
    (tmp_path / "m").symlink_to("first")
    async with serving(events, tmp_path / "m") as core:
        (tmp_path / "new").symlink_to("second")
        (tmp_path / "new").rename(tmp_path / "m")
        await until(lambda: states(core) == {2: "AVAILABLE", 1: "END"})


async def test_a_version_that_is_not_complete_is_scanned_at_each_poll(
    tmp_path: Path, events: EventStream, scanned: list[str]
) -> None:
    (base,) = bases(tmp_path, "m")
    (base / "3").mkdir()
    async with serving(events, base) as core:
        before = len(scanned)
        await until(lambda: len(scanned) > before + 3)
        shutil.copy(base / "1" / "saved_model.pb", base / "3")  # changes no name in the base path
        await until(lambda: states(core).get(3) == "AVAILABLE")


async def test_a_base_path_that_comes_and_goes_is_told(tmp_path: Path, events: EventStream) -> None:
    base = tmp_path / "m"
    async with serving(events, base) as core:
        assert core.model_status("m").problem is not None
        put(base, "1")
        await until(lambda: states(core) == {1: "AVAILABLE"} and core.model_status("m").problem is None)
        base.rename(tmp_path / "away")
        await until(lambda: core.model_status("m").problem is not None)
        assert states(core) == {1: "AVAILABLE"}


async def test_base_paths_that_do_not_answer_hold_up_nobody_else_and_are_polled_when_they_do(
    tmp_path: Path, events: EventStream, listed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    hung = ["hung0", "hung1"]
    answer, hangs, waiting, names_in = threading.Event(), threading.Event(), [], storage.names_in

    def slow(base: Path | str) -> frozenset[str]:
        found, name = names_in(base), Path(base).name
        if name in hung and hangs.is_set():
            waiting.append(name)
            assert answer.wait(PATIENCE)
        return found

    monkeypatch.setattr(storage, "names_in", slow)
    monkeypatch.setattr(poller, "_PATIENCE", 0.1)
    async with serving(events, *bases(tmp_path, "hung0", "a", "hung1")) as core:
        await until(lambda: all(core._lookouts[name].names is not None for name in (*hung, "a")))
        hangs.set()
        await until(lambda: sorted(waiting) == hung)
        for name in (*hung, "a"):
            put(tmp_path / name, "3")
        await until(lambda: states(core, "a").get(3) == "AVAILABLE")
        await polled(listed, "a")
        assert sorted(waiting) == hung  # one thread each, however long it takes
        answer.set()
        await until(lambda: all(states(core, name).get(3) == "AVAILABLE" for name in hung))


async def test_no_poll_where_none_is_asked_for_and_polls_as_soon_as_one_is(
    tmp_path: Path, events: EventStream, listed: list[str]
) -> None:
    (base,) = bases(tmp_path, "m")
    async with serving(events, base, poll_seconds=0) as core:
        before = len(listed)
        put(base, "3")
        await asyncio.sleep(5 * POLL_SECONDS)
        assert len(listed) == before
        core.options = CoreOptions(poll_seconds=POLL_SECONDS, settle_seconds=0.0)
        await core.apply(config(entry(base, ALL)), patient=False)
        put(base, "4")
        await until(lambda: states(core).get(4) == "AVAILABLE")
