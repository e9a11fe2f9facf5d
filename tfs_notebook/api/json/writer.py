"""Replies in TensorFlow Serving's JSON: `predictions` row by row, `outputs` tensor by tensor, `results` example by
example, errors pretty-printed.

Replies equal TensorFlow Serving's as JSON values; a float has the fewest digits that give it back in its own precision.
Non-finite numbers are the bare words NaN, Infinity and -Infinity.
"""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING

import numpy as np
import orjson

from tfs_notebook.api.json.text import MAX_TEXT_LENGTH, quote, to_bytes
from tfs_notebook.errors import invalid_argument

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_BYTES_SUFFIX = "_bytes"
_NATIVE = frozenset("?bhilqBHILQfd")
_PLAIN = frozenset({np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.int64), np.dtype(np.int32)})
_NARROW_FLOATS = frozenset({"float16", "bfloat16"})
_dumps = orjson.dumps
_NULL = re.compile(rb"null")


def encode_error(message: str) -> bytes:
    """The error body; bytes that were invalid UTF-8 in the request come back as they were. A long text is cut off."""
    if len(message) > MAX_TEXT_LENGTH:
        message = message[:MAX_TEXT_LENGTH] + "..."
    return b'{\n    "error": ' + quote(to_bytes(message)) + b"\n}"


def encode_predict(outputs: Mapping[str, np.ndarray], *, row_format: bool) -> bytes:
    """`{"predictions": …}` for a request in row format, `{"outputs": …}` for one in columnar format.

    Raises INVALID_ARGUMENT for no outputs, for a dtype that JSON cannot carry and, in row format, for outputs without
    a common batch dimension.
    """
    if len(outputs) == 1:
        (array,) = outputs.values()
        if array.ndim and array.dtype in _PLAIN and array.flags.c_contiguous:  # as of almost every model
            reply = _dumps({"predictions" if row_format else "outputs": array}, option=orjson.OPT_SERIALIZE_NUMPY)
            if b"null" not in reply:
                return reply
    if not outputs:
        raise invalid_argument("Cannot convert empty tensor map to JSON")
    if row_format:
        _check_batch(outputs)
    arrays = {alias: _native(array) for alias, array in outputs.items()}
    text = _encode_numbers(arrays, row_format=row_format)
    # orjson writes a non-finite number as null, and nothing else in a numeric reply contains the word but an alias.
    if text is None or b"null" in text:
        return _encode_pieces(arrays, row_format=row_format)
    return text


def encode_classes(labels: np.ndarray, scores: np.ndarray) -> bytes:
    """The reply to classify: for each example its classes as `[label, score]`.

    `labels` (objects: bytes) and `scores` (float32) are both [examples, classes].
    """
    numbers = _encode_array(scores.ravel())[1:-1].split(b",")
    pairs = [b"[" + quote(label) + b"," + number + b"]" for label, number in zip(labels.ravel(), numbers, strict=False)]
    return b'{"results":' + _nest(pairs, labels.shape) + b"}"


def encode_values(values: np.ndarray) -> bytes:
    """The reply to regress: the float32 value of each example."""
    return b'{"results":' + _encode_array(values) + b"}"


def _check_batch(outputs: Mapping[str, np.ndarray]) -> None:
    batch: int | None = None
    for alias, array in outputs.items():
        if array.ndim == 0:
            raise invalid_argument(f"Tensor name: {alias} has no shape information ")
        if batch is not None and array.shape[0] != batch:
            raise invalid_argument(
                f"Tensor name: {alias} has inconsistent batch size: {array.shape[0]} expecting: {batch}"
            )
        batch = array.shape[0]


def _native(array: np.ndarray) -> np.ndarray:
    """The array as orjson takes it, objects as they are; INVALID_ARGUMENT for a dtype that JSON cannot carry."""
    dtype = array.dtype
    if dtype.char in _NATIVE and dtype.isnative and array.flags.c_contiguous:
        return array
    if dtype.name in _NARROW_FLOATS:
        array = array.astype(np.float32)
    elif dtype.char not in _NATIVE and dtype.kind != "O":
        if array.size:
            raise invalid_argument(f"Failed to write JSON value for tensor type: {dtype.name}")
        array = np.empty(array.shape, np.float32)
    return np.asarray(array, array.dtype.newbyteorder("="), order="C")


def _encode_numbers(arrays: Mapping[str, np.ndarray], *, row_format: bool) -> bytes | None:
    """The whole reply in one go when every output is numeric, else None."""
    for array in arrays.values():
        if array.dtype.kind == "O":
            return None
    values = {alias: array if array.ndim else array[()] for alias, array in arrays.items()}
    reply: object = values
    if len(values) == 1:
        reply = next(iter(values.values()))
    elif row_format:
        reply = [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]
    return orjson.dumps({"predictions" if row_format else "outputs": reply}, option=orjson.OPT_SERIALIZE_NUMPY)


def _encode_pieces(arrays: Mapping[str, np.ndarray], *, row_format: bool) -> bytes:
    """The same, output by output and row by row, for strings and non-finite numbers."""
    if not row_format:
        columns = [_encode_value(array, alias) for alias, array in arrays.items()]
        return b'{"outputs":' + _combine(arrays, columns) + b"}"
    rows = zip(*([_encode_value(row, alias) for row in array] for alias, array in arrays.items()), strict=True)
    return b'{"predictions":[' + b",".join(_combine(arrays, row) for row in rows) + b"]}"


def _combine(aliases: Iterable[str], values: Iterable[bytes]) -> bytes:
    pairs = [(to_bytes(alias), value) for alias, value in zip(aliases, values, strict=True)]
    if len(pairs) == 1:
        return pairs[0][1]
    return b"{" + b",".join(quote(alias) + b":" + value for alias, value in pairs) + b"}"


def _encode_value(value: object, alias: str) -> bytes:
    leaf = _encode_base64 if alias.endswith(_BYTES_SUFFIX) else quote
    if isinstance(value, bytes):
        return leaf(value)
    array = np.asarray(value)
    if array.dtype.kind != "O":
        return _encode_array(array)
    return _nest([leaf(text) for text in array.ravel()], array.shape)


def _encode_base64(value: bytes) -> bytes:
    return b'{"b64":"' + base64.b64encode(value) + b'"}'


def _nest(pieces: list[bytes], shape: tuple[int, ...]) -> bytes:
    for depth in range(len(shape) - 1, -1, -1):
        count, size = int(np.prod(shape[:depth])), shape[depth]
        pieces = [b"[" + b",".join(pieces[start * size : (start + 1) * size]) + b"]" for start in range(count)]
    return pieces[0]


def _encode_array(array: np.ndarray) -> bytes:
    text = orjson.dumps(array if array.ndim else array[()], option=orjson.OPT_SERIALIZE_NUMPY)
    if array.dtype.kind != "f" or b"null" not in text:
        return text
    words = iter(_word(value) for value in array[~np.isfinite(array)].tolist())
    return _NULL.sub(lambda _: next(words), text)


def _word(value: float) -> bytes:
    if value != value:  # noqa: PLR0124
        return b"NaN"
    return b"Infinity" if value > 0 else b"-Infinity"
