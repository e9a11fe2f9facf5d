"""What runs with what, when, and what is refused: with batches that a test holds up as long as it wants."""

from __future__ import annotations

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.support.serving import PATIENCE, until
from tests.support.threads import no_more_threads
from tfs_notebook.engine.batching.parameters import BatchingParameters
from tfs_notebook.engine.batching.request import Part, Request
from tfs_notebook.engine.batching.scheduler import Scheduler
from tfs_notebook.errors import Code, ServingError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tfs_notebook.engine.batching.queue import Queue

SECONDS = PATIENCE
LONG = 3600 * 10**6
"""Microseconds that no test waits for."""


class Runs:
    """Doubles numbers; writes down the sizes of the requests in each batch, and stops at the gate while it is shut."""

    def __init__(self) -> None:
        self.begun: list[list[int]] = []
        self.fault: Exception | None = None
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, parts: list[Part]) -> list[dict[str, np.ndarray]]:
        self.begun.append([part.rows for part in parts])
        assert self.gate.wait(SECONDS)
        if self.fault is not None:
            raise self.fault
        return [{"y": 2 * part.input("x")} for part in parts]


@pytest.fixture
def runs() -> Iterator[Runs]:
    runs = Runs()
    yield runs
    runs.gate.set()


@pytest.fixture
def make(runs: Runs) -> Iterator[Callable[..., Queue]]:
    """A queue with parameters, on one thread unless a scheduler is given; closed after the test."""
    queues = []

    def make(scheduler: Scheduler | None = None, **parameters: int) -> Queue:
        queues.append((scheduler or Scheduler(1)).queue(BatchingParameters(**parameters), runs))
        return queues[-1]

    yield make
    runs.gate.set()
    for queue in queues:
        queue.close()


def submit(queue: Queue, rows: int, timeout: float | None = SECONDS) -> Request:
    request = Request({"x": np.arange(rows) + 1000 * rows}, rows, timeout)
    queue.submit(request)
    return request


def answer(request: Request) -> np.ndarray:
    request.wait()
    shares = request.answers()
    assert shares is not None
    return np.concatenate([share["y"] for share in shares])


def is_right(request: Request) -> bool:
    return bool((answer(request) == 2 * request.inputs["x"]).all())


def refused(queue: Queue, rows: int) -> ServingError:
    with pytest.raises(ServingError) as error:
        submit(queue, rows)
    return error.value


def hold(queue: Queue, runs: Runs) -> Request:
    """Keep the queue's only thread busy from now on, with a request of one row."""
    runs.gate.clear()
    plug = submit(queue, 1)
    until(lambda: runs.begun)
    runs.begun.clear()
    return plug


# Forming batches


def test_a_lone_request_runs_at_once(make: Callable[..., Queue], runs: Runs) -> None:
    assert is_right(submit(make(), 3))
    assert runs.begun == [[3]]


def test_what_waits_for_a_thread_runs_together_up_to_the_largest_batch(make: Callable[..., Queue], runs: Runs) -> None:
    queue = make(max_batch_size=5)
    plug = hold(queue, runs)
    requests = [submit(queue, rows) for rows in (2, 2, 2, 3, 5, 1)]
    runs.gate.set()
    assert all(is_right(request) for request in (plug, *requests))
    assert runs.begun == [[2, 2], [2, 3], [5], [1]]


def test_a_batch_that_is_not_full_waits_its_time(make: Callable[..., Queue]) -> None:
    queue = make(max_batch_size=4, batch_timeout_micros=50_000)
    started = time.monotonic()
    assert is_right(submit(queue, 3))
    assert time.monotonic() - started >= 0.05


def test_a_full_batch_does_not_wait(make: Callable[..., Queue], runs: Runs) -> None:
    queue = make(max_batch_size=4, batch_timeout_micros=LONG)
    first = submit(queue, 3)
    assert runs.begun == []
    assert is_right(submit(queue, 1))
    assert is_right(first)
    assert runs.begun == [[3, 1]]


def test_a_batch_with_no_room_for_the_next_request_does_not_wait(make: Callable[..., Queue], runs: Runs) -> None:
    queue = make(max_batch_size=4, batch_timeout_micros=LONG)
    first, second = submit(queue, 3), submit(queue, 2)
    assert is_right(first)
    assert runs.begun == [[3]]
    assert is_right(submit(queue, 2))
    assert is_right(second)
    assert runs.begun == [[3], [2, 2]]


def test_a_request_without_rows_is_answered(make: Callable[..., Queue]) -> None:
    assert answer(submit(make(), 0)).shape == (0,)


