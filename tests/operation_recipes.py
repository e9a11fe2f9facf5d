"""How a graph of one operation is made where its inputs can not all be placeholders: variables, tables, lists, loops.

A recipe takes a random generator and returns the placeholders, all of unknown shape, and what is to be run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf
from tensorflow.python.ops import cond_v2, while_v2

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

v1 = tf.compat.v1
raw = tf.raw_ops
Made = tuple[list[Any], list[Any]]


def _any(dtype: tf.DType = tf.float32) -> tf.Tensor:
    return v1.placeholder(dtype)


def _variable() -> tf.Variable:
    return v1.get_variable("v", initializer=tf.ones([3, 2]), use_resource=True)


def _gather(draw: random.Random) -> Made:
    indices = _any(draw.choice((tf.int32, tf.int64)))
    return [indices], [raw.ResourceGather(resource=_variable().handle, indices=indices, dtype=tf.float32)]


def _gather_nd(draw: random.Random) -> Made:
    indices = _any(draw.choice((tf.int32, tf.int64)))
    return [indices], [raw.ResourceGatherNd(resource=_variable().handle, indices=indices, dtype=tf.float32)]


def _assigned(operation: Any) -> Callable[[random.Random], Made]:
    def made(_draw: random.Random) -> Made:
        value, variable = _any(), _variable()
        with tf.control_dependencies([operation(resource=variable.handle, value=value)]):
            return [value], [raw.ReadVariableOp(resource=variable.handle, dtype=tf.float32)]

    return made


def _find(draw: random.Random) -> Made:
    keys = _any(tf.string)
    if draw.random() < 0.5:
        pairs = tf.lookup.KeyValueTensorInitializer(["a", "b"], tf.constant([1, 2], tf.int64))
        handle = tf.lookup.StaticHashTable(pairs, -1).resource_handle
    else:
        handle = raw.MutableHashTableV2(key_dtype=tf.string, value_dtype=tf.int64)
    default = _any(tf.int64)
    return [keys, default], [raw.LookupTableFindV2(table_handle=handle, keys=keys, default_value=default)]


def _branches(draw: random.Random) -> Made:
    condition, x = _any(tf.bool), _any()
    if draw.random() < 0.5:
        return [condition, x], [cond_v2.cond_v2(condition, lambda: x + 1.0, lambda: x * 2.0)]
    return [condition, x], [v1.cond(condition, lambda: x + 1.0, lambda: x * 2.0)]


def _cases(_draw: random.Random) -> Made:
    index, x = _any(tf.int32), _any()
    return [index, x], [cond_v2.indexed_case(index, [lambda: x + 1.0, lambda: x * 2.0])]


def _loops(draw: random.Random) -> Made:
    end, x = _any(tf.int32), _any()
    free = tf.TensorShape(None)
    make = draw.choice((while_v2.while_loop, v1.while_loop))
    found = make(
        lambda i, _: i < end,
        lambda i, x: (i + 1, x * 2.0),
        (tf.constant(0), x),
        shape_invariants=(tf.TensorShape([]), free),
    )
    return [end, x], [found[1]]


def _index(draw: random.Random) -> tf.Tensor:
    """A place in a list: those are the graph's own, like a loop's counter."""
    return tf.constant(draw.choice((0, 1, 2)))


def _element_shape(draw: random.Random) -> tf.Tensor:
    return tf.constant(draw.choice((-1, [-1, 2], [2], [-1, -1], [])), tf.int32)


def _list(draw: random.Random) -> tuple[tf.Tensor, list[Any]]:
    """A list, and the placeholders it is made from."""
    tensor = _any()
    if draw.random() < 0.5:
        return raw.TensorListFromTensor(tensor=tensor, element_shape=_element_shape(draw)), [tensor]
    made = raw.TensorListReserve(element_shape=_element_shape(draw), num_elements=3, element_dtype=tf.float32)
    return raw.TensorListSetItem(input_handle=made, index=_index(draw), item=tensor), [tensor]


def _listed(run: Callable[[tf.Tensor, random.Random, tf.Tensor], Any]) -> Callable[[random.Random], Made]:
    def made(draw: random.Random) -> Made:
        handle, inputs = _list(draw)
        more = _any()
        found = run(handle, draw, more)
        return [*inputs, more], list(found) if isinstance(found, (list, tuple)) else [found]

    return made


def _stacked(handle: tf.Tensor, draw: random.Random) -> tf.Tensor:
    return raw.TensorListStack(input_handle=handle, element_shape=_element_shape(draw), element_dtype=F)


F = tf.float32
_LISTS: dict[str, Callable[[tf.Tensor, random.Random, tf.Tensor], Any]] = {
    "TensorListFromTensor": lambda h, d, _: _stacked(h, d),
    "TensorListReserve": lambda h, d, _: _stacked(h, d),
    "TensorListStack": lambda h, d, _: _stacked(h, d),
    "TensorListSetItem": lambda h, d, x: _stacked(raw.TensorListSetItem(input_handle=h, index=_index(d), item=x), d),
    "TensorListGetItem": lambda h, d, _: raw.TensorListGetItem(
        input_handle=h, index=_index(d), element_shape=_element_shape(d), element_dtype=F
    ),
    "TensorListPushBack": lambda h, d, x: _stacked(raw.TensorListPushBack(input_handle=h, tensor=x), d),
    "TensorListPopBack": lambda h, d, _: raw.TensorListPopBack(
        input_handle=h, element_shape=_element_shape(d), element_dtype=F
    ),
    "TensorListGather": lambda h, d, _: raw.TensorListGather(
        input_handle=h, indices=[0, 1], element_shape=_element_shape(d), element_dtype=F
    ),
    "TensorListConcatV2": lambda h, d, _: raw.TensorListConcatV2(
        input_handle=h, element_shape=_element_shape(d), leading_dims=tf.zeros([0], tf.int64), element_dtype=F
    ),
    "TensorListLength": lambda h, _d, _: raw.TensorListLength(input_handle=h),
    "TensorListElementShape": lambda h, _d, _: raw.TensorListElementShape(input_handle=h, shape_type=tf.int32),
    "TensorListResize": lambda h, d, _: _stacked(raw.TensorListResize(input_handle=h, size=2), d),
    "EmptyTensorList": lambda _h, d, x: _stacked(
        raw.TensorListPushBack(
            input_handle=raw.EmptyTensorList(element_shape=_element_shape(d), max_num_elements=3, element_dtype=F),
            tensor=x,
        ),
        d,
    ),
}


def _list_scatter(draw: random.Random) -> Made:
    tensor = _any()
    indices, count = draw.choice((([0, 1], 2), ([0, 1, 2], 3), ([0], 1)))
    made = raw.TensorListScatterV2(
        tensor=tensor, indices=indices, element_shape=_element_shape(draw), num_elements=count
    )
    return [tensor], [_stacked(made, draw)]


def _array(run: Callable[[Any, tf.Tensor, Callable[..., Any]], Any]) -> Callable[[random.Random], Made]:
    def made(draw: random.Random) -> Made:
        inputs: list[Any] = []

        def more(dtype: tf.DType = tf.int32) -> tf.Tensor:
            inputs.append(_any(dtype))
            return inputs[-1]

        handle, flow = raw.TensorArrayV3(size=tf.constant(3), dtype=F, dynamic_size=draw.random() < 0.5)
        found = run(handle, flow, more)
        return inputs, list(found) if isinstance(found, (list, tuple)) else [found]

    return made


def _scattered(handle: Any, flow: Any, more: Any) -> Any:
    return raw.TensorArrayScatterV3(handle=handle, indices=tf.range(3), value=more(F), flow_in=flow)


_ARRAYS: dict[str, Callable[[Any, tf.Tensor, Callable[..., Any]], Any]] = {
    "TensorArrayV3": lambda h, f, m: raw.TensorArrayReadV3(
        handle=h, index=0, dtype=F, flow_in=raw.TensorArrayWriteV3(handle=h, index=0, value=m(F), flow_in=f)
    ),
    "TensorArrayWriteV3": lambda h, f, m: raw.TensorArrayWriteV3(handle=h, index=m(), value=m(F), flow_in=f),
    "TensorArrayReadV3": lambda h, f, m: raw.TensorArrayReadV3(
        handle=h, index=m(), dtype=F, flow_in=_scattered(h, f, m)
    ),
    "TensorArrayScatterV3": lambda h, f, m: raw.TensorArrayGatherV3(
        handle=h, indices=tf.range(3), dtype=F, flow_in=_scattered(h, f, m)
    ),
    "TensorArrayGatherV3": lambda h, f, m: raw.TensorArrayGatherV3(
        handle=h, indices=m(), dtype=F, flow_in=_scattered(h, f, m)
    ),
    "TensorArrayConcatV3": lambda h, f, m: raw.TensorArrayConcatV3(handle=h, dtype=F, flow_in=_scattered(h, f, m)),
    "TensorArraySizeV3": lambda h, f, m: raw.TensorArraySizeV3(handle=h, flow_in=_scattered(h, f, m)),
}  # fmt: skip


def _from_splits(draw: random.Random) -> Made:
    """A ragged tensor whose row splits are right, as they are checked beforehand, with everything else drawn."""
    values, default = _any(), _any()
    count = tf.cast(tf.reshape(tf.shape(values)[:1], []), tf.int64)
    splits = tf.stack([tf.constant(0, tf.int64), count // 2, count])
    shape = draw.choice((tf.constant(-1), tf.constant([-1, -1]), tf.constant([2, 3]), tf.constant([-1, 0])))
    return [values, default], [
        raw.RaggedTensorToTensor(
            shape=shape, values=values, default_value=default, row_partition_tensors=[splits],
            row_partition_types=["ROW_SPLITS"],
        )
    ]  # fmt: skip


def _examples(draw: random.Random) -> Made:
    serialized = _any(tf.string)
    features: dict[str, Any] = {
        "x": tf.io.FixedLenFeature(draw.choice(([], [1], [2, 2])), tf.float32),
        "words": tf.io.VarLenFeature(tf.string),
        "count": tf.io.FixedLenSequenceFeature([], tf.int64, allow_missing=True),
        "ragged": tf.io.RaggedFeature(tf.int64),
    }
    chosen = {name: feature for name, feature in features.items() if draw.random() < 0.6} or {"x": features["x"]}
    parsed = tf.io.parse_example(serialized, chosen)
    return [serialized], list(tf.nest.flatten(parsed, expand_composites=True))


def _examples_of_old(draw: random.Random) -> Made:
    serialized, names, default = _any(tf.string), _any(tf.string), _any()
    shape = draw.choice(([], [1], [2]))
    made = raw.ParseExample(
        serialized=serialized, names=names, sparse_keys=["words"], dense_keys=["x"], dense_defaults=[default],
        sparse_types=[tf.string], dense_shapes=[shape],
    )  # fmt: skip
    return [serialized, names, default], list(tf.nest.flatten(made))


def _one_example(draw: random.Random) -> Made:
    serialized = _any(tf.string)
    made = raw.ParseSingleExample(
        serialized=serialized, dense_defaults=[tf.zeros([0])], num_sparse=1, sparse_keys=["words"], dense_keys=["x"],
        sparse_types=[tf.string], dense_shapes=[draw.choice(([], [1], [2]))],
    )  # fmt: skip
    return [serialized], list(tf.nest.flatten(made))


def _sequences(_draw: random.Random) -> Made:
    serialized = _any(tf.string)
    parsed = tf.io.parse_sequence_example(
        serialized,
        {"z": tf.io.VarLenFeature(tf.float32)},
        {"words": tf.io.VarLenFeature(tf.string), "y": tf.io.FixedLenSequenceFeature([], tf.float32)},
    )
    return [serialized], list(tf.nest.flatten(parsed, expand_composites=True))


def _csv(draw: random.Random) -> Made:
    lines, default = _any(tf.string), _any()
    made = raw.DecodeCSV(records=lines, record_defaults=[default, [b""]], select_cols=draw.choice(([], [0, 1])))
    return [lines, default], list(made)


def _called(_draw: random.Random) -> Made:
    x = _any()
    return [x], [tf.function(lambda x: x * 2.0)(x)]


def _to_batch(draw: random.Random) -> Made:
    x = _any()
    block, around = draw.choice((([2, 2], [[0, 0], [0, 0]]), ([2], [[0, 1]]), ([1, 2], [[0, 0], [1, 1]])))
    return [x], [raw.SpaceToBatchND(input=x, block_shape=block, paddings=around)]


def _from_batch(draw: random.Random) -> Made:
    x = _any()
    block, around = draw.choice((([2, 2], [[0, 0], [0, 0]]), ([2], [[0, 1]]), ([1, 2], [[0, 0], [1, 1]])))
    return [x], [raw.BatchToSpaceND(input=x, block_shape=block, crops=around)]


RECIPES: dict[str, Callable[[random.Random], Made]] = {
    "ResourceGather": _gather,
    "ResourceGatherNd": _gather_nd,
    "AssignVariableOp": _assigned(raw.AssignVariableOp),
    "AssignAddVariableOp": _assigned(raw.AssignAddVariableOp),
    "AssignSubVariableOp": _assigned(raw.AssignSubVariableOp),
    "LookupTableFindV2": _find,
    **dict.fromkeys(("If", "StatelessIf", "Switch", "Merge"), _branches),
    **dict.fromkeys(("Case", "StatelessCase"), _cases),
    **dict.fromkeys(("While", "StatelessWhile", "Enter", "Exit", "LoopCond", "NextIteration"), _loops),
    **dict.fromkeys(("PartitionedCall", "StatefulPartitionedCall"), _called),
    "SpaceToBatchND": _to_batch,
    "BatchToSpaceND": _from_batch,
    **{name: _listed(run) for name, run in _LISTS.items()},
    "TensorListScatterV2": _list_scatter,
    **{name: _array(run) for name, run in _ARRAYS.items()},
    "RaggedTensorToTensor": _from_splits,
    "ParseExampleV2": _examples,
    "ParseExample": _examples_of_old,
    "ParseSingleExample": _one_example,
    "ParseSequenceExampleV2": _sequences,
    "DecodeCSV": _csv,
}
