"""Values printed as TensorFlow Serving prints them: `JSON Value: X` in its messages and the strings of its replies.

The layout is RapidJSON's PrettyWriter with arrays on one line, cut off once 256 bytes have been written. This project's
own is that a string of more than 64 KiB is cut off, too, and so is a message: no request is to make the reply large.
"""

from __future__ import annotations

import re
from itertools import chain
from math import isfinite
from typing import TYPE_CHECKING

from tfs_notebook.api.json.reader import JsonObject

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tfs_notebook.api.json.reader import JsonValue

_LIMIT = 256
_INDENT = b"    "
_END = object()
_SPECIAL = re.compile(rb'["\\\x00-\x1f]')
_ESCAPES = {
    b"\\": b"\\\\",  # first: the others bring their own backslashes
    **{bytes([code]): b"\\u%04X" % code for code in range(0x20)},
    b'"': b'\\"', b"\b": b"\\b", b"\t": b"\\t", b"\n": b"\\n", b"\f": b"\\f", b"\r": b"\\r",
}  # fmt: skip
_PLAIN = bytes(code for code in range(256) if bytes([code]) not in _ESCAPES)
_SHORT = 1 << 10
"""Bytes up to which few characters are special."""
MAX_TEXT_LENGTH = 64 << 10
"""Characters of a value or a message that are written into an error."""


def text(value: bytes) -> str:
    """Bytes of a body as they go into a message; `to_bytes` brings invalid UTF-8 back untouched."""
    return value.decode("utf-8", "surrogateescape")


def to_bytes(message: str) -> bytes:
    """The opposite of `text`."""
    return message.encode("utf-8", "surrogateescape")


def quote(value: bytes) -> bytes:
    """A JSON string: quotes, backslashes and control characters escaped, every other byte as it is."""
    if len(value) <= _SHORT:
        return b'"' + _SPECIAL.sub(lambda match: _ESCAPES[match[0]], value) + b'"'
    found = set(value.translate(None, _PLAIN))
    for special, escape in _ESCAPES.items():  # a call for each of a million escapes would take a second
        if special[0] in found:
            value = value.replace(special, escape)
    return b'"' + value + b'"'


def type_word(value: JsonValue) -> str:
    """RapidJSON's name for the type, as it stands in `Type: Number`."""
    if value is None:
        return "Null"
    if isinstance(value, bool):
        return "True" if value else "False"
    if isinstance(value, bytes):
        return "String"
    if isinstance(value, JsonObject):
        return "Object"
    if isinstance(value, list):
        return "Array"
    return "Number"


def reprint(value: JsonValue) -> str:
    """The value as it stands behind `JSON Value: `; a NaN or an infinity ends it."""
    out = bytearray()
    levels: list[_Level] = []
    pending: object = value
    while pending is not _END and len(out) < _LIMIT:
        if levels:
            levels[-1].separate(out, len(levels))
        if isinstance(pending, (list, JsonObject)):
            levels.append(_Level(pending))
            out += b"{" if levels[-1].in_object else b"["
        elif not _write_scalar(pending, out):
            break
        pending = _next(levels, out)
    return text(bytes(out))


class _Level:
    """An open array or object: what is still to be written, and how much has been."""

    def __init__(self, value: list[JsonValue] | JsonObject) -> None:
        self.in_object = isinstance(value, JsonObject)
        self.rest: Iterator[object] = iter(value) if isinstance(value, list) else chain.from_iterable(value.members)
        self.written = 0

    def separate(self, out: bytearray, depth: int) -> None:
        if self.in_object and self.written % 2 == 0:
            out += (b",\n" if self.written else b"\n") + _INDENT * depth
        elif self.in_object:
            out += b": "
        elif self.written:
            out += b", "
        self.written += 1


def _next(levels: list[_Level], out: bytearray) -> object:
    """Closes what is complete and gives the next value to write."""
    while levels:
        value = next(levels[-1].rest, _END)
        if value is not _END:
            return value
        if len(out) >= _LIMIT:
            return _END
        level = levels.pop()
        if level.in_object:
            out += b"\n" + _INDENT * len(levels) + b"}" if level.written else b"}"
        else:
            out += b"]"
    return _END


def _write_scalar(value: object, out: bytearray) -> bool:
    if isinstance(value, bytes):
        out += quote(value[:MAX_TEXT_LENGTH])
    elif isinstance(value, float):
        if not isfinite(value):
            return False
        out += number_text(value).encode()
    elif isinstance(value, int) and not isinstance(value, bool):
        out += b"%d" % value
    else:
        out += {None: b"null", True: b"true", False: b"false"}[value]  # type: ignore[index]
    return True


def number_text(value: float) -> str:
    """A finite double in RapidJSON's form: `1.0`, `0.001`, `1e21`, `1.5e-7`."""
    sign, digits, exponent = _shortest(value)
    point = len(digits) + exponent
    if exponent >= 0 and point <= 21:
        number = digits + "0" * exponent + ".0"
    elif 0 < point <= 21:
        number = digits[:point] + "." + digits[point:]
    elif -6 < point <= 0:
        number = "0." + "0" * -point + digits
    else:
        number = digits[0] + ("." + digits[1:] if len(digits) > 1 else "") + f"e{point - 1}"
    return sign + number


def _shortest(value: float) -> tuple[str, str, int]:
    """The sign, the fewest digits that give the value back, and the power of ten of the last one."""
    mantissa, _, power = repr(value).partition("e")
    sign = "-" if mantissa.startswith("-") else ""
    whole, _, fraction = mantissa.lstrip("-").partition(".")
    digits = (whole + fraction).lstrip("0")
    exponent = int(power or 0) - len(fraction)
    shortest = digits.rstrip("0")
    if not shortest:
        return sign, "0", 0
    return sign, shortest, exponent + len(digits) - len(shortest)