def test_queues_are_served_in_turn(make: Callable[..., Queue], runs: Runs) -> None:
    scheduler = Scheduler(1)
    busy, other = make(scheduler, max_batch_size=2), make(scheduler, max_batch_size=2)
    plug = hold(busy, runs)
    requests = [submit(queue, rows) for queue, rows in ((busy, 2), (busy, 2), (busy, 2), (other, 1))]
    runs.gate.set()
    assert all(is_right(request) for request in (plug, *requests))
    assert runs.begun == [[2], [1], [2], [2]]


def test_a_queue_that_fills_does_not_hold_up_another_ones_time(make: Callable[..., Queue]) -> None:
    scheduler = Scheduler(1)
    never, soon = make(scheduler, batch_timeout_micros=LONG), make(scheduler, batch_timeout_micros=20_000)
    waits = submit(never, 1, timeout=None)
    assert is_right(submit(soon, 1))
    assert waits.answers() is None


def test_the_threads_are_shared_by_all_queues(make: Callable[..., Queue], runs: Runs) -> None:
    scheduler = Scheduler(2)
    runs.gate.clear()
    requests = [submit(make(scheduler), 1) for _ in range(3)]
    until(lambda: len(runs.begun) == 2)
    runs.gate.set()
    assert all(is_right(request) for request in requests)


def test_every_request_of_many_clients_gets_its_own_answer(make: Callable[..., Queue], runs: Runs) -> None:
    scheduler = Scheduler(2)
    queues = [make(scheduler, max_batch_size=8, batch_timeout_micros=100 * n, max_enqueued_batches=99) for n in (0, 9)]

    def client(seed: int) -> bool:
        chance = random.Random(seed)
        return all(is_right(submit(chance.choice(queues), chance.randint(1, 8))) for _ in range(100))

    with ThreadPoolExecutor(8) as clients:
        assert all(clients.map(client, range(8)))
    assert max(map(sum, runs.begun)) <= 8


# Refusals


def test_a_request_larger_than_the_largest_batch_is_refused(make: Callable[..., Queue]) -> None:
    error = refused(make(max_batch_size=4), 5)
    assert str(error) == "INVALID_ARGUMENT: Task size 5 is larger than maximum input batch size 4"
    assert error.hint == "A larger max_batch_size in the batching parameters admits more rows in a request."


def test_a_full_queue_refuses_what_does_not_fit_its_open_batch(make: Callable[..., Queue], runs: Runs) -> None:
    queue = make(max_batch_size=4, max_enqueued_batches=2)
    hold(queue, runs)
    requests = [submit(queue, 4), submit(queue, 3)]
    assert str(refused(queue, 2)) == (
        "UNAVAILABLE: The batch scheduling queue to which this task was submitted is full; "
        "currently 2 batches enqueued and max_enqueued_batches is 2"
    )
    requests.append(submit(queue, 1))
    runs.gate.set()
    assert all(is_right(request) for request in requests)
    assert runs.begun == [[4], [3, 1]]


def test_a_failing_batch_fails_all_its_requests(make: Callable[..., Queue], runs: Runs) -> None:
    queue = make()
    plug = hold(queue, runs)
    requests = [submit(queue, 1), submit(queue, 1)]
    runs.fault = ServingError(Code.OUT_OF_RANGE, "no such thing")
    runs.gate.set()
    errors = []
    for request in (plug, *requests):
        with pytest.raises(ServingError, match="no such thing") as error:
            answer(request)
        errors.append(error.value)
    assert {error.code for error in errors} == {Code.OUT_OF_RANGE}
    assert len(set(map(id, errors))) == 3, "each thread raises an error of its own"
    runs.fault = None
    assert is_right(submit(queue, 1))


def test_an_error_that_nobody_thought_of_leaves_the_thread_alive(
    make: Callable[..., Queue], runs: Runs, caplog: pytest.LogCaptureFixture
) -> None:
    queue = make()
    runs.fault = ZeroDivisionError("by nought")
    with pytest.raises(ServingError, match="INTERNAL: ZeroDivisionError: by nought"):
        answer(submit(queue, 1))
    assert "a batch failed" in caplog.text
    runs.fault = None
    assert is_right(submit(queue, 1))


# Time


def test_a_request_whose_time_is_over_is_answered_then_and_not_run(make: Callable[..., Queue], runs: Runs) -> None:
    queue = make()
    hold(queue, runs)
    late, in_time = submit(queue, 2, timeout=0.02), submit(queue, 3)
    late.wait()
    assert late.answers() is None
    assert queue.give_up(late)
    assert not queue.give_up(late)
    runs.gate.set()
    assert is_right(in_time)
    assert runs.begun == [[3]]


def test_nobody_has_to_take_out_what_is_too_late(make: Callable[..., Queue], runs: Runs) -> None:
    queue = make()
    plug = hold(queue, runs)
    late = submit(queue, 2, timeout=0.0)
    runs.gate.set()
    assert is_right(plug)
    with pytest.raises(ServingError) as error:
        until(late.answers)
    assert str(error.value) == "RESOURCE_EXHAUSTED: Run() timeout exceeded while waiting in batching queue"
    assert runs.begun == []


