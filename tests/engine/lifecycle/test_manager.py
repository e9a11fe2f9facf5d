"""The lifecycle, with loads that the test steers. The core's tests do the same with real SavedModels in directories."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from pathlib import Path

import pytest

from tests.engine.parts import Loads, Part, Recorder, until
from tests.support.serving import PATIENCE
from tfs_notebook.engine.events import EventStream, Kind, State
from tfs_notebook.engine.lifecycle import load_slots
from tfs_notebook.engine.lifecycle.manager import HISTORY, Manager, RetryPolicy
from tfs_notebook.engine.storage.scan import Fingerprint
from tfs_notebook.errors import Code, ServingError

NOW = RetryPolicy(max_retries=0)
AT_ONCE = RetryPolicy(max_retries=5, interval=-1.0)
FOR_EVER = RetryPolicy(max_retries=5, interval=3600.0)
V1, V2, V3 = Path("/m/1"), Path("/m/2"), Path("/m/3")


@pytest.fixture
def loads() -> Loads:
    return Loads()


@pytest.fixture
def manager(loads: Loads, events: EventStream) -> Manager:
    return Manager(loads, events, retry_policy=NOW)


def states(manager: Manager, model: str = "m") -> dict[int, str]:
    return {version.number: version.state.name for version in manager.versions(model)}


def error(manager: Manager, number: int) -> ServingError | None:
    (found,) = (version.error for version in manager.versions("m") if version.number == number)
    return found


async def reach(manager: Manager, expected: dict[int, str], model: str = "m") -> None:
    await until(lambda: states(manager, model) == expected)


# One version


async def test_a_version_goes_through_its_states_in_order(manager: Manager, recorder: Recorder) -> None:
    manager.aspire("m", {1: V1})
    await reach(manager, {1: "AVAILABLE"})
    manager.aspire("m", {})
    await reach(manager, {1: "END"})
    assert recorder.states("m", 1) == ["START", "LOADING", "AVAILABLE", "UNLOADING", "END"]
    (status,) = manager.versions("m")
    assert (status.error, status.error_code, status.attempts, status.wanted) == (None, Code.OK, 1, False)
    assert (status.path, status.calls) == (V1, {})


async def test_available_is_told_when_requests_reach_it_and_unloading_while_they_still_do(
    manager: Manager, events: EventStream
) -> None:
    served = {}
    events.listen(lambda event: served.setdefault(event.state, 1 in manager.registry.serving.get("m", {})))
    manager.aspire("m", {1: V1})
    await reach(manager, {1: "AVAILABLE"})
    manager.aspire("m", {})
    await reach(manager, {1: "END"})
    assert served == {
        State.START: False, State.LOADING: False, State.AVAILABLE: True, State.UNLOADING: True, State.END: False,
    }  # fmt: skip


async def test_the_servable_is_closed_after_its_last_request_and_not_before(manager: Manager) -> None:
    manager.aspire("m", {1: V1})
    await reach(manager, {1: "AVAILABLE"})
    first, second = manager.registry.pin("m"), manager.registry.pin("m")
    part = first.servable
    assert isinstance(part, Part)
    manager.aspire("m", {})
    await until(lambda: "m" not in manager.registry.serving)
    first.release()
    await asyncio.sleep(0)
    assert states(manager) == {1: "UNLOADING"}
    assert not part.closed.is_set()
    await asyncio.get_running_loop().run_in_executor(None, second.release)
    await reach(manager, {1: "END"})
    assert part.closed.is_set()


async def test_a_servable_that_fails_to_close_ends_all_the_same(
    manager: Manager, caplog: pytest.LogCaptureFixture
) -> None:
    class Stuck(Part):
        def close(self) -> None:
            raise OSError("device lost")

    manager.load = Stuck
    manager.aspire("m", {1: V1})
    await reach(manager, {1: "AVAILABLE"})
    manager.aspire("m", {})
    await reach(manager, {1: "END"})
    assert "device lost" in caplog.text
    await manager.close()


# A new version beside an old one


async def test_a_new_version_loads_beside_the_old_one_and_takes_over(
    manager: Manager, loads: Loads, recorder: Recorder
) -> None:
    finish = loads.hold(V2)
    manager.aspire("m", {1: V1})
    await reach(manager, {1: "AVAILABLE"})
    manager.aspire("m", {2: V2})
    await until(lambda: V2 in loads.begun)
    assert states(manager) == {2: "LOADING", 1: "AVAILABLE"}
    assert manager.registry.pin("m").version == 1
    finish()
    await until(lambda: states(manager)[2] == "AVAILABLE")
    assert manager.registry.pin("m").version == 2
    await until(lambda: 1 not in manager.registry.serving["m"])
    order = [(event.version, event.state) for event in recorder.events if event.state is not None]
    assert order.index((2, State.AVAILABLE)) < order.index((1, State.UNLOADING))


async def test_the_old_version_answers_its_requests_to_the_end_while_the_new_one_serves(manager: Manager) -> None:
    manager.aspire("m", {1: V1})
    await reach(manager, {1: "AVAILABLE"})
    old = manager.registry.pin("m")
    manager.aspire("m", {2: V2})
    await reach(manager, {2: "AVAILABLE", 1: "UNLOADING"})
    assert manager.registry.pin("m").version == 2
    old.release()
    await reach(manager, {2: "AVAILABLE", 1: "END"})


async def test_a_broken_new_version_leaves_the_old_one_serving(manager: Manager, loads: Loads) -> None:
    loads.faults[V2] = [ServingError(Code.NOT_FOUND, "Op type not registered")]
    manager.aspire("m", {1: V1})
    await reach(manager, {1: "AVAILABLE"})
    manager.aspire("m", {2: V2})
    await reach(manager, {2: "END", 1: "AVAILABLE"})
    assert manager.registry.pin("m").version == 1
    status = manager.versions("m")[0]
    assert status.error is not None
    assert (status.error_code, status.error.message) == (Code.NOT_FOUND, "Op type not registered")
    assert [version.number for version in manager.failed("m")] == [2]


async def test_of_two_old_versions_a_broken_new_one_leaves_the_higher(manager: Manager, loads: Loads) -> None:
    loads.faults[V3] = [ValueError("broken")]
    manager.aspire("m", {1: V1, 2: V2})
    await reach(manager, {2: "AVAILABLE", 1: "AVAILABLE"})
    manager.aspire("m", {3: V3})
    await reach(manager, {3: "END", 2: "AVAILABLE", 1: "END"})


async def test_a_vanished_newest_version_is_unloaded_after_the_next_lower_one_is_loaded(
    manager: Manager, recorder: Recorder
) -> None:
    manager.aspire("m", {2: V2})
    await reach(manager, {2: "AVAILABLE"})
    manager.aspire("m", {1: V1})
    await reach(manager, {2: "END", 1: "AVAILABLE"})
    order = [(event.version, event.state) for event in recorder.events]
    assert order.index((1, State.AVAILABLE)) < order.index((2, State.UNLOADING))


async def test_the_highest_version_loads_first(events: EventStream, loads: Loads) -> None:
    manager = Manager(loads, events, load_threads=1)
    manager.aspire("m", {number: Path(f"/m/{number}") for number in (2, 10, 1, 3)})
    await until(lambda: set(states(manager).values()) == {"AVAILABLE"})
    assert [path.name for path in loads.begun] == ["10", "3", "2", "1"]
    await manager.close()


# Models do not wait for one another


async def test_loads_of_different_models_and_versions_run_at_the_same_time(events: EventStream) -> None:
    together = threading.Barrier(4)

    def load(path: Path) -> Part:
        together.wait(PATIENCE)
        return Part(path)

    manager = Manager(load, events, retry_policy=NOW, load_threads=4)
    for model in "ab":
        manager.aspire(model, {1: Path(f"/{model}/1"), 2: Path(f"/{model}/2")})
    for model in "ab":
        await reach(manager, {2: "AVAILABLE", 1: "AVAILABLE"}, model)
    await manager.close()


class Gate:
    """A `load` whose calls wait for `let_one`, and which knows how many there are at a time."""

    def __init__(self) -> None:
        self.begun: list[Path] = []
        self.most = 0
        self._running: set[Path] = set()
        self._let = threading.Semaphore(0)

    def __call__(self, path: Path) -> Part:
        self.begun.append(path)
        self._running.add(path)
        self.most = max(self.most, len(self._running))
        assert self._let.acquire(timeout=PATIENCE)
        self._running.discard(path)
        return Part(path)

    def let(self, loads: int) -> None:
        self._let.release(loads)


PLACES = max(os.cpu_count() or 1, 2)


async def test_many_versions_are_loaded_once_each_and_as_many_at_a_time_as_there_are_processors(
    events: EventStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load_slots, "_LONG_SECONDS", 60.0)
    load, models = Gate(), [f"m{i}" for i in range(PLACES * 3)]
    manager = Manager(load, events)
    for model in models:
        manager.aspire(model, {1: Path(f"/{model}/1"), 2: Path(f"/{model}/2")})
    for begun in range(PLACES, 2 * len(models) + 1):
        await until(lambda begun=begun: len(load.begun) == begun)
        load.let(1)
    load.let(PLACES)
    for model in models:
        await reach(manager, {2: "AVAILABLE", 1: "AVAILABLE"}, model)
    assert load.most == PLACES
    assert len(set(load.begun)) == len(load.begun) == 2 * len(models)
    await manager.close()


async def test_loads_that_take_long_hold_up_no_others(events: EventStream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load_slots, "_LONG_SECONDS", 0.05)
    load = Gate()
    manager = Manager(load, events)
    manager.aspire("m", {number: Path(f"/m/{number}") for number in range(PLACES + 1)})
    await until(lambda: len(load.begun) == PLACES + 1)
    load.let(PLACES + 1)
    await manager.close()


async def test_what_nobody_wants_any_more_is_not_loaded_when_its_turn_comes(
    events: EventStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load_slots, "_LONG_SECONDS", 60.0)
    load = Gate()
    manager = Manager(load, events)
    numbers = range(PLACES + 5)
    manager.aspire("m", {number: Path(f"/m/{number}") for number in numbers})
    await until(lambda: len(load.begun) == PLACES)
    closing = asyncio.ensure_future(manager.close())
    await asyncio.sleep(0)
    load.let(len(numbers))
    await closing
    assert len(load.begun) == PLACES
    assert {(v.state.name, v.error and v.error.code) for v in manager.versions("m")} == {("END", Code.CANCELLED)}


@pytest.mark.parametrize("threads", [3, 0, -1])
async def test_unloads_run_at_the_same_time(events: EventStream, threads: int) -> None:
    together = threading.Barrier(threads if threads > 0 else 2)

    class Closing(Part):
        def close(self) -> None:
            together.wait(PATIENCE)

    manager = Manager(Closing, events, retry_policy=NOW, load_threads=threads, unload_threads=threads)
    numbers = range(1, together.parties + 1)
    manager.aspire("m", {number: Path(f"/m/{number}") for number in numbers})
    await reach(manager, dict.fromkeys(numbers, "AVAILABLE"))
    manager.aspire("m", {})
    await reach(manager, dict.fromkeys(numbers, "END"))
    assert not together.broken
    await manager.close()


async def test_a_load_that_pauses_before_its_retry_holds_no_thread(events: EventStream, loads: Loads) -> None:
    manager = Manager(loads, events, retry_policy=FOR_EVER, load_threads=1)
    loads.faults = {V2: [ValueError("broken")], V3: [ValueError("broken")]}
    manager.aspire("m", {2: V2, 3: V3})
    await until(lambda: len(manager.failed("m")) == 2)
    manager.aspire("m", {1: V1, 2: V2, 3: V3})
    manager.aspire("n", {1: Path("/n/1")})
    await reach(manager, {1: "AVAILABLE"}, "n")
    await reach(manager, {3: "LOADING", 2: "LOADING", 1: "AVAILABLE"})
    manager.aspire("n", {})
    await reach(manager, {1: "END"}, "n")
    await manager.close()


async def test_an_unload_waits_for_its_own_requests_and_for_no_others(manager: Manager) -> None:
    for model in "mn":
        manager.aspire(model, {1: Path(f"/{model}/1")})
        await reach(manager, {1: "AVAILABLE"}, model)
    request = manager.registry.pin("m")
    manager.aspire("n", {})
    await reach(manager, {1: "END"}, "n")
    request.release()


# Retries


@pytest.mark.parametrize(
    ("fault", "code", "message"),
    [
        (ServingError(Code.DATA_LOSS, "cut off"), Code.DATA_LOSS, "cut off"),
        (MemoryError("no room"), Code.RESOURCE_EXHAUSTED, "MemoryError: no room"),
        (KeyError("x"), Code.UNKNOWN, "KeyError: 'x'"),
    ],
)
async def test_whatever_a_load_raises_is_the_versions_error(
    manager: Manager, loads: Loads, fault: Exception, code: Code, message: str, recorder: Recorder
) -> None:
    loads.faults[V1] = [fault]
    manager.aspire("m", {1: V1})
    await reach(manager, {1: "END"})
    found = error(manager, 1)
    assert found is not None
    assert (found.code, found.message) == (code, message)
    assert recorder.states("m", 1) == ["START", "LOADING", "END"]
    assert recorder.events[-1].error is found


async def test_a_failing_load_is_tried_again_until_it_succeeds(
    manager: Manager, loads: Loads, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    manager.retry_policy = AT_ONCE
    loads.faults[V1] = [ValueError("first"), ValueError("second")]
    with caplog.at_level(logging.INFO, logger="tfs_notebook"):
        manager.aspire("m", {1: V1})
        await reach(manager, {1: "AVAILABLE"})
    (status,) = manager.versions("m")
    assert (status.attempts, status.error) == (3, None)
    errors = [event.error.message for event in recorder.of(Kind.VERSION, "m") if event.error is not None]
    assert errors == ["ValueError: first", "ValueError: second"]
    assert "Loading servable: {name: m version: 1} failed: UNKNOWN: ValueError: first" in caplog.text
    assert "Retrying of Loading servable: {name: m version: 1} retry: 2" in caplog.text
    assert "Successfully loaded servable version {name: m version: 1}" in caplog.text


@pytest.mark.parametrize("retries", [0, 1, 5])
async def test_the_last_error_ends_it_after_all_retries(manager: Manager, loads: Loads, retries: int) -> None:
    manager.retry_policy = RetryPolicy(retries, 0.0)
    loads.faults[V1] = [ValueError(str(attempt)) for attempt in range(9)]
    manager.aspire("m", {1: V1})
    await reach(manager, {1: "END"})
    assert loads.begun == [V1] * (retries + 1)
    assert str(error(manager, 1)) == f"UNKNOWN: ValueError: {retries}"


async def test_the_pause_lasts_as_long_as_asked(manager: Manager, loads: Loads) -> None:
    manager.retry_policy = RetryPolicy(1, 0.2)
    loads.faults[V1] = [ValueError("broken")]
    loop = asyncio.get_running_loop()
    manager.aspire("m", {1: V1})
    await until(lambda: error(manager, 1))
    paused = loop.time()
    await reach(manager, {1: "AVAILABLE"})
    assert 0.15 < loop.time() - paused < 10


async def test_while_it_is_tried_again_the_error_is_known_but_not_final(manager: Manager, loads: Loads) -> None:
    manager.retry_policy = FOR_EVER
    loads.faults[V1] = [ValueError("broken")]
    manager.aspire("m", {1: V1})
    await until(lambda: error(manager, 1))
    (status,) = manager.versions("m")
    assert (status.state, status.error_code) == (State.LOADING, Code.OK)
    assert status.retry_at is not None
    assert 3500 < status.retry_at - time.time() <= 3600
    await manager.close()


async def test_a_retry_that_nobody_wants_any_more_ends(manager: Manager, loads: Loads) -> None:
    manager.retry_policy = FOR_EVER
    loads.faults[V1] = [ValueError("broken")]
    manager.aspire("m", {1: V1})
    await until(lambda: error(manager, 1))
    manager.aspire("m", {})
    await reach(manager, {1: "END"})
    assert loads.begun == [V1]


async def test_retry_ends_the_pause_and_counts_attempts_anew(manager: Manager, loads: Loads) -> None:
    manager.retry_policy = FOR_EVER
    loads.faults[V1] = [ValueError("broken")]
    manager.aspire("m", {1: V1})
    await until(lambda: manager.failed("m"))
    manager.retry(manager.failed("m")[0])
    await reach(manager, {1: "AVAILABLE"})
    assert manager.versions("m")[0].attempts == 1


async def test_an_attempt_after_retry_that_fails_too_is_followed_by_a_whole_pause(
    manager: Manager, loads: Loads
) -> None:
    manager.retry_policy = FOR_EVER
    loads.faults[V1] = [ValueError("first"), ValueError("second")]
    manager.aspire("m", {1: V1})
    await until(lambda: manager.failed("m"))
    manager.retry(manager.failed("m")[0])
    await until(lambda: str(error(manager, 1)) == "UNKNOWN: ValueError: second")
    await asyncio.sleep(0.05)
    assert (states(manager), loads.begun) == ({1: "LOADING"}, [V1, V1])
    await manager.close()


async def test_retry_begins_anew_with_what_has_ended_and_leaves_its_successor_alone(
    manager: Manager, loads: Loads, recorder: Recorder
) -> None:
    loads.faults[V1] = [ValueError("broken")]
    manager.aspire("m", {1: V1})
    await reach(manager, {1: "END"})
    (failed,) = manager.failed("m")
    manager.retry(failed)
    await reach(manager, {1: "AVAILABLE"})
    manager.retry(failed)
    assert states(manager) == {1: "AVAILABLE"}
    assert recorder.states("m", 1) == ["START", "LOADING", "END", "START", "LOADING", "AVAILABLE"]


# Wanted, not wanted, wanted again


async def test_the_same_number_in_another_directory_is_not_loaded_again(manager: Manager, loads: Loads) -> None:
    manager.aspire("m", {1: V1})
    await reach(manager, {1: "AVAILABLE"})
    before = manager.registry.serving["m"][1]
    manager.aspire("m", {1: Path("/elsewhere/1")})
    await asyncio.sleep(0.02)
    assert manager.registry.serving["m"][1] is before
    assert loads.begun == [V1]


@pytest.mark.parametrize("policy", [NOW, FOR_EVER], ids=["ended", "pausing"])
async def test_a_failed_number_is_loaded_from_another_directory_at_once(
    manager: Manager, loads: Loads, policy: RetryPolicy
) -> None:
    manager.retry_policy = policy
    loads.faults[V1] = [ValueError("broken")]
    manager.aspire("m", {1: V1})
    await until(lambda: manager.failed("m"))
    manager.aspire("m", {1: Path("/right/1")})
    await reach(manager, {1: "AVAILABLE"})
    assert loads.begun == [V1, Path("/right/1")]
    assert manager.versions("m")[0].path == Path("/right/1")


async def test_a_failed_version_that_stays_wanted_is_left_alone(manager: Manager, loads: Loads) -> None:
    loads.faults[V1] = [ValueError("broken")]
    manager.aspire("m", {1: V1})
    await reach(manager, {1: "END"})
    for _ in range(3):
        manager.aspire("m", {1: V1})
        await asyncio.sleep(0.01)
    assert loads.begun == [V1]


async def test_a_failed_version_dropped_and_wanted_again_gets_a_fresh_start(manager: Manager, loads: Loads) -> None:
    loads.faults[V1] = [ValueError("broken")]
    manager.aspire("m", {1: V1})
    await reach(manager, {1: "END"})
    manager.aspire("m", {})
    assert str(error(manager, 1)) == "UNKNOWN: ValueError: broken"
    manager.aspire("m", {1: V1})
    await reach(manager, {1: "AVAILABLE"})
    assert error(manager, 1) is None


async def test_an_unloaded_version_wanted_again_is_loaded_again(manager: Manager, recorder: Recorder) -> None:
    for _ in range(2):
        manager.aspire("m", {1: V1})
        await reach(manager, {1: "AVAILABLE"})
        manager.aspire("m", {})
        await reach(manager, {1: "END"})
    assert recorder.states("m", 1) == ["START", "LOADING", "AVAILABLE", "UNLOADING", "END"] * 2


async def test_wanted_again_while_it_unloads_it_loads_again_when_it_is_gone(manager: Manager, loads: Loads) -> None:
    manager.aspire("m", {1: V1})
    await reach(manager, {1: "AVAILABLE"})
    request = manager.registry.pin("m")
    manager.aspire("m", {})
    manager.aspire("m", {1: V1})
    await until(lambda: "m" not in manager.registry.serving)
    assert (states(manager), loads.begun) == ({1: "UNLOADING"}, [V1])
    request.release()
    await reach(manager, {1: "AVAILABLE"})
    assert loads.begun == [V1, V1]
    assert manager.registry.pin("m") is not request


async def test_a_load_that_nobody_wants_any_more_is_cancelled(
    manager: Manager, loads: Loads, recorder: Recorder
) -> None:
    finish = loads.hold(V1)
    manager.aspire("m", {1: V1})
    await until(lambda: loads.begun)
    manager.aspire("m", {})
    finish()
    await reach(manager, {1: "END"})
    assert str(error(manager, 1)) == "CANCELLED: Loading of servable cancelled"
    assert recorder.states("m", 1) == ["START", "LOADING", "END"]


async def test_dropped_and_wanted_again_during_its_load_it_serves(manager: Manager, loads: Loads) -> None:
    finish = loads.hold(V1)
    manager.aspire("m", {1: V1})
    await until(lambda: loads.begun)
    manager.aspire("m", {})
    manager.aspire("m", {1: V1})
    finish()
    await reach(manager, {1: "AVAILABLE"})
    assert loads.begun == [V1]


async def test_wanted_again_while_a_cancelled_load_is_thrown_away_it_loads_again(
    manager: Manager, loads: Loads
) -> None:
    closing, close = threading.Event(), threading.Event()

    class Slow(Part):
        def close(self) -> None:
            closing.set()
            assert close.wait(PATIENCE)

    begun, finish = threading.Event(), threading.Event()

    def load(path: Path) -> Part:
        begun.set()
        assert finish.wait(PATIENCE)
        return Slow(path)

    manager.load = load
    manager.aspire("m", {1: V1})
    await until(begun.is_set)
    manager.aspire("m", {})
    finish.set()
    await until(closing.is_set)
    manager.aspire("m", {1: V1})
    manager.load = loads
    close.set()
    await reach(manager, {1: "AVAILABLE"})
    assert error(manager, 1) is None


async def test_a_failed_attempt_during_which_it_was_dropped_and_wanted_again_is_followed_by_another(
    manager: Manager, loads: Loads
) -> None:
    manager.retry_policy = FOR_EVER
    loads.faults[V1] = [ValueError("broken")]
    manager.aspire("m", {1: V1})
    await until(lambda: manager.failed("m"))
    manager.aspire("m", {})
    manager.aspire("m", {1: V1})
    await reach(manager, {1: "AVAILABLE"})


# Exchange


async def test_replace_exchanges_a_copy_and_closes_the_old_one_after_its_requests(
    manager: Manager, recorder: Recorder
) -> None:
    manager.aspire("m", {1: V1})
    await reach(manager, {1: "AVAILABLE"})
    request = manager.registry.pin("m")
    part = request.servable
    assert isinstance(part, Part)
    replaced = asyncio.ensure_future(manager.replace("m", 1, V2))
    await until(lambda: manager.registry.serving["m"][1] is not request)
    assert not part.closed.is_set()
    assert not replaced.done()
    request.release()
    await replaced
    assert part.closed.is_set()
    assert len(recorder.of(Kind.REPLACED, "m")) == 1
    assert manager.versions("m")[0].path == V2
    assert states(manager) == {1: "AVAILABLE"}


async def test_a_copy_that_cannot_be_loaded_leaves_the_old_one_and_stays_stale(
    manager: Manager, loads: Loads, tmp_path: Path
) -> None:
    version = tmp_path / "1"
    version.mkdir()
    manager.aspire("m", {1: version})
    await reach(manager, {1: "AVAILABLE"})
    before = manager.registry.serving["m"][1]
    assert manager.stale("m", {1: Fingerprint.of(version)}) == []
    (version / "new").touch()
    loads.faults[version] = [ValueError("broken")]
    await manager.replace("m", 1, version)
    assert manager.registry.serving["m"][1] is before
    assert error(manager, 1) is None
    told = manager.versions("m")[0].exchange_error
    assert told is not None
    assert "broken" in told.message
    assert manager.stale("m", {1: Fingerprint.of(version)}) == [1]
    await manager.replace("m", 1, version)
    assert manager.stale("m", {1: Fingerprint.of(version)}) == []
    assert manager.versions("m")[0].exchange_error is None


async def test_a_version_dropped_during_its_exchange_is_gone_afterwards(manager: Manager, loads: Loads) -> None:
    manager.aspire("m", {1: V1})
    await reach(manager, {1: "AVAILABLE"})
    finish = loads.hold(V2)
    replaced = asyncio.ensure_future(manager.replace("m", 1, V2))
    await until(lambda: V2 in loads.begun)
    manager.aspire("m", {})
    await reach(manager, {1: "END"})
    finish()
    await replaced
    assert manager.registry.serving == {}
    assert states(manager) == {1: "END"}


async def test_an_exchange_goes_on_when_its_caller_gives_up(manager: Manager, loads: Loads) -> None:
    manager.aspire("m", {1: V1})
    await reach(manager, {1: "AVAILABLE"})
    old = manager.registry.serving["m"][1].servable
    assert isinstance(old, Part)
    finish = loads.hold(V2)
    replaced = asyncio.ensure_future(manager.replace("m", 1, V2))
    await until(lambda: V2 in loads.begun)
    replaced.cancel()
    finish()
    await until(old.closed.is_set)
    assert manager.versions("m")[0].path == V2


async def test_what_is_not_served_is_not_exchanged(manager: Manager, loads: Loads) -> None:
    loads.faults[V1] = [ValueError("broken")]
    manager.aspire("m", {1: V1})
    await reach(manager, {1: "END"})
    await manager.replace("m", 1, V2)
    await manager.replace("m", 7, V2)
    assert loads.begun == [V1]


# What is remembered


async def test_ended_versions_stay_listed_highest_first_the_newest_hundred_of_them(manager: Manager) -> None:
    for number in range(1, HISTORY + 6):
        manager.aspire("m", {number: Path(f"/m/{number}")})
        await until(lambda number=number: states(manager).get(number) == "AVAILABLE")
    last = HISTORY + 5
    await until(lambda: list(states(manager).values()) == ["AVAILABLE"] + ["END"] * HISTORY)
    assert list(states(manager)) == list(range(last, last - HISTORY - 1, -1))


async def test_a_model_that_was_dropped_is_remembered_and_one_that_had_no_version_is_not(manager: Manager) -> None:
    manager.aspire("m", {1: V1})
    manager.aspire("n", {})
    await reach(manager, {1: "AVAILABLE"})
    manager.aspire("m", {})
    await reach(manager, {1: "END"})
    assert manager.models == ["m"]
    assert manager.versions("n") == manager.versions("never heard of") == []


async def test_taken_up_are_the_numbers_that_have_not_ended(manager: Manager, loads: Loads) -> None:
    finish = loads.hold(V3)
    loads.faults[V2] = [ValueError("broken")]
    manager.aspire("m", {1: V1, 2: V2, 3: V3})
    await reach(manager, {3: "LOADING", 2: "END", 1: "AVAILABLE"})
    assert manager.taken_up("m") == {1, 3}
    assert manager.taken_up("never heard of") == set()
    finish()
    await reach(manager, {3: "AVAILABLE", 2: "END", 1: "AVAILABLE"})


async def test_any_thread_may_ask_for_the_states_while_they_change(manager: Manager) -> None:
    stop, failures = threading.Event(), []

    def ask() -> None:
        while not stop.is_set():
            try:
                for model in manager.models:
                    manager.versions(model)
            except BaseException as error:
                failures.append(error)
                return

    thread = threading.Thread(target=ask)
    thread.start()
    for number in range(60):
        manager.aspire("m", {number: Path(f"/m/{number}")})
        await until(lambda number=number: states(manager).get(number) == "AVAILABLE")
    stop.set()
    thread.join()
    assert failures == []


# The end


async def test_close_unloads_everything_after_the_requests_under_way(manager: Manager) -> None:
    manager.aspire("m", {1: V1, 2: V2})
    manager.aspire("n", {1: Path("/n/1")})
    await reach(manager, {2: "AVAILABLE", 1: "AVAILABLE"})
    request = manager.registry.pin("m")
    closed = asyncio.ensure_future(manager.close())
    await until(lambda: manager.registry.serving == {})
    assert not closed.done()
    request.release()
    await closed
    assert (states(manager), states(manager, "n")) == ({2: "END", 1: "END"}, {1: "END"})


async def test_close_while_one_loads_one_pauses_and_one_is_exchanged(manager: Manager, loads: Loads) -> None:
    manager.retry_policy = FOR_EVER
    loads.faults[V2] = [ValueError("broken")]
    made: list[Part] = []

    def load(path: Path) -> Part:
        made.append(loads(path))
        return made[-1]

    manager.load = load
    manager.aspire("m", {1: V1, 2: V2})
    await reach(manager, {2: "LOADING", 1: "AVAILABLE"})
    finish = [loads.hold(V3), loads.hold(Path("/m/exchanged"))]
    manager.aspire("m", {1: V1, 2: V2, 3: V3})
    replaced = asyncio.ensure_future(manager.replace("m", 1, Path("/m/exchanged")))
    await until(lambda: len(loads.begun) == 4)
    closed = asyncio.ensure_future(manager.close())
    for release in finish:
        release()
    await asyncio.gather(closed, replaced)
    assert states(manager) == {3: "END", 2: "END", 1: "END"}
    assert manager.registry.serving == {}
    assert len(made) == 3
    assert all(part.closed.is_set() for part in made)


async def test_after_close_nothing_is_loaded(manager: Manager, loads: Loads) -> None:
    await manager.close()
    manager.aspire("m", {1: V1})
    assert (manager.models, loads.begun) == ([], [])


async def test_a_close_that_is_given_up_closes_with_the_last_request(manager: Manager) -> None:
    of_the_test = asyncio.all_tasks()
    manager.aspire("m", {1: V1})
    await reach(manager, {1: "AVAILABLE"})
    request = manager.registry.pin("m")
    part = request.servable
    assert isinstance(part, Part)
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(manager.close(), 0.05)
    tasks = asyncio.all_tasks() - of_the_test
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert not part.closed.is_set()
    request.release()
    assert part.closed.is_set()
