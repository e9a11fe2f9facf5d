"""Warm-up: a version answers the requests that its directory holds before anybody else may ask it.

A graph's first run compiles and allocates; `assets.extra/tf_serving_warmup_requests`, a TFRecord file of PredictionLog
messages, lets that happen while the version loads. The rules and texts are those of saved_model_warmup_util.cc. A
request that fails, and a file that cannot be read, are errors of the load.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

from tfs_notebook.engine.metrics.warmups import WarmupCounts
from tfs_notebook.engine.request_log.tfrecord import MAX_RECORDS, read_records
from tfs_notebook.errors import Code, ServingError, invalid_argument

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tfs_notebook.engine.models.servable import Servable

_log = logging.getLogger(__name__)
REQUESTS = Path("assets.extra", "tf_serving_warmup_requests")
"""Where a version directory holds its warm-up requests."""
_WITHOUT = "--enable_model_warmup=false loads versions without their warm-up requests."
_MAX_SHOWN_LENGTH = 200


@dataclass(frozen=True, slots=True)
class WarmingLoader:
    """`load`, and then the warm-up; equal when `load` is, for the version that comes out is the same.

    `replay` lets a servable answer the request of a PredictionLog. Each is repeated `iterations` times. No more are
    begun once `wanted` tells that the version is not. `counts` counts the warm-ups of versions that have requests.
    """

    load: Callable[[Path], Servable]
    replay: Callable[[Servable, PredictionLog], None] = field(compare=False)
    enabled: bool = field(default=True, compare=False)
    iterations: int = field(default=1, compare=False)
    wanted: Callable[[], bool] = field(default=lambda: True, compare=False)
    counts: WarmupCounts = field(default_factory=WarmupCounts, compare=False)

    def __call__(self, directory: Path) -> Servable:
        """Load the version in `directory` and let it answer its warm-up requests. Raises what `load` or one does."""
        servable = self.load(directory)
        try:
            if self.enabled:
                self._warm_up(servable, directory / REQUESTS)
        except BaseException:
            servable.close()
            raise
        return servable

    def _warm_up(self, servable: Servable, path: Path) -> None:
        if not path.exists():
            _log.info("No warmup data file found at %s", path)
            return
        _log.info("Starting to read warmup data for model at %s", path)
        started, read, status = time.monotonic(), 0, Code.INTERNAL
        try:
            for read, record in enumerate(_logs(path), 1):
                self._answer(servable, record, path, read)
            status = Code.OK
        except ServingError as error:
            status = error.code
            raise
        finally:
            seconds = time.monotonic() - started
            self.counts.add(str(path.parent.parent), status.name, read, seconds)
        _log.info(
            "Finished reading warmup data for model at %s. Number of warmup records read: %d. "
            "Elapsed time (microseconds): %d.",
            path, read, seconds * 1e6,
        )  # fmt: skip

    def _answer(self, servable: Servable, record: PredictionLog, path: Path, number: int) -> None:
        try:
            self._repeat(servable, record)
        except ServingError as error:
            raise ServingError(error.code, error.message, where=f"{path}, record {number}", hint=_WITHOUT) from None
        if number > MAX_RECORDS:
            raise _refusal(path, f"Number of warmup records exceeds the maximum ({MAX_RECORDS}) at {path}")

    def _repeat(self, servable: Servable, record: PredictionLog) -> None:
        for _ in range(self.iterations):
            if not self.wanted():
                raise ServingError(Code.CANCELLED, "Loading of servable cancelled")
            self.replay(servable, record)


def _logs(path: Path) -> Iterator[PredictionLog]:
    """The messages in `path`. Raises ServingError: DATA_LOSS for what is no TFRecord file, INVALID_ARGUMENT for records
    that are no PredictionLog.
    """
    try:
        for record in read_records(path):
            try:
                yield PredictionLog.FromString(record)
            except DecodeError:
                shown = record[:_MAX_SHOWN_LENGTH].decode("utf-8", "backslashreplace")
                more = "…" if len(record) > _MAX_SHOWN_LENGTH else ""
                raise _refusal(path, f"Failed to parse warmup record: {shown}{more} from {path}") from None
    except tf.errors.DataLossError as error:
        message = f"{error.message}. Please verify your warmup data is in TFRecord format."
        raise ServingError(Code.DATA_LOSS, message, where=str(path), hint=_WITHOUT) from None
    except tf.errors.OpError as error:
        raise ServingError(Code(error.error_code), error.message, where=str(path), hint=_WITHOUT) from None


def _refusal(path: Path, message: str) -> ServingError:
    error = invalid_argument(message, where=str(path))
    return ServingError(error.code, error.message, where=error.where, hint=_WITHOUT)
