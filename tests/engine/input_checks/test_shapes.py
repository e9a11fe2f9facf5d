"""Which shapes a signature takes, for real SavedModels: none that may end the process, else what TensorFlow takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef

from tfs_notebook.engine.batching.model import BatchedModel
from tfs_notebook.engine.batching.parameters import BatchingParameters
from tfs_notebook.engine.batching.scheduler import Scheduler
from tfs_notebook.engine.input_checks.checked_operations import CHECKED
from tfs_notebook.engine.metrics.batches import BatchCounts
from tfs_notebook.engine.models.signature import together
from tfs_notebook.engine.saved_model.loader import load_saved_model
from tfs_notebook.engine.saved_model.operations import Operations
from tfs_notebook.engine.saved_model.servable import signature_from
from tfs_notebook.engine.saved_model.session import operation_definition
from tfs_notebook.errors import ServingError

if TYPE_CHECKING:
    from pathlib import Path

    from tfs_notebook.engine.saved_model.servable import SavedModel

Load = "Callable[..., SavedModel]"


def quantised(x: tf.Tensor) -> tf.Tensor:
    """By an operation that ends the process when it is given a scalar."""
    return tf.quantization.fake_quant_with_min_max_vars_per_channel(x, [0.0] * 3, [1.0] * 3)


class Model(tf.Module):
    """Signatures with and without an operation that does not check its tensors."""

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="x")])
    def checked(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": x + 1.0}

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="x")])
    def unchecked(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": quantised(x)}

    @tf.function(input_signature=[tf.TensorSpec([1, 3], tf.float32, name="x")])
    def one_row(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": quantised(x)}

    @tf.function(
        input_signature=[tf.TensorSpec([None, 3], tf.float32, name="x"), tf.TensorSpec([], tf.int32, name="n")]
    )
    def in_a_branch_of_a_loop(self, x: tf.Tensor, n: tf.Tensor) -> dict[str, tf.Tensor]:
        for _ in tf.range(n):
            x = tf.cond(n > 5, lambda x=x: quantised(x), lambda x=x: x + 1.0)
        return {"y": x}

    @tf.function(
        input_signature=[tf.TensorSpec([None, 2], tf.float32, name="x"), tf.TensorSpec([], tf.int32, name="n")]
    )
    def one_of_a_list(self, x: tf.Tensor, n: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": tf.TensorArray(tf.float32, 0, dynamic_size=True).unstack(x).read(n)}

    @tf.function(input_signature=[tf.RaggedTensorSpec([None, None, 2], tf.float32, ragged_rank=1)])
    def mean(self, rows: tf.RaggedTensor) -> dict[str, tf.Tensor]:
        return {"y": tf.reduce_mean(rows, 1)}

    @tf.function(input_signature=[tf.RaggedTensorSpec([None, None, None], tf.string, row_splits_dtype=tf.int32)])
    def padded(self, words: tf.RaggedTensor) -> dict[str, tf.Tensor]:
        return {"y": words.to_tensor()}

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="x")])
    def ragged(self, x: tf.Tensor) -> dict[str, Any]:
        return {"r": tf.RaggedTensor.from_tensor(x, padding=0.0)}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("model") / "1"
    model = Model()
    names = ("checked", "unchecked", "one_row", "in_a_branch_of_a_loop", "one_of_a_list", "mean", "padded", "ragged")
    tf.saved_model.save(model, str(directory), signatures={name: getattr(model, name) for name in names})
    return directory


@pytest.fixture(scope="module")
def model(directory: Path) -> SavedModel:
    return load_saved_model(directory)


def ask(model: Any, signature: str, **inputs: Any) -> Any:
    """The output, or the refusal."""
    arrays = {alias: np.asarray(value) for alias, value in inputs.items()}
    try:
        (output,) = model.run(model.signatures[signature], arrays, None, 20.0).values()
    except ServingError as error:
        return error.message
    return output.tolist()


def ones(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


def test_a_signature_whose_operations_check_their_tensors_takes_any_shape(model: SavedModel) -> None:
    assert ask(model, "checked", x=ones(2, 2)) == [[2, 2], [2, 2]]
    assert ask(model, "checked", x=ones()) == 2


@pytest.mark.parametrize(
    ("shape", "told"),
    [
        ((3,), "x must be 2-dimensional, [?,3], but is [3]"),
        ((), "x must be 2-dimensional, [?,3], but is []"),
        ((2, 4), "x must be [?,3], but is [2,4]"),
        ((2, 0), "x must be [?,3], but is [2,0]"),
    ],
)
def test_another_takes_the_rank_and_the_sizes_that_it_declares(
    model: SavedModel, shape: tuple[int, ...], told: str
) -> None:
    assert ask(model, "unchecked", x=ones(*shape)) == told
    assert ask(model, "unchecked", x=ones(2, 3)) == ones(2, 3).tolist()
    assert ask(model, "unchecked", x=ones(0, 3)) == []
    assert ask(model, "in_a_branch_of_a_loop", x=ones(*shape), n=np.int32(1)) == told


def test_an_integer_keeps_its_rank_where_an_operation_trusts_it(model: SavedModel) -> None:
    assert ask(model, "one_of_a_list", x=ones(2, 2), n=np.int32(1)) == [1, 1]
    assert ask(model, "one_of_a_list", x=ones(2, 2), n=np.int32([])) == "n must be 0-dimensional, [], but is [0]"


@pytest.mark.parametrize(("batch_dims", "taken"), [(0, True), (2, False)])
def test_an_operation_that_is_checked_with_one_value_of_an_attribute(
    tmp_path: Path, batch_dims: int, taken: bool
) -> None:
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        table = v1.get_variable("v", initializer=tf.ones([3, 2, 2]), use_resource=True)
        i = v1.placeholder(tf.int32, [3, 2])
        y = tf.raw_ops.ResourceGather(resource=table.handle, indices=i, dtype=tf.float32, batch_dims=batch_dims)
        session.run(v1.global_variables_initializer())
        v1.saved_model.simple_save(session, str(tmp_path / "1"), {"i": i}, {"y": y})
    model = load_saved_model(tmp_path / "1")
    given = ask(model, "serving_default", i=np.zeros((3, 3), np.int32))
    assert (given == np.ones((3, 3, 2, 2)).tolist()) if taken else (given == "i must be [3,2], but is [3,3]")


def test_a_rank_that_the_signature_does_not_tell_is_that_of_the_placeholder(tmp_path: Path) -> None:
    v1 = tf.compat.v1
    with tf.Graph().as_default() as graph:
        x = v1.placeholder(tf.float32, [None, 3], name="x")
        quantised(x)
        told, untold = (v1.saved_model.utils.build_tensor_info(tensor) for tensor in (x, x))
        untold.tensor_shape.Clear()
        untold.tensor_shape.unknown_rank = True
        operations = Operations(graph.as_graph_def())
    specs = [signature_from("s", SignatureDef(inputs={"x": info})).inputs["x"] for info in (told, untold)]
    assert [spec.shape for spec in specs] == [(None, 3), None]
    assert list(map(operations.declared_shape, specs)) == [(None, 3), (None, 3)]


def test_a_run_of_several_signatures_takes_what_each_does(model: SavedModel) -> None:
    both = together([model.signatures["checked"], model.signatures["unchecked"]])
    names = {signature: model.signatures[signature].inputs["x"].name for signature in ("checked", "unchecked")}
    with pytest.raises(ServingError, match="must be 2-dimensional"):
        model.run(both, {names["checked"]: ones(1), names["unchecked"]: ones(3)}, None, 20.0)
    values = model.run(both, {names["checked"]: ones(1), names["unchecked"]: ones(1, 3)}, None, 20.0)
    assert {str(value.tolist()) for value in values.values()} == {"[2.0]", "[[1.0, 1.0, 1.0]]"}


def test_without_the_check_everything_is_handed_on(directory: Path) -> None:
    model = load_saved_model(directory, check_shapes=False)
    assert ask(model, "one_row", x=ones(2, 3)) == ones(2, 3).tolist()
    assert "{{node" in ask(model, "unchecked", x=ones(2, 4))
    model.close()


# Row splits


def test_right_row_splits(model: SavedModel) -> None:
    assert ask(model, "mean", rows=ones(3, 2), rows_1=np.int64([0, 2, 3])) == [[1, 1], [1, 1]]
    words = np.array([b"a", b"b", b"c"], object)
    assert ask(model, "padded", words=words, words_1=np.int32([0, 1, 2]), words_2=np.int32([0, 2, 3])) == [
        [[b"a", b"b"]], [[b"c", b""]]
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("splits", "told"),
    [
        ([1, 3], "rows_1[0] must be 0, as all row splits begin, but is 1"),
        ([0, 4, 2, 3], "rows_1[2] must be 4 or more, as row splits never fall, but is 2"),
        ([0, 2], "rows_1[1] must be 3, the number of the rows of rows, but is 2"),
        ([0, 99], "rows_1[1] must be 3, the number of the rows of rows, but is 99"),
        ([], "rows_1 must be a vector of row splits, which begins with 0, but is [0]"),
        ([[0, 3]], "rows_1 must be a vector of row splits, which begins with 0, but is [1,2]"),
    ],
)
def test_wrong_row_splits_are_refused_with_their_place(model: SavedModel, splits: list[Any], told: str) -> None:
    assert ask(model, "mean", rows=ones(3, 2), rows_1=np.array(splits, np.int64)) == told


def test_inner_row_splits_are_checked_against_outer_ones(model: SavedModel) -> None:
    words = np.array([b"a", b"b", b"c"], object)
    told = ask(model, "padded", words=words, words_1=np.int32([0, 1, 3]), words_2=np.int32([0, 2, 3]))
    assert told == "words_1[2] must be 2, the number of the rows of words_2, but is 3"
    assert ask(model, "padded", words=np.array(b"a", object), words_1=np.int32([0]), words_2=np.int32([0])) == (
        "words must have rows, but is []"
    )


def test_row_splits_of_a_graph_without_functions(tmp_path: Path) -> None:
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        values, splits = v1.placeholder(tf.float32, [None]), v1.placeholder(tf.int64, [None])
        rows = tf.RaggedTensor.from_row_splits(values, tf.identity(splits), validate=False)
        inputs = {"values": values, "splits": splits}
        v1.saved_model.simple_save(session, str(tmp_path / "1"), inputs, {"y": rows.to_tensor()})
    model = load_saved_model(tmp_path / "1")
    assert ask(model, "serving_default", values=ones(2), splits=np.int64([0, 1, 2])) == [[1], [1]]
    told = ask(model, "serving_default", values=ones(2), splits=np.int64([0, 7]))
    assert told == "splits[1] must be 2, the number of the rows of values, but is 7"


# Batches


def test_in_a_batch_a_wrong_shape_is_refused_alone_and_fixed_rows_and_row_splits_run_alone(directory: Path) -> None:
    scheduler = Scheduler(1)
    model = BatchedModel(load_saved_model(directory), BatchingParameters(max_batch_size=8), scheduler, BatchCounts())
    assert ask(model, "unchecked", x=ones(3)) == "x must be 2-dimensional, [?,3], but is [3]"
    for signature, inputs in (
        ("one_row", {"x": ones(1, 3)}),
        ("mean", {"rows": ones(3, 2), "rows_1": np.int64([0, 2, 3])}),
        ("unchecked", {"x": ones(3)}),
    ):
        assert model.begin(model.signatures[signature], inputs, None, 20.0) is None
    assert ask(model, "mean", rows=ones(3, 2), rows_1=np.int64([0, 2, 3])) == [[1, 1], [1, 1]]
    assert ask(model, "unchecked", x=ones(2, 3)) == ones(2, 3).tolist()
    model.close()


# Outputs


def test_an_output_that_is_ragged_is_told_as_tensorflow_serving_does(model: SavedModel) -> None:
    assert model.signature_def["ragged"].outputs["r"].composite_tensor.components
    with pytest.raises(ServingError) as caught:
        model.run(model.signatures["ragged"], {"x": ones(1, 3)}, None, 20.0)
    assert caught.value.message == (
        "Tensor :0, specified in either feed_devices or fetch_devices was not found in the Graph"
    )
    assert caught.value.told.splitlines()[1:] == [
        "at r",
        (
            "r is a ragged or sparse tensor, which cannot be sent. Export it as tensors: ragged.to_tensor() or its "
            "flat_values and row_splits, tf.sparse.to_dense(sparse)."
        ),
    ]


def test_every_operation_that_is_let_through_is_one_of_tensorflow() -> None:
    assert [name for name in sorted(CHECKED) if operation_definition(name) is None] == []
