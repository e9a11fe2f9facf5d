from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tfs_notebook.engine.metrics.stats import BOUNDS_US, CallStats, merged
from tfs_notebook.errors import Code


def test_the_bounds_are_tensorflow_servings() -> None:
    assert len(BOUNDS_US) == 32
    assert BOUNDS_US[:3] == pytest.approx([10, 18, 32.4])


def test_nothing_was_asked() -> None:
    stats = CallStats(100.0)
    for summary in (stats.summary(100.0), stats.last_minute(100.0)):
        assert (summary.count, summary.errors, summary.codes, summary.rate) == (0, 0, {}, 0)
        assert (summary.whole.count, summary.run.count) == (0, 0)


def test_calls_have_their_times_and_errors_only_their_codes() -> None:
    stats = CallStats()
    stats.record(0.003, 0.002)
    stats.record(0.001, 0.0005)
    for code in (Code.INVALID_ARGUMENT, Code.INVALID_ARGUMENT, Code.INTERNAL):
        stats.record_error(code)
    summary = stats.summary()
    assert summary.codes == {Code.OK: 2, Code.INVALID_ARGUMENT: 2, Code.INTERNAL: 1}
    assert (summary.count, summary.errors) == (5, 3)
    assert (summary.whole.count, summary.whole.total_us) == (2, pytest.approx(4000))
    assert (summary.run.least_us, summary.run.most_us) == pytest.approx((500, 2000))


def test_who_has_gone_was_neither_answered_nor_refused() -> None:
    stats = CallStats()
    stats.record_error(Code.CANCELLED)
    summary = stats.summary()
    assert (summary.count, summary.errors, summary.codes) == (0, 0, {Code.CANCELLED: 1})


def test_the_last_minute_forgets_and_all_time_does_not() -> None:
    stats = CallStats(1000.0)
    for second in range(1000, 1200):
        stats.record(0.001 if second < 1100 else 0.1, 0.0001, second + 0.5)
        stats.record_error(Code.INTERNAL, second + 0.5)
    minute, ever = stats.last_minute(1200.0), stats.summary(1200.0)
    assert minute.seconds == 55  # whole windows of five seconds, and what has passed of the newest
    assert (minute.count, minute.errors, minute.rate) == (110, 55, 2.0)
    assert minute.whole.least_us == pytest.approx(100_000)
    assert (ever.count, ever.errors, ever.seconds, ever.rate) == (400, 200, 200.0, 2.0)
    assert stats.last_minute(1204.9).count == 110
    assert stats.last_minute(1254.9).count == 10
    assert (stats.last_minute(1255.0).count, stats.summary(9999.0).count) == (0, 400)


def test_a_rate_is_of_the_time_since_it_serves() -> None:
    stats = CallStats(1003.0)
    for _ in range(20):
        stats.record(0.001, 0.001, 1004.0)
    assert stats.last_minute(1013.0).rate == 2.0


def test_the_memory_does_not_grow_with_calls_or_time() -> None:
    stats = CallStats(0.0)
    for now in range(0, 100_000, 7):
        stats.record(now / 1e6, now / 1e9, float(now))
    assert len(stats._windows) <= 12
    assert len(stats._noted) < 512
    assert stats.summary(100_000.0).count == len(range(0, 100_000, 7))


def test_a_call_that_is_counted_late_is_counted_all_the_same() -> None:
    stats = CallStats(0.0)
    stats.record(0.001, 0.001, 20.0)
    stats.record(0.001, 0.001, 19.9)  # another thread was quicker
    assert (stats.last_minute(21.0).count, stats.summary(21.0).count) == (2, 2)


def test_a_summary_does_not_change_later() -> None:
    stats = CallStats()
    before = stats.summary()
    stats.record(1.0, 1.0)
    assert (before.count, stats.summary().count) == (0, 1)


def test_errors_do_not_move_the_quantiles() -> None:
    stats = CallStats()
    stats.record(100e-6, 50e-6)
    before = stats.summary().whole.quantile_us(0.5)
    for _ in range(50):
        stats.record_error(Code.INTERNAL)
    assert stats.summary().whole.quantile_us(0.5) == before == pytest.approx(100)


def test_signatures_are_merged() -> None:
    fast, slow = CallStats(), CallStats()
    fast.record(0.001, 0.001)
    slow.record(1.0, 0.5)
    slow.record_error(Code.ABORTED)
    both = merged([fast.summary(), slow.summary()], 2.0)
    assert (both.codes, both.rate) == ({Code.OK: 2, Code.ABORTED: 1}, 1.5)
    assert (both.whole.least_us, both.whole.most_us) == pytest.approx((1e3, 1e6))
    assert merged([]).count == 0


def test_many_threads_lose_no_call_while_others_read() -> None:
    stats = CallStats(0.0)

    def record(_: int) -> None:
        for now in range(500):
            stats.record(1e-5, 1e-6, float(now))
            stats.record_error(Code.INTERNAL, float(now))
            stats.last_minute(float(now))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(record, range(8)))
    summary = stats.summary(500.0)
    assert (summary.count, summary.errors, summary.whole.count, summary.run.count) == (8000, 4000, 4000, 4000)
