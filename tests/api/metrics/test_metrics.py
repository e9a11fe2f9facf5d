"""Metrics as Prometheus scrapes them from a server that is asked over REST and gRPC."""

from __future__ import annotations

import shutil
import socket
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import grpc
import numpy as np
import pytest
import tensorflow as tf
from prometheus_client.parser import text_string_to_metric_families
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_log_pb2,
    prediction_service_pb2_grpc,
)

import tfs_notebook
from tests.support.ports import free_port
from tests.support.serving import PATIENCE, Reply, ask, ask_on, config_text, connect, until
from tfs_notebook.api.metrics.metrics import Metrics
from tfs_notebook.engine.config import parse_config
from tfs_notebook.server import start

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.conftest import Models
    from tfs_notebook.server.server import Server

PATH = "/monitoring/prometheus/metrics"
ON = "prometheus_config { enable: true }"
ANY: dict[str, Any] = {"rest_api_port": 0, "port": 0}
SERVING = ":tensorflow:serving:"
PREDICT = "/v1/models/hpt:predict"
BODY = {"instances": [1.0]}


@pytest.fixture
def file(tmp_path: Path) -> str:
    """A monitoring config file that switches the metrics on."""
    path = tmp_path / "monitoring.config"
    path.write_text(ON)
    return str(path)


@pytest.fixture
def server(models: Models, file: str) -> Iterator[Server]:
    """Serves `hpt` (x/2 + 2), `raising` and `slow` with metrics."""
    paths = {"hpt": models.path("half_plus_two"), "raising": models.path("raising"), "slow": models.path("slow")}
    options = {**ANY, "monitoring_config_file": file, "rest_api_max_body_mb": 1}
    with tfs_notebook.serve(config=config_text(paths), **options) as server:
        assert server.problems == []
        yield server


@pytest.fixture
def channel(server: Server) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(server.grpc_target) as channel:
        yield channel


