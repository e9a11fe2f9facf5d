"""Tensors of every rank and many sizes, drawn from a random generator, and shapes that fit together to begin with."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

if TYPE_CHECKING:
    import random

v1 = tf.compat.v1

SIZES = (0, 1, 1, 2, 2, 2, 3, 3, 4, 5, 7)
RANKS = (0, 1, 1, 1, 2, 2, 2, 3, 3, 4, 4, 5, 6, 7)
MANY_VALUES = 1 << 16
"""No input has more values, and no integer of one makes more than this to the power of a few."""
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
