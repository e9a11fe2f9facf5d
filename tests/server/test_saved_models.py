from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tensorflow as tf

from tests.support import saved_models
from tests.support.serving import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from tests.conftest import Models


@contextmanager
def session_of(version: Path) -> Iterator[tuple[Any, Any]]:
    """Load the SavedModel as TensorFlow Serving does: a session and the signatures by name."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        yield session, tf.compat.v1.saved_model.load(session, ["serve"], str(version)).signature_def


def run(version: Path, feed: Mapping[str, Any], signature: str = "serving_default") -> dict[str, Any]:
    with session_of(version) as (session, signatures):
        definition = signatures[signature]
        fetches = {alias: info.name for alias, info in definition.outputs.items()}
        return session.run(fetches, {definition.inputs[alias].name: value for alias, value in feed.items()})


def as_lists(outputs: Mapping[str, Any]) -> dict[str, Any]:
    return {alias: output.tolist() for alias, output in outputs.items()}


def example(x: float) -> bytes:
    feature = tf.train.Feature(float_list=tf.train.FloatList(value=[x]))
    return tf.train.Example(features=tf.train.Features(feature={"x": feature})).SerializeToString()


def test_half_plus_two(models: Models) -> None:
    assert run(models.path("half_plus_two") / "1", {"x": [1.0, 2.0, 5.0]})["y"].tolist() == [2.5, 3.0, 4.5]


def test_half_plus_two_with_other_constants(tmp_path: Path) -> None:
    version = saved_models.half_plus_two(tmp_path / "parent" / "m" / "3", scale=3, offset=0)
    assert run(version, {"x": [1.0]})["y"].tolist() == [3.0]


def test_cnn_gives_ten_probabilities_of_a_grey_image(models: Models) -> None:
    probabilities = run(models.path("cnn") / "1", {"keras_tensor": np.ones((2, 28, 28, 1))})["output_0"]
    assert probabilities.shape == (2, 10)
    assert probabilities.sum(axis=1) == pytest.approx([1, 1])
    assert probabilities.std() > 0.01


@pytest.mark.parametrize(
    ("signature", "feed", "expected"),
    [("serving_default", {"x": [[1.0], [2.0]]}, {"y": [[2.5], [3.0]]})]
    + [
        (signature, {"inputs": [example(1.0), example(5.0)]}, {output: [[2.5], [4.5]]})
        for signature, output in (("regress_x_to_y", "outputs"), ("classify_x_to_y", "scores"))
    ],
)
def test_half_plus_two_tf1(models: Models, signature: str, feed: dict[str, Any], expected: dict[str, Any]) -> None:
    assert as_lists(run(models.path("half_plus_two_tf1") / "1", feed, signature)) == expected


def test_half_plus_two_tf1_has_reference_variables_and_the_methods_of_its_signatures(models: Models) -> None:
    with session_of(models.path("half_plus_two_tf1") / "1") as (session, signatures):
        assert [op.name for op in session.graph.get_operations() if op.type == "VariableV2"] == ["a", "b"]
        methods = {name: definition.method_name for name, definition in signatures.items()}
    assert methods == {
        "serving_default": "tensorflow/serving/predict",
        "regress_x_to_y": "tensorflow/serving/regress",
        "classify_x_to_y": "tensorflow/serving/classify",
    }


def test_dtypes(models: Models) -> None:
    cases = dict.fromkeys([*saved_models.FLOATS, *saved_models.INTEGERS], ([1, 2], [2, 3]))
    cases["bool"] = [True, False], [False, True]
    cases["string"] = [b"a", "é".encode()], [b"a!", "é!".encode()]
    with session_of(models.path("dtypes") / "1") as (session, signatures):
        assert set(signatures) == {*cases, "__saved_model_init_op"}
        for name, (x, y) in cases.items():
            definition = signatures[name]
            output = session.run(definition.outputs["y"].name, {definition.inputs["x"].name: x})
            assert output.tolist() == y
            dtype = tf.as_dtype(definition.outputs["y"].dtype)
            assert dtype == tf.as_dtype(definition.inputs["x"].dtype) == tf.as_dtype(name)
            assert output.dtype == dtype.as_numpy_dtype


@pytest.mark.parametrize(
    ("name", "signature", "feed", "expected"),
    [
        ("multi", "serving_default", {"a": [[1, 2], [3, 4]], "b": [5, 6]}, {"total": [3, 7], "doubled": [10, 12]}),
        ("multi", "one_output", {"a": [[1, 2]], "b": [5]}, {"total": [3]}),
        ("aliased", "serving_default", {"also_x": [1, 2]}, {"y": [2, 4], "also_y": [2, 4], "echo": [1, 2]}),
        ("no_input", "constant", {}, {"values": [1, 2, 3]}),
        ("no_input", "serving_default", {"x": [1]}, {"y": [1]}),
        ("vocabulary", "serving_default", {"words": ["fox", "?"]}, {"ids": [3, 4], "words_bytes": [b"fox", b"?"]}),
        ("together", "serving_default", {"seconds": [0, 0]}, {"rows": [2, 2], "echo": [0, 0]}),
        ("any_width", "serving_default", {"x": [[1, 2], [3, 4]]}, {"total": [3, 7], "width": [2, 2]}),
        ("raising", "serving_default", {"x": [0, 1]}, {"y": [0, 1]}),
        ("bytes_image", "serving_default", {"image_bytes": [b"\xff\0", b""]},
         {"length": [2, 0], "echo_bytes": [b"\xff\0", b""]}),
        ("scalar_output", "serving_default", {"x": [1, 2]}, {"doubled": [2, 4], "mean": 1.5}),
    ],
)  # fmt: skip
def test_outputs(models: Models, name: str, signature: str, feed: dict[str, Any], expected: dict[str, Any]) -> None:
    assert as_lists(run(models.path(name) / "1", feed, signature)) == expected


def test_the_counter_counts(models: Models) -> None:
    with session_of(models.path("counter") / "1") as (session, signatures):
        incr, get_counter = (signatures[name].outputs["counter"].name for name in ("incr", "get_counter"))
        assert [int(session.run(fetch)) for fetch in (get_counter, incr, incr, get_counter)] == [0, 1, 2, 2]


def test_the_gate_lets_in_one_call_for_each_time_it_is_asked_to(models: Models) -> None:
    with session_of(models.path("gated") / "1") as (session, signatures), ThreadPoolExecutor(2) as pool:
        enters, lets_in = signatures["serving_default"], signatures["let_in"]
        calls = [pool.submit(session.run, enters.outputs["y"].name, {enters.inputs["x"].name: [n]}) for n in (1, 2)]
        for done in (1, 2):
            session.run(lets_in.outputs["y"].name, {lets_in.inputs["one"].name: [0]})
            until(lambda done=done: sum(call.done() for call in calls) == done)
        assert [call.result().tolist() for call in calls] == [[1], [2]]


def test_raising_raises_on_a_negative(models: Models) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match="x must not be negative"):
        run(models.path("raising") / "1", {"x": [1, -1]})


def test_slow_takes_its_time_and_leaves_python_running(models: Models) -> None:
    with session_of(models.path("slow") / "1") as (session, signatures), ThreadPoolExecutor(1) as pool:
        definition = signatures["serving_default"]
        elapsed, seconds = definition.outputs["elapsed"].name, definition.inputs["seconds"].name
        turns = 0
        call = pool.submit(session.run, elapsed, {seconds: 0.3})
        while not call.done():
            turns += 1
        assert 0.3 <= call.result() < 3
        assert turns > 100


@pytest.mark.parametrize(
    ("name", "damage", "says"),
    [
        ("half_plus_two", saved_models.without_index, "variables"),
        ("half_plus_two", saved_models.without_shard, "variables"),
        ("half_plus_two", saved_models.truncated_pb, "saved_model.pb"),
        ("half_plus_two_tf1", saved_models.without_shard, "variables"),
        ("vocabulary", saved_models.without_asset, "vocabulary.txt"),
    ],
)
def test_a_damaged_version_does_not_load(
    models: Models, tmp_path: Path, name: str, damage: Callable[[Path], Path], says: str
) -> None:
    version = models.copy(name, tmp_path)
    assert damage(version).is_relative_to(version)
    with pytest.raises((tf.errors.OpError, OSError, ValueError), match=says), session_of(version):
        pass


def test_a_copy_is_a_version_of_its_own(models: Models, tmp_path: Path) -> None:
    version = models.copy("half_plus_two", tmp_path / "m", version=7)
    assert version == tmp_path / "m" / "7"
    (version / "saved_model.pb").unlink()
    assert (models.path("half_plus_two") / "1" / "saved_model.pb").exists()