def scraped(server: Server, path: str = PATH, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The metrics by name."""
    reply = ask(server, "GET", path, headers=headers)
    assert (reply.status, reply.headers["Content-Type"]) == (200, "text/plain")
    return {family.name: family for family in text_string_to_metric_families(reply.body.decode())}


def requests(server: Server) -> dict[tuple[str, str], int]:
    """request_count by model and status."""
    samples = scraped(server)[f"{SERVING}request_count"].samples
    return {(sample.labels["model_name"], sample.labels["status"]): int(sample.value) for sample in samples}


def calls(server: Server, name: str) -> dict[tuple[str, ...], int]:
    """The counts of a latency by its labels."""
    samples = scraped(server)[f"{SERVING}{name}"].samples
    return {tuple(s.labels.values()): int(s.value) for s in samples if s.name.endswith("_count")}


def predict_request(model: str, *values: float) -> predict_pb2.PredictRequest:
    request = predict_pb2.PredictRequest(model_spec={"name": model})
    request.inputs["x"].CopyFrom(tf.make_tensor_proto(np.array(values, np.float32)))
    return request


# Where they are


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_they_are_on_the_port_of_rest_for_any_method(server: Server, method: str) -> None:
    reply = ask(server, method, PATH, b"anything" if method == "POST" else None)
    assert (reply.status, reply.headers["Content-Type"]) == (200, "text/plain")
    assert reply.body.startswith(b"# TYPE ")
    assert reply.body.endswith(b"\n")


def test_the_head_alone(server: Server) -> None:
    reply = ask(server, "HEAD", PATH)
    assert (reply.status, reply.headers["Content-Type"], reply.body) == (200, "text/plain", b"")


def test_a_query_is_refused_in_tensorflow_servings_words(server: Server) -> None:
    reply = ask(server, "GET", f"{PATH}?name[]=up")
    assert (reply.status, reply.headers["Content-Type"]) == (400, "text/plain")
    assert reply.body.decode() == f"Unexpected path: {PATH}?name[]=up. Should be {PATH}"


@pytest.mark.parametrize("path", ["/metrics", f"{PATH}/", PATH.upper(), "/monitoring/prometheus", "/"])
def test_no_other_path_has_them(server: Server, path: str) -> None:
    reply = ask(server, "GET", path)
    assert (reply.status, reply.headers["Content-Type"]) == (404, "text/html")


@pytest.mark.parametrize("path", ["/metrics", "/v1/metrics"])
def test_a_path_of_ones_own(models: Models, tmp_path: Path, path: str) -> None:
    (tmp_path / "monitoring").write_text(f"prometheus_config {{ enable: true path: '{path}' }}")
    given = {**ANY, "monitoring_config_file": str(tmp_path / "monitoring")}
    with tfs_notebook.serve(str(models.path("half_plus_two")), **given) as server:
        assert f"{SERVING}request_count" in scraped(server, path)
        assert ask(server, "GET", PATH).status == 404
        assert ask(server, "GET", "/v1/models/model").status == 200


@pytest.mark.parametrize("text", ["", "prometheus_config {}", None])
def test_nobody_asked_for_them(models: Models, tmp_path: Path, text: str | None) -> None:
    given = dict(ANY)
    if text is not None:
        (tmp_path / "monitoring").write_text(text)
        given["monitoring_config_file"] = str(tmp_path / "monitoring")
    with tfs_notebook.serve(str(models.path("half_plus_two")), **given) as server:
        reply = ask(server, "GET", PATH)
        assert (reply.status, reply.headers["Content-Type"]) == (404, "text/html")
        assert reply.body.startswith(b"<HTML>")


# What they are


def test_names_and_types_are_tensorflow_servings(server: Server) -> None:
    assert {name: family.type for name, family in scraped(server).items()} == {
        ":tensorflow:cc:saved_model:load_attempt_count": "counter",
        ":tensorflow:cc:saved_model:load_latency": "counter",
        f"{SERVING}request_count": "counter",
        f"{SERVING}request_latency": "histogram",
        f"{SERVING}runtime_latency": "histogram",
        f"{SERVING}request_example_counts": "histogram",
        f"{SERVING}request_example_count": "counter",  # …_total: the parser drops what the newer format adds
        f"{SERVING}request_log_count": "counter",
        f"{SERVING}model_warmup_latency": "histogram",
        f"{SERVING}model_warmup_records_read": "counter",
        f"{SERVING}batching_session:queuing_latency": "histogram",
        f"{SERVING}batching_session:wrapped_run_count": "counter",
        f"{SERVING}batching_session:padding_size": "histogram",
        f"{SERVING}batching_session:input_batch_size": "histogram",
        f"{SERVING}batching_session:processed_batch_size": "histogram",
        f"{SERVING}mlmd_map": "gauge",
    }


def test_the_lines_have_types_but_no_help(server: Server) -> None:
    ask(server, "POST", PREDICT, BODY)
    lines = ask(server, "GET", PATH).body.decode().splitlines()
    assert {line.split()[1] for line in lines if line.startswith("#")} == {"TYPE"}
    assert f'{SERVING}request_count{{model_name="hpt",status="OK"}} 1' in lines


def test_requests_over_rest_are_counted_by_the_model_asked_for_and_the_status(server: Server) -> None:
    for method, path, body in (
        ("POST", PREDICT, BODY),
        ("POST", "/v1/models/hpt/versions/1:predict", BODY),
        ("POST", PREDICT, b"{"),
        ("POST", PREDICT, {"instances": ["a"]}),
        ("POST", PREDICT, b" " * (2 << 20)),
        ("POST", "/v1/models/raising:predict", {"instances": [-1]}),
        ("POST", "/v1/models/nobody:predict", BODY),
        ("GET", "/v1/models/hpt", None),
        ("GET", "/v1/models/hpt/metadata", None),
        ("GET", "/v1/models/nobody", None),
        ("GET", "/v1/models", None),
        ("PUT", PREDICT, None),
        ("OPTIONS", PREDICT, None),
        ("GET", "/elsewhere", None),
    ):
        ask(server, method, path, body)
    assert requests(server) == {
        ("", "INVALID_ARGUMENT"): 2,
        ("hpt", "OK"): 4,
        ("hpt", "INVALID_ARGUMENT"): 2,
        ("hpt", "RESOURCE_EXHAUSTED"): 1,
        ("nobody", "NOT_FOUND"): 2,
        ("raising", "INVALID_ARGUMENT"): 1,
    }
    assert calls(server, "request_latency") == {("hpt", "", "REST"): 2, ("hpt", "predict", "REST"): 2}
    assert calls(server, "runtime_latency") == {("hpt", "Predict", "TF1"): 2}


def test_requests_over_grpc_are_counted_but_those_for_metadata_and_status(
    server: Server, channel: grpc.Channel
) -> None:
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    model_stub = model_service_pb2_grpc.ModelServiceStub(channel)
    for _ in range(3):
        stub.Predict(predict_request("hpt", 1), timeout=PATIENCE)
    for request in (predict_request("nobody", 1), predict_request("raising", -1), predict_pb2.PredictRequest()):
        with pytest.raises(grpc.RpcError):
            stub.Predict(request, timeout=PATIENCE)
    spec: Any = {"name": "hpt"}
    stub.GetModelMetadata(
        get_model_metadata_pb2.GetModelMetadataRequest(model_spec=spec, metadata_field=["signature_def"]),
        timeout=PATIENCE,
    )
    model_stub.GetModelStatus(get_model_status_pb2.GetModelStatusRequest(model_spec=spec), timeout=PATIENCE)
    assert requests(server) == {
        ("", "INVALID_ARGUMENT"): 1,
        ("hpt", "OK"): 3,
        ("nobody", "NOT_FOUND"): 1,
        ("raising", "INVALID_ARGUMENT"): 1,
    }
    assert calls(server, "request_latency") == {("hpt", "Predict", "GRPC"): 3}
    assert calls(server, "runtime_latency") == {("hpt", "Predict", "TF1"): 3}


def test_a_local_call_is_no_request_but_runs_the_model(server: Server) -> None:
    server.predict("hpt", [1.0])
    assert requests(server) == {}
    assert calls(server, "runtime_latency") == {("hpt", "Predict", "TF1"): 1}


def test_a_latency_is_in_microseconds_and_the_runtime_is_a_part_of_the_request(server: Server) -> None:
    assert ask(server, "POST", "/v1/models/slow:predict", {"inputs": 0.25}).status == 200
    families = scraped(server)
    request, runtime = (
        next(s.value for s in families[f"{SERVING}{name}"].samples if s.name.endswith("_sum"))
        for name in ("request_latency", "runtime_latency")
    )
    assert 250_000 <= runtime <= request


def test_buckets_are_cumulative(server: Server) -> None:
    with closing(connect(server)) as connection:
        for _ in range(20):
            ask_on(connection, "POST", PREDICT, BODY)
    for name in ("request_latency", "runtime_latency"):
        samples = scraped(server)[f"{SERVING}{name}"].samples
        buckets = {float(s.labels["le"]): s.value for s in samples if s.name.endswith("_bucket")}
        counts, sums = ([s.value for s in samples if s.name.endswith(end)] for end in ("_count", "_sum"))
        assert len(buckets) == 33
        assert list(buckets) == sorted(buckets)
        assert list(buckets.values()) == sorted(buckets.values())
        assert [buckets[float("inf")]] == counts == [20]
        assert sums[0] > 0


@pytest.mark.parametrize("name", ['a"b\\c', "two\nlines", "模型", "a b", '",status="OK"} 7\n', "%s"])
def test_whatever_a_client_calls_a_model(server: Server, name: str) -> None:
    assert ask(server, "GET", f"/v1/models/{quote(name, safe='')}").status == 404
    assert requests(server) == {(name, "NOT_FOUND"): 1}


def test_what_never_became_a_request_is_not_counted(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", connect(server).port)) as sock:
        head = f"POST {PREDICT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n"
        sock.sendall(head.encode() + b"{")
        until(lambda: len(server._endpoints._rest._http.connections) == 1)
    until(lambda: not server._endpoints._rest._http.connections)
    assert requests(server) == {}


# Loads, and a reload that asks how much they have grown


def test_loads_are_counted_by_path_and_outcome(models: Models, tmp_path: Path, file: str) -> None:
    good, bad = models.copy("half_plus_two", tmp_path / "good"), models.copy("half_plus_two", tmp_path / "bad")
    (bad / "saved_model.pb").write_bytes(b"no graph")
    text = config_text({"good": good.parent, "bad": bad.parent})
    options = {**ANY, "monitoring_config_file": file, "max_num_load_retries": 2, "load_retry_interval_micros": -1}
    with tfs_notebook.serve(config=text, **options) as server:

        def attempts() -> dict[tuple[str, str], int]:
            samples = scraped(server)[":tensorflow:cc:saved_model:load_attempt_count"].samples
            return {(s.labels["model_path"], s.labels["status"]): int(s.value) for s in samples}

        until(lambda: attempts() == {(str(good), "success"): 1, (str(bad), "fail"): 3})
        (latency,) = scraped(server)[":tensorflow:cc:saved_model:load_latency"].samples
        assert latency.labels == {"model_path": str(good)}
        assert latency.value > 0


def counted(server: Server, name: str) -> dict[tuple[str, ...], int]:
    """A counter's values by its labels."""
    return {tuple(s.labels.values()): int(s.value) for s in scraped(server)[f"{SERVING}{name}"].samples}


def test_warm_ups_are_counted_by_path_and_status(models: Models, tmp_path: Path, file: str) -> None:
    good, bad = predict_log([1.0]), predict_log(["no number"])
    rows = {"warm": [good] * 3, "refused": [good, bad, good], "garbage": [b"no log"], "cold": []}
    for name, records in rows.items():
        path = models.copy("half_plus_two", tmp_path / name) / "assets.extra" / "tf_serving_warmup_requests"
        path.parent.mkdir(exist_ok=True)
        with tf.io.TFRecordWriter(str(path)) as writer:
            for record in records:
                writer.write(record)
        if name == "cold":
            path.unlink()
    (tmp_path / "cut").mkdir()
    shutil.copytree(tmp_path / "warm" / "1", tmp_path / "cut" / "1")
    cut = tmp_path / "cut" / "1" / "assets.extra" / "tf_serving_warmup_requests"
    cut.write_bytes(cut.read_bytes()[:-1])
    text = config_text({name: tmp_path / name for name in (*rows, "cut")})
    options = {**ANY, "monitoring_config_file": file, "max_num_load_retries": 1, "load_retry_interval_micros": -1}
    with tfs_notebook.serve(config=text, num_request_iterations_for_warmup=2, **options) as server:
        until(lambda: len(server.problems) == 3 and all(problem.code for problem in server.problems))
        expected = {
            (str(tmp_path / "cut" / "1"), "DATA_LOSS"): (2, 4),
            (str(tmp_path / "garbage" / "1"), "INVALID_ARGUMENT"): (2, 0),
            (str(tmp_path / "refused" / "1"), "INVALID_ARGUMENT"): (2, 4),
            (str(tmp_path / "warm" / "1"), "OK"): (1, 3),
        }  # loads with a file, and the records that they read: with a retry, what fails is read twice
        until(lambda: calls(server, "model_warmup_latency") == {key: loads for key, (loads, _) in expected.items()})
        assert counted(server, "model_warmup_records_read") == {key: read for key, (_, read) in expected.items()}
        sums = [s for s in scraped(server)[f"{SERVING}model_warmup_latency"].samples if s.name.endswith("_sum")]
        assert len(sums) == 4
        assert all(sample.value > 0 for sample in sums)


def predict_log(x: Any) -> bytes:
    log = prediction_log_pb2.PredictionLog()
    log.predict_log.request.inputs["x"].CopyFrom(tf.make_tensor_proto(x))
    return bytes(log.SerializeToString())


# The request log


def test_requests_that_are_written_down_are_counted_by_model_and_status(
    models: Models, tmp_path: Path, file: str
) -> None:
    place = tmp_path / "place"
    place.touch()
    rows = {"kept": (f"{tmp_path}/logs/", 1), "lost": (f"{place}/", 1), "never": (f"{tmp_path}/logs/", 0)}
    logging = {
        name: f"logging_config {{ log_collector_config {{ filename_prefix: '{prefix}' }} "
        f"sampling_config {{ sampling_rate: {rate} }} }}"
        for name, (prefix, rate) in rows.items()
    }
    base_path = models.path("half_plus_two")
    text = config_text(dict.fromkeys((*rows, "silent"), base_path), logging)
    with tfs_notebook.serve(config=text, **ANY, monitoring_config_file=file) as server:
        for name in (*rows, "silent"):
            for _ in range(3):
                assert ask(server, "POST", f"/v1/models/{name}:predict", BODY).status == 200
            assert ask(server, "POST", f"/v1/models/{name}:predict", {"instances": ["x"]}).status == 400
        until(lambda: counted(server, "request_log_count") == {("kept", "OK"): 3, ("lost", "UNAVAILABLE"): 3})


def test_a_reload_tells_by_how_much_counters_have_grown(models: Models, file: str) -> None:
    loads, count = "/tensorflow/cc/saved_model/load_attempt_count", "/tensorflow/serving/request_count"
    hpt = config_text({"hpt": models.path("half_plus_two")})
    options = {**ANY, "monitoring_config_file": file}
    with (
        tfs_notebook.serve(config=hpt, **options) as server,
        grpc.insecure_channel(server.grpc_target) as channel,
    ):
        assert ask(server, "POST", PREDICT, BODY).status == 200  # before the call: does not count

        def growth(text: str) -> list[tuple[str, int]]:
            stub = model_service_pb2_grpc.ModelServiceStub(channel)
            request = model_management_pb2.ReloadConfigRequest(
                config=parse_config(text), metric_names=[loads, count, "/nothing", loads]
            )
            response = stub.HandleReloadConfigRequest(request, timeout=PATIENCE)
            assert response.HasField("status")
            assert response.status.error_code == 0
            return [(metric.name, metric.int64_value_increase) for metric in response.metric]

        assert growth(hpt) == [(loads, 0), (count, 0), ("/nothing", 0), (loads, 0)]
        assert growth("model_config_list {}") == [(loads, 0), (count, 0), ("/nothing", 0), (loads, 0)]
        until(lambda: b"END" in ask(server, "GET", "/v1/models/hpt").body)
        assert growth(hpt) == [(loads, 1), (count, 0), ("/nothing", 0), (loads, 1)]


# Under load, and as time goes by


def test_nothing_is_lost_and_nothing_falls_while_many_ask(server: Server) -> None:
    rounds, threads = 60, 6
    finished = threading.Event()

    def ask_often(_: int) -> None:
        with closing(connect(server)) as connection, grpc.insecure_channel(server.grpc_target) as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            for _ in range(rounds):
                assert ask_on(connection, "POST", PREDICT, BODY).status == 200
                assert ask_on(connection, "POST", "/v1/models/nobody:predict", BODY).status == 404
                stub.Predict(predict_request("hpt", 1), timeout=PATIENCE)

    def scrape_often() -> int:
        before: Counter[tuple[Any, ...]] = Counter()
        scrapes, last = 0, False
        while not last:
            last = finished.is_set()
            samples = [sample for family in scraped(server).values() for sample in family.samples]
            now = Counter({(s.name, *s.labels.items()): s.value for s in samples})
            assert all(now[key] >= value for key, value in before.items())
            before, scrapes = now, scrapes + 1
        return scrapes

    with ThreadPoolExecutor(threads + 1) as pool:
        scraping = pool.submit(scrape_often)
        try:
            list(pool.map(ask_often, range(threads)))
        finally:
            finished.set()
        assert scraping.result() >= 1
    total = rounds * threads
    assert requests(server) == {("hpt", "OK"): 2 * total, ("nobody", "NOT_FOUND"): total}
    assert calls(server, "request_latency") == {("hpt", "predict", "REST"): total, ("hpt", "Predict", "GRPC"): total}
    assert calls(server, "runtime_latency") == {("hpt", "Predict", "TF1"): 2 * total}


def test_they_only_rise_when_models_and_options_change(models: Models, tmp_path: Path, file: str) -> None:
    base_path = tmp_path / "hpt"
    models.copy("half_plus_two", base_path)
    on = {"monitoring_config_file": file}
    with tfs_notebook.serve(str(base_path), model_name="hpt", **ANY) as server, closing(connect(server)) as connection:

        def predict() -> Reply:
            return ask_on(connection, "POST", PREDICT, BODY)

        assert predict().status == 200  # not counted: nobody has asked for it
        start.change(server, str(base_path), "", {"model_name": "hpt", **on})
        assert predict().status == 200  # on the connection that was open before
        assert requests(server) == {("hpt", "OK"): 1}
        models.copy("half_plus_two", base_path, version=2)
        until(lambda: b'"2"' in ask(server, "GET", "/v1/models/hpt/versions/2").body)
        until(lambda: ask(server, "POST", "/v1/models/hpt/versions/1:predict", BODY).status == 404)
        assert predict().status == 200
        counted = calls(server, "runtime_latency")["hpt", "Predict", "TF1"]
        start.change(server, str(base_path), "", {"model_name": "hpt"})
        assert ask(server, "GET", PATH).status == 404
        assert predict().status == 200
        before = server.rest_url
        start.change(server, str(base_path), "", {"model_name": "hpt", **on, "rest_api_port": free_port()})
        assert server.rest_url != before
        assert calls(server, "runtime_latency")["hpt", "Predict", "TF1"] == counted >= 2
        assert ask(server, "POST", PREDICT, BODY).status == 200
        assert calls(server, "runtime_latency")["hpt", "Predict", "TF1"] == counted + 1


def test_a_scrape_waits_for_no_request_and_no_request_for_a_scrape(
    models: Models, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = {"hpt": models.path("half_plus_two"), "slow": models.path("slow")}
    options = {**ANY, "monitoring_config_file": file, "rest_api_num_threads": 1}
    begun, go_on, text = threading.Event(), threading.Event(), Metrics.text

    def long_text(metrics: Metrics) -> str:
        begun.set()
        assert go_on.wait(PATIENCE)
        return text(metrics)

    with tfs_notebook.serve(config=config_text(paths), **options) as server, ThreadPoolExecutor(2) as pool:
        slow = pool.submit(ask, server, "POST", "/v1/models/slow:predict", {"inputs": 2.0})
        assert f"{SERVING}request_count" in scraped(server)
        monkeypatch.setattr(Metrics, "text", long_text)
        scraping = pool.submit(scraped, server)
        assert begun.wait(PATIENCE)
        assert slow.result().status == 200
        assert ask(server, "POST", PREDICT, BODY).status == 200
        assert not scraping.done()
        go_on.set()
        samples = scraping.result()[f"{SERVING}request_count"].samples
        assert {sample.labels["model_name"] for sample in samples} == {"hpt", "slow"}


# Who may ask


def test_the_token_that_requests_need(models: Models, file: str) -> None:
    given = {**ANY, "monitoring_config_file": file, "token": "secret"}
    with tfs_notebook.serve(str(models.path("half_plus_two")), **given) as server:
        for headers in ({}, {"Authorization": "wrong"}):
            assert ask(server, "GET", PATH, headers=headers).status == 401
            assert ask(server, "GET", "/v1/models/model", headers=headers).status == 401
        assert b"TYPE" not in ask(server, "OPTIONS", PATH).body
        assert ask(server, "OPTIONS", PATH).status == 401, "no preflight: it would be told them"
        for token in ("secret", "Bearer secret"):
            families = scraped(server, headers={"Authorization": token})
            assert families[f"{SERVING}request_count"].samples == []  # whoever may not ask makes no series


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Origin": "http://evil.example"},
        {"Origin": "http://localhost:8888", "Sec-Fetch-Site": "cross-site"},
    ],
)
def test_a_page_of_another_site_may_not_ask(server: Server, headers: dict[str, str]) -> None:
    assert ask(server, "GET", PATH, headers=headers).status == 403


def test_prometheus_in_a_container_beside(models: Models, file: str) -> None:
    given = {**ANY, "monitoring_config_file": file, "allowed_hosts": "host.docker.internal"}
    with tfs_notebook.serve(str(models.path("half_plus_two")), **given) as server:
        scraped(server, headers={"Host": "host.docker.internal:8501"})
