"""What a server with --enable_batching and metrics tells Prometheus of its batches."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

import tfs_notebook
from tests.support.serving import ask
from tfs_notebook.server.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Models

ROWS = 3
CLIENTS = 2
SESSION = ":tensorflow:serving:batching_session:"


Serve = Callable[[str], Server]


@pytest.fixture
def serve(models: Models, tmp_path: Path) -> Iterator[Serve]:
    """Serves `model` (x/2 + 2) with metrics and the batching parameters that it is given."""
    with ExitStack() as stack:

        def serve(parameters: str) -> Server:
            monitoring, batching = tmp_path / "monitoring", tmp_path / "batching"
            monitoring.write_text("prometheus_config { enable: true }")
            batching.write_text(parameters)
            server = tfs_notebook.serve(
                str(models.path("half_plus_two")),
                port=0,
                rest_api_port=0,
                enable_batching=True,
                batching_parameters_file=str(batching),
                monitoring_config_file=str(monitoring),
            )
            return stack.enter_context(server)

        yield serve


def predict(server: Server) -> int:
    """The status of a request with `ROWS` rows."""
    return ask(server, "POST", "/v1/models/model:predict", {"instances": [1.0] * ROWS}).status


def samples(server: Server) -> dict[str, dict[str, float]]:
    """What is told of batches: by metric and sample, like `count` or `le=4`."""
    text = ask(server, "GET", "/monitoring/prometheus/metrics").body.decode()
    found: dict[str, dict[str, float]] = {}
    for family in text_string_to_metric_families(text):
        if family.name.startswith(SESSION):
            found[family.name.removeprefix(SESSION)] = {
                f"le={sample.labels['le']}" if "le" in sample.labels else sample.name.rpartition("_")[2]: sample.value
                for sample in family.samples
            }
    return found


def test_before_the_first_batch_there_are_types_alone(serve: Serve) -> None:
    names = ("wrapped_run_count", "input_batch_size", "padding_size", "processed_batch_size", "queuing_latency")
    assert samples(serve("")) == {name: {} for name in names}


def test_batches_are_counted_with_their_sizes_and_the_requests_with_their_waits(serve: Serve) -> None:
    server = serve("max_batch_size { value: 6 } batch_timeout_micros { value: 3600000000 }")  # runs full batches only
    with ThreadPoolExecutor(CLIENTS) as clients:
        assert list(clients.map(lambda _: predict(server), range(2 * CLIENTS))) == [200] * 2 * CLIENTS
    told = samples(server)
    assert told["wrapped_run_count"] == {"total": 2}
    assert told["input_batch_size"].items() >= {"count": 4, "sum": 12, "le=2": 0, "le=4": 4}.items()
    assert told["processed_batch_size"].items() >= {"count": 2, "sum": 12, "le=4": 0, "le=8": 2}.items()
    assert told["padding_size"].items() >= {"count": 2, "sum": 0}.items()
    assert told["queuing_latency"]["count"] == 4
    assert told["queuing_latency"]["sum"] > 0


def test_padding_is_counted_by_the_size_that_runs(serve: Serve) -> None:
    server = serve("max_batch_size { value: 8 } allowed_batch_sizes: 8")
    assert predict(server) == 200
    told = samples(server)
    assert told["processed_batch_size"]["sum"] == 8
    assert told["input_batch_size"]["sum"] == ROWS
    page = ask(server, "GET", "/monitoring/prometheus/metrics").body.decode()
    assert f'{SESSION}padding_size_sum{{execution_batch_size="8"}} 5\n' in page
