from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest
import tensorflow as tf

from tests.engine.parts import without_privileges
from tfs_notebook.engine.request_log import tfrecord
from tfs_notebook.engine.request_log.tfrecord import RecordFiles, read_records

if TYPE_CHECKING:
    from pathlib import Path

RECORD = b"x" * 84  # a hundred bytes with its frame


def written(directory: Path, prefix: str = "", model: str = "m", records: int = 1, max_bytes: int = 1 << 20) -> None:
    files = RecordFiles(str(directory / prefix) + ("" if prefix else "/"), model, max_bytes=max_bytes)
    for _ in range(records):
        files.write(RECORD)
    files.close()


def counts(directory: Path) -> list[int]:
    """The number of records in each file, as TensorFlow reads them, by name."""
    return [len(list(tf.data.TFRecordDataset(str(path)))) for path in sorted(directory.iterdir())]


@pytest.mark.parametrize(
    ("prefix", "model", "name"),
    [
        ("", "m", "m"),
        ("requests", "m", "requests-m"),
        ("run_", "m", "run_m"),
        ("run-", "m", "run-m"),
        ("run.", "m", "run.m"),
        ("", "a/b ü", "a%2Fb %C3%BC"),
    ],
)
def test_names(tmp_path: Path, prefix: str, model: str, name: str) -> None:
    written(tmp_path, prefix, model)
    (path,) = tmp_path.iterdir()
    stem, time, number = path.stem.rsplit("-", 2)
    assert (stem, number, path.suffix) == (name, "000", ".tfrecord")
    assert len(time) == len("20260102T030405Z")


def test_nobody_else_may_read_the_requests(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        written(tmp_path, records=2, max_bytes=150)
    finally:
        os.umask(before)
    assert [stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()] == [0o600] * 2


def test_a_directory_as_prefix_needs_no_slash(tmp_path: Path) -> None:
    files = RecordFiles(str(tmp_path), "m", max_bytes=1000)
    files.write(RECORD)
    files.close()
    assert next(tmp_path.iterdir()).name.startswith("m-")


def test_directories_are_made(tmp_path: Path) -> None:
    written(tmp_path / "a" / "b")
    assert counts(tmp_path / "a" / "b") == [1]


def test_a_file_ends_before_it_becomes_too_large(tmp_path: Path) -> None:
    written(tmp_path, records=7, max_bytes=300)
    assert counts(tmp_path) == [3, 3, 1]
    assert max(path.stat().st_size for path in tmp_path.iterdir()) == 300


def test_a_record_larger_than_a_file_has_one_of_its_own(tmp_path: Path) -> None:
    written(tmp_path, records=3, max_bytes=10)
    assert counts(tmp_path) == [1, 1, 1]


def test_a_file_has_no_more_records_than_warm_up_takes(tmp_path: Path) -> None:
    written(tmp_path, records=2001)
    assert counts(tmp_path) == [1000, 1000, 1]


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    for _ in range(3):
        written(tmp_path)
    assert counts(tmp_path) == [1, 1, 1]


def test_a_file_that_was_taken_away_is_followed_by_another(tmp_path: Path) -> None:
    files = RecordFiles(f"{tmp_path}/", "m", max_bytes=1000)
    files.write(RECORD)
    files.flush()
    (first,) = tmp_path.iterdir()
    first.unlink()
    files.write(RECORD)
    files.close()
    assert counts(tmp_path) == [1]


def test_what_is_flushed_can_be_read_while_more_is_written(tmp_path: Path) -> None:
    files = RecordFiles(f"{tmp_path}/", "m", max_bytes=1000)
    for number in (1, 2):
        files.write(RECORD)
        files.flush()
        assert counts(tmp_path) == [number]
    files.close()


def test_closing_without_a_record_leaves_nothing(tmp_path: Path) -> None:
    written(tmp_path, records=0)
    assert counts(tmp_path) == []


def test_reading(tmp_path: Path) -> None:
    path = tmp_path / "records"
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(b"one")
        writer.write(b"")
    assert list(read_records(path)) == [b"one", b""]
    with pytest.raises(tf.errors.NotFoundError, match="nothing"):
        list(read_records(tmp_path / "nothing"))


def test_a_file_in_place_of_the_directory(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        RecordFiles(f"{tmp_path}/file/m", "m", max_bytes=1000).prepare()


def test_a_directory_of_somebody_else(tmp_path: Path) -> None:
    directory = tmp_path / "logs"
    directory.mkdir()
    with without_privileges(tmp_path):
        directory.chmod(0o500)
        with pytest.raises(PermissionError, match="logs"):
            RecordFiles(f"{directory}/", "m", max_bytes=1000).prepare()
        directory.chmod(0o700)


def test_the_public_reader_reads_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tfrecord.RecordIterator is not None, "TensorFlow has moved it"
    written(tmp_path, records=3)
    (path,) = tmp_path.iterdir()
    found = list(read_records(path))
    monkeypatch.setattr(tfrecord, "RecordIterator", None)
    assert list(read_records(path)) == found == [RECORD] * 3
