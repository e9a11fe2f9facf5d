"""Protobuf text format, refused with the position, the offending line and the field that was probably meant."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, TypeVar

from google.protobuf import text_format
from google.protobuf.message import Message

from tfs_notebook.engine.text_blocks import open_blocks, unclosed_at_end, unclosed_before
from tfs_notebook.errors import Code, ServingError, printable

if TYPE_CHECKING:
    from collections.abc import Iterator

M = TypeVar("M", bound=Message)


def parse_text(text: str, message: M, source: str) -> M:
    """`message` filled from `text`.

    Raises ServingError INVALID_ARGUMENT with line and column; its hint shows the offending line of `source`.
    """
    try:
        text_format.Parse(text, message)
    except text_format.ParseError as error:
        line, column = error.GetLine(), error.GetColumn()
        reason = printable(re.sub(r"^\d+:\d+ : ", "", str(error)))
        position = f"{line or 1}:{column or 1}"
        hint = _point_at(text, line or 1, column or 1) + _remedy(text, line or 1, column or 1, reason, message)
        raise ServingError(
            Code.INVALID_ARGUMENT,
            f"Error parsing text-format {message.DESCRIPTOR.full_name}: {position}: {reason}",
            where=f"{source}:{position}",
            hint=printable(hint),
        ) from None
    return message


def _point_at(text: str, line: int, column: int) -> str:
    lines = text.split("\n")
    offending = lines[min(line, len(lines)) - 1]
    start = max(0, column - 80)
    indent = re.sub(r"[^\t]", " ", offending[start : column - 1])
    return f"{offending[start : start + 120]}\n{indent}^"


def _remedy(text: str, line: int, column: int, reason: str, message: Message) -> str:
    """A line that says what was probably meant, "" when nobody knows."""
    if text.lstrip().startswith("{"):
        return "\nThis is JSON; the text format has no outer braces and no quotes around names: name { field: 'value' }"
    if unknown := re.search(r'Message type "([^"]+)" has no field named "([^"]+)"', reason):
        blocks = open_blocks(text, line, column)
        unclosed = unclosed_before(blocks, unknown[2], message.DESCRIPTOR)
        return f"\n{unclosed}" if unclosed else _nearest_field(unknown, message.DESCRIPTOR)
    if re.match(r'Expected "[}>]"', reason):
        return f"\n{unclosed}" if (unclosed := unclosed_at_end(text)) else ""
    if re.search(r"got [}>]", reason) and not open_blocks(text, line, column):
        return "\nNo block is open here: there is a closing brace too many, here or before."
    if found := re.search(r"Expected string but found: '(\w+)'", reason):
        return f"\nText stands in quotes: '{found[1]}'"
    return ""


def _nearest_field(found: re.Match[str], root: Any) -> str:
    """The field that was probably meant where protobuf says that a message has no such field."""
    fields = next((list(d.fields_by_name) for d in _within(root, set()) if d.full_name == found[1]), [])
    if not fields:
        return ""
    near = get_close_matches(found[2], fields, n=1)
    return f"\nDid you mean {near[0]}?" if near else f"\n{found[1].rpartition('.')[2]} has {', '.join(fields)}."


def _within(descriptor: Any, seen: set[str]) -> Iterator[Any]:
    """A message type and those that its fields may hold."""
    if descriptor.full_name not in seen:
        seen.add(descriptor.full_name)
        yield descriptor
        for field in descriptor.fields:
            if field.message_type is not None:
                yield from _within(field.message_type, seen)
