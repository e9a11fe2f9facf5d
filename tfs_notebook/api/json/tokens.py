"""The scalars of RapidJSON's grammar, with the phrase and offset of each way they can be wrong.

The fast patterns of `reader` take the usual spellings; what they leave comes here.
"""

from __future__ import annotations

import json
import re
from math import inf, nan

from tfs_notebook.errors import ServingError, invalid_argument

SKIP_BLANKS = re.compile(rb"[ \t\n\r]*").match

_NUMBER = re.compile(rb"-?(0|[1-9][0-9]*)(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]+))?")
# RapidJSON does not go back when NaN fails: NInf is infinite, too.
_NON_FINITE = re.compile(rb"(-?)(?:NaN|(?:Na?)?(Inf(?:inity)?))")
_NON_FINITE_START = re.compile(rb"-?(?:Na?)?(?:I(?:n(?:f(?:i(?:n(?:it?)?)?)?)?)?)?")
_BROKEN_EXPONENT = re.compile(rb"[eE][+-]?")
_STRING_STOP = re.compile(rb'["\\\x00-\x1f]')
_ESCAPES_AND_TEXT = re.compile(rb'(?:\\[^\x00-\x1f][^"\\\x00-\x1f]*){1,1000}(?:\\u[dD][c-fC-F][0-9a-fA-F]{2})?')
"""Not more, as the search takes memory for each; a pair of surrogates stays together."""
_HIGH_SURROGATE = re.compile("[\ud800-\udbff]")
_HEX4 = re.compile(rb"[0-9A-Fa-f]{4}")

