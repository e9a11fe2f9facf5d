"""The blocks of protobuf's text format, as far as they can be told in a text that is wrong: which one is open."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

_TOKEN = re.compile(
    r"""\#[^\n]* | "(?:\\.|[^"\\\n])*"? | '(?:\\.|[^'\\\n])*'? | (?P<name>[a-zA-Z_][\w.]*) | (?P<open>[{<]) |
    (?P<close>[}>]) | \n""",
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Block:
    """What stands in braces; line and column of the field before it, and how far that line is indented."""

    field: str
    line: int
    column: int
    indent: int

    def __str__(self) -> str:
        return f"The block opened at {self.line}:{self.column} ({self.field}) is not closed."


def open_blocks(text: str, line: int, column: int) -> list[Block]:
    """The blocks that are open where `line` and `column` are, from the outermost."""
    return _scan(text, line, column)[0]


def unclosed_at_end(text: str) -> Block | None:
    """The block that was probably left open where `text` ends too early, None when all are closed.

    That is the first one which is only closed by a brace that stands further left than the block begins, else the
    innermost.
    """
    blocks, passed = _scan(text, text.count("\n") + 2, 1)
    return (passed or blocks[-1]) if blocks else None


def unclosed_before(blocks: Sequence[Block], field: str, root: Any) -> Block | None:
    """The innermost of `blocks` if `field` is unknown in there, but known in one around it; `root` is the descriptor
    of the whole message.
    """
    kind, around = root, []
    for block in blocks:
        around.append(kind)
        known = kind.fields_by_name.get(block.field)
        if known is None or known.message_type is None:
            return None
        kind = known.message_type
    return blocks[-1] if any(field in outer.fields_by_name for outer in around) else None


def _scan(text: str, line: int, column: int) -> tuple[list[Block], Block | None]:
    """The blocks that are open there, and the first one that a brace further left closed."""
    lines = text.split("\n")
    indents = [len(content) - len(content.lstrip()) for content in lines]
    blocks: list[Block] = []
    passed: Block | None = None
    name, here, start = ("", 1, 1), 1, 0
    for token in _TOKEN.finditer(text):
        at = token.start() - start + 1
        if (here, at) >= (line, column):
            break
        if token.group() == "\n":
            here, start = here + 1, token.end()
        elif token["name"]:
            name = token["name"], here, at
        elif token["open"]:
            blocks.append(Block(*name, indents[name[1] - 1]))
        elif token["close"] and blocks:
            closed = blocks.pop()
            is_further_left = at - 1 == indents[here - 1] < closed.indent
            passed = passed or (closed if is_further_left else None)
    return blocks, passed
