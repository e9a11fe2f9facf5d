"""Models in memory that are served: the next version of each, beside all else, and nothing lost when one cannot be."""

from __future__ import annotations

import itertools
import resource
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfs_notebook
from tests.support.serving import ask, config_text
from tfs_notebook.engine.config import parse_config
from tfs_notebook.engine.events import State
from tfs_notebook.errors import Code, ServingError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Models
    from tfs_notebook.server.server import Server

ANY: dict[str, Any] = {"rest_api_port": 0, "port": 0}


class Adds(tf.Module):
    """y = x + amount."""

    def __init__(self, amount: float) -> None:
        super().__init__()
        self.amount = tf.Variable(amount)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def __call__(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": x + self.amount}


class Unreadable(tf.Module):
    """A model whose function cannot be traced."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        return tf.constant(np.sin(x.numpy()))


@pytest.fixture
def server() -> Iterator[Server]:
    with tfs_notebook.serve({"net": Adds(1.0)}, **ANY) as server:
        yield server


def answers(server: Server, model: str = "net", **spec: Any) -> float:
    return float(server.predict(model, {"x": [0.0]}, **spec).outputs["y"][0])


def serving(server: Server, name: str = "net") -> list[int]:
    """The versions that are served, the newest first."""
    model = next(model for model in server.status().models if model.name == name)
    return [version.number for version in model.versions if version.state is State.AVAILABLE]


def private_directory(server: Server) -> Path:
    return Path(server.config.model_config_list.config[0].base_path).parent


def test_a_model_in_memory_is_served_by_its_name(server: Server) -> None:
    reply = ask(server, "POST", "/v1/models/net:predict", {"instances": [1.0, 2.0]})
    assert reply.json == {"predictions": [2.0, 3.0]}
    assert server.problems == []


def test_served_again_it_is_the_next_version_and_nobody_waits(server: Server) -> None:
    stop, failed, seen = threading.Event(), [], set()

    def ask_on() -> None:
        while not stop.is_set():
            reply = ask(server, "POST", "/v1/models/net:predict", {"instances": [0.0]})
            failed.append(reply) if reply.status != 200 else seen.add(reply.json["predictions"][0])

    asking = threading.Thread(target=ask_on)
    asking.start()
    for amount in (2.0, 3.0, 4.0):
        server.serve_models({"net": Adds(amount)})
        assert answers(server) == amount
    stop.set()
    asking.join()
    assert failed == []
    assert {1.0, 4.0} <= seen | {answers(server)}
    assert serving(server) == [4]


def test_other_models_stay_as_they_are(server: Server, models: Models) -> None:
    server.edit(
        lambda config: config.MergeFrom(parse_config(config_text({"half": models.path("half_plus_two")})))  # type: ignore[func-returns-value]
    )
    server.serve_models({"net": Adds(2.0), "other": Adds(5.0)})
    assert (answers(server), answers(server, "other")) == (2.0, 5.0)
    assert server.predict("half", {"x": [1.0]}).outputs["y"].tolist() == [2.5]


def test_a_label_moves_to_the_new_version_and_what_served_goes_on(server: Server) -> None:
    server.serve_models({"net": Adds(2.0)}, label="canary")
    assert (serving(server), answers(server, version=1), answers(server, label="canary")) == ([2, 1], 1.0, 2.0)
    server.serve_models({"net": Adds(3.0)}, label="canary")
    assert (serving(server), answers(server, label="canary")) == ([3, 2], 3.0)
    server.serve_models({"net": Adds(4.0)})
    assert (serving(server), answers(server), answers(server, label="canary")) == ([4, 3], 4.0, 3.0)


def test_a_number_of_ones_own(server: Server) -> None:
    server.serve_models({"net": Adds(2.0)}, version=20)
    assert (serving(server), answers(server)) == ([20], 2.0)
    with pytest.raises(ServingError, match="Version 20 of net is there already") as refused:
        server.serve_models({"net": Adds(3.0)}, version=20)
    assert (refused.value.code, "the next number, 21" in refused.value.hint) == (Code.ALREADY_EXISTS, True)
    with pytest.raises(ServingError, match="numbered from 1"):
        server.serve_models({"net": Adds(3.0)}, version=-1)
    assert answers(server) == 2.0


def test_a_tree_of_versions_that_stays(server: Server, tmp_path: Path) -> None:
    for amount in (2.0, 3.0):
        server.serve_models({"net": Adds(amount)}, export_to=str(tmp_path / "models"))
    server.stop()
    assert sorted(path.name for path in (tmp_path / "models" / "net").iterdir()) == ["2", "3"]
    with tfs_notebook.serve(str(tmp_path / "models" / "net"), **ANY) as again:
        assert answers(again, "model") == 3.0


def test_private_versions_are_few_and_go_with_the_server(server: Server) -> None:
    private = private_directory(server)
    for amount in range(8):
        server.serve_models({"net": Adds(float(amount))})
    assert sorted(int(path.name) for path in (private / "net").glob("[0-9]*")) == [5, 6, 7, 8, 9]
    server.stop()
    assert not private.exists()


def keras_models() -> dict[str, tuple[Any, dict[str, Any], str]]:
    """Models of other kinds, with an input for each and the name of an output."""
    layers = keras.layers
    left, right = keras.Input((3,), name="left"), keras.Input((2,), name="right")
    both = layers.Concatenate()([left, right])
    lookup = layers.StringLookup(vocabulary=["a", "b"])
    text = layers.TextVectorization(max_tokens=8, output_sequence_length=4)
    text.adapt(["a b", "b c"])
    mixed = keras.Sequential([keras.Input((4,)), layers.Dense(3, dtype=keras.DTypePolicy("mixed_float16"))])

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def function(x: tf.Tensor) -> tf.Tensor:
        return 2 * x

    @tf.function
    def called(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": 3 * x}

    called(tf.ones([2]))
    return {
        "sequential": (keras.Sequential([keras.Input((4,)), layers.Dense(3)]), {"": np.ones((2, 4))}, "output_0"),
        "functional": (
            keras.Model([left, right], {"one": layers.Dense(1, name="one")(both), "two": layers.Dense(2)(left)}),
            {"left": np.ones((2, 3)), "right": np.ones((2, 2))},
            "two",
        ),
        "strings": (keras.Sequential([keras.Input((), dtype="string"), lookup]), {"": ["a", "z"]}, "output_0"),
        "text": (keras.Sequential([keras.Input((), dtype="string"), text]), {"": ["a b"]}, "output_0"),
        "series": (keras.Sequential([keras.Input((None, 3)), layers.LSTM(4)]), {"": np.ones((1, 5, 3))}, "output_0"),
        "mixed": (mixed, {"": np.ones((1, 4))}, "output_0"),
        "function": (function, {"x": [1.0, 2.0]}, "output_0"),
        "called": (called, {"x": [1.0, 2.0]}, "y"),
    }


def test_models_of_every_kind_answer_as_they_do_in_the_notebook(server: Server) -> None:
    kinds = keras_models()
    server.serve_models({name: model for name, (model, _, _) in kinds.items()})
    assert server.problems == []
    for name, (model, inputs, output) in kinds.items():
        only = next(iter(inputs.values())) if len(inputs) == 1 else inputs
        outputs = server.predict(name, only).outputs
        asked = tf.constant(only) if name in {"strings", "text"} else only
        expected = model(tf.constant(only, tf.float32)) if name in {"function", "called"} else model(asked)
        if isinstance(expected, dict):
            expected = expected[output]
        np.testing.assert_allclose(outputs[output], np.asarray(expected), rtol=1e-3, err_msg=name)


def test_a_loaded_savedmodel_is_served(server: Server, models: Models) -> None:
    server.serve_models({"loaded": tf.saved_model.load(str(models.path("half_plus_two") / "1"))})
    assert server.predict("loaded", {"x": [1.0]}).outputs["y"].tolist() == [2.5]


class Subclassed(keras.Model):
    """A model that knows its input once it was called."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = keras.layers.Dense(2)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return self.dense(x)


class Estimator:
    """What a model of another library looks like."""

    def predict(self, x: Any) -> Any:
        return x


Estimator.__module__ = "sklearn.linear_model"


@pytest.mark.parametrize(
    ("model", "message", "hint"),
    [
        (None, "net is None", ""),
        (Estimator(), "net is a Estimator of scikit-learn", "a Keras model, a tf.Module"),
        (np.ones(3), "net is a ndarray: what can be served is a Keras model", ""),
        (keras.layers.Dense(2), "net is a Dense: what can be served", ""),
        (keras.Sequential([keras.layers.Dense(2)]), "net, a Sequential, has not been built", "net(x[:1])"),
        (Subclassed(), "net, a Subclassed, has not been built", "keras.Input(shape=…)"),
        (tf.Module(), "has no signature that could be asked", ""),
        (Unreadable(), "net, a Unreadable, cannot be exported: AttributeError", "NumPy sees no values"),
        (tf.function(lambda x: x), "has no input_signature and has not been called yet", "input_signature=["),
    ],
    ids=[
        "None",
        "another library",
        "an array",
        "a layer",
        "not built",
        "not called",
        "no signature",
        "no tensor",
        "shapes",
    ],
)
def test_what_cannot_be_served_says_why_and_what_served_goes_on(
    server: Server, model: Any, message: str, hint: str
) -> None:
    with pytest.raises(ServingError) as refused:
        server.serve_models({"other": Adds(1.0), "net": model})
    assert message in refused.value.message
    assert hint in refused.value.hint
    assert (serving(server), answers(server)) == ([1], 1.0)
    left = set(itertools.chain(private_directory(server).glob("*/.tfs-*"), private_directory(server).glob("other/*")))
    assert [path.name for path in left if path.name != ".tfs-whole"] == []


@contextmanager
def small_files() -> Iterator[None]:
    """A disk that takes no more than 100 kB in a file."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_leaves_nothing_behind(server: Server) -> None:
    large = Adds(1.0)
    large.more = tf.Variable(np.random.default_rng(0).random(100_000))
    with small_files(), pytest.raises(ServingError, match="net cannot be exported: no space is left in") as refused:
        server.serve_models({"net": large})
    assert (refused.value.code, "--export_to" in refused.value.hint) == (Code.RESOURCE_EXHAUSTED, True)
    assert sorted(path.name for path in (private_directory(server) / "net").iterdir()) == [".tfs-whole", "1"]
    assert answers(server) == 1.0
    server.serve_models({"net": large})
    assert serving(server) == [2]


class Interrupts(tf.Module):
    """Ctrl-C while it is exported."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        raise KeyboardInterrupt


def test_an_interrupted_export_leaves_nothing_behind(server: Server) -> None:
    with pytest.raises(KeyboardInterrupt):
        server.serve_models({"other": Adds(1.0), "net": Interrupts()})
    assert [path.name for path in private_directory(server).glob("*/[!.]*")] == ["1"], "the one that serves"
    assert (serving(server), answers(server)) == ([1], 1.0)


def test_a_place_that_cannot_be_written_to(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ServingError, match="is a file: name a directory"):
        server.serve_models({"net": Adds(2.0)}, export_to=str(tmp_path / "file"))
    assert answers(server) == 1.0


def test_a_server_for_a_model_that_cannot_be_exported_does_not_start() -> None:
    before = set(threading.enumerate())
    with pytest.raises(ServingError, match="has no signature"):
        tfs_notebook.serve(tf.Module(), **ANY)
    assert set(threading.enumerate()) <= before


def test_one_model_is_called_model_unless_it_has_a_name() -> None:
    with tfs_notebook.serve(Adds(1.0), **ANY) as server:
        assert answers(server, "model") == 1.0
    with tfs_notebook.serve(Adds(1.0), model_name="adds", **ANY) as server:
        assert answers(server, "adds") == 1.0
