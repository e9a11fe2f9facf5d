"""JSON exactly as TensorFlow Serving reads it: RapidJSON 1.1.0's iterative parser, its leniencies and its error texts.

* Strings and keys stay `bytes`: invalid UTF-8 passes through untouched.
* An object keeps every member in order, because the first of two equal keys wins at the top level.
* Reading stops after the first value; NUL counts as the end of the body; each byte of a BOM is optional.
* No recursion: depth is only limited by memory.

Numbers are rounded correctly, where RapidJSON may be off by a few units in the last place of a double.
"""

from __future__ import annotations

import re
from math import inf, nan
from typing import TypeAlias, cast

import orjson

from tfs_notebook.api.json.tokens import SKIP_BLANKS, may_be_too_big, read_number, read_string, read_word, syntax_error
from tfs_notebook.errors import invalid_argument

JsonValue: TypeAlias = "bool | int | float | bytes | list[JsonValue] | JsonObject | None"


class JsonObject:
    """The members of a JSON object, in order and with their duplicates."""

    __slots__ = ("members",)

    def __init__(self) -> None:
        self.members: list[tuple[bytes, JsonValue]] = []

    def first_members(self) -> dict[bytes, JsonValue]:
        """Key to value; of equal keys the first counts, as for RapidJSON's FindMember."""
        return dict(reversed(self.members))


_Container: TypeAlias = "list[JsonValue] | JsonObject"

_BLANKS = rb"[ \t\n\r]{0,256}"
"""Longer ones are passed over by themselves: where what follows does not match, each would be tried again."""
_VALUE = (
    _BLANKS + rb"(?:(-?(?:0|[1-9][0-9]*)((?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?))"
    rb'|"([^"\\\x00-\x1f]*)"|(true|false|null))' + _BLANKS
)
_KEY = _BLANKS + rb'"([^"\\\x00-\x1f]*)"' + _BLANKS + rb":"
_PLAIN_ELEMENT = re.compile(_VALUE + rb"([,\]])")
_PLAIN_KEY = re.compile(_KEY)
_PLAIN_MEMBER = re.compile(_KEY + _VALUE + rb"([,}])")
_PLAIN_NUMBERS = re.compile(rb"[-+0-9.eENa, \t\n\r]*\]")
_WORDS = {b"true": True, b"false": False, b"null": None}
_MAX_PLAIN_INTEGER_DIGITS = 18
_MAX_PLAIN_FLOAT_DIGITS = 300

_EMPTY = "The document is empty."
_NAME = "Missing a name for object member."
_COLON = "Missing a colon after a name of object member."
_COMMA_IN_OBJECT = "Missing a comma or '}' after an object member."
_COMMA_IN_ARRAY = "Missing a comma or ']' after an array element."


def parse_json(body: bytes) -> JsonValue:
    """The first JSON value in `body`; INVALID_ARGUMENT with RapidJSON's phrase and offset when there is none."""
    if not body:
        raise invalid_argument("JSON Parse error: The document is empty")
    position = 0
    for mark in (b"\xef", b"\xbb", b"\xbf"):
        position += body[position : position + 1] == mark
    position = _skip(body, position)
    if body[position : position + 1] in (b"", b"\0", b"]", b"}", b",", b":"):
        raise syntax_error(_EMPTY, position)
    root, position, opened = _read_value(body, position)
    if opened:
        _read_tree(root, body, position)
    return root


def _skip(body: bytes, position: int) -> int:
    match = SKIP_BLANKS(body, position)
    return match.end() if match else position


def _read_value(body: bytes, position: int) -> tuple[JsonValue, int, bool]:
    """A scalar, or a list or object that is still empty and open (True); and where reading goes on."""
    first = body[position : position + 1]
    if first == b"[":
        numbers = _read_plain_numbers(body, position)
        return numbers or ([], position + 1, True)
    if first == b"{":
        return JsonObject(), position + 1, True
    if first == b'"':
        return *read_string(body, position), False
    if first in (b"t", b"f", b"n"):
        return *read_word(body, position), False
    return *read_number(body, position), False


