"""A model.tflite as a servable, held to TensorFlow Serving's rules."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.support import tflite_models
from tests.support.serving import PATIENCE
from tests.support.tflite_models import definition, renamed, with_metadata, with_signatures, write
from tfs_notebook.engine.saved_model.loader import Loader
from tfs_notebook.engine.tflite import interpreter
from tfs_notebook.engine.tflite.interpreter import Interpreter, InterpreterPool
from tfs_notebook.engine.tflite.servable import TFLiteLoader, TFLiteModel, load_tflite_model
from tfs_notebook.errors import Code, ServingError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.conftest import Models

ALL = {"x": "serving_default_x:0", "z": "serving_default_z:0"}, {"y": "PartitionedCall:0", "sum": "PartitionedCall:1"}


@pytest.fixture(scope="module")
def linear() -> bytes:
    return tflite_models.linear()


@pytest.fixture(scope="module")
def words() -> bytes:
    return tflite_models.words()


@pytest.fixture(scope="module")
def gathering() -> bytes:
    return tflite_models.gathering()


def ask(
    model: TFLiteModel, outputs: Sequence[str] | None = None, signature: str = "serving_default", **inputs: Any
) -> Any:
    """The outputs as lists."""
    arrays = {
        alias: value if isinstance(value, np.ndarray) else np.array(value, np.float32)
        for alias, value in inputs.items()
    }
    found = model.run(model.signatures[signature], arrays, outputs, None)
    return {alias: array.tolist() for alias, array in found.items()}


def refusal(model: TFLiteModel, **inputs: Any) -> tuple[str, str]:
    with pytest.raises(ServingError) as caught:
        ask(model, **inputs)
    return caught.value.code.name, caught.value.message


def load_error(content: bytes) -> ServingError:
    with pytest.raises(ServingError) as caught:
        TFLiteModel(content)
    return caught.value


# Signatures


def test_without_metadata_everything_is_called_as_its_tensor(linear: bytes) -> None:
    model = TFLiteModel(linear)
    (signature,) = model.signatures.values()
    assert (signature.name, signature.method_name) == ("serving_default", "tensorflow/serving/predict")
    assert {alias: str(spec) for alias, spec in signature.inputs.items()} == {
        "serving_default_x": "float[?, 2]",
        "serving_default_z": "float[?, 2]",
    }
    assert {alias: str(spec) for alias, spec in signature.outputs.items()} == {
        "PartitionedCall": "float[?, 2]",
        "PartitionedCall:1": "float[?]",
    }
    info = model.signature_def["serving_default"].inputs["serving_default_x"]
    assert info.name == "serving_default_x:0"
    x, z = [[1, 2], [3, 4]], [[0, 1], [0, 1]]
    assert ask(model, serving_default_x=x, serving_default_z=z) == {
        "PartitionedCall": [[2, 5], [6, 9]],
        "PartitionedCall:1": [7, 15],
    }


def test_signatures_of_the_metadata(linear: bytes) -> None:
    signatures = {
        "serving_default": definition(*ALL, shape=[None, 2]),
        "sum": definition({"a": "serving_default_x:0", "b": "serving_default_z:0"}, {"s": "PartitionedCall:1"}, [None]),
    }
    model = TFLiteModel(with_signatures(linear, signatures))
    assert dict(model.signature_def) == signatures
    assert ask(model, x=[[1, 2]], z=[[0, 1]]) == {"y": [[2, 5]], "sum": [7]}
    assert ask(model, outputs=["sum"], x=[[1, 2]], z=[[0, 1]]) == {"sum": [7]}
    assert ask(model, signature="sum", a=[[1, 2]], b=[[0, 1]]) == {"s": [7]}


def test_a_name_is_taken_exactly_and_else_without_its_end(linear: bytes) -> None:
    _, outputs = ALL
    of_old = renamed(linear, {"serving_default_x:0": "x", "serving_default_z:0": "x:0"})
    for x, z, expected in (("x", "x:0", [[2, 5]]), ("x:0", "x", [[1, 4]])):
        model = TFLiteModel(with_signatures(of_old, {"s": definition({"x": x, "z": z}, outputs, [None, 2])}))
        assert ask(model, signature="s", x=[[1, 2]], z=[[0, 1]])["y"] == expected
    of_old = renamed(linear, {"serving_default_x:0": "x"})
    names = {"x": "x:0", "z": "serving_default_z:0"}
    model = TFLiteModel(with_signatures(of_old, {"s": definition(names, outputs, [None, 2])}))
    assert ask(model, signature="s", x=[[1, 2]], z=[[0, 1]])["y"] == [[2, 5]]


def test_a_signature_of_a_tensor_that_the_model_does_not_have(linear: bytes) -> None:
    inputs, outputs = ALL
    error = load_error(with_signatures(linear, {"s": definition({"x": "x:0"}, outputs, [None, 2])}))
    assert (error.code, error.message) == (
        Code.INTERNAL,
        "Unknown tensor 'x:0'.\n\tSignature input x references an unknown tensor",
    )
    assert error.hint == "The model's inputs are serving_default_x:0, serving_default_z:0."
    error = load_error(with_signatures(linear, {"s": definition(inputs, {"y": "y"}, [None, 2])}))
    assert error.message == "Unknown tensor 'y'.\n\tSignature output y references an unknown tensor"


def test_an_input_that_a_signature_leaves_out_is_zero_whatever_was_asked_before(linear: bytes) -> None:
    signatures = {
        "serving_default": definition(*ALL, shape=[None, 2]),
        "x": definition({"x": "serving_default_x:0"}, {"y": "PartitionedCall:0"}, [None, 2]),
    }
    model = TFLiteModel(with_signatures(linear, signatures))
    assert ask(model, signature="x", x=[[1, 2]]) == {"y": [[2, 4]]}
    assert ask(model, x=[[1, 2], [3, 4]], z=[[9, 9], [9, 9]])["y"] == [[11, 13], [15, 17]]
    assert ask(model, signature="x", x=[[1, 2]]) == {"y": [[2, 4]]}


@pytest.mark.parametrize("data", [b"\x00", b"garbage" * 9, b"\xff" * 40])
def test_metadata_that_cannot_be_read(linear: bytes, data: bytes) -> None:
    error = load_error(with_metadata(linear, data))
    assert error.code is Code.DATA_LOSS
    assert error.message.startswith("Metadata signature_defs_metadata of model.tflite cannot be read: ")


def test_other_metadata_is_none_of_our_business(linear: bytes) -> None:
    assert list(TFLiteModel(with_metadata(linear, b"1.5.0", "min_runtime_version")).signatures) == ["serving_default"]


# Requests


def test_inputs_take_the_shape_of_the_request(linear: bytes) -> None:
    model = TFLiteModel(with_signatures(linear, {"serving_default": definition(*ALL, shape=[None, 2])}))
    for size in (1, 5, 0, 300, 1):
        x = np.arange(2 * size, dtype=np.float32).reshape(size, 2)
        assert ask(model, x=x, z=np.zeros_like(x)) == {"y": (2 * x).tolist(), "sum": (2 * x).sum(1).tolist()}


def test_any_memory_order_and_no_memory_in_common(linear: bytes) -> None:
    model = TFLiteModel(with_signatures(linear, {"serving_default": definition(*ALL, shape=[None, 2])}))
    x = np.arange(6, dtype=np.float32).reshape(2, 3).T
    first = model.run(model.signatures["serving_default"], {"x": x, "z": x[::-1]}, None, None)
    before = first["y"].tolist()
    ask(model, x=x * 5, z=x)
    assert first["y"].tolist() == before == (2 * x + x[::-1]).tolist()


def test_strings(words: bytes) -> None:
    model = TFLiteModel(words)
    (signature,) = model.signatures.values()
    assert {alias: spec.dtype for alias, spec in signature.inputs.items()} == {"serving_default_s": "string"}
    for sent in ([b"a\x00", b"", b"\xff\xfe"], [], [b"x" * 5000]):
        array = np.empty(len(sent), object)
        array[:] = sent
        (answered,) = ask(model, serving_default_s=array).values()
        assert answered == [[text] for text in sent]


def test_wrong_dtypes_and_ranks_are_refused(linear: bytes) -> None:
    model = TFLiteModel(with_signatures(linear, {"serving_default": definition(*ALL, shape=[None, 2])}))
    x = [[1.0, 2.0]]
    assert refusal(model, x=x, z=np.array([[1, 2]], np.int32)) == (
        "INVALID_ARGUMENT",
        "Expects arg[1] to be float but int32 is provided",
    )
    assert refusal(model, x=np.array([[b"a", b"b"]], object), z=x) == (
        "INVALID_ARGUMENT",
        "Expects arg[0] to be float but string is provided",
    )
    assert refusal(model, x=[1, 2], z=x) == ("INVALID_ARGUMENT", "x must be 2-dimensional, [?,2], but is [2]")
    assert ask(model, x=x, z=x)["y"] == [[3, 6]]


def test_shapes_that_do_not_fit_spoil_nothing(linear: bytes) -> None:
    model = TFLiteModel(with_signatures(linear, {"serving_default": definition(*ALL, shape=[None, 2])}))
    ok = [[1.0, 2.0]]
    for _ in range(3):
        code, message = refusal(model, x=np.ones((3, 2)).astype(np.float32), z=np.ones((2, 2)).astype(np.float32))
        assert (code, message) == ("INTERNAL", "Failed to allocate tensors")
        assert ask(model, x=ok, z=ok)["y"] == [[3, 6]]


def test_what_the_graph_refuses_spoils_nothing(gathering: bytes) -> None:
    model = TFLiteModel(gathering)
    for _ in range(3):
        bad = refusal(model, serving_default_i=np.array([7], np.int32))
        assert bad == ("INTERNAL", "Failed to invoke TfLite interpreter")
        (answered,) = ask(model, serving_default_i=np.array([2, 0], np.int32)).values()
        assert answered == [30, 10]


def test_many_threads_get_each_its_own_answer(linear: bytes) -> None:
    model = TFLiteModel(with_signatures(linear, {"serving_default": definition(*ALL, shape=[None, 2])}))
    threads = 4 * (os.cpu_count() or 1)
    together = threading.Barrier(threads)

    def work(number: int) -> bool:
        together.wait(PATIENCE)
        x = np.full((1 + number % 5, 2), number, np.float32)
        return all(ask(model, x=x, z=x)["y"] == (3 * x).tolist() for _ in range(50))

    with ThreadPoolExecutor(threads) as pool:
        assert all(pool.map(work, range(threads)))


def test_a_request_waits_for_an_interpreter_no_longer_than_it_may(linear: bytes) -> None:
    pool = InterpreterPool(linear, Interpreter(linear))
    with ExitStack() as taken:
        interpreters = {taken.enter_context(pool.take(None)) for _ in range(os.cpu_count() or 1)}
        assert len(interpreters) == (os.cpu_count() or 1)
        for timeout in (0.01, 0.0, -1.0):
            with pytest.raises(ServingError) as caught, pool.take(timeout):
                pass
            assert caught.value.code is Code.DEADLINE_EXCEEDED
    with pool.take(0.0) as again:
        assert again in interpreters


# Loading


def test_the_model_is_preferred_and_else_the_saved_model_loaded(linear: bytes, models: Models, tmp_path: Path) -> None:
    load = TFLiteLoader(Loader())
    assert load == TFLiteLoader(Loader())
    version = models.copy("half_plus_two", tmp_path)
    for kind in ("SavedModel", "TFLiteModel"):
        loaded: Any = load(version)
        assert type(loaded).__name__ == kind
        loaded.close()
        write(version, linear)


@pytest.mark.parametrize("content", [b"", b"no model", b"\x1c\x00\x00\x00TFL3" + b"\xff" * 100])
def test_a_file_that_is_no_model(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(ServingError) as caught:
        load_tflite_model(write(tmp_path / "1", content) / "model.tflite")
    error = caught.value
    assert (error.code, error.message) == (Code.INVALID_ARGUMENT, "Cannot build FlatBufferModel from buffer.")
    assert error.where == str(tmp_path / "1" / "model.tflite")


def test_half_a_file(linear: bytes) -> None:
    assert load_error(linear[: len(linear) // 2]).message == "Cannot build FlatBufferModel from buffer."


def test_an_operation_that_tflite_does_not_have() -> None:
    error = load_error(tflite_models.of_a_custom_operation())
    assert (error.code, error.message) == (Code.INTERNAL, "Cannot build Interpreter from buffer.")
    assert "Cholesky" in error.hint


def test_a_model_that_cannot_be_prepared_for_its_only_shape_is_not_loaded() -> None:
    error = load_error(tflite_models.that_does_not_fit())
    assert (error.code, error.message) == (Code.INTERNAL, "Failed to allocate tensors")
    assert "failed to prepare" in error.hint


def test_a_tensorflow_without_tflite(linear: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interpreter, "tf", SimpleNamespace(__version__="9.9"))
    error = load_error(linear)
    assert error.code is Code.UNIMPLEMENTED
    assert error.message.startswith("TensorFlow 9.9 has no tf.lite.Interpreter to load model.tflite with")
    assert "--prefer_tflite_model" in error.hint
