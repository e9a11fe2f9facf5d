"""Where a signature's calls run, by what the calls before it took."""

from __future__ import annotations

import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tfs_notebook.engine.models.latency import (
    LARGE_OUTPUT_BYTES,
    LONG_SECONDS,
    MAX_TRIALS,
    QUICK_SECONDS,
    SAMPLES,
    Latency,
)
from tfs_notebook.engine.saved_model.session import CALLING_THREAD, THREAD_POOL

if TYPE_CHECKING:
    from collections.abc import Iterator

FAST, SLOW, LONG = QUICK_SECONDS / 10, QUICK_SECONDS * 3, LONG_SECONDS * 2


def where(latency: Latency, size: int = 100) -> int:
    """Where a call that is over at once runs."""
    pool = latency.begin(size)
    latency.end()
    return pool


def learn(latency: Latency, *, calling: float, pools: float, size: int = 100, calls: int = 3 * SAMPLES) -> list[int]:
    """Make calls that take so many seconds on either side; where they ran."""
    ran = []
    for _ in range(calls):
        pool = where(latency, size)
        ran.append(pool)
        seconds = calling if pool == CALLING_THREAD else pools
        latency.record(pool, seconds, size, processor_seconds=seconds)
    return ran


@pytest.mark.parametrize(
    ("calling", "pools", "chosen"),
    [
        (FAST, 2 * FAST, CALLING_THREAD),
        (1.2 * FAST, FAST, CALLING_THREAD),
        (2 * FAST, FAST, THREAD_POOL),
        (SLOW, 2 * SLOW, CALLING_THREAD),
    ],
)
def test_the_first_calls_try_both_and_the_pools_must_gain(calling: float, pools: float, chosen: int) -> None:
    latency = Latency(bounded=True)
    trials = learn(latency, calling=calling, pools=pools, calls=2 + 2 * SAMPLES)
    assert {pool: trials.count(pool) for pool in set(trials)} == {CALLING_THREAD: SAMPLES + 1, THREAD_POOL: SAMPLES + 1}
    assert set(learn(latency, calling=calling, pools=pools)) == {chosen}


def test_the_calls_that_compile_the_graph_do_not_count() -> None:
    latency = Latency(bounded=True)
    learn(latency, calling=100.0, pools=0.0, calls=2)
    learn(latency, calling=FAST, pools=2 * FAST)
    assert where(latency) == CALLING_THREAD


def test_a_busy_cell_that_slows_most_calls_does_not_mislead() -> None:
    latency = Latency(bounded=True)
    for call in range(2 + 2 * SAMPLES):
        pool = where(latency)
        disturbed = SLOW if pool == CALLING_THREAD and call % 8 != 3 else 0.0
        latency.record(pool, disturbed + (FAST if pool == CALLING_THREAD else 2 * FAST), 100)
    assert where(latency) == CALLING_THREAD


@contextmanager
def others(latency: Latency, count: int) -> Iterator[None]:
    """So many calls under way on threads of their own."""
    begun, over = threading.Barrier(count + 1), threading.Event()

    def call() -> None:
        latency.begin(100)
        begun.wait()
        over.wait()
        latency.end()

    threads = [threading.Thread(target=call) for _ in range(count)]
    for thread in threads:
        thread.start()
    begun.wait()
    yield
    over.set()
    for thread in threads:
        thread.join()


def test_calls_that_disturb_each_other_tell_nothing() -> None:
    latency = Latency(bounded=True)
    with others(latency, 1):
        assert set(learn(latency, calling=2 * FAST, pools=FAST, calls=MAX_TRIALS)) == {CALLING_THREAD, THREAD_POOL}
    assert latency.expected_seconds(100) is None
    learn(latency, calling=2 * FAST, pools=FAST, calls=4 * SAMPLES)
    assert (where(latency), latency.expected_seconds(100)) == (CALLING_THREAD, 2 * FAST)


def test_a_cell_that_keeps_the_interpreters_lock_makes_no_call_long() -> None:
    latency, waiting = Latency(bounded=True), sys.getswitchinterval()
    for _ in range(4 * SAMPLES):
        assert latency.is_in_doubt
        pool = where(latency)
        latency.record(pool, FAST + waiting, 100, processor_seconds=FAST if pool == CALLING_THREAD else 0.0)
    assert (where(latency), latency.expected_seconds(100)) == (CALLING_THREAD, FAST)
    learn(latency, calling=FAST, pools=FAST, calls=SAMPLES)
    assert not latency.is_in_doubt
    latency.record(CALLING_THREAD, FAST + waiting, 100)
    assert latency.is_in_doubt
    assert latency.expected_seconds(100) == FAST