def _read_plain_numbers(body: bytes, position: int) -> tuple[JsonValue, int, bool] | None:
    """A complete list of numbers that orjson reads as RapidJSON does; a shortcut that may always be declined."""
    match = _PLAIN_NUMBERS.match(body, position + 1)
    if match is None:
        return None
    numbers = body[position : match.end()]
    try:
        values = orjson.loads(numbers.replace(b"NaN", b"null"))
    except orjson.JSONDecodeError:
        return None
    if may_be_too_big(numbers):
        return None
    return [nan if value is None else value for value in values] if b"N" in numbers else values, match.end(), False


def _read_tree(root: JsonValue, body: bytes, position: int) -> None:
    """Fills the open container `root` and everything in it."""
    container, parents, ended = cast("_Container", root), list[_Container](), False
    while True:
        child, position = _read_into(container, body, position)
        if child is not None:
            parents.append(container)
            container = child
            continue
        ended = True
        while ended:
            if not parents:
                return
            container = parents.pop()
            ended, position = _after_value(container, body, position)


def _read_into(container: _Container, body: bytes, position: int) -> tuple[_Container | None, int]:
    """Reads items until the container ends (None) or a nested one opens (that one, already added)."""
    if isinstance(container, JsonObject):
        return _read_members(container, body, position)
    return _read_elements(container, body, position)


def _read_elements(container: list[JsonValue], body: bytes, position: int) -> tuple[_Container | None, int]:
    append = container.append
    while True:
        match = _PLAIN_ELEMENT.match(body, position)
        if match is not None:
            append(_plain_value(match, 1))
            position, ended = match.end(), match[5] == b"]"
        else:
            position = _skip(body, position)
            if body[position : position + 1] == b"]" and not container:
                return None, position + 1
            value, position, opened = _read_value(body, position)
            append(value)
            if opened:
                return cast("_Container", value), position
            ended, position = _after_value(container, body, position)
        if ended:
            return None, position


def _read_members(container: JsonObject, body: bytes, position: int) -> tuple[_Container | None, int]:
    append = container.members.append
    while True:
        match = _PLAIN_MEMBER.match(body, position)
        if match is not None:
            append((match[1], _plain_value(match, 2)))
            position, ended = match.end(), match[6] == b"}"
        else:
            position = _skip(body, position)
            if body[position : position + 1] == b"}" and not container.members:
                return None, position + 1
            key, position = _read_key(body, position)
            value, position, opened = _read_value(body, _skip(body, position))
            append((key, value))
            if opened:
                return cast("_Container", value), position
            ended, position = _after_value(container, body, position)
        if ended:
            return None, position


def _plain_value(match: re.Match[bytes], group: int) -> JsonValue:
    """The value in the four groups from `group`: a number, its fraction and exponent, a string, a word."""
    number = match[group]
    if number is None:
        string = match[group + 2]
        return string if string is not None else _WORDS[match[group + 3]]
    if not match[group + 1]:
        if len(number) <= _MAX_PLAIN_INTEGER_DIGITS:
            return int(number)
    elif len(number) <= _MAX_PLAIN_FLOAT_DIGITS and 0.0 < abs(value := float(number)) < inf:
        return value
    return read_number(match.string, match.start(group))[0]


def _read_key(body: bytes, position: int) -> tuple[bytes, int]:
    if body[position : position + 1] != b'"':
        raise syntax_error(_NAME, position)
    key, position = read_string(body, position)
    position = _skip(body, position)
    if body[position : position + 1] != b":":
        raise syntax_error(_COLON, position)
    return key, position + 1


def _after_value(container: _Container, body: bytes, position: int) -> tuple[bool, int]:
    """Whether the container ends here, and where reading goes on behind the comma or bracket."""
    position = _skip(body, position)
    mark = body[position : position + 1]
    if mark == b",":
        return False, position + 1
    in_object = isinstance(container, JsonObject)
    if mark != (b"}" if in_object else b"]"):
        raise syntax_error(_COMMA_IN_OBJECT if in_object else _COMMA_IN_ARRAY, position)
    return True, position + 1
