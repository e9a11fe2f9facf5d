"""The text format, as TensorFlow Serving writes it and as Prometheus's own client reads it."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tfs_notebook.api.metrics.prometheus import metrics_text
from tfs_notebook.engine.metrics.counters import Counter, Histogram
from tfs_notebook.engine.metrics.stats import BOUNDS_US


def test_a_page() -> None:
    count = Counter("/tensorflow/serving/request_count", "model_name", "status")
    count.add("m", "OK", by=3)
    count.add("m", "NOT_FOUND")
    runs = Counter("/tensorflow/serving/batching_session/wrapped_run_count")
    runs.add(by=3)
    latency = Histogram("/tensorflow/serving/request_latency", "model_name", "API", bounds=(10, 32.4, 1274822.1))
    latency.record(10, "m", "")
    latency.record(123456789, "m", "")
    sizes = Histogram("/tensorflow/cc/sizes", bounds=(1,))
    sizes.record(0.5)
    assert metrics_text([latency, count, sizes, runs], {"/tensorflow/serving/mlmd_map": "gauge"}) == (
        "# TYPE :tensorflow:cc:sizes histogram\n"
        ':tensorflow:cc:sizes_bucket{le="1"} 1\n'
        ':tensorflow:cc:sizes_bucket{le="+Inf"} 1\n'
        ":tensorflow:cc:sizes_sum{} 0.5\n"
        ":tensorflow:cc:sizes_count{} 1\n"
        "# TYPE :tensorflow:serving:batching_session:wrapped_run_count counter\n"
        ":tensorflow:serving:batching_session:wrapped_run_count{} 3\n"
        "# TYPE :tensorflow:serving:mlmd_map gauge\n"
        "# TYPE :tensorflow:serving:request_count counter\n"
        ':tensorflow:serving:request_count{model_name="m",status="NOT_FOUND"} 1\n'
        ':tensorflow:serving:request_count{model_name="m",status="OK"} 3\n'
        "# TYPE :tensorflow:serving:request_latency histogram\n"
        ':tensorflow:serving:request_latency_bucket{model_name="m",API="",le="10"} 1\n'
        ':tensorflow:serving:request_latency_bucket{model_name="m",API="",le="32.4"} 1\n'
        ':tensorflow:serving:request_latency_bucket{model_name="m",API="",le="1.27482e+06"} 1\n'
        ':tensorflow:serving:request_latency_bucket{model_name="m",API="",le="+Inf"} 2\n'
        ':tensorflow:serving:request_latency_sum{model_name="m",API=""} 1.23457e+08\n'
        ':tensorflow:serving:request_latency_count{model_name="m",API=""} 2\n'
    )


def test_metrics_that_counted_nothing_show_their_type_alone() -> None:
    text = metrics_text([Counter("/a", "model"), Histogram("/b", "model", bounds=(1,))], {})
    assert text == "# TYPE :a counter\n# TYPE :b histogram\n"


def test_the_bounds_of_latencies() -> None:
    latency = Histogram("/l", bounds=BOUNDS_US)
    latency.record(1)
    (family,) = text_string_to_metric_families(metrics_text([latency], {}))
    bounds = [sample.labels["le"] for sample in family.samples if sample.name == ":l_bucket"]
    assert bounds[:5] == ["10", "18", "32.4", "58.32", "104.976"]
    assert bounds[-2:] == ["8.19309e+08", "+Inf"]
    assert len(bounds) == 33


@pytest.mark.parametrize(
    "value", ["", " ", '"', "\\", "\\n", "\n", 'a"b\\c\nd', "é 模型", "{}", '",le="1"} 7', "%d %s %%", "\r\t"]
)
def test_any_label_value_is_read_as_it_was(value: str) -> None:
    counter, histogram = Counter("/c", "model", "status"), Histogram("/h", "model", bounds=(1, 2))
    counter.add(value, "OK")
    histogram.record(1, value)
    families = list(text_string_to_metric_families(metrics_text([counter, histogram], {})))
    samples = [sample for family in families for sample in family.samples]
    assert [sample.labels.get("model") for sample in samples] == [value] * 6
    assert [sample.value for sample in samples] == [1] * 6


def test_label_names_are_prometheus_own() -> None:
    counter = Counter("/a.b-c", "the.model")
    counter.add("m")
    assert metrics_text([counter], {}) == '# TYPE :a:b:c counter\n:a:b:c{the_model="m"} 1\n'
