"""The local copy: where it is, how versions come and go in it, and what a killed process leaves."""

from __future__ import annotations

import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.oss import kills
from tests.oss.kills import FILES, NEW, OLD, PATH, act, prepare, stage
from tests.support.serving import PATIENCE
from tfs_notebook.engine.storage.scan import parse_version
from tfs_notebook.errors import Code, ServingError
from tfs_notebook.oss.address import OssAddress
from tfs_notebook.oss.cache.cache import Cache, cache_directory, root_directory

ENDPOINT = "https://oss-cn-hangzhou.aliyuncs.com"


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    made = Cache(tmp_path / "endpoint" / "bucket" / "root")
    made.prepare()
    made.recover()
    return made


def content(directory: Path) -> dict[str, bytes]:
    return {
        path.relative_to(directory).as_posix(): path.read_bytes() for path in directory.rglob("*") if path.is_file()
    }


def trash_of(cache: Cache) -> list[Path]:
    return [path for path in (cache.private / "trash").iterdir() if path.is_dir()]


def test_the_cache_is_under_the_user_s_cache_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_directory() == tmp_path / "tfs_notebook" / "oss"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_directory().is_relative_to(Path.home())
    assert cache_directory("~/copies") == Path.home() / "copies"


def test_nobody_else_can_read_the_copies(tmp_path: Path) -> None:
    root = root_directory(tmp_path / "cache", ENDPOINT, OssAddress("bucket", "models/"))
    Cache(root).prepare()
    assert stat.S_IMODE(root.parent.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    "key", ["", "m/", "m/n/", "m%2Fn/", "../", "./", ".../", "1/", "x" * 1000 + "/", "模型/", "M/"]
)
def test_every_root_has_a_directory_of_its_own_that_is_below_the_cache(tmp_path: Path, key: str) -> None:
    roots = {root_directory(tmp_path, ENDPOINT, OssAddress("bucket", key))}
    for other in ("a/", "m/n/o/", "%2F/", "..%2F/"):
        roots.add(root_directory(tmp_path, ENDPOINT, OssAddress("bucket", other)))
    roots.add(root_directory(tmp_path, ENDPOINT, OssAddress("another", key)))
    roots.add(root_directory(tmp_path, "https://oss-cn-beijing.aliyuncs.com", OssAddress("bucket", key)))
    assert len(roots) == 7
    for root in roots:
        assert root.resolve().is_relative_to(tmp_path.resolve())
        assert len(root.relative_to(tmp_path).parts) == 3
        Cache(root).prepare()


@pytest.mark.parametrize("path", ["1", "modelA/1", "-1", "a/b/00001", "x" * 255 + "/1"])
def test_names_made_here_never_spell_a_number(cache: Cache, path: str) -> None:
    assert parse_version(cache.staging(path).name) is None
    assert all(parse_version(name) is None for name in (cache.private.name, *cache.staging(path).parts[-3:]))
    assert cache.staging(path) != cache.staging(f"{path}0")


def test_what_is_staged_is_counted_without_its_holes(cache: Cache) -> None:
    assert cache.size_staged(PATH) == 0
    stage(cache)
    with (cache.staging(PATH) / "part").open("wb") as part:
        part.truncate(1 << 20)
    assert cache.size_staged(PATH) == sum(map(len, FILES.values()))


def test_a_version_is_published_whole_and_remembered(cache: Cache) -> None:
    stage(cache)
    cache.publish(PATH, NEW)
    assert content(cache.directory_of(PATH)) == FILES
    assert not cache.staging(PATH).exists()
    again = Cache(cache.directory)
    again.recover()
    assert again.published.keys() == {PATH}
    assert again.published[PATH].content == NEW
    assert again.size == sum(map(len, FILES.values()))


def test_what_stands_in_the_way_is_never_overwritten(cache: Cache) -> None:
    stage(cache)
    target = cache.directory_of(PATH)
    target.mkdir(parents=True)
    with pytest.raises(ServingError, match="was not brought by this") as raised:
        cache.publish(PATH, NEW)
    assert raised.value.code is Code.ALREADY_EXISTS
    with pytest.raises(ServingError):
        cache.publish(PATH, NEW, replace=True)
    assert not list(target.iterdir())
    target.rmdir()
    cache.publish(PATH, NEW)
    assert content(target) == FILES


def test_a_version_is_withdrawn_at_once_and_deleted_when_nothing_uses_it(cache: Cache) -> None:
    stage(cache)
    cache.publish(PATH, NEW)
    cache.withdraw(PATH)
    assert not cache.directory_of(PATH).exists()
    assert not cache.published
    (trash,) = trash_of(cache)
    cache.empty_trash(lambda path: path == PATH)
    assert content(trash) == FILES
    assert cache.has_trash
    cache.empty_trash(lambda path: False)
    assert not trash.exists()
    assert not cache.has_trash