def test_what_is_given_up_leaves_its_room_to_others(make: Callable[..., Queue], runs: Runs) -> None:
    queue = make(max_batch_size=4, max_enqueued_batches=1)
    hold(queue, runs)
    given_up = submit(queue, 4)
    assert refused(queue, 1).code is Code.UNAVAILABLE
    assert queue.give_up(given_up)
    request = submit(queue, 4)
    runs.gate.set()
    assert is_right(request)
    assert runs.begun == [[4]]


def test_a_batch_whose_first_is_given_up_waits_for_the_next_one_as_long(make: Callable[..., Queue]) -> None:
    queue = make(batch_timeout_micros=LONG)
    first, second = submit(queue, 1), submit(queue, 1)
    assert second.began > first.began
    assert queue.due() < second.began + LONG / 1e6
    assert queue.give_up(first)
    assert queue.due() == second.began + LONG / 1e6


# Splitting


def test_a_large_request_is_split_over_batches_and_put_together(make: Callable[..., Queue], runs: Runs) -> None:
    queue = make(max_batch_size=20, enable_large_batch_splitting=True, max_execution_batch_size=4)
    hold(queue, runs)
    requests = [submit(queue, 3), submit(queue, 10), submit(queue, 2)]
    runs.gate.set()
    assert all(is_right(request) for request in requests)
    assert runs.begun == [[3, 1], [4], [4], [1, 2]]


def test_a_split_request_that_finds_too_little_room_is_refused(make: Callable[..., Queue], runs: Runs) -> None:
    queue = make(
        max_batch_size=20, enable_large_batch_splitting=True, max_execution_batch_size=4, max_enqueued_batches=3
    )
    hold(queue, runs)
    first = submit(queue, 5)
    assert str(refused(queue, 8)) == (
        "UNAVAILABLE: The batch scheduling queue to which this task was submitted is full; task size is 8 but "
        "scheduling capacity is only 7 (num_enqueued_batches=2, max_enqueued_batches=3, open_batch_size=1, "
        "max_execution_batch_size=4)"
    )
    second = submit(queue, 7)
    runs.gate.set()
    assert is_right(first)
    assert is_right(second)


def test_a_split_request_still_may_not_be_larger_than_the_largest(make: Callable[..., Queue]) -> None:
    queue = make(max_batch_size=20, enable_large_batch_splitting=True, max_execution_batch_size=4)
    assert refused(queue, 21).message == "Task size 21 is larger than maximum input batch size 20"


def test_a_split_request_fails_when_one_of_its_batches_does(make: Callable[..., Queue], runs: Runs) -> None:
    queue = make(max_batch_size=20, enable_large_batch_splitting=True, max_execution_batch_size=4)
    runs.fault = ServingError(Code.INTERNAL, "broken")
    with pytest.raises(ServingError, match="broken"):
        answer(submit(queue, 9))


# Life


def test_threads_end_with_the_last_queue_and_begin_with_the_next(runs: Runs) -> None:
    scheduler = Scheduler(2, "lives")

    def threads() -> list[str]:
        return [thread.name for thread in threading.enumerate() if thread.name.startswith("tfs-lives")]

    for _ in range(2):
        assert threads() == []
        queues = [scheduler.queue(BatchingParameters(), runs) for _ in range(2)]
        assert sorted(threads()) == ["tfs-lives-0", "tfs-lives-1"]
        queues[0].close()
        assert is_right(submit(queues[1], 1))
        queues[1].close()
        until(lambda: not threads())


def test_closing_runs_what_waits_without_delay(runs: Runs) -> None:
    queue = Scheduler(1).queue(BatchingParameters(batch_timeout_micros=LONG), runs)
    request = submit(queue, 2)
    queue.close()
    assert request.answers() is not None
    assert is_right(request)


def test_closing_waits_for_the_batch_that_runs(runs: Runs) -> None:
    queue = Scheduler(1).queue(BatchingParameters(), runs)
    request = hold(queue, runs)
    closing = threading.Thread(target=queue.close)
    closing.start()
    closing.join(0.05)
    assert closing.is_alive()
    runs.gate.set()
    closing.join(SECONDS)
    assert not closing.is_alive()
    assert is_right(request)


def test_without_a_thread_there_is_no_queue_and_the_next_one_has_all_threads(make: Callable[..., Queue]) -> None:
    scheduler = Scheduler(2, name="few")
    with no_more_threads(), pytest.raises(ServingError, match="No thread can be started"):
        make(scheduler)
    queue = make(scheduler)
    assert sum(thread.name.startswith("tfs-few-") for thread in threading.enumerate()) == 2
    assert is_right(submit(queue, 3))