_ESCAPES = {b'"': b'"', b"\\": b"\\", b"/": b"/", b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t"}
_WORDS = {b"t": (b"true", True), b"f": (b"false", False), b"n": (b"null", None)}

_INT64_MIN, _UINT64_MAX = -(2**63), 2**64 - 1
_MAX_64_BIT_DIGITS = 20
_DIGITS_OF_LARGEST_DOUBLE = 309
_TENTH_OF_LARGEST_DOUBLE = 1.7976931348623157e307
_LARGEST_EXPONENT = 308
_START_OF_LARGEST_DOUBLE = b"179769313486"
_ZERO_TO_LARGE_POWER = re.compile(rb"0[eE]\+?0*[1-9][0-9]{2,}[\],} \t\n\r]")

_VALUE = "Invalid value."
_ESCAPE = "Invalid escape character in string."
_TOO_BIG = "Number too big to be stored in double."


def syntax_error(phrase: str, offset: int) -> ServingError:
    """The refusal of a body that is no JSON; `phrase` is RapidJSON's, `offset` counts bytes."""
    return invalid_argument(f"JSON Parse error: {phrase} at offset: {offset}")


def read_word(body: bytes, position: int) -> tuple[bool | None, int]:
    """`true`, `false` or `null`, and where it ends; the error stands at the first byte that differs."""
    word, value = _WORDS[body[position : position + 1]]
    for length in range(1, len(word)):
        if body[position + length : position + length + 1] != word[length : length + 1]:
            raise syntax_error(_VALUE, position + length)
    return value, position + len(word)


def read_number(body: bytes, position: int) -> tuple[int | float, int]:
    """A number and where it ends: an int when it is an integer literal that 64 bits hold, a float otherwise."""
    match = _NUMBER.match(body, position)
    if match is None:
        return _read_non_finite(body, position)
    text, end = match[0], match.end()
    whole, fraction, exponent = match.groups()
    if fraction is None and exponent is None:
        _refuse_unfinished(body, end, fraction_missing=True)
        if len(text) <= _MAX_64_BIT_DIGITS and _INT64_MIN <= (integer := int(text)) <= _UINT64_MAX:
            return integer, end
    elif exponent is None:
        _refuse_unfinished(body, end, fraction_missing=False)
    value = float(text)
    # Only these can be what RapidJSON finds too big: its own test is on digits, not on the value.
    if (value in {0.0, inf, -inf} or len(whole) >= _DIGITS_OF_LARGEST_DOUBLE) and _too_big(*match.groups()):
        raise syntax_error(_TOO_BIG, position)
    return value, end


def _refuse_unfinished(body: bytes, end: int, *, fraction_missing: bool) -> None:
    """Refuses `1.`, `1e` and `1e+`; a regular expression alone would stop before the dot or the e."""
    if fraction_missing and body[end : end + 1] == b".":
        raise syntax_error("Miss fraction part in number.", end + 1)
    exponent = _BROKEN_EXPONENT.match(body, end)
    if exponent is not None:
        raise syntax_error("Miss exponent in number.", exponent.end())


def _read_non_finite(body: bytes, position: int) -> tuple[float, int]:
    match = _NON_FINITE.match(body, position)
    if match is None or (match[2] == b"Inf" and body[match.end() : match.end() + 1] == b"i"):
        start = _NON_FINITE_START.match(body, position)
        raise syntax_error(_VALUE, start.end() if start else position)
    # RapidJSON reads NaN.5 as 0.5; that much is refused here.
    _refuse_unfinished(body, match.end(), fraction_missing=True)
    if match[2] is None:
        return nan, match.end()
    return (-inf if match[1] else inf), match.end()


def _too_big(whole: bytes, fraction: bytes | None, exponent: bytes | None) -> bool:
    """RapidJSON's test, which looks at the digits: `0e400` is too big, `10e308` is infinite."""
    if len(whole) > _DIGITS_OF_LARGEST_DOUBLE:
        return True
    if len(whole) == _DIGITS_OF_LARGEST_DOUBLE:
        prefix = 0.0
        for digit in whole[:-1]:
            prefix = prefix * 10 + (digit - 48)
        if prefix >= _TENTH_OF_LARGEST_DOUBLE:
            return True
    if exponent is None or exponent.startswith(b"-"):
        return False
    digits = exponent.lstrip(b"+0")
    # The exponent itself may have millions of digits.
    if len(digits) > len(str(_LARGEST_EXPONENT + len(fraction or b""))):
        return True
    return int(digits or b"0") > _LARGEST_EXPONENT + _counted_fraction_digits(whole, fraction or b"")


def may_be_too_big(text: bytes) -> bool:
    """Whether JSON that orjson or simdjson has read may hold a number that RapidJSON finds too big.

    That is a zero with a large exponent (`0e400`), and an integer of 309 digits just below the largest double.
    """
    if (b"0e" in text or b"0E" in text) and _ZERO_TO_LARGE_POWER.search(text):
        return True
    return len(text) >= _DIGITS_OF_LARGEST_DOUBLE and _START_OF_LARGEST_DOUBLE in text


def _counted_fraction_digits(whole: bytes, fraction: bytes) -> int:
    """How many digits behind the point RapidJSON takes into its significand; it drops those past the 17th."""
    if int(whole) > _UINT64_MAX:
        return 0
    significand, significant, counted = int(whole), len(whole) - 1, 0
    for digit in fraction:
        if significand >= 2**53 and significant >= 17:
            break
        significand = significand * 10 + (digit - 48)
        counted += 1
        significant += significand != 0
    return counted


def read_string(body: bytes, position: int) -> tuple[bytes, int]:
    """The bytes of the string whose opening quote stands at `position`, and where it ends."""
    parts: list[bytes] = []
    position += 1
    while True:
        stop = _STRING_STOP.search(body, position)
        if stop is None:
            raise syntax_error("Missing a closing quotation mark in string.", len(body))
        parts.append(body[position : stop.start()])
        position = stop.start()
        if stop[0] == b'"':
            return b"".join(parts), position + 1
        if stop[0] == b"\0":
            raise syntax_error("Missing a closing quotation mark in string.", position)
        if stop[0] != b"\\":
            raise syntax_error(_ESCAPE, position)
        position = _read_escapes(body, position, parts)


def _read_escapes(body: bytes, position: int, parts: list[bytes]) -> int:
    """Append what many escapes, and the text between them, stand for; returns where they end."""
    many = _ESCAPES_AND_TEXT.match(body, position)
    piece = None if many is None else _unescaped(many[0])
    if many is not None and piece is not None:
        parts.append(piece)
        return many.end()
    end = position + 1 if many is None else many.end()
    while position < end:
        piece, position = _read_escape(body, position)
        stop = body.find(b"\\", position, end)
        plain, position = position, stop if stop >= 0 else max(position, end)
        parts += piece, body[plain:position]
    return position


def _unescaped(escapes: bytes) -> bytes | None:
    """What the inside of a string stands for, read at once; None when it has to be looked at one by one."""
    encoding, errors = ("utf-8", "surrogatepass") if b"\\u" in escapes else ("latin-1", "strict")
    try:
        text: str = json.loads(f'"{escapes.decode(encoding)}"')
    except ValueError:
        return None
    return None if _HIGH_SURROGATE.search(text) else text.encode(encoding, errors)


def _read_escape(body: bytes, position: int) -> tuple[bytes, int]:
    letter = body[position + 1 : position + 2]
    if letter in _ESCAPES:
        return _ESCAPES[letter], position + 2
    if letter != b"u":
        raise syntax_error(_ESCAPE, position)
    code, end = _read_hex4(body, position + 2, position), position + 6
    if 0xD800 <= code <= 0xDBFF:
        low = _read_hex4(body, end + 2, position) if body[end : end + 2] == b"\\u" else 0
        if not 0xDC00 <= low <= 0xDFFF:
            raise syntax_error("The surrogate pair in string is invalid.", position)
        code, end = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00), end + 6
    # A low surrogate on its own goes through as its three bytes, like in RapidJSON.
    return chr(code).encode("utf-8", "surrogatepass"), end


def _read_hex4(body: bytes, position: int, escape: int) -> int:
    match = _HEX4.match(body, position)
    if match is None:
        raise syntax_error("Incorrect hex digit after \\u escape in string.", escape)
    return int(match[0], 16)
