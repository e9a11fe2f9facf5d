"""What a graph's operations tell of its calls, for real SavedModels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import tensorflow as tf
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from tfs_notebook.engine.models.signature import DEFAULT_SIGNATURE
from tfs_notebook.engine.saved_model import operations
from tfs_notebook.engine.saved_model.operations import Operations
from tfs_notebook.engine.saved_model.servable import signature_from

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Models


def keeps_state(directory: Path, signature: str = DEFAULT_SIGNATURE) -> bool:
    (meta_graph,) = SavedModel.FromString((directory / "saved_model.pb").read_bytes()).meta_graphs
    definition = meta_graph.signature_def[signature]
    return Operations(meta_graph.graph_def).keeps_state(signature_from(signature, definition))


@pytest.mark.parametrize("name", ["half_plus_two", "half_plus_two_tf1", "cnn", "vocabulary", "multi", "defaults"])
def test_calls_that_only_read_keep_no_state_though_restoring_writes(models: Models, name: str) -> None:
    assert not keeps_state(models.path(name) / "1")


def test_calls_that_write_variables_keep_state(models: Models) -> None:
    assert keeps_state(models.path("counter") / "1", "incr")


def test_reading_what_others_write_keeps_none(models: Models) -> None:
    assert not keeps_state(models.path("counter") / "1", "get_counter")


def test_a_variable_of_tf1_that_is_written_keeps_state(tmp_path: Path) -> None:
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        count = v1.get_variable("count", initializer=0.0, use_resource=False)
        x = v1.placeholder(tf.float32, [], name="x")
        added = tf.identity(v1.assign_add(count, x), name="added")
        session.run(v1.global_variables_initializer())
        v1.saved_model.simple_save(session, str(tmp_path / "1"), {"x": x}, {"y": added})
    assert keeps_state(tmp_path / "1")


def test_random_numbers_keep_state(tmp_path: Path) -> None:
    module = tf.Module()

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def serve(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": x + tf.random.uniform(tf.shape(x))}

    tf.saved_model.save(module, str(tmp_path / "1"), signatures=serve)
    assert keeps_state(tmp_path / "1")


def test_what_tensorflow_does_not_tell_of_keeps_state(models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations, "operation_definition", lambda _: None)
    assert keeps_state(models.path("half_plus_two") / "1")
