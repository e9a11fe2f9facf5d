"""A magic's line as arguments: quoted like a shell's, flags as TensorFlow Serving takes them, refusals that help."""

from __future__ import annotations

import os
import re
import shlex
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError

from tfs_notebook.settings.ignored_flags import KNOWN_FLAGS

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

SWITCHES = frozenset({"--variable", *(f"--{flag.name}" for flag in KNOWN_FLAGS.values() if flag.type is bool)})
"""The options that need no value."""
PATHS = frozenset(
    {
        "--batching_parameters_file",
        "--export_to",
        "--grpc_socket_path",
        "--model_base_path",
        "--model_config_file",
        "--model_root",
        "--monitoring_config_file",
        "--oss_cache_dir",
        "--save",
        "--ssl_config_file",
        "--tensorflow_session_config_file",
    }
)
"""The options whose value is a path on this machine."""
EXPRESSIONS = frozenset({"--classes", "--truth"})
"""The options whose value is a Python expression, and is left as it was written."""

_COMMENT = re.compile(r"""'[^']*'|"(?:\\.|[^"\\])*"|\\.|(?:(?<=\s)|^)\#.*""")


def _nothing_of_comments(match: re.Match[str]) -> str:
    return "" if match[0].startswith("#") else match[0]


def parse(magic: Any, line: str) -> argparse.Namespace:
    """The arguments of `magic` in `line`. Raises UsageError with the nearest option for one that does not exist."""
    return parse_words(magic, split(line))


def parse_words(magic: Any, words: list[str]) -> argparse.Namespace:
    """`parse` for a line that is split already."""
    parser: argparse.ArgumentParser = magic.parser
    parser.allow_abbrev = False  # as in TensorFlow Serving: an option that comes later must not change what one means
    arguments, unknown = parser.parse_known_args(list(_with_values(words)))
    if unknown:
        raise UsageError(_refusal(unknown[0], options(magic), parser.prog))
    return arguments


def help_of(magic: str) -> str:
    """How to ask for the help of a magic: `%tfs_serve?`."""
    return f"%{magic}?"


def split(line: str) -> list[str]:
    """The words of `line`; what holds a blank stands in quotes. Raises UsageError for a quote that is not closed.

    A comment, and the semicolon of a line whose value is not to be shown, are no words.
    """
    line = _COMMENT.sub(_nothing_of_comments, line).rstrip().removesuffix(";")
    words = shlex.shlex(line, posix=True)
    words.whitespace_split = True
    words.commenters = ""
    if os.name == "nt":
        words.escape = ""  # there the backslash separates directories
    try:
        return list(words)
    except ValueError:
        raise UsageError(f"A quote is not closed in: {line.strip()}") from None


def options(magic: Any) -> list[str]:
    """The options of `magic`, like `--port`, in their order."""
    return [name for action in magic.parser._actions for name in action.option_strings]  # noqa: SLF001


def _with_values(words: list[str]) -> Iterator[str]:
    """`words` where a switch without a value cannot take the path that follows it for one.

    Raises UsageError for an option that needs a value and has none.
    """
    for word, following in zip(words, [*words[1:], ""], strict=False):
        flag = KNOWN_FLAGS.get(word[2:]) if word.startswith("--") else None
        if flag is not None and word not in SWITCHES and (not following or following[:2] == "--"):
            raise UsageError(f"{word} needs a value: {word}={flag.default or '…'}")
        yield f"{word}=true" if word in SWITCHES and following.lower() not in {"true", "false"} else word


def _refusal(word: str, known: list[str], magic: str) -> str:
    if not word.startswith("-"):
        return f"unexpected argument {word!r}; what holds a blank stands in quotes"
    near = get_close_matches(word.partition("=")[0], known, n=1)
    return f"unknown option {word}; " + (f"did you mean {near[0]}?" if near else f"{help_of(magic)} lists the options")
