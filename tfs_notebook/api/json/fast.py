"""The fast way for bodies that are nothing but numbers in lists, which is what images and feature rows are.

* A regular expression finds the value of `instances` or `inputs`; only `signature_name` may stand beside it.
* Its bytes without digits, signs, dots, `e` and blanks must equal the brackets and commas of the shape that its first
  lists have. This one comparison proves it free of anything but numbers, and not ragged.
* simdjson proves it JSON and hands the numbers over in one buffer; no Python number or list is ever made.
* Long texts are read in pieces: whatever holds the interpreter's lock for longer keeps all other requests waiting.

A body that is anything else is declined: `loose` and `exact` then decide.
"""

from __future__ import annotations

import re
from functools import lru_cache
from math import prod
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import orjson

from tfs_notebook.api.json.tokens import may_be_too_big
from tfs_notebook.api.json.values import FLOATS, INTEGER_RANGES, cast_floats

try:
    from simdjson import Parser
except ImportError:  # no wheel for this platform: json_loose serves
    Parser = None  # type: ignore[assignment,misc]

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tfs_notebook.engine.models.signature import Signature

_B = rb"[ \t\n\r]*"
_SIGNATURE = _B + rb'"signature_name"' + _B + rb":" + _B + rb'"([ !#-\[\]-~]*)"' + _B
_HEAD = re.compile(
    _B
    + rb"\{(?:"
    + _SIGNATURE
    + rb",)?"
    + _B
    + rb'"(instances|inputs)"'
    + _B
    + rb":"
    + _B
    + rb"(?=\[[\[ \t\n\r]*[-0-9])"
)
_TAIL = re.compile(rb"\]" + _B + rb"(?:," + _SIGNATURE + rb")?\}" + _B + rb"\Z")
_DIGITS_AND_BLANKS = b".0123456789 \t\n\r"
_SIGNS_AND_EXPONENTS = b"+-eE"
_MAX_DIMENSIONS = 32
_LENGTH_OF_HUGE = 309
_HUGE = 1.79e308
_REMEMBERED_BYTES = 8 << 10
"""Bytes of brackets and commas up to which their shape is remembered."""
_MAX_ENDS_BYTES = 4 << 10
"""Bytes that may stand before the numbers, and behind them."""
_SHORT_BYTES = 256
"""Bytes up to which lists cost less than a parser; a number that long is not too big for a double."""
_NUMBERS_AND_LISTS = b"0123456789.-,[] \t\n\r"
_LONG, _PIECE = 8 << 20, 1 << 20
"""Bytes of numbers up to which they are read at once, in a tenth of a second or two; and of the pieces of longer ones,
which take half as long again."""
_NO_BRACKETS = bytes.maketrans(b"[]", b"  ")
_BLANKS = b" \t\n\r"
_BEHIND_LIST, _BEFORE_LIST = re.compile(rb"\][^\],]"), re.compile(rb"\[[^\[,]")
"""A number without a comma behind a list, and backwards before one: both begin with what is found at once."""
_BARE = {b'{"instances":}': "instances", b'{"inputs":}': "inputs"}
"""What is left of a body with one key and nothing but numbers in lists: it has no exponents either."""
_READ_AS = frozenset({np.dtype(np.int64), np.dtype(np.float64)})


class NumericBody:
    """A predict body whose only tensor is known to be numbers of one shape: int64 if all are integer literals."""

    __slots__ = ("_values", "row_format", "signature_name")

    def __init__(self, signature_name: str, values: np.ndarray, *, row_format: bool) -> None:
        self.signature_name = signature_name
        self.row_format = row_format
        self._values = values

    def tensors(self, signature: Signature) -> dict[str, np.ndarray] | None:
        """Input alias to array, or None when TensorFlow Serving would refuse the numbers for this signature."""
        if len(signature.inputs) != 1:
            return None
        ((alias, spec),) = signature.inputs.items()
        values = self._values
        if spec.dtype in FLOATS:
            return {alias: cast_floats(values.astype(np.float64, copy=False), spec)}
        if spec.dtype not in INTEGER_RANGES or values.dtype != np.int64:
            return None
        lowest, highest = INTEGER_RANGES[spec.dtype]
        if spec.dtype != "int64" and (values.min() < lowest or values.max() > highest):
            return None
        return {alias: values.astype(spec.numpy_dtype, copy=False)}