@pytest.mark.parametrize("path", [PATH, "模" * 30 + "/model.v2/1"])
@pytest.mark.parametrize("killed_before_the_record_was_moved", [False, True])
def test_what_another_process_withdrew_is_deleted_when_nothing_uses_it(
    cache: Cache, path: str, killed_before_the_record_was_moved: bool
) -> None:
    file = cache.staging(path) / "content" / "saved_model.pb"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"graph")
    cache.publish(path, frozenset({("saved_model.pb", 5, "e")}))
    (record,) = (cache.private / "published").iterdir()
    cache.withdraw(path)
    (trash,) = trash_of(cache)
    if killed_before_the_record_was_moved:
        trash.with_name(f"{trash.name}.json").rename(record)
    for _ in range(2):
        again = Cache(cache.directory)
        again.recover()
        assert not again.published
        assert again.known == {path}
    again.empty_trash({path}.__contains__)
    assert content(trash) == {"saved_model.pb": b"graph"}
    again.empty_trash(lambda path: False)
    assert not list((cache.private / "trash").iterdir())


def test_a_version_can_be_withdrawn_again_and_again(cache: Cache) -> None:
    for _ in range(3):
        stage(cache)
        cache.publish(PATH, NEW)
        cache.withdraw(PATH)
    assert len(trash_of(cache)) == 3
    cache.empty_trash(lambda path: False)
    assert not list((cache.private / "trash").iterdir())


def test_a_version_is_replaced_when_asked(cache: Cache) -> None:
    prepare(cache, "replace")
    act(cache, "replace")
    assert content(cache.directory_of(PATH)) == FILES
    assert cache.published[PATH].content == NEW
    assert not list((cache.private / "trash").iterdir())


def test_a_version_that_somebody_deletes_is_forgotten(cache: Cache) -> None:
    stage(cache)
    cache.publish(PATH, NEW)
    shutil.rmtree(cache.directory_of(PATH))
    cache.notice_losses()
    assert not cache.published


def test_staging_that_nothing_continues_is_dropped(cache: Cache) -> None:
    stage(cache)
    other = cache.staging("modelB/1")
    other.mkdir()
    cache.keep_staging([PATH])
    assert cache.staging(PATH).exists()
    assert not other.exists()


@pytest.mark.parametrize("record", [b"", b"{", b"[]", b'{"path": 1}', b'{"path": "modelA/7", "files": [1]}'])
def test_a_broken_record_is_no_record(cache: Cache, record: bytes) -> None:
    stage(cache)
    cache.publish(PATH, NEW)
    (path,) = (cache.private / "published").iterdir()
    path.write_bytes(record)
    cache.recover()
    assert not cache.published
    assert content(cache.directory_of(PATH)) == FILES


def test_a_record_of_what_was_not_published_any_more_does_not_count(cache: Cache) -> None:
    prepare(cache, "replace")
    (record,) = (cache.private / "published").iterdir()
    new = record.with_name(f"{record.name}.new")
    new.write_bytes(record.read_bytes().replace(b'"e0"', b'"e1"'))
    cache.recover()
    assert cache.published[PATH].content == OLD
    assert not new.exists()


@pytest.mark.parametrize("operation", ["publish", "replace", "withdraw"])
def test_a_process_may_be_killed_at_every_step(tmp_path: Path, operation: str) -> None:
    """What stands where the engine looks is whole at any moment, and the next process goes on from there."""
    subprocess.run([sys.executable, "-m", kills.__name__, operation, str(tmp_path)], check=True, timeout=PATIENCE)
    left = sorted(tmp_path.iterdir(), key=lambda path: int(path.name))
    assert len(left) > 4
    for directory in left:
        cache = Cache(directory / "endpoint" / "bucket" / "root")
        target = cache.directory_of(PATH)
        stands = content(target) if target.exists() else None
        assert stands in (None, FILES, {"old": b"old"})
        cache.prepare()
        cache.recover()
        cache.empty_trash(lambda path: True)
        assert len(trash_of(cache)) == cache.has_trash
        cache.empty_trash(lambda path: False)
        assert not list((cache.private / "trash").iterdir())
        assert (PATH in cache.published) == target.exists()
        if PATH in cache.published:
            assert cache.published[PATH].content == (NEW if stands == FILES else OLD)
        if operation == "withdraw":
            cache.withdraw(PATH)
            cache.empty_trash(lambda path: False)
            assert not target.exists()
        elif stands != FILES:
            assert content(cache.staging(PATH) / "content") == FILES
            cache.publish(PATH, NEW, replace=PATH in cache.published)
            assert content(target) == FILES
    assert stands == (None if operation == "withdraw" else FILES)
