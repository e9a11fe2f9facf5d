"""How a session gets the graph of a SavedModel and its values: the steps of TensorFlow's C++ loader.

Python's importer, the way of a TensorFlow whose C API is not found, takes fewer models: it refuses training graphs of
TensorFlow 1, whose `_output_shapes` are those of other days, and graphs from which a tool removed nodes.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import tensorflow as tf
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef
from tensorflow.core.protobuf.meta_graph_pb2 import AssetFileDef

from tfs_notebook.engine.saved_model import session as raw
from tfs_notebook.engine.saved_model.file import read_meta_graph
from tfs_notebook.engine.saved_model.operation_packages import find_missing, remedy
from tfs_notebook.errors import Code, ServingError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_INIT = "__saved_model_init_op"
_INIT_COLLECTIONS = ("saved_model_main_op", "legacy_init_op")
"""Where the name of the operation stands that initializes tables: TensorFlow 2, 1.x, and before."""
_ASSETS = "saved_model_assets"


def load_into(session: Any, tags: Sequence[str], directory: str) -> Any:
    """Load the meta graph with exactly `tags` into `session` and return it (a MetaGraphDef, without large constants).

    Raises tf.errors.OpError or ServingError, in the words of the C++ loader.
    """
    if not (raw.HAS_RAW_RUN and raw.HAS_RAW_GRAPH):
        return raw.import_into(session, tags, directory)
    path = Path(directory)
    meta_graph, graph_def = read_meta_graph(path, tags)
    missing = find_missing(meta_graph.graph_def)
    try:
        raw.extend(session, graph_def)
        if missing:  # it is in a function: TensorFlow would only say so when that is called
            raw.extend(session, GraphDef(node=[NodeDef(name=missing, op=missing)]).SerializeToString())
    except tf.errors.NotFoundError as error:
        if not missing:
            raise
        raise ServingError(Code.NOT_FOUND, error.message, where=directory, hint=remedy(missing)) from None
    raw.name_operations(session, _named_operations(meta_graph))
    assets = {asset.tensor_info.name: str(path / "assets" / asset.filename) for asset in _assets(meta_graph)}
    variables = path / "variables"
    saver = meta_graph.saver_def
    if saver.restore_op_name and (variables / "variables.index").exists():
        prefix = {saver.filename_tensor_name: str(variables / "variables")}
        raw.run_once(session, saver.restore_op_name, prefix | assets)
    if operation := _init_operation(meta_graph, directory):
        raw.run_once(session, operation, assets)
    return meta_graph


def _named_operations(meta_graph: Any) -> set[str]:
    """The operations whose outputs the signatures name, if they are in the graph."""
    named = {
        info.name.partition(":")[0]
        for signature in meta_graph.signature_def.values()
        for side in (signature.inputs, signature.outputs)
        for info in side.values()
    }
    return named.intersection(node.name for node in meta_graph.graph_def.node)


def _assets(meta_graph: Any) -> Iterator[Any]:
    """The AssetFileDef messages, which TensorFlow 1 has in a collection."""
    yield from meta_graph.asset_file_def
    if meta_graph.asset_file_def or _ASSETS not in meta_graph.collection_def:
        return
    for packed in meta_graph.collection_def[_ASSETS].any_list.value:
        asset = AssetFileDef()
        packed.Unpack(asset)
        yield asset


def _init_operation(meta_graph: Any, directory: str) -> str:
    """The name of the operation to run once the variables are there, empty for none."""
    if _INIT in meta_graph.signature_def:
        outputs = meta_graph.signature_def[_INIT].outputs
        if _INIT not in outputs:
            raise ServingError(Code.FAILED_PRECONDITION, f"Could not find output {_INIT}", where=directory)
        return str(outputs[_INIT].name)
    for collection in _INIT_COLLECTIONS:
        if collection in meta_graph.collection_def:
            names = meta_graph.collection_def[collection].node_list.value
            if len(names) != 1:
                raise ServingError(
                    Code.FAILED_PRECONDITION, f"Expected exactly one main op in : {directory}", where=directory
                )
            return str(names[0])
    return ""