def read_numeric(body: bytes) -> NumericBody | None:
    """The body if it is nothing but numbers, else None."""
    if len(body) <= _SHORT_BYTES and (key := _BARE.get(body.translate(None, _NUMBERS_AND_LISTS))) is not None:
        return _read_short(body, key)
    head = _HEAD.match(body, 0, _MAX_ENDS_BYTES)
    if head is None or Parser is None:
        return None
    end = body.rfind(b"]")
    tail = _TAIL.match(body, end) if end >= 0 and len(body) - end <= _MAX_ENDS_BYTES else None
    if tail is None or (head[1] is not None and tail[1] is not None):
        return None
    values = _read_numbers(body[head.end() : end + 1])
    if values is None:
        return None
    name = head[1] or tail[1] or b""
    return NumericBody(name.decode("ascii"), values, row_format=head[2] == b"instances")


def _read_short(body: bytes, key: str) -> NumericBody | None:
    """The few numbers of a body that holds nothing but one key, where lists cost less than a parser and a skeleton."""
    try:
        value = orjson.loads(body)[key]
        values = np.array(value)
    except (ValueError, KeyError):  # no JSON, ragged, or a key with digits in it
        return None
    row_format = key == "instances"
    if values.dtype not in _READ_AS or not values.size or (row_format and type(value) is not list):
        return None
    return NumericBody("", values, row_format=row_format)


def _read_numbers(text: bytes) -> np.ndarray | None:
    pieces = [text] if len(text) <= _LONG else list(_pieces(text))
    marks = b"".join([piece.translate(None, _DIGITS_AND_BLANKS) for piece in pieces])
    exponents = b"e" in marks or b"E" in marks
    signed = exponents or b"-" in marks or b"+" in marks
    skeleton = marks.translate(None, _SIGNS_AND_EXPONENTS) if signed else marks
    shape = _usual_shape(skeleton) if len(skeleton) <= _REMEMBERED_BYTES else _shape(skeleton)
    if shape is None:
        return None
    integers = not exponents and b"." not in text
    try:
        values = _read_pieces(pieces, np.dtype(np.int64 if integers else np.float64))
    except (ValueError, RuntimeError, TypeError):
        return None
    # An empty list looks like one with a single number; the count tells them apart.
    if values.size != prod(shape) or (exponents and _zero_too_big(values, text, marks)):
        return None
    if not integers and len(text) >= _LENGTH_OF_HUGE and np.maximum.reduce(np.abs(values)) > _HUGE:
        return None
    return values.reshape(shape)


def _pieces(text: bytes) -> Iterator[bytes]:
    """`text`, cut behind commas."""
    start = 0
    while start < len(text):
        end = text.find(b",", start + _PIECE) + 1 or len(text)
        yield text[start:end]
        start = end


def _read_pieces(pieces: list[bytes], dtype: np.dtype) -> np.ndarray:
    """The numbers in the pieces of a text with the right brackets; raises ValueError and others for what is no JSON."""
    if len(pieces) == 1:
        return _numbers(pieces[0], dtype)
    arrays = []
    for piece in pieces:
        dense = piece.translate(None, _BLANKS)
        if _BEHIND_LIST.search(dense) or _BEFORE_LIST.search(dense[::-1]):
            raise ValueError
        arrays.append(_numbers(b"[%b]" % piece.translate(_NO_BRACKETS).removesuffix(b","), dtype))
    return np.concatenate(arrays)


def _numbers(text: bytes, dtype: np.dtype) -> np.ndarray:
    # A parser of its own: its buffers must not outlive a large body, nor be shared between threads.
    numbers = cast("Any", Parser().parse(text)).as_buffer(of_type="i" if dtype == np.int64 else "d")
    return np.frombuffer(numbers, dtype)


def _zero_too_big(values: np.ndarray, text: bytes, marks: bytes) -> bool:
    """Whether a `0e400` may be among the numbers, which RapidJSON refuses; the search itself is slow."""
    if marks.count(b"e") == marks.count(b"e-") and marks.count(b"E") == marks.count(b"E-"):
        return False
    return not values.all() and may_be_too_big(text)


def _shape(skeleton: bytes) -> tuple[int, ...] | None:
    """The shape whose brackets and commas are exactly `skeleton`, None if there is none."""
    depth = len(skeleton) - len(skeleton.lstrip(b"["))
    commas = skeleton.find(b"]") - depth
    if commas < 0 or depth > _MAX_DIMENSIONS:
        return None
    unit, shape = b"[" + b"," * commas + b"]", [commas + 1]
    for level in range(2, depth + 1):
        # The first list of this level starts at depth - level and ends with the first `level` closing brackets.
        closing = skeleton.find(b"]" * level)
        count = (closing + 2 * level - depth - 1) // (len(unit) + 1)
        if closing < 0 or count < 1:
            return None
        unit = b"[" + (unit + b",") * (count - 1) + unit + b"]"
        shape.append(count)
    return tuple(shape[::-1]) if unit == skeleton else None


_usual_shape = lru_cache(maxsize=32)(_shape)
"""Clients ask again and again for inputs of the same shape."""
