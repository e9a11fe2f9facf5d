"""SavedModels that TensorFlow's C++ loader takes, and what it says of those that it does not."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel as SavedModelProto

from tfs_notebook.engine.saved_model import file as saved_model_file
from tfs_notebook.engine.saved_model import session
from tfs_notebook.engine.saved_model.file import read_meta_graph
from tfs_notebook.engine.saved_model.loader import load_saved_model
from tfs_notebook.errors import Code, ServingError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Models

v1 = tf.compat.v1
X, Y = np.ones((1, 3), np.float32), [[6.0, 9.0]]


@pytest.fixture(scope="module")
def training_graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """y = x · [[0 1] [2 3] [4 5]], in a graph that still has an operation of its training."""
    version = tmp_path_factory.mktemp("training") / "1"
    with tf.Graph().as_default() as graph, v1.Session(graph=graph) as of_graph:
        x = v1.placeholder(tf.float32, [None, 3], name="x")
        w = v1.get_variable("w", initializer=np.arange(6, dtype=np.float32).reshape(3, 2))
        y = tf.matmul(x, w, name="y")
        image, ones = tf.zeros([1, 2, 2, 8]), tf.ones([8])
        tf.raw_ops.FusedBatchNormGrad(
            y_backprop=image, x=image, scale=ones, reserve_space_1=ones, reserve_space_2=ones, name="grad"
        )
        of_graph.run(v1.global_variables_initializer())
        builder = v1.saved_model.Builder(str(version))
        definition = v1.saved_model.predict_signature_def({"x": x}, {"y": y})
        builder.add_meta_graph_and_variables(of_graph, ["serve"], {"serving_default": definition})
        builder.save()
    return version


def edited(version: Path, into: Path, edit: Callable[[Any], None]) -> Path:
    """A copy of `version` whose MetaGraphDef `edit` has changed."""
    copy = into / "1"
    copy.mkdir()
    (copy / "variables").symlink_to(version / "variables")
    content = SavedModelProto.FromString((version / "saved_model.pb").read_bytes())
    edit(content.meta_graphs[0])
    (copy / "saved_model.pb").write_bytes(content.SerializeToString())
    return copy


def node(meta_graph: Any, name: str) -> Any:
    return next(node for node in meta_graph.graph_def.node if node.name == name)


def shapes_of_other_days(meta_graph: Any) -> None:
    """FusedBatchNormGrad's last two outputs were [C] in TensorFlow 1.12 and are [0] now."""
    shapes = node(meta_graph, "grad").attr["_output_shapes"].list
    del shapes.shape[:]
    for sizes in ([1, 2, 2, 8], [8], [8], [8], [8]):
        shapes.shape.add().dim.extend(tf.TensorShape([size]).as_proto().dim[0] for size in sizes)


def collections_of_what_is_gone(meta_graph: Any) -> None:
    meta_graph.collection_def["train_op"].node_list.value.append("optimizer_that_was_removed")
    meta_graph.collection_def["losses"].node_list.value.append("loss_that_was_removed:0")


def more_outputs_described_than_there_are(meta_graph: Any) -> None:
    node(meta_graph, "y").attr["_output_shapes"].list.shape.add().dim.add(size=1)


@pytest.mark.parametrize(
    "edit", [shapes_of_other_days, collections_of_what_is_gone, more_outputs_described_than_there_are]
)
def test_what_only_python_looks_at_keeps_no_model_from_being_served(
    training_graph: Path, tmp_path: Path, edit: Callable[[Any], None]
) -> None:
    model = load_saved_model(edited(training_graph, tmp_path, edit))
    assert model.run(model.signatures["serving_default"], {"x": X}, None, None)["y"].tolist() == Y
    model.close()


@pytest.mark.parametrize("name", ["HAS_RAW_GRAPH", "HAS_RAW_RUN"])
@pytest.mark.parametrize("model", ["half_plus_two", "half_plus_two_tf1", "vocabulary"])
def test_pythons_importer_stands_in_where_tensorflow_lacks_the_names(
    models: Models, monkeypatch: pytest.MonkeyPatch, name: str, model: str
) -> None:
    monkeypatch.setattr(session, name, False)
    loaded = load_saved_model(models.path(model) / "1")
    signature = loaded.signatures["serving_default"]
    (alias,) = signature.inputs
    x = np.array([b"fox"], object) if model == "vocabulary" else np.ones((1, 1), np.float32)
    assert loaded.run(signature, {alias: x if model != "half_plus_two" else x[0]}, None, None)
    loaded.close()


