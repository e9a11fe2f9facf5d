"""TensorProto ↔ numpy, by TensorFlow's rules (`Tensor::FromProto`, `Tensor::AsProtoField`), without a detour over lists
where the bytes are already there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
from tensorflow.core.framework import tensor_pb2, tensor_shape_pb2, types_pb2

from tfs_notebook.errors import invalid_argument

if TYPE_CHECKING:
    from collections.abc import Mapping

_MAX_BYTES = 2**31 - 1
_MAX_DIMENSIONS = 254
_MAX_MADE_UP_BYTES = 64 << 20
"""What a message of a few bytes may become where its last value stands for all that follow."""


@dataclass(frozen=True, slots=True)
class _Field:
    """How a dtype travels: in which typed field, as what; `packed` when array bytes are the field's wire bytes."""

    dtype: np.dtype[Any]
    name: str
    wire: np.dtype[Any]
    packed: bool = False

    @property
    def wire_dtype(self) -> np.dtype[Any]:
        """The dtype of a packed array whose bytes are the wire's: little-endian."""
        return self.dtype.newbyteorder("<")

    @property
    def number(self) -> int:
        return int(tensor_pb2.TensorProto.DESCRIPTOR.fields_by_name[self.name].number)


def _field(dtype: Any, name: str, wire: Any = None, *, packed: bool = False) -> _Field:
    return _Field(np.dtype(dtype), name, np.dtype(wire or dtype), packed)


_FIELDS = {
    types_pb2.DT_FLOAT: _field(np.float32, "float_val", packed=True),
    types_pb2.DT_DOUBLE: _field(np.float64, "double_val", packed=True),
    types_pb2.DT_INT32: _field(np.int32, "int_val"),
    types_pb2.DT_UINT8: _field(np.uint8, "int_val"),
    types_pb2.DT_UINT16: _field(np.uint16, "int_val"),
    types_pb2.DT_INT16: _field(np.int16, "int_val"),
    types_pb2.DT_INT8: _field(np.int8, "int_val"),
    types_pb2.DT_INT64: _field(np.int64, "int64_val"),
    types_pb2.DT_BOOL: _field(np.bool_, "bool_val"),
    types_pb2.DT_UINT32: _field(np.uint32, "uint32_val"),
    types_pb2.DT_UINT64: _field(np.uint64, "uint64_val"),
    types_pb2.DT_HALF: _field(np.float16, "half_val", np.uint16),
    types_pb2.DT_BFLOAT16: _field(ml_dtypes.bfloat16, "half_val", np.uint16),
    types_pb2.DT_COMPLEX64: _field(np.complex64, "scomplex_val", np.float32, packed=True),
    types_pb2.DT_COMPLEX128: _field(np.complex128, "dcomplex_val", np.float64, packed=True),
}
_ENUMS = {field.dtype: enum for enum, field in _FIELDS.items()}
_CONTENT_NUMBER = tensor_pb2.TensorProto.TENSOR_CONTENT_FIELD_NUMBER
_PACKED = {field.dtype: field for field in _FIELDS.values() if field.packed}


def to_array(alias: str, proto: tensor_pb2.TensorProto) -> np.ndarray:
    """The array in `proto`; strings as an object array of bytes. Raises ServingError INVALID_ARGUMENT.

    Values that are fewer than the shape asks for are continued with the last one, with zeros when there are none. The
    array may be a view of the message's bytes: it is read-only then.
    """
    shape = _shape(alias, proto)
    try:
        return _flat(alias, proto, math.prod(shape)).reshape(shape)
    except ValueError:  # of more dimensions than an array can have, or of half a complex number
        raise _unparsable(alias) from None


def _flat(alias: str, proto: tensor_pb2.TensorProto, count: int) -> np.ndarray:
    if proto.dtype == types_pb2.DT_STRING:
        return _strings(alias, proto, count)
    field = _FIELDS.get(proto.dtype)
    if field is None or count * field.dtype.itemsize > _MAX_BYTES:
        raise _unparsable(alias)
    if proto.tensor_content:
        if len(proto.tensor_content) != count * field.dtype.itemsize:
            raise _unparsable(alias)
        return np.frombuffer(proto.tensor_content, field.dtype)
    wide = field.name in {"int_val", "half_val"}  # int32 on the wire; what does not fit the dtype wraps
    values = np.array(getattr(proto, field.name), dtype=np.int64 if wide else field.wire)
    values = values.astype(field.wire, copy=False).view(field.dtype)
    return _continued(alias, values, count, field.dtype)


def _shape(alias: str, proto: tensor_pb2.TensorProto) -> tuple[int, ...]:
    dims = proto.tensor_shape.dim
    if proto.tensor_shape.unknown_rank or len(dims) > _MAX_DIMENSIONS:
        raise _unparsable(alias)
    shape = tuple([dim.size for dim in dims])
    if shape and (min(shape) < 0 or max(shape) > _MAX_BYTES):
        raise _unparsable(alias)
    return shape


def _strings(alias: str, proto: tensor_pb2.TensorProto, count: int) -> np.ndarray:
    if count * 8 > _MAX_BYTES:
        raise _unparsable(alias)
    strings = _packed_strings(alias, proto.tensor_content, count) if proto.tensor_content else list(proto.string_val)
    values = np.empty(len(strings), dtype=object)
    values[:] = strings
    return _continued(alias, values, count, values.dtype)


