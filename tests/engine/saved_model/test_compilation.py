"""A graph is compiled once, whoever asks first and however many come meanwhile."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tensorflow as tf

from tfs_notebook.engine.saved_model.compilation import Compilation
from tfs_notebook.engine.saved_model.loader import load_saved_model
from tfs_notebook.engine.saved_model.servable import SMALL_GRAPH
from tfs_notebook.errors import Code, ServingError

if TYPE_CHECKING:
    from pathlib import Path


def test_others_that_come_meanwhile_wait_for_the_first() -> None:
    compilation, begun, over, compiled = Compilation(), threading.Event(), threading.Event(), []

    def compile_() -> bool:
        begun.set()
        over.wait()
        compiled.append(threading.get_ident())
        return True

    with ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(compilation.once, "y", compile_, None) for _ in range(8)]
        begun.wait()
        with pytest.raises(ServingError, match="Timed out waiting for notification") as error:
            compilation.once("y", compile_, 0.01)
        assert error.value.code is Code.DEADLINE_EXCEEDED
        compilation.once("z", lambda: True, None)  # something else waits for nothing
        over.set()
        assert [call.result() for call in calls] == [None] * 8
    assert len(compiled) == 1


def test_what_could_not_be_compiled_is_tried_again() -> None:
    compilation, tried = Compilation(), []
    for outcome in (False, True, True):
        compilation.once("y", lambda outcome=outcome: tried.append(outcome) or outcome, None)
    assert tried == [False, True]


def test_the_time_for_compiling_is_the_calls_own() -> None:
    compilation, clock = Compilation(), time.monotonic
    until = clock() + 0.05

    def compile_() -> bool:
        while clock() < until:
            pass
        return True

    left = compilation.once("y", compile_, 20.0)
    assert left is not None
    assert left < 19.96
    assert compilation.once("y", compile_, 20.0) == 20.0


@pytest.fixture(scope="module")
def long_graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    class Long(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
        def __call__(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
            for i in range(4 * SMALL_GRAPH):
                x = tf.sin(x) * (1.0 + i)
            return {"y": x}

    directory = tmp_path_factory.mktemp("long") / "1"
    module = Long()
    tf.saved_model.save(module, str(directory), signatures=module.__call__)
    return directory


def test_after_the_first_call_nothing_is_left_to_compile(long_graph: Path) -> None:
    """On whichever thread, with a deadline or without: measured is the time that the caller's thread works."""
    model = load_saved_model(long_graph)
    signature = model.signatures["serving_default"]

    def work(size: int, timeout: float | None) -> float:
        started = time.thread_time()
        model.run(signature, {"x": np.ones(size, np.float32)}, None, timeout)
        return time.thread_time() - started

    first = work(1, 60.0)
    later = [work(1 + call % 3, None if call % 2 else 60.0) for call in range(80)]
    model.close()
    assert max(later) < first / 3
