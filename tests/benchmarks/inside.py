"""Figures from inside one process: local calls, JSON bodies, imports, memory."""

from __future__ import annotations

import gc
import os
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import orjson
import psutil

from tests.benchmarks import load
from tests.benchmarks.measure import Measure, at_most, below, in_turn, told

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


def p50(call: Callable[[], object], calls: int = 2000) -> float:
    """The median time of a call in seconds, after a warm-up."""
    for _ in range(100):
        call()
    times = []
    for _ in range(calls):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def bare_session(directory: Path) -> tuple[Callable[[np.ndarray], object], object]:
    """A call of the SavedModel's `serving_default` with nothing around it, and what keeps it alive."""
    from tfs_notebook.engine.saved_model.loader import load_saved_model
    from tfs_notebook.engine.saved_model.session import CALLING_THREAD

    model = load_saved_model(directory)
    signature = model.signatures["serving_default"]
    feed = model._runner.tensor(next(iter(signature.inputs.values())).name)
    fetches = [model._runner.tensor(spec.name) for spec in signature.outputs.values()]
    run = model._runner.run
    return lambda array: run({feed: array}, fetches, pool=CALLING_THREAD, timeout=None), model


def rows_together(directory: Path, row: np.ndarray, rows: int) -> Measure:
    """So many rows of a SavedModel in one call beside a call for each; a caller and a thread for each processor."""
    from tfs_notebook.engine.saved_model.loader import SessionOptions, load_saved_model

    model = load_saved_model(directory, SessionOptions(intra_op_threads=1))
    signature = model.signatures["serving_default"]
    (alias,) = signature.inputs

    def rate(array: np.ndarray) -> float:
        started = time.perf_counter()

        def call_for_a_while() -> int:
            calls = 0
            while time.perf_counter() < started + load.SECONDS:
                model.run(signature, {alias: array}, None, None)
                calls += 1
            return calls

        with ThreadPoolExecutor(os.cpu_count()) as callers:
            ended = [callers.submit(call_for_a_while) for _ in range(os.cpu_count() or 1)]
            calls = sum(each.result() for each in ended)
        return calls * len(array) / (time.perf_counter() - started)

    together = np.repeat(row, rows, axis=0)
    value, floor = in_turn(lambda: rate(together), lambda: rate(row))
    return told(f"small CNN without a server, {rows} rows together", value, floor, "rows/s")


def local_call(base_path: Path) -> Measure:
    """`Server.predict` beside the session call in it."""
    import tfs_notebook

    x = np.array([1.0, 2.0, 5.0], np.float32)
    call, _model = bare_session(base_path / "1")
    with tfs_notebook.serve(str(base_path), port=0, rest_api_port=0) as server:
        value, floor = in_turn(lambda: p50(lambda: server.predict("model", x)), lambda: p50(lambda: call(x)))
    return Measure(
        "local predict, x·0.5+2, p50", value * 1e6, floor * 1e6, "µs", "floor + 40 µs", value - floor <= 40e-6
    )


def json_body() -> Iterator[Measure]:
    """A 3 MB image body to an array, beside orjson and `np.asarray`.

    Twice: lists of numbers make the collector walk all of TensorFlow's objects, which is what a kernel sees and most
    of that floor; without the collector the floor is the bare work.
    """
    from tfs_notebook.api.json import codec as json_codec
    from tfs_notebook.engine.models.signature import Signature, TensorSpec

    images = np.random.default_rng(0).random((2, 224, 224, 3), np.float32)
    body = orjson.dumps({"instances": images}, option=orjson.OPT_SERIALIZE_NUMPY)
    spec = TensorSpec("x:0", "float", (None, 224, 224, 3), np.dtype(np.float32))
    signature = Signature("serving_default", {"x": spec}, {})
    for collector in ("on", "off"):
        if collector == "off":
            gc.disable()
        try:
            value, floor = in_turn(
                lambda: p50(lambda: json_codec.parse_predict(body).tensors(signature), 50),
                lambda: p50(lambda: np.asarray(orjson.loads(body)["instances"], np.float32), 50),
            )
        finally:
            gc.enable()
        name = f"{len(body) / 1e6:.1f} MB JSON image to array, collector {collector}, p50"
        yield at_most(name, value * 1e3, floor * 1e3, "ms", 0.4)


def typed_values() -> Measure:
    """150 000 numbers of a gRPC request as `float_val`, beside the same bytes as `tensor_content`."""
    import tensorflow as tf
    from tensorflow_serving.apis.predict_pb2 import PredictRequest

    from tfs_notebook.api.tensor_proto import from_array, to_array

    array = np.random.default_rng(0).random((1, 150_000), np.float32)
    typed, packed = PredictRequest(), PredictRequest()
    typed.inputs["x"].CopyFrom(from_array(array))
    packed.inputs["x"].CopyFrom(tf.make_tensor_proto(array))
    messages = typed.SerializeToString(), packed.SerializeToString()
    assert typed.inputs["x"].float_val
    assert packed.inputs["x"].tensor_content

    def read(message: bytes) -> object:
        return to_array("x", PredictRequest.FromString(message).inputs["x"])

    value, floor = in_turn(lambda: p50(lambda: read(messages[0]), 50), lambda: p50(lambda: read(messages[1]), 50))
    return at_most("150 000 float_val, beside tensor_content, p50", value * 1e6, floor * 1e6, "µs", 2)


def load_ext() -> Measure:
    """`%load_ext` in a fresh interpreter."""
    program = (
        "import sys, time\nfrom IPython.core.interactiveshell import InteractiveShell\n"
        "shell = InteractiveShell.instance()\nstarted = time.perf_counter()\n"
        "shell.run_line_magic('load_ext', 'tfs_notebook')\nprint(time.perf_counter() - started)\n"
        "assert not {'tensorflow', 'grpc', 'oss2'} & set(sys.modules)"
    )
    times = [
        float(subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout)
        for _ in range(3)
    ]
    return below("%load_ext, no TensorFlow, grpc or oss2 imported", statistics.median(times), 0.3, "s")


def memory(base_path: Path) -> Measure:
    """Resident memory after 200 × load and unload, beside that after 20."""
    program = f"from tests.benchmarks.inside import _load_and_unload; _load_and_unload({str(base_path)!r})"
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    early, late = (float(part) for part in printed.split()[-2:])
    return at_most("memory after 200 × load and unload", late, early, "MB", 1.05)


def _load_and_unload(base_path: str) -> None:
    import tfs_notebook
    from tfs_notebook.engine.config import parse_config
    from tfs_notebook.settings.deployment import single_model

    served, nothing = single_model("model", base_path), parse_config("model_config_list {}")
    x = np.zeros((1, 28, 28, 1), np.float32)
    with tfs_notebook.serve(base_path, port=0, rest_api_port=0) as server:
        for cycle in range(1, 201):
            server.predict("model", x)
            server.reload(nothing)
            while server.status().models[0].versions[0].state.name != "END":
                time.sleep(0.001)
            server.reload(served)
            if cycle in {20, 200}:
                gc.collect()
                print(psutil.Process().memory_info().rss / 1e6)
