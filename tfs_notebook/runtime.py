"""The serving thread and its event loop, beside whatever the kernel's main thread is doing."""

from __future__ import annotations

import asyncio
import contextvars
import ctypes
import importlib
import math
import os
import re
import sys
import tempfile
import threading
import time
from concurrent.futures import wait
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from tfs_notebook.errors import Code, ServingError
from tfs_notebook.threads import NoThreadError, Pool, start_daemon_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from concurrent.futures import Future

T = TypeVar("T")

_BLOCKING_THREADS = 8
"""For what blocks but rarely happens: binding sockets, reading options' files, writing the metrics page."""


def _new_event_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:  # Windows
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


class Runtime:
    """A daemon thread called `name` that runs one event loop until `close`."""

    def __init__(self, name: str = "tfs-serving") -> None:
        """Raises ServingError when the system starts no more threads."""
        self.loop = _new_event_loop()
        started = threading.Event()
        self.loop.call_soon(started.set)
        self._closed = False
        self.loop.set_default_executor(Pool(_BLOCKING_THREADS, thread_name_prefix="tfs-blocking"))
        try:
            self._thread = start_daemon_thread(self._run, name)
        except NoThreadError:
            self.loop.close()
            raise
        started.wait()

    def disown(self) -> None:
        """Let go of the loop in a process that was forked off, where its thread does not exist.

        Freeing a uvloop that somebody else's thread runs aborts the process, at its end at the latest.
        """
        self._closed = True
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self.loop))

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
        finally:
            self.loop.close()

    def call(
        self,
        coroutine: Coroutine[Any, Any, T],
        timeout: float | None = None,
        *,
        meanwhile: Callable[[], None] | None = None,
    ) -> T:
        """Run `coroutine` on the loop and return its result; `timeout` in seconds. While it runs, `meanwhile` is called
        a few times a second.

        Must not be called on the serving thread. Whatever interrupts the wait, Ctrl-C above all, cancels the coroutine.
        """
        future = self.spawn(coroutine)
        try:
            return result_of(future, timeout, meanwhile)
        except BaseException:
            future.cancel()
            raise

    def spawn(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Start `coroutine` on the loop. Raises ServingError UNAVAILABLE once this is closed."""
        if self._closed:
            coroutine.close()
            raise ServingError(Code.UNAVAILABLE, "The server has been stopped")
        # A fresh context: with the caller's, every message sent from the loop would be parented to the cell that
        # started it, and notebooks executed without a browser would drop the widget updates.
        return contextvars.Context().run(asyncio.run_coroutine_threadsafe, coroutine, self.loop)

    def close(self, timeout: float = 2.0) -> None:
        """Cancel what still runs and end the thread, waiting at most `timeout` seconds for it."""
        if self._closed:
            return
        self._closed = True
        self.loop.call_soon_threadsafe(self._cancel_all)
        self._thread.join(timeout)

    def _cancel_all(self) -> None:
        tasks = asyncio.all_tasks(self.loop)
        for task in tasks:
            task.cancel()
        ended = asyncio.gather(*tasks, return_exceptions=True)
        ended.add_done_callback(lambda _: self.loop.stop())


def result_of(future: Future[T], timeout: float | None = None, meanwhile: Callable[[], None] | None = None) -> T:
    """What `future.result` returns or raises, for a main thread that is to hear signals meanwhile.

    A signal that the system gave to another thread does not end a wait; Python looks for it between two.
    """
    deadline = math.inf if timeout is None else time.monotonic() + timeout
    while not future.done() and (left := deadline - time.monotonic()) > 0:
        wait([future], min(left, _SIGNAL_SECONDS))
        if meanwhile is not None:
            meanwhile()
    return future.result(0)


_SIGNAL_SECONDS = 0.2


def import_aside(*names: str) -> None:
    """Import the modules `names` on a thread of their own, without TensorFlow's start-up notices, and wait for it.

    Ctrl-C ends the wait, not the import: one that is cut in the middle leaves a half-made TensorFlow behind for the
    rest of the kernel's life.
    """
    failures: list[BaseException] = []

    def load() -> None:
        try:
            # Else `!command` in a cell prints grpc's notice about forks; it is read when grpc is imported
            with _environment("GRPC_VERBOSITY", "ERROR"), without_tensorflow_notices():
                for name in names:
                    importlib.import_module(name)
        except BaseException as error:
            failures.append(error)

    thread = start_daemon_thread(load, "tfs-import")
    while thread.is_alive():
        thread.join(_SIGNAL_SECONDS)
    if failures:
        raise failures[0]


_NOTICE = re.compile(
    rb"WARNING: All log messages before absl::InitializeLog|[IWE]\d{4} [\d:. ]+|To enable the following instructions"
)
_ONE_IMPORT = threading.Lock()


@contextmanager
def without_tensorflow_notices() -> Iterator[None]:
    """Keep what TensorFlow writes while it is imported, and looks for devices, first out of the cell."""
    with _ONE_IMPORT:
        if "tfs_notebook.engine.saved_model.loader" in sys.modules:  # has found the devices
            yield
            return
        # Errors only: TensorFlow also warns of every request that a graph refuses, in whatever cell runs then
        with _environment("TF_CPP_MIN_LOG_LEVEL", "2"), _without_lines(_NOTICE):
            yield


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    """Let an environment variable have `value`, unless it has one, for as long as it is read."""
    given = name in os.environ
    os.environ.setdefault(name, value)
    try:
        yield
    finally:
        if not given:
            os.environ.pop(name, None)


@contextmanager
def _without_lines(unwanted: re.Pattern[bytes]) -> Iterator[None]:
    """Keep lines that begin as `unwanted` from standard error; other lines come at the end."""
    # TensorFlow writes to the file descriptor, past Python, and the log level does not hold it back before its log is
    # initialised: five lines in the first cell on a machine without a GPU (TensorFlow 2.21, 2026-12)
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as kept:
        os.dup2(kept.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            kept.seek(0)
            os.write(2, b"".join(line for line in kept if not unwanted.match(line)))
