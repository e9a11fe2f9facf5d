"""The line of `%tfs_predict`: a model, options, and a Python expression, in any order of options and the rest."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError
from IPython.utils.text import DollarFormatter

from tfs_notebook.notebook.magic_line import EXPRESSIONS, help_of, options, parse_words, split

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping

_OPENING, _CLOSING = frozenset("([{"), frozenset(")]}")
_PIECE = re.compile(r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|\s+|.""", re.DOTALL)
"""A string in quotes, blanks, or one character."""


@dataclass(frozen=True, slots=True)
class Line:
    """The arguments that argparse found, and the expression after the model's name ("" for none)."""

    arguments: argparse.Namespace
    expression: str


def read_line(magic: Any, line: str, names: Mapping[str, Any]) -> Line:
    """What stands in the `line` of `magic`. Names in `{…}` or behind `$` are those in `names`, in options only.

    Raises UsageError for an option that does not exist or a quote or bracket that is not closed.
    """
    words = list(_words(line))
    known = options(magic)
    given: list[str] = []
    rest: list[str] = []
    while words:
        word = words.pop(0)
        name, equals, value = word.partition("=")
        if not word.startswith("--") or word == "--":
            rest.append(word)
            continue
        if name not in known:
            given.append(_bare(word, names))  # refused with the nearest name by the parser
            continue
        if not equals and not words:
            raise UsageError(f"{name} needs a value; {help_of('tfs_predict')} shows examples")
        value = value if equals else words.pop(0)
        given.append(f"{name}={value if name in EXPRESSIONS else _bare(value, names)}")
    model = [_bare(rest[0], names)] if rest else []
    return Line(parse_words(magic, [*given, *model]), " ".join(rest[1:]).removesuffix(";").rstrip())


def _bare(word: str, names: Mapping[str, Any]) -> str:
    """`word` without its quotes, variables put in, as IPython does it in other lines."""
    parts = split(word)
    word = parts[0] if parts else ""
    try:
        return str(DollarFormatter().vformat(word, args=[], kwargs=dict(names)))
    except Exception:  # noqa: BLE001, RUF100 - any expression may stand in the braces: then the word is meant as it is
        return word


def _words(line: str) -> Iterator[str]:
    """What blanks outside of quotes and brackets separate; a comment and a last semicolon are none."""
    word, open_brackets = "", ""
    for piece in _PIECE.findall(line.rstrip().removesuffix(";")):
        if piece in {"'", '"'}:
            raise UsageError(f"A quote is not closed in: {line.strip()}")
        if piece == "#" and not word:
            break
        if piece.isspace() and not open_brackets:
            if word:
                yield word
            word = ""
            continue
        word += piece
        open_brackets = open_brackets[:-1] if piece in _CLOSING else open_brackets + piece * (piece in _OPENING)
    if open_brackets:
        raise UsageError(f"A bracket {open_brackets[-1]} is not closed in: {line.strip()}")
    if word:
        yield word
