"""The names that are private to TensorFlow do what the engine takes them for, and the public calls can stand in."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tensorflow as tf

from tfs_notebook.engine.saved_model import session
from tfs_notebook.engine.saved_model.graph_loader import load_into
from tfs_notebook.engine.saved_model.session import CALLING_THREAD, HAS_RAW_GRAPH, HAS_RAW_RUN, THREAD_POOL, Runner

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Models


@contextlib.contextmanager
def running(version: Path) -> Iterator[tuple[Runner, dict[str, str], dict[str, str]]]:
    """A runner of the version, with the names of its tensors by alias."""
    of_version = tf.compat.v1.Session(graph=tf.Graph())
    meta_graph = load_into(of_version, ["serve"], str(version))
    definition = meta_graph.signature_def["serving_default"]
    runner = Runner(of_version)
    yield (
        runner,
        *({alias: info.name for alias, info in side.items()} for side in (definition.inputs, definition.outputs)),
    )
    runner.close()


@pytest.fixture(params=["raw", "public"])
def raw(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Both ways of running a session."""
    if request.param == "public":
        monkeypatch.setattr(session, "HAS_RAW_RUN", False)
    return bool(request.param == "raw")


def test_this_tensorflow_has_the_raw_run() -> None:
    """Everything else would still work, but slower, and stricter about shapes than TensorFlow Serving."""
    assert HAS_RAW_RUN
    assert HAS_RAW_GRAPH
    for name in (
        "ExtendSession", "SavedModelLoader", "TF_DeleteBuffer", "TF_NewBufferFromString", "TF_SessionMakeCallable",
        "TF_SessionRun_wrapper",
    ):  # fmt: skip
        assert callable(getattr(session, name))


@pytest.mark.parametrize("pool", [CALLING_THREAD, THREAD_POOL])
@pytest.mark.parametrize("timeout", [None, 10.0])
def test_run(models: Models, raw: bool, pool: int, timeout: float | None) -> None:
    with running(models.path("half_plus_two") / "1") as (runner, inputs, outputs):
        feeds: dict[Any, np.ndarray] = {runner.tensor(inputs["x"]): np.array([1, 2], np.float32)}
        y = runner.tensor(outputs["y"])
        first, second = runner.run(feeds, [y, y], pool=pool, timeout=timeout)
        assert isinstance(first, np.ndarray)
        assert first.tolist() == [2.5, 3.0]
        assert np.array_equal(first, second)


@pytest.mark.parametrize("name", ["aliased", "no_input", "vocabulary"])
def test_a_graph_without_variables_runs_without_having_run_before(models: Models, raw: bool, name: str) -> None:
    with running(models.path(name) / "1") as (runner, inputs, outputs):
        (alias,) = sorted(inputs)[-1:]
        value = np.array([b"fox"], object) if name == "vocabulary" else np.ones(1, np.float32)
        output = runner.tensor(outputs[max(outputs)])
        (answer,) = runner.run({runner.tensor(inputs[alias]): value}, [output], pool=CALLING_THREAD, timeout=None)
        assert answer.shape == (1,)


def test_the_calling_thread_computes_itself(models: Models) -> None:
    """What makes a small call cheap: no other thread is woken, so none has any time to show."""
    with running(models.path("half_plus_two") / "1") as (runner, inputs, outputs):
        feeds: dict[Any, np.ndarray] = {runner.tensor(inputs["x"]): np.ones(1, np.float32)}
        fetches = [runner.tensor(outputs["y"])]

        def share_of_this_thread(pool: int) -> float:
            for _ in range(20):
                runner.run(feeds, fetches, pool=pool, timeout=None)
            mine, everyone = time.thread_time(), time.process_time()
            for _ in range(2000):
                runner.run(feeds, fetches, pool=pool, timeout=None)
            return (time.thread_time() - mine) / (time.process_time() - everyone)

        assert share_of_this_thread(CALLING_THREAD) > 0.9
        assert share_of_this_thread(THREAD_POOL) < 0.8


def test_a_tensor_that_is_not_there(models: Models, raw: bool) -> None:
    with running(models.path("half_plus_two") / "1") as (runner, _, _):
        with pytest.raises(KeyError):
            runner.tensor("nothing:0")
        with pytest.raises((KeyError, ValueError)):
            runner.tensor("")
        with pytest.raises((KeyError, ValueError)):
            runner.tensor("saver_filename")  # an operation


def test_errors_are_op_errors_with_a_canonical_code(models: Models, raw: bool) -> None:
    with running(models.path("raising") / "1") as (runner, inputs, outputs):
        feeds: dict[Any, np.ndarray] = {runner.tensor(inputs["x"]): np.array([-1], np.float32)}
        with pytest.raises(tf.errors.OpError) as error:
            runner.run(feeds, [runner.tensor(outputs["y"])], pool=CALLING_THREAD, timeout=None)
        assert error.value.error_code == 3
        assert "x must not be negative" in error.value.message
        assert "{{node" in error.value.message


def test_the_pools_keep_a_deadline(models: Models, raw: bool) -> None:
    with running(models.path("slow") / "1") as (runner, inputs, outputs):
        feeds: dict[Any, np.ndarray] = {runner.tensor(inputs["seconds"]): np.array(60, np.float32)}
        started = time.monotonic()
        with pytest.raises(tf.errors.DeadlineExceededError, match="Timed out"):
            runner.run(feeds, [runner.tensor(outputs["elapsed"])], pool=THREAD_POOL, timeout=0.1)
        assert time.monotonic() - started < 20


def test_python_goes_on_during_a_call(models: Models, raw: bool) -> None:
    with running(models.path("slow") / "1") as (runner, inputs, outputs):
        feeds: dict[Any, np.ndarray] = {runner.tensor(inputs["seconds"]): np.array(0.2, np.float32)}
        fetches = [runner.tensor(outputs["elapsed"])]
        call = threading.Thread(target=runner.run, args=(feeds, fetches), kwargs={"pool": THREAD_POOL, "timeout": None})
        call.start()
        turns = 0
        while call.is_alive():
            turns += 1
        assert turns > 100


@pytest.mark.parametrize("timeout", [0.0, 0.0001, -1.0])
def test_a_deadline_that_has_passed_is_not_no_deadline(models: Models, timeout: float) -> None:
    with running(models.path("slow") / "1") as (runner, inputs, outputs):
        feeds: dict[Any, np.ndarray] = {runner.tensor(inputs["seconds"]): np.array(60, np.float32)}
        with pytest.raises(tf.errors.DeadlineExceededError):
            runner.run(feeds, [runner.tensor(outputs["elapsed"])], pool=THREAD_POOL, timeout=timeout)


def test_close_closes_the_session_even_while_somebody_holds_it() -> None:
    held = tf.compat.v1.Session(graph=tf.Graph())
    Runner(held).close()
    with pytest.raises(RuntimeError, match="closed"):
        held.run([])
