"""`make bench`: every figure beside its floor, both measured in this run, in turn.

Absolute times depend on the machine and on what else it does; the ratios are what the project keeps. A line without a
bound shows what the machine allows. Exits with 1 when a bound was missed.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import orjson

from tests.benchmarks import bucket, inside, load, loading, many
from tests.benchmarks.measure import Measure, at_least, at_most, in_turn, told
from tests.benchmarks.processes import running
from tests.support import saved_models

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Ports = tuple[int, ...]

SMALL = b'{"instances": [1.0, 2.0, 5.0]}'


def rest_small(root: Path) -> Iterator[Measure]:
    """x·0.5+2 over REST, beside an echo of the same body."""
    with running("serve", str(root / "half_plus_two")) as (port, _), running("http_echo") as (echo,):
        load.rest(port, SMALL)
        value, floor = in_turn(lambda: load.rest(port, SMALL).p50, lambda: load.rest(echo, SMALL).p50)
        yield at_most("REST x·0.5+2, one connection, p50", value * 1e6, floor * 1e6, "µs", 1.5)
        value, floor = in_turn(
            lambda: load.rest(port, SMALL, connections=8).rate, lambda: load.rest(echo, SMALL, connections=8).rate
        )
        yield at_least("REST x·0.5+2, eight connections", value, floor, "requests/s", 0.45)


def rest_cnn(root: Path) -> Iterator[Measure]:
    """A small CNN over REST with a 28×28 body, beside the bare session call in a loop."""
    image = np.random.default_rng(0).random((1, 28, 28, 1), np.float32)
    body = orjson.dumps({"instances": image}, option=orjson.OPT_SERIALIZE_NUMPY)
    call, _model = inside.bare_session(root / "cnn" / "1")

    def loop() -> float:
        started, calls = time.perf_counter(), 0
        while time.perf_counter() < started + load.SECONDS:
            call(image)
            calls += 1
        return calls / (time.perf_counter() - started)

    with running("serve", str(root / "cnn")) as (port, _):
        load.rest(port, body, connections=8)
        loads: list[load.Load] = []

        def served() -> float:
            loads.append(load.rest(port, body, connections=8))
            return loads[-1].rate

        value, floor = in_turn(served, loop)
    yield at_least("REST small CNN, eight connections", value, floor, "requests/s", 0.8)
    middle = sorted(loads, key=lambda seen: seen.p99 / seen.p50)[len(loads) // 2]
    yield at_most("REST small CNN, eight connections, p99 beside p50", middle.p99 * 1e3, middle.p50 * 1e3, "ms", 5)


def grpc_small(root: Path) -> Iterator[Measure]:
    """x·0.5+2 over gRPC, beside an echo of the same bytes."""
    import tensorflow as tf
    from tensorflow_serving.apis.predict_pb2 import PredictRequest

    request = PredictRequest()
    request.model_spec.name = "model"
    request.inputs["x"].CopyFrom(tf.make_tensor_proto([1.0, 2.0, 5.0]))
    message = request.SerializeToString()
    with running("serve", str(root / "half_plus_two")) as (_, port), running("grpc_echo") as (echo,):
        load.grpc(port, message)
        value, floor = in_turn(lambda: load.grpc(port, message).p50, lambda: load.grpc(echo, message).p50)
        yield at_most("gRPC x·0.5+2, one connection, p50", value * 1e6, floor * 1e6, "µs", 1.6)
        value, floor = in_turn(
            lambda: load.grpc(port, message, connections=8, requests=8000).rate,
            lambda: load.grpc(echo, message, connections=8, requests=8000).rate,
        )
        yield at_least("gRPC x·0.5+2, eight connections", value, floor, "requests/s", 0.65)


def batching(root: Path) -> Iterator[Measure]:
    """A small CNN for 32 clients, and for one, with --enable_batching, beside the same without.

    Before, what this machine allows: what running rows together gains when there is no server around it, and how many
    answers 32 clients get from an echo.
    """
    import tensorflow as tf
    from tensorflow_serving.apis.predict_pb2 import PredictRequest

    image = np.random.default_rng(0).random((1, 28, 28, 1), np.float32)
    body = orjson.dumps({"instances": image}, option=orjson.OPT_SERIALIZE_NUMPY)
    request = PredictRequest()
    request.model_spec.name = "model"
    request.inputs["keras_tensor"].CopyFrom(tf.make_tensor_proto(image))
    message = request.SerializeToString()
    path, file = str(root / "cnn"), root / "batching.txt"
    file.write_text(
        "max_batch_size { value: 16 } batch_timeout_micros { value: 2000 } max_enqueued_batches { value: 100 } "
        "num_batch_threads { value: 1 }"
    )
    with running("serve", path) as alone:
        with running("serve", path, "enable_batching=true", f"batching_parameters_file={file}") as batched:
            yield inside.rows_together(root / "cnn" / "1", image, 16)
            with running("http_echo") as echo:
                yield _echoed("REST", lambda ports: load.rest(ports[0], body, connections=32), echo, alone)
            with running("grpc_echo") as echo:
                yield _echoed("gRPC", lambda ports: load.grpc(ports[-1], message, connections=32), echo, alone)
            yield from _of_32("REST", lambda ports: load.rest(ports[0], body, connections=32), batched, alone)
            yield from _of_32("gRPC", lambda ports: load.grpc(ports[1], message, connections=32), batched, alone)
        with running("serve", path, "enable_batching=true") as batched:
            for name, ask in (
                ("REST", lambda ports: load.rest(ports[0], body).p50),
                ("gRPC", lambda ports: load.grpc(ports[1], message, requests=1000).p50),
            ):
                value, floor = _warm_in_turn(ask, batched, alone)
                title = f"{name} small CNN, batching, one client, p50"
                yield at_most(title, value * 1e3, floor * 1e3, "ms", 1.5)


def _echoed(name: str, ask: Callable[[Ports], load.Load], echo: Ports, alone: Ports) -> Measure:
    value, floor = _warm_in_turn(lambda ports: ask(ports).rate, echo, alone)
    return told(f"{name} echo beside the small CNN without batching, 32 clients", value, floor, "requests/s")


def _of_32(name: str, ask: Callable[[Ports], load.Load], batched: Ports, alone: Ports) -> Iterator[Measure]:
    seen: list[load.Load] = []

    def rate(ports: Ports) -> float:
        seen.append(ask(ports))
        return seen[-1].rate

    value, floor = _warm_in_turn(rate, batched, alone)
    yield at_least(f"{name} small CNN, batching, 32 clients", value, floor, "requests/s", 2)
    middle = sorted(seen[2::2], key=lambda load: load.p99 / load.p50)[len(seen[2::2]) // 2]
    name = f"{name} small CNN, batching, 32 clients, p99 beside p50"
    yield at_most(name, middle.p99 * 1e3, middle.p50 * 1e3, "ms", 4)


def _warm_in_turn(ask: Callable[[Ports], float], first: Ports, second: Ports) -> tuple[float, float]:
    ask(first), ask(second)
    return in_turn(lambda: ask(first), lambda: ask(second))


def watched(root: Path) -> Iterator[Measure]:
    """What the token check and the metrics take of REST's throughput; calls are always counted."""
    path, file = str(root / "half_plus_two"), root / "monitoring.txt"
    file.write_text("prometheus_config { enable: true }")
    options = "token=a-token-of-some-length", f"monitoring_config_file={file}"
    with running("serve", path) as (plain, _), running("serve", path, *options) as (port, _):
        for warm_up in ((plain, ""), (port, "a-token-of-some-length")):
            load.rest(warm_up[0], SMALL, connections=8, token=warm_up[1])
        value, floor = in_turn(
            lambda: load.rest(port, SMALL, connections=8, token="a-token-of-some-length").rate,
            lambda: load.rest(plain, SMALL, connections=8).rate,
        )
    yield at_least("REST with token and metrics, eight connections", value, floor, "requests/s", 0.9)


