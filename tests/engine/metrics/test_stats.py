from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tfs_notebook.engine.metrics.stats import BOUNDS_US, CallStats


def test_the_bounds_are_tensorflow_servings() -> None:
    assert len(BOUNDS_US) == 32
    assert BOUNDS_US[:3] == pytest.approx([10, 18, 32.4])


def test_nothing_was_asked() -> None:
    summary = CallStats().summary()
    assert (summary.count, summary.errors, summary.total_us, sum(summary.buckets)) == (0, 0, 0.0, 0)
    assert [summary.quantile_us(q) for q in (0, 0.5, 1)] == [0, 0, 0]


def test_calls_are_counted_in_their_buckets_and_errors_only_in_the_count() -> None:
    stats = CallStats()
    for micros in (1, 10, 10.5, 1e12):
        stats.record(micros / 1e6)
    stats.record_error()
    summary = stats.summary()
    assert (summary.count, summary.errors) == (5, 1)
    assert summary.total_us == pytest.approx(1e12 + 21.5)
    assert summary.buckets[:3] == (2, 1, 0)
    assert summary.buckets[-1] == 1
    assert len(summary.buckets) == len(BOUNDS_US) + 1


def test_the_least_and_the_most_are_kept() -> None:
    stats = CallStats()
    assert (stats.summary().least_us, stats.summary().most_us) == (0.0, 0.0)
    for micros in (20, 5, 10):
        stats.record(micros / 1e6)
    assert (stats.summary().least_us, stats.summary().most_us) == pytest.approx((5, 20))


def test_a_summary_does_not_change_later() -> None:
    stats = CallStats()
    before = stats.summary()
    stats.record(1.0)
    assert before.count == 0
    assert stats.summary().count == 1


@pytest.mark.parametrize("micros", [1.0, 15.0, 200.0, 5e4, 3e6, 1e15])
@pytest.mark.parametrize("count", [1, 100])
def test_a_quantile_of_equal_calls_is_what_they_took(micros: float, count: int) -> None:
    stats = CallStats()
    for _ in range(count):
        stats.record(micros / 1e6)
    for q in (0.01, 0.5, 0.99, 1.0):
        assert stats.summary().quantile_us(q) == pytest.approx(micros)


def test_a_quantile_is_right_to_within_its_bucket_and_between_the_least_and_the_most() -> None:
    stats, times = CallStats(), [100.0 + n for n in range(1000)]
    for micros in times:
        stats.record(micros / 1e6)
    for q in (0.0, 0.1, 0.5, 0.99, 1.0):
        exact = times[min(int(q * 1000), 999)]
        assert exact / 1.8 <= stats.summary().quantile_us(q) <= exact * 1.8
        assert 100 <= stats.summary().quantile_us(q) <= 1099


def test_quantiles_rise_and_tell_a_slow_tenth_from_the_rest() -> None:
    stats = CallStats()
    for _ in range(90):
        stats.record(100e-6)
    for _ in range(10):
        stats.record(50_000e-6)
    quantiles = [stats.summary().quantile_us(q) for q in (0.1, 0.5, 0.89, 0.91, 0.99, 1.0)]
    assert quantiles == sorted(quantiles)
    assert quantiles[2] < 180
    assert quantiles[3] > 25_000


def test_errors_do_not_move_the_quantiles() -> None:
    stats = CallStats()
    stats.record(100e-6)
    before = stats.summary().quantile_us(0.5)
    for _ in range(50):
        stats.record_error()
    assert stats.summary().quantile_us(0.5) == before


def test_many_threads_lose_no_call() -> None:
    stats = CallStats()

    def record(_: int) -> None:
        for _ in range(500):
            stats.record(1e-5)
            stats.record_error()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(record, range(8)))
    summary = stats.summary()
    assert (summary.count, summary.errors, sum(summary.buckets)) == (8000, 4000, 4000)
