"""What the parts of a sparse tensor in a request must be, for real SavedModels: wrong ones end the process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tensorflow as tf

from tests.engine.input_checks.test_shapes import ask
from tfs_notebook.engine.saved_model.loader import load_saved_model

if TYPE_CHECKING:
    from pathlib import Path

    from tfs_notebook.engine.saved_model.servable import SavedModel


class Model(tf.Module):
    """A product, and what becomes of words in models that recommend."""

    @tf.function(input_signature=[tf.SparseTensorSpec([None, 3], tf.float32)])
    def product(self, x: tf.SparseTensor) -> dict[str, tf.Tensor]:
        return {"y": tf.sparse.sparse_dense_matmul(x, tf.ones([3, 2]))}

    @tf.function(input_signature=[tf.TensorSpec([], tf.float32), tf.SparseTensorSpec([None, None], tf.int64)])
    def embedded(self, factor: tf.Tensor, x: tf.SparseTensor) -> dict[str, tf.Tensor]:
        return {"y": factor * tf.nn.safe_embedding_lookup_sparse(tf.ones([4, 2]), x, default_id=0)}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> SavedModel:
    directory = tmp_path_factory.mktemp("model") / "1"
    made = Model()
    tf.saved_model.save(made, str(directory), signatures={"product": made.product, "embedded": made.embedded})
    return load_saved_model(directory)


def product(model: SavedModel, indices: Any, dense_shape: Any, *, values: Any = (1.0, 2.0)) -> Any:
    sparse = {
        "x": np.array(indices, np.int64), "x_1": np.array(values, np.float32), "x_2": np.array(dense_shape, np.int64)
    }  # fmt: skip
    return ask(model, "product", **sparse)


def test_parts_that_fit(model: SavedModel) -> None:
    assert product(model, [[0, 2], [1, 0]], [2, 3]) == [[1, 1], [2, 2]]
    parts = {"x": np.int64([[0, 0], [2, 1]]), "x_1": np.int64([1, 2]), "x_2": np.int64([3, 2])}
    assert ask(model, "embedded", factor=np.float32(2), **parts) == [[2, 2]] * 3


@pytest.mark.parametrize(
    ("indices", "dense_shape", "told"),
    [
        ([[0, 2], [1, 0]], [-1, 3], "x_2[0] must be from 0 to 16777216, but is -1"),
        ([[0, 2], [1, 0]], [1 << 33, 3], "x_2[0] must be from 0 to 16777216, but is 8589934592"),
        ([[0, 2], [1, 0]], [2, -3], "x_2[1] must be from 0 to 9223372036854775807, but is -3"),
        ([[0, 2], [1, 0]], [4, 1 << 62], "x_2 has more than 9223372036854775807 places: [4, 4611686018427387904]"),
        ([[0, 2], [1, 3]], [2, 3], "x[1][1] must be from 0 to below 3, as x_2 says, but is 3"),
        ([[-1, 2], [1, 0]], [2, 3], "x[0][0] must be from 0 to below 2, as x_2 says, but is -1"),
        ([[0], [1]], [2, 3], "x must be [?,2], a column for each size of x_2, but is [2,1]"),
        ([0, 1], [2, 3], "x must be [?,2], a column for each size of x_2, but is [2]"),
        ([[0, 2], [1, 0]], [[2, 3]], "x_2 must be a vector of sizes, but is [1,2]"),
        ([[0, 2]], [2, 3], "x_1 must be [1], a value for each row of x, but is [2]"),
    ],
)
def test_wrong_parts_are_refused_with_their_place(model: SavedModel, indices: Any, dense_shape: Any, told: str) -> None:
    assert product(model, indices, dense_shape) == told


def test_parts_that_are_looked_up_in_an_embedding(model: SavedModel) -> None:
    parts = {"x": np.int64([[0, 0], [1 << 31, 0]]), "x_1": np.int64([1, 2]), "x_2": np.int64([3, 2])}
    told = ask(model, "embedded", factor=np.float32(1), **parts)
    assert told == "x[1][0] must be from 0 to below 3, as x_2 says, but is 2147483648"


def test_a_graph_without_functions(tmp_path: Path) -> None:
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        parts = [v1.placeholder(tf.int64, [None, 2]), v1.placeholder(tf.float32, [None]), v1.placeholder(tf.int64, [2])]
        y = tf.sparse.sparse_dense_matmul(tf.SparseTensor(*parts), tf.ones([3, 2]))
        v1.saved_model.simple_save(session, str(tmp_path / "1"), dict(zip("ivs", parts, strict=True)), {"y": y})
    model = load_saved_model(tmp_path / "1")
    given = {"i": np.int64([[0, 1]]), "v": np.float32([2])}
    assert ask(model, "serving_default", **given, s=np.int64([1, 3])) == [[2, 2]]
    assert ask(model, "serving_default", **given, s=np.int64([-1, 3])) == ("s[0] must be from 0 to 16777216, but is -1")
