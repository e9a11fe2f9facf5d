"""Never half a version: between any two steps on the disk, whoever looks finds a whole version or none.

Python tells a hook of every step before it is taken. On one side the hook looks at what stands there while versions are
published, exchanged and withdrawn; on the other it publishes another version in the middle of a look.
"""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from tests.oss.sync.test_converges import read
from tfs_notebook.engine.config import AllVersions
from tfs_notebook.engine.storage.scan import Fingerprint, Storage
from tfs_notebook.oss.cache.cache import Cache

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.conftest import Models

_STEPS = ("open", "os.", "shutil.", "pathlib.")
_HOOKS: list[Callable[[], None]] = []


def _hook(event: str, _arguments: tuple[Any, ...]) -> None:
    if _HOOKS and event.startswith(_STEPS):
        at_step = _HOOKS.pop()  # what it does itself are no steps
        at_step()
        _HOOKS.append(at_step)


@contextmanager
def at_each_step(look: Callable[[], None]) -> Iterator[None]:
    """Call `look` before every step that this process takes on the disk."""
    if not getattr(sys, "_tfs_steps", False):
        sys.addaudithook(_hook)  # stays for ever
        sys._tfs_steps = True  # type: ignore[attr-defined]
    stat = os.stat

    def told_stat(*arguments: Any, **options: Any) -> os.stat_result:  # the one step of which Python tells no hook
        _hook("os.stat", arguments)
        return stat(*arguments, **options)

    _HOOKS.append(look)
    os.stat = told_stat
    try:
        yield
    finally:
        os.stat = stat
        _HOOKS.clear()


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    cache = Cache(tmp_path / "endpoint" / "bucket" / "root")
    cache.prepare()
    return cache


def stage(cache: Cache, source: Path) -> None:
    """Put the version in `source` together as m/1."""
    shutil.copytree(source, cache.staging("m/1") / "content")


def test_a_version_is_whole_or_not_there_between_any_two_steps(cache: Cache, models: Models) -> None:
    first, second = (models.path(name) / "1" for name in ("vocabulary", "half_plus_two"))
    whole, seen = [read(first), read(second)], []

    def look() -> None:
        content = read(cache.directory_of("m/1"))
        assert content is None or content in whole, sorted(content)
        seen.append(None if content is None else whole.index(content))

    def publish(source: Path, *, replace: bool = False) -> None:
        stage(cache, source)
        with at_each_step(look):
            cache.publish("m/1", frozenset(), replace=replace)

    publish(first)
    publish(second, replace=True)
    with at_each_step(look):
        cache.withdraw("m/1")
        cache.empty_trash(lambda _path: False)
    publish(first)
    with at_each_step(look):
        cache.recover()
    changes = [before for before, after in pairwise(seen) if before != after]
    assert changes == [None, 0, None, 1, None]
    assert len(seen) > 50


def exchange(cache: Cache, source: Path) -> None:
    """Withdraw m/1, delete it, and publish `source` under its number, as it happens to a slow reader."""
    cache.withdraw("m/1")
    cache.empty_trash(lambda _path: False)
    stage(cache, source)
    cache.publish("m/1", frozenset())


def test_a_look_that_is_held_up_at_any_step_never_takes_half_a_version_up(cache: Cache, models: Models) -> None:
    """Each step in turn is held up until the version has been withdrawn, deleted and published with other files."""
    sources = [models.path(name) / "1" for name in ("vocabulary", "half_plus_two")]
    step, steps = 0, 1
    while step < steps:
        exchange(cache, sources[0])
        storage, count = Storage(0.0), 0

        def hold_up(step: int = step) -> None:
            nonlocal count
            count += 1
            if count == step + 1:
                exchange(cache, sources[1])

        with at_each_step(hold_up):
            scan = storage.scan("m", str(cache.directory_of("m")), AllVersions())
        step, steps = step + 1, count
        for number, path in scan.aspired.items():
            assert read(path) in [read(source) for source in sources], (step, number)
    assert steps > 5


def test_what_was_read_of_two_versions_is_not_mistaken_for_one(tmp_path: Path) -> None:
    """A file system gives a deleted directory's number to the next: the time of change tells them apart."""
    version, away = tmp_path / "1", tmp_path / "away"

    def put() -> None:
        version.mkdir()
        for name in ("a", "b", "c"):
            (version / name).write_text(name)

    put()
    number, held_up, same = version.stat().st_ino, [], []

    def hold_up() -> None:
        held_up.append(None)
        if len(held_up) == 3:
            version.rename(away)
            shutil.rmtree(away)
            put()
            same.append(version.stat().st_ino == number)

    before = Fingerprint.of(version)
    with at_each_step(hold_up):
        content = read(version)
    assert same, "nothing was exchanged"
    assert content is None
    assert Fingerprint.of(version) != before
