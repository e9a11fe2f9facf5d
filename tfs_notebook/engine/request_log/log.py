"""The request log: some of the requests to a model, written to TFRecord files by a thread of its own.

A request that is picked leaves behind what its record is made from, and goes on; the record is made and written behind
it. What waits is bounded, and what finds no room is left out, so neither a slow disk nor a broken one ever holds up or
fails a request.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import deque
from random import Random
from typing import TYPE_CHECKING

import tensorflow as tf

from tfs_notebook.engine.metrics.counters import Counter
from tfs_notebook.engine.request_log.tfrecord import RecordFiles
from tfs_notebook.errors import Code, ServingError
from tfs_notebook.threads import NoThreadError, start_daemon_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tfs_notebook.engine.request_log.config import LoggingConfig

_log = logging.getLogger(__name__)
MAX_WAITING = 1000
MAX_WAITING_BYTES = 64 << 20
"""How much may wait to be written, of all models."""


def log_counter() -> Counter:
    """What TensorFlow Serving counts of the log: requests that were picked, by model and status."""
    return Counter("/tensorflow/serving/request_log_count", "model_name", "status_code")


class ModelLog:
    """The log of one model: picks the requests that are written down. Every thread may use it."""

    def __init__(
        self, model: str, config: LoggingConfig, files: RecordFiles, queue: _Queue, random: Random, logged: Counter
    ) -> None:
        self.model = model
        self.config = config
        self.files = files
        self.problem: ServingError | None = None
        """Why nothing can be written at present."""
        self.left_out = 0
        """Records that found no room to wait."""
        self.closed = False
        self._queue = queue
        self._random = random.random
        self._logged = logged

    def picks(self) -> bool:
        """Whether the request that asks is one to write down: each is with the probability of `config`."""
        return self._random() < self.config.sampling_rate

    def submit(self, make: Callable[[], bytes], size: int) -> None:
        """Write down the record that `make` makes, soon and on another thread; `size` is about what it holds in bytes.

        Never raises, and never waits for a disk.
        """
        if not self._queue.offer(self, lambda: self._write(make), size) and not self.closed:
            self._logged.add(self.model, Code.RESOURCE_EXHAUSTED.name)
            with self._queue.ready:
                self.left_out += 1
                first = self.left_out == 1
            if first:
                _log.warning("Too many requests to model %s to write all of them down: some are left out", self.model)

    def _write(self, make: Callable[[], bytes]) -> None:
        """What is to be done on the writing thread. Raises what `make` or the disk does."""
        status = Code.INTERNAL
        try:
            record, status = make(), Code.UNAVAILABLE
            self.files.write(record)
            status = Code.OK
        finally:
            self._logged.add(self.model, status.name)


class _Queue:
    """What the writer is still to do, in order."""

    def __init__(self, most: int, max_bytes: int) -> None:
        self.ready = threading.Condition()
        self.closed = False
        self._most, self._max_bytes = most, max_bytes
        self._waiting: deque[tuple[ModelLog, Callable[[], None], int]] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def offer(self, log: ModelLog, action: Callable[[], None], size: int) -> bool:
        """Have `action` done unless `log` is closed or there is no room; an empty queue has room for any size."""
        with self.ready:
            too_much = len(self) >= self._most or (self._waiting and self._bytes + size > self._max_bytes)
            if log.closed or too_much:
                return False
            self.put(log, action, size)
            return True

    def put(self, log: ModelLog, action: Callable[[], None], size: int = 0) -> None:
        """Have `action` done."""
        with self.ready:
            self._waiting.append((log, action, size))
            self._bytes += size
            self.ready.notify()

    def take(self) -> tuple[ModelLog, Callable[[], None]] | None:
        """The next thing to do; waits for it, and is None once there is nothing left and never will be."""
        with self.ready:
            while not self._waiting and not self.closed:
                self.ready.wait()
            if not self._waiting:
                return None
            log, action, size = self._waiting.popleft()
            self._bytes -= size
            return log, action

    def close(self) -> None:
        """Take nothing more; what waits is still to be done."""
        with self.ready:
            self.closed = True
            self.ready.notify()


class RequestLog:
    """The logs of all models, and the thread that writes them. It is told what to log by one thread at a time."""

    def __init__(
        self,
        tell: Callable[[str, ServingError | None], None] = lambda _model, _problem: None,
        *,
        max_file_bytes: int = 64 << 20,
        max_waiting: int = MAX_WAITING,
        max_waiting_bytes: int = MAX_WAITING_BYTES,
        random: Random | None = None,
        logged: Counter | None = None,
    ) -> None:
        """`tell` is called on the writing thread with a model, and why nothing can be written for it, None when it can
        again. `max_file_bytes` may be replaced; the next `update` takes it over. `logged` counts what was picked, by
        model and how writing it down ended.
        """
        self.max_file_bytes = max_file_bytes
        self._tell = tell
        self._random = random or Random()  # noqa: S311 - and one that no `random.seed` of the notebook steers
        self._logged = logged or log_counter()
        self._queue = _Queue(max_waiting, max_waiting_bytes)
        self._logs: Mapping[str, ModelLog] = {}
        self._thread: threading.Thread | None = None
        self._unflushed: set[ModelLog] = set()

    @property
    def problems(self) -> tuple[ServingError, ...]:
        """Why the requests to some models cannot be written down at present. Any thread may ask."""
        return tuple(log.problem for log in self._logs.values() if log.problem is not None)

    def update(self, configs: Mapping[str, LoggingConfig]) -> Mapping[str, ModelLog]:
        """Log from now on as `configs` say, by model, and end the logs of all others; the logs that pick requests.

        A log goes on in its file when only its rate changes. Everything that was accepted before is still written.
        """
        if self._queue.closed:
            return {}
        logs = {
            model: self._log_for(model, config, self._logs.get(model))
            for model, config in configs.items()
            if config.sampling_rate > 0
        }
        for model, log in self._logs.items():
            if logs.get(model) is not log:
                self._end(log)
        self._logs = logs
        self._start_thread()
        return logs

    def _log_for(self, model: str, config: LoggingConfig, log: ModelLog | None) -> ModelLog:
        if log is not None and log.config.filename_prefix == config.filename_prefix:
            log.config, log.files.max_bytes = config, self.max_file_bytes
            return log
        files = RecordFiles(config.filename_prefix, model, max_bytes=self.max_file_bytes)
        log = ModelLog(model, config, files, self._queue, self._random, self._logged)
        self._queue.put(log, files.prepare)  # so that a wrong directory is told before the first request
        return log

    def _start_thread(self) -> None:
        if self._thread is not None or not self._logs:
            return
        try:
            self._thread = start_daemon_thread(self._run, "tfs-request-log")
        except NoThreadError as error:  # the next `update` tries again, and until then requests wait
            for log in self._logs.values():
                self._fail(log, error)

    def _end(self, log: ModelLog) -> None:
        with self._queue.ready:
            log.closed = True
            self._queue.put(log, log.files.close)
        if log.left_out:
            _log.warning("%d requests to model %s were picked but not written down", log.left_out, log.model)

    def close(self, timeout: float) -> None:
        """Accept nothing more, and write what was accepted, for which the disk has `timeout` seconds."""
        self.update({})
        self._queue.close()
        if self._thread is None:
            self._run()
            return
        self._thread.join(timeout)
        if self._thread.is_alive():
            _log.warning("The disk did not take the last requests to be logged within %s s", timeout)

    # On the writing thread

    def _run(self) -> None:
        while (work := self._queue.take()) is not None:
            log, action = work
            self._try(log, action)
            if not self._queue:  # also makes the files end with a whole record
                self._flush()
        self._flush()

    def _flush(self) -> None:
        flushing, self._unflushed = self._unflushed, set()
        for log in flushing:
            self._try(log, log.files.flush, last=True)

    def _try(self, log: ModelLog, action: Callable[[], None], *, last: bool = False) -> None:
        try:
            action()
        except (OSError, tf.errors.OpError) as error:
            self._fail(log, error)
        except Exception:
            _log.exception("a request to model %s cannot be written down", log.model)
        else:
            if last:
                self._recover(log)
            elif log.files.is_open:
                self._unflushed.add(log)

    def _fail(self, log: ModelLog, error: Exception) -> None:
        self._unflushed.discard(log)
        with contextlib.suppress(OSError, tf.errors.OpError):
            log.files.close()
        if log.problem is None:
            log.problem = _problem(log, error)
            _log.warning("%s", log.problem.message)
            self._tell(log.model, log.problem)

    def _recover(self, log: ModelLog) -> None:
        if log.problem is not None:
            log.problem = None
            _log.warning("The requests to model %s are logged again; those before are lost", log.model)
            self._tell(log.model, None)


def _problem(log: ModelLog, error: Exception) -> ServingError:
    prefix = log.config.filename_prefix
    reason = error.strerror or error if isinstance(error, OSError) else getattr(error, "message", error)
    return ServingError(
        Code.UNAVAILABLE,
        f"The requests to model {log.model} are not logged to {prefix}: {reason}",
        where=prefix,
        hint="Let filename_prefix in the model's logging_config name a place that can be written to, with room.",
    )
