"""Where a call runs, and that what it holds is let go of whatever happens."""

from __future__ import annotations

import asyncio
import threading
from math import inf
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.serving import PATIENCE
from tfs_notebook.api.dispatch.executor import Executor
from tfs_notebook.api.dispatch.place import place
from tfs_notebook.api.dispatch.thresholds import REST
from tfs_notebook.errors import Code

if TYPE_CHECKING:
    from collections.abc import Callable

SHORT, MEDIUM = REST.in_turn_seconds / 2, (REST.in_turn_seconds + REST.alone_seconds) / 2
LONG = 2 * REST.alone_seconds


class Works:
    """Calls that tell what happened to them, in order."""

    def __init__(self) -> None:
        self.log: list[str] = []

    def make(self, name: str, fault: Exception | None = None) -> tuple[Callable[[], str], Callable[[], None]]:
        def run() -> str:
            self.log.append(f"{name} runs")
            if fault is not None:
                raise fault
            return threading.current_thread().name

        return run, lambda: self.log.append(f"{name} ends")


def start(
    executor: Executor, work: Callable[[], Any], end: Callable[[], None], *, seconds: float | None
) -> asyncio.Future[Any]:
    """Have a call run that takes so many seconds, while others wait for the loop."""
    where = place(seconds, REST, alone=False, is_batched=False)
    return executor.run(where, work, end, inf if seconds is None else seconds)


def run(main: Callable[[Executor], Any]) -> Any:
    async def whole() -> Any:
        executor = Executor(2)
        try:
            return await main(executor)
        finally:
            executor.close()

    return asyncio.run(whole())


@pytest.mark.parametrize(
    ("seconds", "where"),
    [
        (SHORT, threading.main_thread().name),
        (MEDIUM, "tfs-rest-short_0"),
        (LONG, "tfs-rest-short_0"),
        (None, "tfs-rest_0"),
    ],
)
def test_where_a_call_runs(seconds: float | None, where: str) -> None:
    works = Works()
    assert run(lambda executor: start(executor, *works.make("a"), seconds=seconds)) == where
    assert works.log == ["a runs", "a ends"]


def test_calls_of_unknown_time_hold_up_none_that_are_known() -> None:
    go_on = threading.Event()

    async def main(executor: Executor) -> str:
        unknown = [start(executor, go_on.wait, lambda: None, seconds=None) for _ in range(10)]
        known = await start(executor, *Works().make("a"), seconds=MEDIUM)
        go_on.set()
        await asyncio.gather(*unknown)
        return known

    assert run(main).startswith("tfs-rest-short")


@pytest.mark.parametrize("seconds", [MEDIUM, None])
def test_what_runs_elsewhere_fails_alone(seconds: float | None) -> None:
    works = Works()

    async def main(executor: Executor) -> list[Any]:
        calls = [works.make("a"), works.make("b", fault=ValueError("broken"))]
        return await asyncio.gather(
            *(start(executor, *call, seconds=seconds) for call in calls), return_exceptions=True
        )

    assert repr(run(main)[1]) == "ValueError('broken')"
    assert sorted(works.log) == ["a ends", "a runs", "b ends", "b runs"]


def test_short_calls_run_one_after_the_other_once_all_that_arrived_is_read() -> None:
    works = Works()

    async def main(executor: Executor) -> list[str]:
        async def request(name: str) -> str:
            works.log.append(f"{name} read")
            return await start(executor, *works.make(name), seconds=SHORT)

        return await asyncio.gather(request("a"), request("b"))

    run(main)
    assert works.log == ["a read", "b read", "a runs", "a ends", "b runs", "b ends"]


