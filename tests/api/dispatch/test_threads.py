"""Threads for short calls: that few of them do it, that none is lost, and what is left when they are closed."""

from __future__ import annotations

import threading
import time
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING

import pytest

from tests.support.serving import PATIENCE
from tfs_notebook.api.dispatch.threads import Threads
from tfs_notebook.api.dispatch.thresholds import LEAVE_PROCESSOR_SECONDS, WAKE_SECONDS
from tfs_notebook.threads import NoThreadError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SHORT = WAKE_SECONDS / 2
LONG = 2 * LEAVE_PROCESSOR_SECONDS


@pytest.fixture
def calls() -> Iterator[Threads]:
    made = Threads("short")
    yield made
    made.close()


@pytest.fixture(autouse=True)
def four_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tfs_notebook.api.dispatch.threads.PROCESSORS", 4)


class Held:
    """Jobs that tell where they run and wait there to be let go on."""

    def __init__(self) -> None:
        self.begun: SimpleQueue[str] = SimpleQueue()
        self.go_on = threading.Event()

    def __call__(self) -> None:
        self.begun.put(threading.current_thread().name)
        assert self.go_on.wait(PATIENCE)

    def names(self, count: int) -> set[str]:
        return {self.begun.get(timeout=PATIENCE) for _ in range(count)}


def test_calls_run_in_the_order_in_which_they_come(calls: Threads) -> None:
    done: SimpleQueue[int] = SimpleQueue()
    for number in range(50):
        calls.submit(partial(done.put, number), 0)
    assert [done.get(timeout=PATIENCE) for _ in range(50)] == list(range(50))


def test_a_thread_that_sleeps_is_woken_again(calls: Threads) -> None:
    names: SimpleQueue[str] = SimpleQueue()
    found = set()
    for _ in range(20):
        calls.submit(lambda: names.put(threading.current_thread().name), LONG)
        found.add(names.get(timeout=PATIENCE))
        time.sleep(0.001)  # it falls asleep
    assert found == {"short_0"}


@pytest.mark.parametrize(
    ("seconds", "threads"),
    [(SHORT / 10, 1), (LONG, 4), (LEAVE_PROCESSOR_SECONDS * 0.9, 3)],
    ids=["those that soon have their turn wait", "long ones use every processor", "others leave one to the requests"],
)
def test_so_many_threads_are_woken_as_the_calls_are_worth(calls: Threads, seconds: float, threads: int) -> None:
    held = Held()
    for _ in range(9):
        calls.submit(held, seconds)
    assert held.names(threads) == {f"short_{number}" for number in range(threads)}
    time.sleep(0.05)
    assert held.begun.empty()
    held.go_on.set()
    held.names(9 - threads)


def test_a_machine_of_one_processor_has_a_thread(calls: Threads, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tfs_notebook.api.dispatch.threads.PROCESSORS", 1)
    held = Held()
    held.go_on.set()
    calls.submit(held, SHORT)
    assert held.names(1) == {"short_0"}


def test_calls_from_many_threads_are_all_run(calls: Threads) -> None:
    done: SimpleQueue[None] = SimpleQueue()

    def submit(pause: float) -> None:
        for _ in range(500):
            calls.submit(partial(done.put, None), SHORT)
            time.sleep(pause)

    threads = [threading.Thread(target=submit, args=(pause,)) for pause in (0, 0, 0.0001, 0.0002)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for _ in range(2000):
        done.get(timeout=PATIENCE)
    assert done.empty()


def test_what_waits_when_it_is_closed_is_run_and_nothing_after(calls: Threads) -> None:
    held = Held()
    for _ in range(6):
        calls.submit(held, LONG)
    held.names(4)
    calls.close()
    with pytest.raises(RuntimeError):
        calls.submit(held, LONG)
    held.go_on.set()
    held.names(2)
    for thread in threading.enumerate():
        if thread.name.startswith("short_"):
            thread.join(PATIENCE)
            assert not thread.is_alive()


def test_closing_ends_threads_that_sleep(calls: Threads) -> None:
    held = Held()
    held.go_on.set()
    calls.submit(held, SHORT)
    held.names(1)
    (thread,) = (thread for thread in threading.enumerate() if thread.name == "short_0")
    calls.close()
    thread.join(PATIENCE)
    assert not thread.is_alive()


@pytest.fixture
def no_threads(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Call it, and the system starts no more threads."""

    def fail(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    return lambda: monkeypatch.setattr(threading.Thread, "start", fail)


def test_a_call_that_finds_no_thread_is_given_back(calls: Threads, no_threads: Callable[[], None]) -> None:
    no_threads()
    for _ in range(2):
        with pytest.raises(NoThreadError, match="No thread can be started"):
            calls.submit(lambda: None, LONG)
    assert not calls._waiting


def test_the_threads_that_are_there_do_the_work(calls: Threads, no_threads: Callable[[], None]) -> None:
    held = Held()
    calls.submit(held, LONG)
    held.names(1)
    no_threads()
    for _ in range(3):
        calls.submit(held, LONG)
    held.go_on.set()
    assert held.names(3) == {"short_0"}
