"""How a graph of one operation is made that works on a list of tensors, as loops over time steps make them.

Places in a list are the graph's own, like the counter of a loop, where an operation does not check their rank.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

v1 = tf.compat.v1
raw = tf.raw_ops
Made = tuple[list[Any], list[Any]]
"""The placeholders, and what is to be run."""


def a_placeholder(dtype: tf.DType = tf.float32) -> tf.Tensor:
    """An input of unknown shape."""
    return v1.placeholder(dtype)


def _index(draw: random.Random) -> tf.Tensor:
    """A place in a list: those are the graph's own, like a loop's counter."""
    return tf.constant(draw.choice((0, 1, 2)))


def _element_shape(draw: random.Random) -> tf.Tensor:
    return tf.constant(draw.choice((-1, [-1, 2], [2], [-1, -1], [])), tf.int32)


def _list(draw: random.Random) -> tuple[tf.Tensor, list[Any]]:
    """A list, and the placeholders it is made from."""
    tensor = a_placeholder()
    if draw.random() < 0.5:
        return raw.TensorListFromTensor(tensor=tensor, element_shape=_element_shape(draw)), [tensor]
    made = raw.TensorListReserve(element_shape=_element_shape(draw), num_elements=3, element_dtype=tf.float32)
    return raw.TensorListSetItem(input_handle=made, index=_index(draw), item=tensor), [tensor]


def _listed(run: Callable[[tf.Tensor, random.Random, tf.Tensor], Any]) -> Callable[[random.Random], Made]:
    def made(draw: random.Random) -> Made:
        handle, inputs = _list(draw)
        more = a_placeholder()
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
    tensor = a_placeholder()
    indices, count = draw.choice((([0, 1], 2), ([0, 1, 2], 3), ([0], 1)))
    made = raw.TensorListScatterV2(
        tensor=tensor, indices=indices, element_shape=_element_shape(draw), num_elements=count
    )
    return [tensor], [_stacked(made, draw)]


def _array(run: Callable[[Any, tf.Tensor, Callable[..., Any]], Any]) -> Callable[[random.Random], Made]:
    def made(draw: random.Random) -> Made:
        inputs: list[Any] = []

        def more(dtype: tf.DType = tf.int32) -> tf.Tensor:
            inputs.append(a_placeholder(dtype))
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


LIST_RECIPES: dict[str, Callable[[random.Random], Made]] = {
    **{name: _listed(run) for name, run in _LISTS.items()},
    "TensorListScatterV2": _list_scatter,
    **{name: _array(run) for name, run in _ARRAYS.items()},
}
