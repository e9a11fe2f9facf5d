"""`%tfs_parity`: every step answers the same, or the first that does not is named, with the likely reason."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfs_notebook
from tests.notebook.conftest import ANY, Notebook

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Models

ROWS = np.linspace(0, 1, 24, dtype=np.float32).reshape(8, 3)
WITHOUT_MODEL = ["SavedModel", "engine", "REST", "gRPC"]


def dense() -> Any:
    keras.utils.set_random_seed(0)
    net = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4), keras.layers.BatchNormalization()])
    net.compile("sgd", "mse")
    return net


@pytest.fixture
def served(notebook: Notebook) -> Iterator[Notebook]:
    """A notebook that serves the model in its variable `net`."""
    notebook["net"], notebook["x"] = dense(), ROWS
    notebook.run(f"%tfs_serve net {ANY}")
    yield notebook
    notebook.run("%tfs_stop")


def test_all_steps_answer_the_same(served: Notebook) -> None:
    parity = served.run("%tfs_parity net x")
    assert [step.name for step in parity.steps] == ["model", *WITHOUT_MODEL]
    assert (parity.agrees, parity.first, parity.version) == (True, None, 1)
    assert parity.differences[0] is None
    assert max(parity.differences[1:]) < 1e-5
    assert repr(parity).splitlines()[-1] == "All steps answer the same"
    assert "All steps answer the same" in parity._repr_mimebundle_()["text/html"]


def test_a_model_that_was_trained_since(served: Notebook) -> None:
    served["net"].fit(ROWS, np.ones((8, 4)), epochs=1, verbose=0)
    parity = served.run("%tfs_parity net x")
    assert (parity.agrees, parity.first, parity.steps[parity.first].name) == (False, 1, "SavedModel")
    assert "it was trained after it was served; %tfs_serve serves it again" in parity.reason
    served.run("%tfs_serve net")
    assert served.run("%tfs_parity net x").agrees


class Scales(tf.Module):
    """Says in Python what its exported function does not do."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = tf.Variable(2.0)

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="x")])
    def exported(self, x: tf.Tensor) -> tf.Tensor:
        return x * self.weight

    def __call__(self, x: Any) -> Any:
        return self.exported(x / 255)


class Noisy(tf.Module):
    """Another answer each time."""

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="x")])
    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        return x + tf.random.normal(tf.shape(x))


@pytest.mark.parametrize(
    ("model", "reason"),
    [(Scales, "preprocessing in Python"), (Noisy, "a random or stateful layer")],
    ids=["preprocessing", "random"],
)
def test_what_the_export_does_otherwise(served: Notebook, model: Any, reason: str) -> None:
    served["other"] = model()
    served.run("%tfs_serve other")
    parity = served.run("%tfs_parity other x")
    assert not parity.agrees
    assert reason in parity.reason


def test_without_a_model_and_with_another_server(served: Notebook, models: Models) -> None:
    served.run("del net")
    assert [step.name for step in served.run("%tfs_parity net x").steps] == WITHOUT_MODEL
    with tfs_notebook.serve({"net": dense()}, rest_api_port=0, port=0) as other:
        address = other.rest_url
        parity = served.run(f"%tfs_parity net x --at {address}")
        assert (parity.agrees, parity.steps[-1].name) == (True, address)
        changed = dense()
        changed.set_weights([weight + 1 for weight in changed.get_weights()])
        other.serve_models({"net": changed})
        parity = served.run(f"%tfs_parity net x --at {address}")
    assert (parity.first, parity.reason) == (4, "Another version, or other weights, are served there.")
    gone = served.run(f"%tfs_parity net x --at {address}")
    assert (gone.agrees, gone.first) == (False, None)
    assert f"{address} does not answer" in gone.headline


def test_a_model_of_strings_has_a_parity(served: Notebook, models: Models) -> None:
    served.run(f"%tfs_load {models.path('vocabulary')} --model_name words")
    parity = served.run("%tfs_parity words ['a', 'b']")
    assert (parity.agrees, [step.name for step in parity.steps]) == (True, WITHOUT_MODEL), repr(parity)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("%tfs_parity net", "which rows? An expression like x_test[:8]"),
        ("%tfs_parity nett x", "nett"),
        ("%tfs_parity net x[0]", "3"),
        ("%tfs_parity net x --version 1 --label a", "two versions"),
    ],
)
def test_a_line_that_cannot_be_meant(served: Notebook, line: str, said: str) -> None:
    assert said in served.refuse(line)


def test_an_undefined_name_is_told_in_one_line(served: Notebook, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(NameError, match="name 'xx' is not defined"):
        served.run("%tfs_parity net xx")
    assert "Traceback" not in capsys.readouterr().out


def test_the_same_from_python(served: Notebook) -> None:
    assert tfs_notebook.parity("net", ROWS, model=served["net"]).agrees
    assert [step.name for step in tfs_notebook.parity("net", ROWS, server=served.server).steps] == WITHOUT_MODEL