def test_a_call_that_lets_others_work_for_it_is_long_all_the_same() -> None:
    latency = Latency(bounded=True)
    for _ in range(4 * SAMPLES):
        latency.record(where(latency), 10 * LONG, 100, processor_seconds=FAST)
    assert (where(latency), latency.expected_seconds(100)) == (THREAD_POOL, None)


def test_nothing_is_expected_before_enough_is_known() -> None:
    latency = Latency(bounded=True)
    for _ in range(2 + 2 * SAMPLES):
        assert latency.expected_seconds(100) is None
        learn(latency, calling=FAST, pools=2 * FAST, calls=1)
    learn(latency, calling=FAST, pools=2 * FAST, calls=SAMPLES)
    assert latency.expected_seconds(100) == FAST


def test_the_least_of_the_last_calls_is_expected() -> None:
    latency = Latency(bounded=True)
    learn(latency, calling=SLOW, pools=2 * SLOW)
    assert (where(latency), latency.expected_seconds(100)) == (CALLING_THREAD, SLOW)


def test_nothing_is_expected_of_a_signature_that_prefers_the_pools() -> None:
    latency = Latency(bounded=True)
    learn(latency, calling=2 * FAST, pools=FAST)
    assert latency.expected_seconds(100) is None


def test_a_graph_with_loops_stays_in_the_pools_where_it_can_be_timed_out() -> None:
    latency = Latency(bounded=False)
    assert set(learn(latency, calling=FAST, pools=FAST, calls=10 * SAMPLES)) == {THREAD_POOL}
    assert latency.expected_seconds(0) is None
    assert latency.expected_seconds(100) is None


def test_an_input_far_larger_than_any_that_was_quick_goes_to_the_pools_until_one_has_been_quick() -> None:
    latency = Latency(bounded=True)
    learn(latency, calling=FAST, pools=2 * FAST, size=100)
    assert (latency.expected_seconds(200), where(latency, 200)) == (FAST, CALLING_THREAD)
    assert (latency.expected_seconds(201), where(latency, 201)) == (None, THREAD_POOL)
    latency.record(THREAD_POOL, SLOW, 1000)
    assert (latency.expected_seconds(1000), where(latency, 1000)) == (None, THREAD_POOL)
    latency.record(THREAD_POOL, FAST, 1000)
    assert (latency.expected_seconds(2000), where(latency, 2000)) == (FAST, CALLING_THREAD)


def test_calls_that_get_slow_or_quick_again_are_noticed() -> None:
    latency = Latency(bounded=True)
    for seconds in (FAST, SLOW, FAST):
        learn(latency, calling=seconds, pools=2 * seconds, calls=4 * SAMPLES)
        assert latency.expected_seconds(100) == seconds


def test_a_slow_call_among_quick_ones_changes_nothing() -> None:
    latency = Latency(bounded=True)
    learn(latency, calling=FAST, pools=2 * FAST)
    for _ in range(4):
        learn(latency, calling=SLOW, pools=SLOW, calls=1)
        learn(latency, calling=FAST, pools=FAST, calls=SAMPLES - 1)
        assert latency.expected_seconds(100) == FAST


def test_a_signature_without_inputs_learns_too() -> None:
    latency = Latency(bounded=True)
    learn(latency, calling=FAST, pools=2 * FAST, size=0)
    assert latency.expected_seconds(0) == FAST


def test_a_long_call_goes_to_the_pools_where_it_can_be_ended() -> None:
    latency = Latency(bounded=True)
    learn(latency, calling=LONG, pools=2 * LONG)
    assert (where(latency), latency.expected_seconds(100)) == (THREAD_POOL, None)
    assert set(learn(latency, calling=LONG, pools=2 * LONG, calls=4 * SAMPLES)) == {THREAD_POOL}
    learn(latency, calling=FAST, pools=2 * FAST, calls=4 * SAMPLES)
    assert (where(latency), latency.expected_seconds(100)) == (CALLING_THREAD, FAST)


def test_nothing_is_expected_of_a_call_whose_answer_takes_long_to_write() -> None:
    latency = Latency(bounded=True)
    learn(latency, calling=FAST, pools=2 * FAST)
    latency.record(CALLING_THREAD, FAST, 100, LARGE_OUTPUT_BYTES)
    assert latency.expected_seconds(100) == FAST
    latency.record(CALLING_THREAD, FAST, 100, LARGE_OUTPUT_BYTES + 1)
    assert (where(latency), latency.expected_seconds(100)) == (CALLING_THREAD, None)
