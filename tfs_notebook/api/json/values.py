"""JSON values to tensors by the rules of TensorFlow Serving's json_tensor.cc, with its error texts.

A tensor's shape is that of the first element at every level; every other element is then held against it. The declared
shape of the input is never looked at. Unlike there, float16 and bfloat16 are taken like floats, and uint16 like the
other small integers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from tfs_notebook.api.json.base64 import decode_base64
from tfs_notebook.api.json.reader import JsonObject
from tfs_notebook.api.json.text import reprint, type_word
from tfs_notebook.errors import Code, ServingError, invalid_argument

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tfs_notebook.api.json.reader import JsonValue
    from tfs_notebook.engine.models.signature import TensorSpec

Leaf: TypeAlias = "bool | int | float | bytes"

FLOATS = frozenset({"float", "double", "half", "bfloat16"})
_INT32 = (-(2**31), 2**31 - 1)
# The small types are checked against int32 and then wrap, as in TensorFlow Serving.
INTEGER_RANGES = {
    "int8": _INT32,
    "int16": _INT32,
    "int32": _INT32,
    "uint8": _INT32,
    "uint16": _INT32,
    "int64": (-(2**63), 2**63 - 1),
    "uint32": (0, 2**32 - 1),
    "uint64": (0, 2**64 - 1),
}
_NO_TYPES = frozenset[type]()
_LEAF_TYPES: dict[str, frozenset[type]] = {
    **dict.fromkeys(FLOATS, frozenset({float, int})),
    **dict.fromkeys(INTEGER_RANGES, frozenset({int})),
    "bool": frozenset({bool}),
    "string": frozenset({bytes}),
}
_END = object()


def base64_text(value: JsonValue) -> bytes | None:
    """The text of `{"b64": "…"}`, an object of exactly this key and a string; None for any other value."""
    if isinstance(value, JsonObject) and len(value.members) == 1:
        key, encoded = value.members[0]
        if key == b"b64" and isinstance(encoded, bytes):
            return encoded
    return None


def dense_shape(value: JsonValue) -> tuple[int, ...]:
    """The sizes of the first list at every level; `()` for a scalar."""
    shape: list[int] = []
    while isinstance(value, list):
        shape.append(len(value))
        value = value[0] if value else None
    return tuple(shape)


def append_leaves(value: JsonValue, dtype: str, shape: Sequence[int], leaves: list[Leaf]) -> int:
    """Appends the scalars of `value`, converted, and returns how many they are.

    Raises INVALID_ARGUMENT when the value is not of that shape or dtype, and UNIMPLEMENTED for a dtype that JSON cannot
    carry; `where` is the position inside the value, like `[0][17]`.
    """
    before, position = len(leaves), list[int]()
    try:
        _append(value, dtype, shape, leaves, position)
    except ServingError as error:
        where = "".join(f"[{index}]" for index in position)
        raise ServingError(error.code, error.message, where=where) from None
    return len(leaves) - before


def _append(value: JsonValue, dtype: str, shape: Sequence[int], leaves: list[Leaf], position: list[int]) -> None:
    lists: list[Iterator[JsonValue]] = []
    current: object = value
    while True:
        if isinstance(current, list):
            _check_list(current, shape, len(position))
            if len(position) == len(shape) - 1 and _all_plain(current, dtype):
                leaves += current
            else:
                lists.append(iter(current))
                position.append(-1)
        else:
            _check_level(current, shape, len(position))  # type: ignore[arg-type]
            leaves.append(_leaf(current, dtype))  # type: ignore[arg-type]
        current = _END
        while lists and current is _END:
            current = next(lists[-1], _END)
            position[-1] += 1
            if current is _END:
                lists.pop()
                position.pop()
        if current is _END:
            return


def _check_list(value: list[JsonValue], shape: Sequence[int], level: int) -> None:
    if level >= len(shape):
        raise invalid_argument(f"Encountered list at unexpected level: {level} expected < {len(shape)}")
    if len(value) != shape[level]:
        raise invalid_argument(
            f"Encountered list at unexpected size: {len(value)} at level: {level} expected size: {shape[level]}"
        )


def _check_level(value: JsonValue, shape: Sequence[int], level: int) -> None:
    if level != len(shape):
        raise invalid_argument(
            f"JSON Value: {reprint(value)} found at incorrect level: {level + 1}"
            f" in the JSON DOM. Expected at level: {len(shape)}"
        )


def _leaf(value: JsonValue, dtype: str) -> Leaf:
    if isinstance(value, JsonObject):
        if dtype == "string":
            return _base64_leaf(value)
    elif dtype not in _LEAF_TYPES:
        raise ServingError(Code.UNIMPLEMENTED, f"Conversion of JSON Value: {reprint(value)} to type: {dtype}")
    elif type(value) in _LEAF_TYPES[dtype] and _in_range(value, dtype):
        return value  # type: ignore[return-value]
    raise invalid_argument(f"JSON Value: {reprint(value)} Type: {type_word(value)} is not of expected type: {dtype}")


def _all_plain(values: list[JsonValue], dtype: str) -> bool:
    """Whether each value is a leaf as it is; False may also mean that one by one they are."""
    if not _LEAF_TYPES.get(dtype, _NO_TYPES).issuperset(map(type, values)):
        return False
    if dtype not in INTEGER_RANGES or not values:
        return True
    lowest, highest = INTEGER_RANGES[dtype]
    return lowest <= min(values) and max(values) <= highest  # type: ignore[type-var,operator]


def _in_range(value: JsonValue, dtype: str) -> bool:
    if dtype not in INTEGER_RANGES:
        return True
    lowest, highest = INTEGER_RANGES[dtype]
    return lowest <= value <= highest  # type: ignore[operator]


def _base64_leaf(value: JsonObject) -> bytes:
    encoded = base64_text(value)
    if encoded is None:
        raise invalid_argument(f"JSON Value: {reprint(value)} not formatted correctly for base64 data")
    return decode_base64(encoded)


def build_tensor(leaves: list[Leaf], shape: Sequence[int], spec: TensorSpec) -> np.ndarray:
    """The leaves as an array of `spec.numpy_dtype`; strings as an object array of bytes.

    Leaves past the shape's size are dropped, as TensorFlow does with a proto that has too many values.
    """
    if spec.dtype in FLOATS:
        flat = cast_floats(np.array(leaves, np.float64), spec)
    elif spec.dtype == "string":
        flat = np.empty(len(leaves), object)
        flat[:] = leaves
    elif spec.dtype == "uint64":
        flat = np.array(leaves, np.uint64)
    elif spec.dtype == "bool":
        flat = np.array(leaves, np.bool_)
    else:
        flat = np.array(leaves, np.int64).astype(spec.numpy_dtype)
    return shape_tensor(flat, shape, spec)


def cast_floats(values: np.ndarray, spec: TensorSpec) -> np.ndarray:
    """Doubles in the spec's own precision; what is too large becomes infinite."""
    with np.errstate(over="ignore"):
        return values.astype(spec.numpy_dtype, copy=False)


def shape_tensor(flat: np.ndarray, shape: Sequence[int], spec: TensorSpec) -> np.ndarray:
    """The first elements of `flat` in that shape; INVALID_ARGUMENT for more dimensions than an array can have."""
    size = 1
    for length in shape:
        size *= length
    try:
        return flat[:size].reshape(shape)
    except ValueError:
        raise invalid_argument(f"tensor parsing error: {spec.name}") from None
