from __future__ import annotations

import pytest

from tfs_notebook.engine.metrics.latencies import BOUNDS_US, Latencies, latencies_of, merged
from tfs_notebook.engine.metrics.stats import BOUNDS_US as TENSORFLOW_SERVINGS


def taking(*micros: float) -> Latencies:
    return latencies_of(each / 1e6 for each in micros)


def test_every_fourth_bound_is_one_of_tensorflow_servings() -> None:
    assert BOUNDS_US[::4] == pytest.approx(TENSORFLOW_SERVINGS)


def test_nothing_was_asked() -> None:
    nothing = Latencies()
    assert (nothing.count, nothing.total_us, nothing.buckets, nothing.least_us, nothing.most_us) == (0, 0, {}, 0, 0)
    assert [nothing.quantile_us(q) for q in (0, 0.5, 1)] == [0, 0, 0]


def test_calls_are_counted_in_their_buckets() -> None:
    latencies = taking(1, 9.9, 10.5, 1e12)
    assert latencies.buckets == {0: 2, 1: 1, len(BOUNDS_US): 1}
    assert latencies.total_us == pytest.approx(1e12 + 21.4)
    assert (latencies.count, latencies.least_us, latencies.most_us) == (4, pytest.approx(1), pytest.approx(1e12))


def test_parts_are_merged() -> None:
    both = merged([taking(5, 30), Latencies(), taking(1, 20, 1e6)])
    assert both.buckets == taking(5, 30, 1, 20, 1e6).buckets
    assert (both.total_us, both.least_us, both.most_us) == pytest.approx((1e6 + 56, 1, 1e6))
    assert merged([]) == Latencies()


@pytest.mark.parametrize("micros", [1.0, 15.0, 200.0, 5e4, 3e6, 1e15])
@pytest.mark.parametrize("count", [1, 100])
def test_a_quantile_of_equal_calls_is_what_they_took(micros: float, count: int) -> None:
    latencies = taking(*[micros] * count)
    for q in (0.01, 0.5, 0.99, 1.0):
        assert latencies.quantile_us(q) == pytest.approx(micros)


def test_a_quantile_is_right_to_within_its_bucket_and_between_the_least_and_the_most() -> None:
    times = [100.0 + n for n in range(1000)]
    latencies = taking(*times)
    for q in (0.0, 0.1, 0.5, 0.99, 1.0):
        exact = times[min(int(q * 1000), 999)]
        assert exact / 1.16 <= latencies.quantile_us(q) <= exact * 1.16
        assert 100 <= latencies.quantile_us(q) <= 1099


def test_quantiles_rise_and_tell_a_slow_tenth_from_the_rest() -> None:
    latencies = taking(*[100.0] * 90, *[50_000.0] * 10)
    quantiles = [latencies.quantile_us(q) for q in (0.1, 0.5, 0.89, 0.91, 0.99, 1.0)]
    assert quantiles == sorted(quantiles)
    assert quantiles[2] < 116
    assert quantiles[3] > 43_000
