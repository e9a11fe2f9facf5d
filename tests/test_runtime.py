from __future__ import annotations

import asyncio
import contextvars
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import TYPE_CHECKING

import pytest

from tests.support.serving import PATIENCE
from tfs_notebook.errors import Code, ServingError
from tfs_notebook.runtime import Runtime

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def runtime() -> Iterator[Runtime]:
    runtime = Runtime()
    yield runtime
    runtime.close()


async def answer(value: object) -> object:
    await asyncio.sleep(0)
    return value


def test_a_call_runs_on_the_serving_thread_and_returns_its_result(runtime: Runtime) -> None:
    async def thread() -> str:
        return threading.current_thread().name

    assert runtime.call(answer(1)) == 1
    assert runtime.call(thread()) == "tfs-serving"


def test_a_call_raises_what_the_coroutine_raises(runtime: Runtime) -> None:
    async def fail() -> None:
        raise ZeroDivisionError("oops")

    with pytest.raises(ZeroDivisionError, match="oops"):
        runtime.call(fail())


def test_a_call_does_not_inherit_the_callers_context(runtime: Runtime) -> None:
    cell = contextvars.ContextVar("cell", default="none")
    cell.set("the cell that runs now")

    async def seen() -> str:
        return cell.get()

    assert runtime.call(seen()) == "none"


class Sleeper:
    """A coroutine that sleeps until it is cancelled."""

    def __init__(self) -> None:
        self.began = threading.Event()
        self.cancelled = threading.Event()

    async def sleep(self) -> None:
        self.began.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise


def test_a_call_that_takes_too_long_is_cancelled(runtime: Runtime) -> None:
    sleeper = Sleeper()
    with pytest.raises(FutureTimeoutError):
        runtime.call(sleeper.sleep(), timeout=0.05)
    assert sleeper.cancelled.wait(PATIENCE)


@pytest.fixture
def control_c() -> Iterator[None]:
    """Ctrl-C as in a terminal: a process that was started in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("control_c")
def test_control_c_ends_the_wait_and_cancels_the_call(runtime: Runtime) -> None:
    sleeper = Sleeper()

    def interrupt() -> None:
        sleeper.began.wait()
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        runtime.call(sleeper.sleep())
    assert sleeper.cancelled.wait(PATIENCE)
    thread.join()
    assert runtime.call(answer("still there")) == "still there"


@pytest.mark.usefixtures("control_c")
def test_control_c_is_heard_when_the_system_gives_it_to_another_thread(runtime: Runtime) -> None:
    sleeper, over = Sleeper(), threading.Event()
    other = threading.Thread(target=over.wait)
    other.start()

    def interrupt() -> None:
        sleeper.began.wait()
        signal.pthread_kill(other.ident or 0, signal.SIGINT)

    threading.Thread(target=interrupt).start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        runtime.call(sleeper.sleep())
    assert time.monotonic() - started < 5
    over.set()


def test_closing_cancels_what_runs_and_ends_the_thread() -> None:
    before = set(threading.enumerate())
    runtime, sleeper = Runtime(), Sleeper()
    (thread,) = set(threading.enumerate()) - before
    runtime.spawn(sleeper.sleep())
    sleeper.began.wait()
    runtime.close()
    assert sleeper.cancelled.is_set()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    runtime.close()


def test_a_call_after_closing_is_refused() -> None:
    runtime = Runtime()
    runtime.close()
    with pytest.raises(ServingError, match="The server has been stopped") as caught:
        runtime.call(answer(1))
    assert caught.value.code is Code.UNAVAILABLE


def test_what_tensorflow_writes_while_it_is_imported_is_kept_from_stderr_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "speaks.py").write_text("import os\nos.write(2, b'W0000 00:00:1.1 1 a.cc:1] too\\nour own\\n')")
    program = """
import os
from tfs_notebook.runtime import import_aside
import_aside("speaks", "tfs_notebook.engine.saved_model.loader")
os.write(2, b"W0000 00:00:1.1 1 a.cc:1] afterwards\\n")
"""
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    ended = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, check=True)
    assert ended.stderr == b"our own\nW0000 00:00:1.1 1 a.cc:1] afterwards\n"
