"""Loading a SavedModel of many operations: how long it takes, and how long other threads wait meanwhile."""

from __future__ import annotations

import ctypes
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.measure import Measure, at_most, in_turn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OPERATIONS = 26_000
WAIT_SECONDS = 0.05
"""What another thread may wait at most while a model loads, beyond what it waits without."""


def many_operations(directory: Path) -> Path:
    """A SavedModel that takes the sine of the sine of … x."""
    from tensorflow.core.framework.types_pb2 import DT_FLOAT
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    content = SavedModel(saved_model_schema_version=1)
    meta_graph = content.meta_graphs.add()
    meta_graph.meta_info_def.tags.append("serve")
    graph = meta_graph.graph_def
    graph.versions.producer = 2000
    graph.node.add(name="x", op="Placeholder").attr["dtype"].type = DT_FLOAT
    before = "x"
    for number in range(OPERATIONS):
        node = graph.node.add(name=f"a_name_as_long_as_they_are/layer_{number}/Sin", op="Sin", input=[before])
        node.attr["T"].type = DT_FLOAT
        before = node.name
    signature = meta_graph.signature_def["serving_default"]
    signature.method_name = "tensorflow/serving/predict"
    for side, name in ((signature.inputs["x"], "x"), (signature.outputs["y"], before)):
        side.name, side.dtype, side.tensor_shape.unknown_rank = f"{name}:0", DT_FLOAT, True
    directory.mkdir(parents=True)
    (directory / "saved_model.pb").write_bytes(content.SerializeToString())
    return directory


def cpp_loader(directory: Path) -> Callable[[], None]:
    """TensorFlow Serving's own loader on `directory`."""
    import tensorflow as tf

    library = ctypes.CDLL(str(next(Path(tf.sysconfig.get_lib()).glob("libtensorflow_cc*"))))
    pointer = ctypes.c_void_p
    for name in ("TF_NewSessionOptions", "TF_NewGraph", "TF_NewStatus", "TF_LoadSessionFromSavedModel"):
        getattr(library, name).restype = pointer

    def load() -> None:
        status, options, graph = (
            pointer(getattr(library, f"TF_New{name}")()) for name in ("Status", "SessionOptions", "Graph")
        )
        tags = (ctypes.c_char_p * 1)(b"serve")
        found = library.TF_LoadSessionFromSavedModel(options, None, bytes(directory), tags, 1, graph, None, status)
        assert found
        library.TF_CloseSession(pointer(found), status)
        library.TF_DeleteSession(pointer(found), status)
        library.TF_DeleteGraph(graph)

    return load


def seconds(work: Callable[[], object]) -> float:
    """How long `work` takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def worst_wait(work: Callable[[], object]) -> float:
    """How long a thread that sleeps a millisecond again and again waits at worst while `work` runs."""
    waits, over = [0.0], threading.Event()

    def watch() -> None:
        while not over.is_set():
            waits.append(seconds(lambda: over.wait(0.001)))

    watcher = threading.Thread(target=watch)
    watcher.start()
    work()
    over.set()
    watcher.join()
    return max(waits)


def loading(scratch: Path) -> Iterator[Measure]:
    """A graph of many operations, beside the C++ loader in the same process."""
    from tfs_notebook.engine.saved_model.loader import load_saved_model

    directory = many_operations(scratch / "many_operations" / "1")
    cpp = cpp_loader(directory)

    def load() -> None:
        load_saved_model(directory).close()

    name = f"load of {OPERATIONS:,} operations"
    value, floor = in_turn(lambda: seconds(load), lambda: seconds(cpp))
    yield at_most(f"{name}, beside the C++ loader", value, floor, "s", 1.5)
    value, floor = in_turn(lambda: worst_wait(load), lambda: worst_wait(cpp))
    kept = value - floor <= WAIT_SECONDS
    yield Measure(f"{name}, another thread's wait", value * 1e3, floor * 1e3, "ms", "floor + 50 ms", kept)