def test_an_error_while_variables_are_read_is_told_in_tensorflows_words(models: Models, tmp_path: Path) -> None:
    version = models.copy("cnn", tmp_path)
    (data,) = (version / "variables").glob("*.data*")
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 0xFF
    data.write_bytes(content)
    with pytest.raises(ServingError) as error:
        load_saved_model(version)
    assert error.value.code is Code.DATA_LOSS
    assert error.value.message.startswith("TensorBundle at ")
    assert "Checksum does not match" in error.value.message
    assert "Graph execution error" not in error.value.message


def without_operation(models: Models, tmp_path: Path, name: str) -> ServingError:
    """What is said of a version whose function has an operation `name`, which is of ten letters."""
    version = models.copy("dtypes", tmp_path)
    graph = version / "saved_model.pb"
    graph.write_bytes(graph.read_bytes().replace(b"LogicalNot", name.encode()))
    with pytest.raises(ServingError) as error:
        load_saved_model(version)
    assert error.value.code is Code.NOT_FOUND
    assert error.value.message.startswith(f"Op type not registered '{name}' in binary running on ")
    return error.value


def test_the_package_of_a_missing_operation_is_named(models: Models, tmp_path: Path) -> None:
    assert "tensorflow-decision-forests" in without_operation(models, tmp_path, "SimpleMLOp").hint


def test_an_operation_that_no_known_package_has(models: Models, tmp_path: Path) -> None:
    assert "tf.load_op_library" in without_operation(models, tmp_path, "LogicalNix").hint


def test_an_installed_package_is_imported_when_a_graph_needs_its_operations(
    models: Models, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    package = tmp_path / "tensorflow_decision_forests.py"
    package.write_text("raise RuntimeError('made for another TensorFlow')")
    monkeypatch.syspath_prepend(str(tmp_path))
    without_operation(models, tmp_path, "LogicalNix")
    assert package.stem not in sys.modules
    package.write_text("")
    (tmp_path / "1" / "saved_model.pb").unlink()
    (tmp_path / "again").mkdir()
    hint = without_operation(models, tmp_path / "again", "SimpleMLOp").hint
    assert package.stem in sys.modules
    monkeypatch.delitem(sys.modules, package.stem)
    assert "the installed version does not register it" in hint


def test_what_is_large_is_read_without_its_values(tmp_path: Path) -> None:
    large = np.arange(saved_model_file.PIECE_BYTES, dtype=np.float32)

    class Large(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([], tf.float32, name="x")])
        def __call__(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
            for _ in range(2000):
                x = x + 1.0
            return {"y": x * tf.constant(large)}

    module = Large()
    tf.saved_model.save(module, str(tmp_path / "1"), signatures=module.__call__)
    meta_graph, graph_def = read_meta_graph(tmp_path / "1", ["serve"])
    whole = tf.compat.v1.GraphDef.FromString(bytes(graph_def))
    assert meta_graph.graph_def.ByteSize() < whole.ByteSize() - large.nbytes / 2
    for seen, real in (
        (meta_graph.graph_def.node, whole.node),
        *zip(*([f.node_def for f in g.library.function] for g in (meta_graph.graph_def, whole)), strict=True),
    ):
        assert [(n.name, n.op, n.input) for n in seen] == [(n.name, n.op, n.input) for n in real]
    model = load_saved_model(tmp_path / "1")
    answer = model.run(model.signatures["serving_default"], {"x": np.float32(1)}, None, None)["y"]
    assert answer[2] == 2 * 2001
    model.close()


@pytest.mark.parametrize("content", [b"\x12\x7f", b"\xff" * 20, b"\x12\x02\x12\x05", b"no model", b"\x13\x0a"])
def test_a_file_that_is_no_saved_model(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "saved_model.pb").write_bytes(content)
    with pytest.raises(ServingError) as error:
        load_saved_model(tmp_path)
    assert error.value.code is Code.DATA_LOSS
    assert error.value.message == f"Can't parse {tmp_path / 'saved_model.pb'} as binary proto"
    assert error.value.hint.startswith(f"saved_model.pb is not a SavedModel ({len(content)} bytes)")


def test_a_text_that_is_no_saved_model(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pbtxt").write_text("meta_graphs: 7")
    with pytest.raises(ServingError, match="as text proto"):
        load_saved_model(tmp_path)