def busy_cell(root: Path) -> Iterator[Measure]:
    """REST while a cell runs pure Python, beside an idle kernel; the middle of several looks, which differ widely.

    Before, what the cell itself does while nobody asks.
    """
    path = str(root / "half_plus_two")
    yield many.cell_speed(root / "half_plus_two")
    with running("serve", path) as (port, _):
        idle = _look(port)
    with running("serve_and_spin", path) as (port, _):
        busy = _look(port)
    with running("serve_and_spin", path, "switch_interval_micros=500") as (port, _):
        eased = _look(port)
    for name, value, floor, most in (("p50", busy.p50, idle.p50, 0.002), ("p99", busy.p99, idle.p99, 0.02)):
        bound = f"under {most * 1e3:g} ms"
        yield Measure(f"REST {name} while a cell spins", value * 1e3, floor * 1e3, "ms", bound, value < most)
    name = "the same with --switch_interval_micros=500, p50 beside idle"
    yield at_most(name, eased.p50 * 1e3, idle.p50 * 1e3, "ms", 3)


def _look(port: int) -> load.Load:
    """The middle of each figure in several looks."""
    load.rest(port, SMALL)
    seen = [load.rest(port, SMALL) for _ in range(5)]
    return load.Load(*(statistics.median(getattr(look, name) for look in seen) for name in ("p50", "p99", "rate")))


def many_models(root: Path) -> Iterator[Measure]:
    """Many small versions at once."""
    yield from many.many_versions(root / "half_plus_two" / "1")


def in_process(root: Path) -> Iterator[Measure]:
    """What needs no load from outside."""
    yield inside.local_call(root / "half_plus_two")
    yield from inside.json_body()
    yield inside.typed_values()
    yield inside.load_ext()
    yield inside.memory(root / "cnn")


GROUPS: dict[str, Callable[[Path], Iterator[Measure]]] = {
    "rest": rest_small, "cnn": rest_cnn, "grpc": grpc_small, "batching": batching, "inside": in_process,
    "busy": busy_cell, "many": many_models, "watched": watched, "oss": bucket.large_files,
    "network": bucket.over_a_network, "meanwhile": bucket.meanwhile, "loading": loading.loading,
}  # fmt: skip


def main(names: list[str]) -> int:
    """Run the named groups, by default all; returns the exit status."""
    kept = True
    print(f"{'':<58} {'this project':>16} {'floor':>16} {'ratio':>8}  bound")
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        saved_models.half_plus_two(root / "half_plus_two" / "1")
        saved_models.cnn(root / "cnn" / "1", filters=(32, 64))
        for name in names or GROUPS:
            try:
                for measure in GROUPS[name](root):
                    print(measure, flush=True)
                    kept &= measure.kept is not False
            except load.MissingToolError as error:
                print(f"{name}: not measured, {error}")
                kept = False
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
