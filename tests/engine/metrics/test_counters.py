from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tfs_notebook.engine.metrics import counters
from tfs_notebook.engine.metrics.counters import OTHER, Counter, Distribution, Histogram


def test_a_counter_counts_for_each_set_of_label_values() -> None:
    counter = Counter("/c", "model", "status")
    assert counter.counts() == {}
    counter.add("b", "OK")
    counter.add("a", "OK", by=3)
    counter.add("b", "OK")
    assert list(counter.counts().items()) == [(("a", "OK"), 3), (("b", "OK"), 2)]


def test_a_counter_without_labels() -> None:
    counter = Counter("/c")
    counter.add()
    counter.add(by=2)
    assert counter.counts() == {(): 3}


def test_a_histogram_counts_values_in_the_bucket_whose_bound_they_do_not_exceed() -> None:
    histogram = Histogram("/h", "model", bounds=(1, 2, 4))
    for value in (0, 1, 1.5, 4, 5, 1e9):
        histogram.record(value, "b")
    histogram.record(2, "a")
    assert list(histogram.distributions().items()) == [
        (("a",), Distribution((0, 1, 0, 0), 2)),
        (("b",), Distribution((2, 1, 1, 2), 1e9 + 11.5)),
    ]


def test_what_was_read_does_not_change_later() -> None:
    counter, histogram = Counter("/c"), Histogram("/h", bounds=(1,))
    counter.add()
    histogram.record(1)
    counts, distributions = counter.counts(), histogram.distributions()
    counter.add()
    histogram.record(1)
    assert counts == {(): 1}
    assert distributions == {(): Distribution((1, 0), 1)}


def test_many_threads_lose_nothing() -> None:
    counter, histogram = Counter("/c", "model"), Histogram("/h", "model", bounds=(1,))

    def count(thread: int) -> None:
        for n in range(500):
            counter.add(f"m{n % 50}")
            histogram.record(n % 2 * 2, f"m{n % 50}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(count, range(8)))
    assert counter.counts() == {(f"m{n}",): 80 for n in range(50)}
    distributions = histogram.distributions()
    assert len(distributions) == 50
    assert sum(distribution.buckets[0] for distribution in distributions.values()) == 2000
    assert sum(distribution.buckets[1] for distribution in distributions.values()) == 2000


# Clients choose the label values


@pytest.mark.parametrize(("value", "shown"), [("a\udcffb", "a?b"), ("a\0b", "a�b"), ("é\n", "é\n"), ("", "")])
def test_label_values_are_unicode_text(value: str, shown: str) -> None:
    counter, histogram = Counter("/c", "model"), Histogram("/h", "model", bounds=(1,))
    for _ in range(2):
        counter.add(value)
        histogram.record(1, value)
    assert counter.counts() == {(shown,): 2}
    assert histogram.distributions() == {(shown,): Distribution((2, 0), 2)}


def test_new_label_values_beyond_the_most_are_counted_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counters, "MAX_SERIES", 3)
    counter, histogram = Counter("/c", "model", "status"), Histogram("/h", "model", bounds=(1,))
    for n in range(10):
        counter.add(f"m{n}", "OK")
        counter.add("m0", "OK")
        histogram.record(1, f"m{n}")
    assert counter.counts() == {(OTHER, "OK"): 7, ("m0", "OK"): 11, ("m1", "OK"): 1, ("m2", "OK"): 1}
    assert histogram.distributions()[OTHER,].buckets == (7, 0)
    assert len(histogram.distributions()) == 4


def test_a_label_value_of_any_length_takes_no_memory() -> None:
    counter = Counter("/c", "model", "status")
    counter.add("m" * 256, "OK")
    counter.add("m" * 257, "OK")
    counter.add("m" * 100_000, "NOT_FOUND")
    assert counter.counts() == {("m" * 256, "OK"): 1, (OTHER, "OK"): 1, (OTHER, "NOT_FOUND"): 1}