def test_a_call_that_fails_fails_alone() -> None:
    works = Works()

    async def main(executor: Executor) -> list[Any]:
        calls = [works.make("a"), works.make("b", fault=ValueError("broken")), works.make("c")]
        return await asyncio.gather(*(start(executor, *call, seconds=SHORT) for call in calls), return_exceptions=True)

    a, b, c = run(main)
    assert (a, repr(b), c) == ("MainThread", "ValueError('broken')", "MainThread")
    assert [entry for entry in works.log if entry.endswith("ends")] == ["a ends", "b ends", "c ends"]


def test_a_short_call_that_nobody_waits_for_any_more_is_not_made() -> None:
    works = Works()

    async def main(executor: Executor) -> str:
        given_up, other = (start(executor, *works.make(name), seconds=SHORT) for name in "ab")
        given_up.cancel()
        return await other

    run(main)
    assert sorted(works.log) == ["a ends", "b ends", "b runs"]


def test_what_waits_for_a_thread_when_this_closes_is_let_go_of() -> None:
    works, go_on = Works(), threading.Event()

    async def main() -> None:
        executor = Executor(1)
        slow = start(executor, go_on.wait, lambda: None, seconds=None)
        waiting = start(executor, *works.make("a"), seconds=None)
        await asyncio.sleep(0)
        executor.close()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        go_on.set()
        assert await slow
        assert works.log == ["a ends"]
        await start(executor, *works.make("late"), seconds=None)

    asyncio.run(main())
    assert works.log == ["a ends", "late runs", "late ends"]


@pytest.mark.parametrize(("seconds", "answered"), [(SHORT, True), (MEDIUM, True), (LONG, False), (None, False)])
def test_without_a_thread_a_call_runs_at_once_if_it_is_short_or_is_refused(
    monkeypatch: pytest.MonkeyPatch, seconds: float | None, answered: bool
) -> None:
    """What it holds is let go of once, and nothing of it is left for a thread that comes later."""
    works = Works()

    async def main(executor: Executor) -> Any:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", fail)
            outcome = await asyncio.gather(start(executor, *works.make("a"), seconds=seconds), return_exceptions=True)
        assert (await start(executor, *works.make("b"), seconds=None)).startswith("tfs-rest_")
        return outcome[0]

    outcome = run(main)
    assert works.log == [*(["a runs"] if answered else []), "a ends", "b runs", "b ends"]
    assert outcome == "MainThread" if answered else outcome.code is Code.UNAVAILABLE


def test_without_a_thread_those_of_the_pool_take_executor(monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()

    async def main(executor: Executor) -> list[str]:
        first = start(executor, go_on.wait, lambda: None, seconds=None)
        monkeypatch.setattr(threading.Thread, "start", fail)
        others = [start(executor, *Works().make(name), seconds=None) for name in "ab"]
        go_on.set()
        await first
        return list(await asyncio.gather(*others))

    assert run(main) == ["tfs-rest_0", "tfs-rest_0"]


def fail(_thread: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


def test_a_large_body_is_read_on_a_thread_of_its_own_and_run_on_the_pool() -> None:
    works = Works()

    def read() -> tuple[Callable[[], str], Callable[[], None]]:
        works.log.append(threading.current_thread().name)
        return works.make("a")

    assert run(lambda executor: executor.read_and_run(read)) == "tfs-rest_0"
    assert works.log == ["tfs-rest-large_0", "a runs", "a ends"]


@pytest.mark.parametrize("closes", [False, True])
def test_what_was_read_for_one_who_has_gone_is_let_go_of(closes: bool) -> None:
    works, reads, go_on = Works(), threading.Event(), threading.Event()

    def read() -> tuple[Callable[[], str], Callable[[], None]]:
        reads.set()
        assert go_on.wait(PATIENCE)
        return works.make("a")

    async def main(executor: Executor) -> None:
        reading = executor.read_and_run(read)
        await asyncio.get_running_loop().run_in_executor(None, reads.wait)
        if closes:
            executor.close()
        reading.cancel()
        go_on.set()
        executor._large.shutdown()
        executor.pool.shutdown()

    run(main)
    assert works.log == ["a ends"]
