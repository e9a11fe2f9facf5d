"""How a graph of one operation is made where its inputs can not all be placeholders: variables, tables, loops.

A recipe takes a random generator and returns the placeholders, all of unknown shape, and what is to be run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf
from tensorflow.python.ops import cond_v2, while_v2

from tests.support.list_recipes import LIST_RECIPES, Made, a_placeholder

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

v1 = tf.compat.v1
raw = tf.raw_ops


def _variable() -> tf.Variable:
    return v1.get_variable("v", initializer=tf.ones([3, 2]), use_resource=True)


def _gather(draw: random.Random) -> Made:
    indices = a_placeholder(draw.choice((tf.int32, tf.int64)))
    return [indices], [raw.ResourceGather(resource=_variable().handle, indices=indices, dtype=tf.float32)]


def _gather_nd(draw: random.Random) -> Made:
    indices = a_placeholder(draw.choice((tf.int32, tf.int64)))
    return [indices], [raw.ResourceGatherNd(resource=_variable().handle, indices=indices, dtype=tf.float32)]


def _assigned(operation: Any) -> Callable[[random.Random], Made]:
    def made(_draw: random.Random) -> Made:
        value, variable = a_placeholder(), _variable()
        with tf.control_dependencies([operation(resource=variable.handle, value=value)]):
            return [value], [raw.ReadVariableOp(resource=variable.handle, dtype=tf.float32)]

    return made


def _find(draw: random.Random) -> Made:
    keys = a_placeholder(tf.string)
    if draw.random() < 0.5:
        pairs = tf.lookup.KeyValueTensorInitializer(["a", "b"], tf.constant([1, 2], tf.int64))
        handle = tf.lookup.StaticHashTable(pairs, -1).resource_handle
    else:
        handle = raw.MutableHashTableV2(key_dtype=tf.string, value_dtype=tf.int64)
    default = a_placeholder(tf.int64)
    return [keys, default], [raw.LookupTableFindV2(table_handle=handle, keys=keys, default_value=default)]


def _branches(draw: random.Random) -> Made:
    condition, x = a_placeholder(tf.bool), a_placeholder()
    if draw.random() < 0.5:
        return [condition, x], [cond_v2.cond_v2(condition, lambda: x + 1.0, lambda: x * 2.0)]
    return [condition, x], [v1.cond(condition, lambda: x + 1.0, lambda: x * 2.0)]


def _cases(_draw: random.Random) -> Made:
    index, x = a_placeholder(tf.int32), a_placeholder()
    return [index, x], [cond_v2.indexed_case(index, [lambda: x + 1.0, lambda: x * 2.0])]


def _loops(draw: random.Random) -> Made:
    end, x = a_placeholder(tf.int32), a_placeholder()
    free = tf.TensorShape(None)
    make = draw.choice((while_v2.while_loop, v1.while_loop))
    found = make(
        lambda i, _: i < end,
        lambda i, x: (i + 1, x * 2.0),
        (tf.constant(0), x),
        shape_invariants=(tf.TensorShape([]), free),
    )
    return [end, x], [found[1]]


def _from_splits(draw: random.Random) -> Made:
    """A ragged tensor whose row splits are right, as they are checked beforehand, with everything else drawn."""
    values, default = a_placeholder(), a_placeholder()
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
    serialized = a_placeholder(tf.string)
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
    serialized, names, default = a_placeholder(tf.string), a_placeholder(tf.string), a_placeholder()
    shape = draw.choice(([], [1], [2]))
    made = raw.ParseExample(
        serialized=serialized, names=names, sparse_keys=["words"], dense_keys=["x"], dense_defaults=[default],
        sparse_types=[tf.string], dense_shapes=[shape],
    )  # fmt: skip
    return [serialized, names, default], list(tf.nest.flatten(made))


def _one_example(draw: random.Random) -> Made:
    serialized = a_placeholder(tf.string)
    made = raw.ParseSingleExample(
        serialized=serialized, dense_defaults=[tf.zeros([0])], num_sparse=1, sparse_keys=["words"], dense_keys=["x"],
        sparse_types=[tf.string], dense_shapes=[draw.choice(([], [1], [2]))],
    )  # fmt: skip
    return [serialized], list(tf.nest.flatten(made))


def _sequences(_draw: random.Random) -> Made:
    serialized = a_placeholder(tf.string)
    parsed = tf.io.parse_sequence_example(
        serialized,
        {"z": tf.io.VarLenFeature(tf.float32)},
        {"words": tf.io.VarLenFeature(tf.string), "y": tf.io.FixedLenSequenceFeature([], tf.float32)},
    )
    return [serialized], list(tf.nest.flatten(parsed, expand_composites=True))


def _csv(draw: random.Random) -> Made:
    lines, default = a_placeholder(tf.string), a_placeholder()
    made = raw.DecodeCSV(records=lines, record_defaults=[default, [b""]], select_cols=draw.choice(([], [0, 1])))
    return [lines, default], list(made)


def _called(_draw: random.Random) -> Made:
    x = a_placeholder()
    return [x], [tf.function(lambda x: x * 2.0)(x)]


def _to_batch(draw: random.Random) -> Made:
    x = a_placeholder()
    block, around = draw.choice((([2, 2], [[0, 0], [0, 0]]), ([2], [[0, 1]]), ([1, 2], [[0, 0], [1, 1]])))
    return [x], [raw.SpaceToBatchND(input=x, block_shape=block, paddings=around)]


def _from_batch(draw: random.Random) -> Made:
    x = a_placeholder()
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
    **LIST_RECIPES,
    "RaggedTensorToTensor": _from_splits,
    "ParseExampleV2": _examples,
    "ParseExample": _examples_of_old,
    "ParseSingleExample": _one_example,
    "ParseSequenceExampleV2": _sequences,
    "DecodeCSV": _csv,
}
