"""Graphs of one operation, run with tensors of every rank and many sizes: which operations end the process?

Run as a program it tells, for the operations that are named (default: all that let a tensor through), how many calls
were answered, how many refused, and what ended the process:

    python -m tests.one_operation [--seconds=S] [--seed=N] [OPERATION …]

Each operation is tried in a forked process of its own. Its inputs are placeholders of unknown shape; types and other
attributes are drawn anew for every graph. Half of the calls change the shape of one input of a call that was answered
before, because tensors drawn at random rarely fit together.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import select
import signal
import time
from functools import cache
from typing import TYPE_CHECKING, Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
from tensorflow.python.client.pywrap_tf_session import TF_SessionRun_wrapper
from tensorflow.python.framework import op_def_registry
from tensorflow.python.framework.op_def_library import apply_op

from tests.operation_recipes import RECIPES
from tfs_notebook.engine.checked_operations import CHECKED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Tell = Callable[..., object]

v1 = tf.compat.v1

DTYPES = ("float32", "int32", "int64", "string", "bool", "float64", "uint8", "float16", "bfloat16", "complex64")
SIZES = (0, 1, 1, 2, 2, 2, 3, 3, 4, 5, 7)
RANKS = (0, 1, 1, 1, 2, 2, 2, 3, 3, 4, 4, 5, 6, 7)
MANY_VALUES = 1 << 16
"""No input has more values, and no integer of one makes more than this to the power of a few."""
GRAPH_SECONDS = 0.25
"""So long is one graph tried."""
PATIENCE_SECONDS = 60.0
"""After so long a process that should be over hangs."""
MOST_FAILURES = 200
MOST_ANSWERED = 40
CONFIG = v1.ConfigProto(intra_op_parallelism_threads=2, inter_op_parallelism_threads=1)
CHOICES: dict[str, tuple[Any, ...]] = {
    "equation": (
        "ij,jk->ik",
        "i,i->",
        "...ij,...jk->...ik",
        "abc,abd->acd",
        "ij->ji",
        "ii->i",
        "bij->b",
        "acbe,aecd->abcd",
    ),
    "ksize": ([1, 2, 2, 1], [1, 1, 1, 1], [1, 3, 2, 1], [1, 2, 2, 2, 1], [1, 1, 2, 2], [1, 1, 2, 2, 2]),
    "strides": ([1, 1, 1, 1], [1, 2, 2, 1], [1, 1, 1, 1, 1], [1, 2, 2, 2, 1], [1, 1, 2, 2]),
    "rates": ([1, 1, 1, 1], [1, 2, 2, 1]),
    "ksizes": ([1, 2, 2, 1], [1, 1, 1, 1]),
    "dilations": ([1, 1, 1, 1], [1, 2, 2, 1], [1, 1, 1, 1, 1], [1, 1, 2, 2]),
    "explicit_paddings": ([], [0, 0, 1, 1, 1, 0, 0, 0], [0, 0, 0, 0, 1, 1, 2, 2]),
    "seq_lengths": ([],),
    "squeeze_dims": ([], [0], [1], [-1], [0, 2], [-2, -1]),
    "axis": (-1, 0, 1, 2, -2),
    "batch_dims": (0, 1, 2, -1),
    "block_size": (2, 3),
    "out_type": ("int32", "int64"),
    "output_type": ("int32", "int64"),
    "seq_dim": (0, 1, 2),
    "batch_dim": (0, 1),
    "ngram_widths": ([2], [1, 3], []),
    "pooling_ratio": ([1.0, 1.5, 1.5, 1.0],),
    "pattern": ("a", "[a-c]+", ".*"),
    "input_encoding": ("UTF-8", "UTF-16-BE"),
    "output_encoding": ("UTF-8", "UTF-16-BE"),
    "hash_key": ([1, 2],),
    "key": ([1, 2],),
    "num_buckets": (1, 7),
    "unit": ("BYTE", "UTF8_CHAR"),
    "format": ("", "%2.1f"),
    "element_shape": (None,),
    "row_partition_types": (["ROW_SPLITS"], ["FIRST_DIM_SIZE", "VALUE_ROWIDS"], ["ROW_SPLITS", "ROW_SPLITS"]),
    "boundaries": ([0.5, 1.5], []),
    "direction": ("unidirectional",),
    "set_operation": ("a-b", "union"),
}
"""Values of attributes whose definition does not tell which there are."""


OF_TYPE: dict[str, tuple[Any, ...]] = {
    "bool": (False, True),
    "shape": (None, [], [2]),
    "list(float)": ([0.5], [0.5, 1.5, 2.5, 3.5], []),
    "list(string)": (["a"], ["a", "b"], []),
    "list(shape)": ([None], [[]], [[2]]),
}
UNTRIED = frozenset({
    "Const", "ControlTrigger", "FakeParam", "HashTable", "HashTableV2", "LookupTableSizeV2", "MutableHashTableV2",
    "NoOp",
    "Placeholder", "PlaceholderWithDefault", "ReadVariableOp", "RefIdentity", "RefMerge", "RefSwitch",
    "StatelessRandomGetAlg", "Timestamp", "VarHandleOp", "Variable", "VariableV2",
})  # fmt: skip
"""Operations that are listed as checked and are given no tensor by a request."""
_SPARSE = [(2, 2), (2,), (2,)]
FITTING: dict[str, list[tuple[int, ...]]] = {
    "BlockLSTM": [(), (2, 1, 3), (1, 2), (1, 2), (5, 8), (2,), (2,), (2,), (8,)],
    "BlockLSTMV2": [(), (2, 1, 3), (1, 2), (1, 2), (5, 8), (2,), (2,), (2,), (8,)],
    "CombinedNonMaxSuppression": [(1, 3, 1, 4), (1, 3, 2), (), (), (), ()],
    "CropAndResize": [(2, 4, 4, 3), (2, 4), (2,), (2,)],
    "DrawBoundingBoxes": [(1, 4, 4, 3), (1, 2, 4)],
    "DrawBoundingBoxesV2": [(1, 4, 4, 3), (1, 2, 4), (1, 3)],
    "ExtractGlimpse": [(1, 4, 4, 2), (2,), (1, 2)],
    "FusedBatchNorm": [(1, 2, 2, 3), (3,), (3,), (3,), (3,)],
    "FusedBatchNormV2": [(1, 2, 2, 3), (3,), (3,), (3,), (3,)],
    "FusedBatchNormV3": [(1, 2, 2, 3), (3,), (3,), (3,), (3,)],
    "GRUBlockCell": [(2, 3), (2, 4), (7, 8), (7, 4), (8,), (4,)],
    "ImageProjectiveTransformV2": [(1, 4, 4, 2), (1, 8), (2,)],
    "ImageProjectiveTransformV3": [(1, 4, 4, 2), (1, 8), (2,), ()],
    "MatrixDiagV2": [(2, 3), (), (), (), ()],
    "MatrixDiagV3": [(2, 3), (), (), (), ()],
    "MatrixSetDiag": [(2, 3), (2,)],
    "NonMaxSuppression": [(3, 4), (3,), ()],
    "NonMaxSuppressionV2": [(3, 4), (3,), (), ()],
    "NonMaxSuppressionV3": [(3, 4), (3,), (), (), ()],
    "NonMaxSuppressionV4": [(3, 4), (3,), (), (), ()],
    "NonMaxSuppressionV5": [(3, 4), (3,), (), (), (), ()],
    "NonMaxSuppressionWithOverlaps": [(3, 3), (3,), (), (), ()],
    "PadV2": [(2, 2), (2, 2), ()],
    "AvgPool3D": [(1, 4, 4, 4, 2)],
    "MaxPool3D": [(1, 4, 4, 4, 2)],
    "Conv2D": [(1, 4, 4, 2), (2, 2, 2, 3)],
    "Conv3D": [(1, 4, 4, 4, 2), (2, 2, 2, 2, 3)],
    "DepthwiseConv2dNative": [(1, 4, 4, 2), (2, 2, 2, 3)],
    "ResizeNearestNeighbor": [(1, 4, 4, 2), (2,)],
    "SparseAdd": [*_SPARSE, *_SPARSE, ()],
    "SparseBincount": [*_SPARSE, (), (2,)],
    "SparseFillEmptyRows": [*_SPARSE, ()],
    "SparseReduceMax": [*_SPARSE, (1,)],
    "SparseReduceSum": [*_SPARSE, (1,)],
    "SparseReorder": _SPARSE,
    "SparseSlice": [*_SPARSE, (2,), (2,)],
    "SparseSoftmax": _SPARSE,
    "SparseTensorDenseAdd": [*_SPARSE, (2, 2)],
    "SparseTensorDenseMatMul": [*_SPARSE, (2, 2)],
    "SparseSegmentSqrtNWithNumSegments": [(3, 2), (2,), (2,), ()],
    "StatelessRandomUniformV2": [(2,), (1,), (2,), ()],
}
"""Shapes that fit together, for operations of which shapes drawn at random hardly ever do."""


def attribute_values(attribute: Any) -> tuple[Any, ...]:
    """What is tried for an attribute; empty when nothing can be."""
    allowed = attribute.allowed_values.list
    if attribute.type in {"type", "list(type)"}:
        names = [tf.as_dtype(value).name for value in allowed.type]
        usual = [name for name in DTYPES if not names or name in names] or names[:3]
        return tuple(usual) if attribute.type == "type" else (*([name] for name in usual[:5]), usual[:2], usual[:3])
    if allowed.s:
        return tuple(value.decode() for value in allowed.s)
    if attribute.name in CHOICES:
        return CHOICES[attribute.name]
    default = attribute.default_value
    has_default = attribute.HasField("default_value")
    if attribute.type == "int":
        least = attribute.minimum if attribute.has_minimum else 0
        return (*([default.i] if has_default else []), *(value for value in (1, 2, 3, 0, -1) if value >= least))
    if attribute.type == "list(int)":
        return (*([list(default.list.i)] if has_default else []), [1], [1, 1, 1, 1], [2, 1])
    more = {"float": (default.f, 0.5, 1.0), "string": (default.s.decode("utf-8", "replace"),)}
    return more.get(attribute.type, OF_TYPE.get(attribute.type, ()))


def build(definition: Any, draw: random.Random) -> tuple[list[Any], list[Any]]:
    """The inputs and outputs of a new operation in the default graph. Raises what TensorFlow does when it cannot be."""
    attributes: dict[str, Any] = {}
    for attribute in definition.attr:
        values = attribute_values(attribute)
        if not values:
            raise ValueError(f"no value for {attribute.name}")
        attributes[attribute.name] = draw.choice(values)
    placeholders: list[Any] = []
    arguments: dict[str, Any] = {}
    for argument in definition.input_arg:
        if argument.is_ref:
            raise ValueError("takes a reference")
        types = _types(argument, attributes)
        made = [v1.placeholder(tf.as_dtype(dtype)) for dtype in types]
        placeholders += made
        arguments[argument.name] = made if argument.number_attr or argument.type_list_attr else made[0]
    inferred = {
        name
        for argument in definition.input_arg
        for name in (argument.type_attr, argument.number_attr, argument.type_list_attr)
    }
    rest = {name: value for name, value in attributes.items() if name not in inferred}
    for attribute in definition.attr:
        if attribute.type == "type" and attribute.name in rest:
            rest[attribute.name] = tf.as_dtype(rest[attribute.name])
        if attribute.type == "list(type)" and attribute.name in rest:
            rest[attribute.name] = [tf.as_dtype(one) for one in rest[attribute.name]]
    outputs = apply_op(definition.name, **arguments, **rest)
    outputs = list(tf.nest.flatten(outputs)) if not isinstance(outputs, tf.Operation) else [outputs]
    return placeholders, outputs


def _types(argument: Any, attributes: dict[str, Any]) -> list[Any]:
    if argument.type_list_attr:
        return list(attributes[argument.type_list_attr])
    dtype = attributes[argument.type_attr] if argument.type_attr else tf.as_dtype(argument.type).name
    if dtype in {"resource", "variant"} or tf.as_dtype(dtype).is_quantized:
        raise ValueError(f"takes a {dtype}")
    return [dtype] * (attributes[argument.number_attr] if argument.number_attr else 1)


@cache
def texts() -> list[list[bytes]]:
    """What strings hold, one kind at a time: words, images, sound, examples."""
    pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    example = tf.train.Example()
    example.features.feature["x"].float_list.value.append(1.0)
    example.features.feature["words"].bytes_list.value.append(b"a")
    with tf.Graph().as_default(), v1.Session() as session:
        images = session.run([tf.io.encode_png(pixels), tf.io.encode_jpeg(pixels)])
    header = bytes([70, 0, 0, 0, 0, 0, 0, 0, 54, 0, 0, 0, 40, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 1, 0, 24])
    bitmap = b"BM" + header + bytes(41)
    gif = bytes.fromhex("47494638396101000100800000000000ffffff21f90401000000002c00000000010001000002024401003b")
    sound = bytes.fromhex("1000000001000100401f0000803e000002001000")
    wav = b"RIFF\x2c\x00\x00\x00WAVEfmt " + sound + b"data\x08\x00\x00\x00" + bytes(8)
    return [
        [b"", b"a", b"abc", b"1", b"2.5", b"\xff\x00", b"a b", b"a,1"], [*images, bitmap, gif, wav], [b"", *images],
        [example.SerializeToString(), b""], [b"1"], [b"2.5,a"],
    ]  # fmt: skip


def an_array(dtype: Any, shape: tuple[int, ...], draw: random.Random) -> np.ndarray:
    """Small values of any kind."""
    count = int(np.prod(shape))
    if dtype == tf.string:
        words = draw.choice(texts())
        return np.array([draw.choice(words) for _ in range(count)], object).reshape(shape)
    values = draw.choice(((0,), (1,), (0, 1), (0, 1, 2), (1, 2, 3), (-1, 0, 1, 2, 5)))
    if dtype.is_bool:
        values = (0, 1)
    if dtype.is_unsigned:
        values = tuple(max(value, 0) for value in values)
    rows = np.array([draw.choice(values) for _ in range(count)]).reshape(shape)
    if draw.random() < 0.2:
        rows = np.sort(rows, axis=-1) if rows.ndim else rows
    return rows.astype(dtype.as_numpy_dtype)


def a_shape(draw: random.Random) -> tuple[int, ...]:
    while True:
        shape = tuple(draw.choice(SIZES) for _ in range(draw.choice(RANKS)))
        if np.prod(shape) <= MANY_VALUES:
            return shape


def changed(shape: tuple[int, ...], draw: random.Random) -> tuple[int, ...]:
    """`shape` with another size, one dimension more, or one less."""
    sizes = list(shape)
    way = draw.random()
    if way < 0.5 and sizes:
        sizes[draw.randrange(len(sizes))] = draw.choice((0, 0, 1, 2, 3, 4, 9))
    elif way < 0.75 and sizes:
        del sizes[draw.randrange(len(sizes))]
    elif way < 0.95 and len(sizes) < 7:
        sizes.insert(draw.randrange(len(sizes) + 1), draw.choice((0, 1, 2, 3)))
    else:
        return a_shape(draw)
    return tuple(sizes) if np.prod(sizes) <= MANY_VALUES else shape


def shapes_of_a_call(count: int, answered: list[list[tuple[int, ...]]], draw: random.Random) -> list[tuple[int, ...]]:
    if answered and draw.random() < 0.6:
        shapes = list(draw.choice(answered))
        for _ in range(draw.choice((0, 1, 1, 1, 2))):
            position = draw.randrange(count)
            shapes[position] = changed(shapes[position], draw)
        return shapes
    way = draw.random()
    if way < 0.3:
        return [a_shape(draw)] * count
    if way < 0.5:
        few = [(), (1,), (2,), a_shape(draw)]
        return [draw.choice(few) for _ in range(count)]
    return [a_shape(draw) for _ in range(count)]


def try_operation(name: str, seconds: float, seed: int, tell: Tell) -> None:
    """Call graphs of the operation `name` for so long."""
    definition = op_def_registry.get(name)
    tell("operation", name)
    texts()
    draw = random.Random(f"{name} {seed}")
    end = time.monotonic() + seconds
    fitting = FITTING.get(name)
    answered: dict[int, list[list[tuple[int, ...]]]] = {len(fitting): [list(fitting)]} if fitting else {}
    failures = 0
    while time.monotonic() < end and failures < MOST_FAILURES:
        with tf.Graph().as_default() as graph, v1.Session(graph=graph, config=CONFIG) as session:
            try:
                inputs, outputs = RECIPES[name](draw) if name in RECIPES else build(definition, draw)
                session.run([v1.global_variables_initializer(), v1.tables_initializer()])
            except Exception as error:
                failures += 1
                tell("unbuilt", str(error)[:150])
                continue
            until = min(end, time.monotonic() + GRAPH_SECONDS)
            call(session, inputs, outputs, until, draw, answered.setdefault(len(inputs), []), tell)
    tell("over")


def call(
    session: Any,
    inputs: list[Any],
    outputs: list[Any],
    end: float,
    draw: random.Random,
    answered: list[Any],
    tell: Tell,
) -> None:
    """Call one graph until `end`."""
    feeds = [tensor._as_tf_output() for tensor in inputs]
    fetches = [
        tensor._as_tf_output()
        for tensor in outputs
        if isinstance(tensor, tf.Tensor) and tensor.dtype not in {tf.resource, tf.variant}
    ]
    targets = [(output if isinstance(output, tf.Operation) else output.op)._c_op for output in outputs]
    good = bad = 0
    while time.monotonic() < end and (inputs or not good):
        shapes = shapes_of_a_call(len(inputs), answered, draw) if inputs else []
        arrays = [an_array(tensor.dtype, shape, draw) for tensor, shape in zip(inputs, shapes, strict=True)]
        tell("call", [f"{array.dtype}{list(array.shape)} {array.reshape(-1)[:4].tolist()}" for array in arrays])
        try:
            TF_SessionRun_wrapper(session._session, None, dict(zip(feeds, arrays, strict=True)), fetches, targets, None)
            good += 1
            if len(answered) < MOST_ANSWERED:
                answered.append(shapes)
            elif draw.random() < 0.1:
                answered[draw.randrange(MOST_ANSWERED)] = shapes
        except Exception as error:
            bad += 1
            if "No OpKernel was registered" in str(error):
                break
    tell("graph", good, bad)


def tried(names: Sequence[str], seconds: float, seed: int = 0) -> dict[str, Any]:
    """What came of the operations `names`, each tried for so long, one after the other in a process of their own: calls
    that were answered (`good`) and refused (`bad`), the last operation, and, when that ended the process, the signal
    (`end`) and the call (`last`).
    """
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(reader)
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 2)
        os.dup2(null, 1)
        for name in names:
            try_operation(name, seconds, seed, lambda *what: os.write(writer, (json.dumps(what) + "\n").encode()))
        os._exit(0)
    os.close(writer)
    found: dict[str, Any] = {"operation": "", "good": 0, "bad": 0, "end": "", "last": None, "unbuilt": ""}
    deadline = time.monotonic() + seconds * len(names) + PATIENCE_SECONDS
    for kind, *what in _lines(reader, deadline):
        if kind == "graph":
            found["good"] += what[0]
            found["bad"] += what[1]
        elif kind != "over":
            found["last" if kind == "call" else kind] = what[0]
    os.close(reader)
    if time.monotonic() >= deadline:
        os.kill(child, signal.SIGKILL)
        found["end"] = "hangs"
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status) and not found["end"]:
        found["end"] = signal.Signals(os.WTERMSIG(status)).name
    return found


def _lines(reader: int, deadline: float) -> Iterator[list[Any]]:
    """What a child tells, until it has ended or `deadline` is over."""
    rest = b""
    while select.select([reader], [], [], max(deadline - time.monotonic(), 0))[0]:
        chunk = os.read(reader, 1 << 20)
        if not chunk:
            return
        *lines, rest = (rest + chunk).split(b"\n")
        yield from map(json.loads, lines)


def main() -> None:
    """Try the operations that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("operations", nargs="*", metavar="OPERATION")
    parser.add_argument("--together", action="store_true", help="in one process, for one line")
    given = parser.parse_args()
    names = given.operations or sorted(CHECKED - UNTRIED)
    if given.together:
        print(json.dumps(tried(names, given.seconds, given.seed)))
        return
    for name in names:
        print(json.dumps(tried([name], given.seconds, given.seed)), flush=True)


if __name__ == "__main__":
    main()