def _packed_strings(alias: str, content: bytes, count: int) -> list[bytes]:
    """The `count` lengths (varints) and then the strings that TensorFlow writes as a string tensor's content."""
    lengths, position = list[int](), 0
    for _ in range(count):
        length = shift = 0
        while True:
            if position >= len(content) or shift > 63:
                raise _unparsable(alias)
            byte = content[position]
            position, length, shift = position + 1, length | (byte & 0x7F) << shift, shift + 7
            if byte < 0x80:
                break
        lengths.append(length)
    if position + sum(lengths) != len(content):
        raise _unparsable(alias)
    ends = list(accumulate(lengths, initial=position))
    return [content[start:end] for start, end in pairwise(ends)]


def _continued(alias: str, values: np.ndarray, count: int, dtype: np.dtype[Any]) -> np.ndarray:
    if len(values) >= count:
        return values[:count]
    if (count - len(values)) * dtype.itemsize > _MAX_MADE_UP_BYTES:
        raise _unparsable(alias)
    last = values[-1] if len(values) else (b"" if dtype.hasobject else np.zeros((), dtype))
    whole = np.full(count, last, dtype=dtype)
    whole[: len(values)] = values
    return whole


def _unparsable(alias: str) -> Exception:
    return invalid_argument(f"tensor parsing error: {alias}")


def dtype_name(array: np.ndarray) -> str:
    """TensorFlow's name for the dtype of `array`, like DT_FLOAT."""
    enum = types_pb2.DT_STRING if array.dtype == object else _ENUMS.get(array.dtype, types_pb2.DT_INVALID)
    return str(types_pb2.DataType.Name(enum))


def from_array(array: np.ndarray) -> tensor_pb2.TensorProto:
    """`array` (strings: object array of bytes) as a TensorProto with typed value fields, as TensorFlow Serving replies.

    Raises ServingError INVALID_ARGUMENT for a dtype that TensorFlow does not have.
    """
    return tensor_pb2.TensorProto.FromString(b"".join(_wire(array)))


def encode_outputs(outputs: Mapping[str, np.ndarray], *, as_content: bool = False) -> bytes:
    """The wire bytes of a PredictResponse that holds `outputs`, each as `from_array` makes it, and nothing else.

    `as_content` puts everything but strings into `tensor_content`. Bytes that follow, of a message without outputs,
    are merged into it.
    """
    wire = _content_wire if as_content else _wire
    parts: list[bytes] = []
    for alias, array in outputs.items():
        head, data = wire(array)
        parts += (_entry_head(alias, len(head) + len(data)), head, data)
    return b"".join(parts)


@lru_cache(maxsize=1024)
def _entry_head(alias: str, size: int) -> bytes:
    """What stands before the TensorProto of `size` bytes in an entry of the map `outputs`, the first field."""
    key_and_tag = _delimited(1, alias.encode()) + _head(2, size)
    return _head(1, len(key_and_tag) + size) + key_and_tag


def _wire(array: np.ndarray) -> tuple[bytes, bytes]:
    """The wire bytes of a TensorProto in two parts; those of a packed field are the array's own."""
    field = _PACKED.get(array.dtype)
    if field is None:
        return b"", _with_typed_values(array).SerializeToString()
    return _packed_head(array.dtype, array.shape), array.astype(field.wire_dtype, copy=False).tobytes()


@lru_cache(maxsize=1024)
def _packed_head(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    head = tensor_pb2.TensorProto(dtype=_ENUMS[dtype], tensor_shape=_shape_message(shape))
    return bytes(head.SerializeToString()) + _head(_PACKED[dtype].number, math.prod(shape) * dtype.itemsize)


def _content_wire(array: np.ndarray) -> tuple[bytes, bytes]:
    """The wire bytes of a TensorProto with `tensor_content` in two parts; strings have typed values here, too."""
    if array.dtype not in _ENUMS:
        return _wire(array)
    return _content_head(array.dtype, array.shape), array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


@lru_cache(maxsize=1024)
def _content_head(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    head = tensor_pb2.TensorProto(dtype=_ENUMS[dtype], tensor_shape=_shape_message(shape))
    return bytes(head.SerializeToString()) + _head(_CONTENT_NUMBER, math.prod(shape) * dtype.itemsize)


def _with_typed_values(array: np.ndarray) -> tensor_pb2.TensorProto:
    proto = tensor_pb2.TensorProto(tensor_shape=_shape_message(array.shape))
    if array.dtype == object:
        proto.dtype = types_pb2.DT_STRING
        proto.string_val.extend(array.ravel().tolist())
        return proto
    enum = _ENUMS.get(array.dtype)
    if enum is None:
        raise invalid_argument(f"TensorFlow has no dtype for numpy's {array.dtype}")
    proto.dtype = enum
    field = _FIELDS[enum]
    getattr(proto, field.name).extend(np.ascontiguousarray(array).reshape(-1).view(field.wire).tolist())
    return proto


def _shape_message(shape: tuple[int, ...]) -> tensor_shape_pb2.TensorShapeProto:
    return tensor_shape_pb2.TensorShapeProto(dim=[{"size": size} for size in shape])


def _delimited(number: int, data: bytes) -> bytes:
    return _head(number, len(data)) + data


def _head(number: int, size: int) -> bytes:
    """The tag of the length-delimited field `number`, and its length."""
    return _varint(number << 3 | 2) + _varint(size)


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
