"""TFRecord files: one that is read, and a series that is written."""

from __future__ import annotations

import os
import tempfile
import time
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import tensorflow as tf

try:
    from tensorflow.python.lib.io._pywrap_record_io import RecordIterator
except ImportError:  # a TensorFlow that moved it: the public call writes a notice of its age into the cell
    RecordIterator = None

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_RECORDS = 1000
"""Records a file may hold to be read as warm-up requests."""
_JOINTS = ("-", "_", ".")
_FRAME_BYTES = 16
"""What TFRecord adds to a record."""


def read_records(path: Path) -> Iterator[bytes]:
    """The records of `path`, one after the other on the calling thread. Raises tf.errors.OpError, also on the way."""
    if RecordIterator is None:
        return iter(tf.compat.v1.io.tf_record_iterator(str(path)))
    records: Iterator[bytes] = RecordIterator(str(path), "")
    return records


class RecordFiles:
    """A series of TFRecord files `<prefix><model>-<UTC time>-<number>.tfrecord`; nothing that exists is overwritten.

    A `prefix` that is a directory stands for names within it; otherwise a hyphen joins it to the model's name,
    unless it ends with one, a dot or an underscore. A new
    file begins when the next record would make the last one larger than `max_bytes`, when that was moved or
    deleted, and after 1000 records, so that each can be used as it is for warm-up. One thread uses it.
    """

    def __init__(self, prefix: str, model: str, *, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._prefix = prefix
        self._model = quote(model, safe=" ")
        self._writer: Any = None
        self._path = Path()
        self._count = self._size = 0

    @property
    def is_open(self) -> bool:
        """Whether there is a file that the next record may be appended to."""
        return self._writer is not None

    def prepare(self) -> None:
        """Make the directory. Raises OSError when there cannot be files in it."""
        directory = Path(self._stem()).parent
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):  # no permission bit says so much
            pass

    def _stem(self) -> str:
        """What the names of all files begin with."""
        if self._prefix.endswith(os.sep) or Path(self._prefix).is_dir():
            return str(Path(self._prefix, self._model))
        return f"{self._prefix}{'' if self._prefix.endswith(_JOINTS) else '-'}{self._model}"

    def write(self, record: bytes) -> None:
        """Append `record`. Raises OSError or tf.errors.OpError; perhaps only `flush` tells that it is lost."""
        size = len(record) + _FRAME_BYTES
        is_full = self._count >= MAX_RECORDS or self._size + size > self.max_bytes
        if self._writer is not None and (is_full or not self._path.exists()):
            self.close()
        if self._writer is None:
            self._begin()
        self._writer.write(record)
        self._count += 1
        self._size += size

    def _begin(self) -> None:
        self.prepare()
        stem = f"{self._stem()}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
        for number in count():
            path = Path(f"{stem}-{number:03}.tfrecord")
            try:
                path.touch(mode=0o600, exist_ok=False)  # requests are nobody else's to read
            except FileExistsError:
                continue
            break
        self._writer, self._path, self._count, self._size = tf.io.TFRecordWriter(str(path)), path, 0, 0

    def flush(self) -> None:
        """Hand what was written to the system, so that the file ends with a whole record. Raises as `write` does."""
        if self._writer is not None:
            self._writer.flush()

    def close(self) -> None:
        """End the file; the next record begins another. Raises as `write` does."""
        if self._writer is not None:
            writer, self._writer = self._writer, None
            try:
                writer.flush()
            finally:
                writer.close()
