"""Graphs of one operation, whose inputs are placeholders of unknown shape; types and other attributes are drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf
from tensorflow.python.framework.op_def_library import apply_op

if TYPE_CHECKING:
    import random

v1 = tf.compat.v1

DTYPES = ("float32", "int32", "int64", "string", "bool", "float64", "uint8", "float16", "bfloat16", "complex64")
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
