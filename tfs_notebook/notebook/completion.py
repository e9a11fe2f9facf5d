"""Tab in our magics: options, paths, and what the running server serves."""

from __future__ import annotations

import glob
import os
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from IPython.core.completer import SimpleCompletion, context_matcher
from IPython.core.error import UsageError

from tfs_notebook.engine.events import State
from tfs_notebook.errors import printable
from tfs_notebook.notebook.configuration.words import words
from tfs_notebook.notebook.magic_line import EXPRESSIONS, PATHS, SWITCHES, options, split
from tfs_notebook.notebook.plots.shown import PLOTS
from tfs_notebook.oss.address import SCHEME, is_oss
from tfs_notebook.settings.ignored_flags import ACCEPTED_FLAGS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from IPython.core.completer import CompletionContext, SimpleMatcherResult

    from tfs_notebook.engine.status import ModelStatus
    from tfs_notebook.notebook.magics import ServingMagics
    from tfs_notebook.server.server import Server

_CONFIGURES = frozenset({"tfs_label", "tfs_load", "tfs_policy", "tfs_unload"})
_FIRST_IS_A_MODEL = frozenset((name, 0) for name in (*_CONFIGURES, "tfs_call", "tfs_parity", "tfs_predict"))
_LINE = re.compile(r"\s*(?:[\w, ]+=\s*)?%{1,2}(?P<magic>tfs_\w+)\s+(?P<arguments>.*)")
_WORD = re.compile(r"""(?:[^\s"']|"[^"]*(?:"|$)|'[^']*(?:'|$))*$""")

_NAME = re.compile(r"[^\W\d][\w.]*$")


def matcher(magics: ServingMagics) -> Callable[[CompletionContext], SimpleMatcherResult]:
    """What IPython's completer is to ask about the lines of `magics`."""

    def complete(context: CompletionContext) -> SimpleMatcherResult:
        found = _LINE.fullmatch(context.text_until_cursor)
        magic = _magic(magics, found["magic"]) if found else None
        if found is None or magic is None:
            return {"completions": []}
        if magic.parser.prog in {"tfs_parity", "tfs_predict"} and _is_expression(magic, found["arguments"]):
            return _python(found["arguments"], magics)
        typed, known = _candidates(magic, found["arguments"], magics)
        start = _bare(typed)
        texts = [shlex.quote(name) for name in known if name.startswith(start)]
        return {
            "completions": [SimpleCompletion(text, type="param") for text in texts],
            "matched_fragment": typed,
            "suppress": True,
            "ordered": True,
        }

    marked: Callable[[CompletionContext], SimpleMatcherResult] = context_matcher(identifier="tfs_notebook")(complete)
    return marked


def _magic(magics: ServingMagics, name: str) -> Any:
    """Our magic of this name, whichever class has it; None for none."""
    known = magics.shell.magics_manager.magics
    magic = known["line"].get(name) or known["cell"].get(name)
    return magic if hasattr(magic, "parser") else None


def _python(arguments: str, magics: ServingMagics) -> SimpleMatcherResult:
    """The notebook's variables, Python's names and attributes that may stand at the end of `arguments`."""
    completer, found = magics.shell.Completer, _NAME.search(arguments)
    typed = found[0] if found else ""
    matches: Any = completer.attr_matches if "." in typed else completer.global_matches
    names = matches(typed)
    completions = [SimpleCompletion(name, type="param") for name in names if typed]
    return {"completions": completions, "matched_fragment": typed, "suppress": True}


def _is_expression(magic: Any, arguments: str) -> bool:
    """Whether a Python expression is being typed at the end of `arguments`: what follows the model, or an option's."""
    found = _WORD.search(arguments)
    word = found[0] if found else ""
    try:
        before = split(arguments[: len(arguments) - len(word)])
    except UsageError:
        return False
    option, value = _open_option(magic, word, before)
    if option:
        return option in EXPRESSIONS and bool(value)
    return bool(word) and not word.startswith("-") and bool(_positional(magic, before))


def _candidates(magic: Any, arguments: str, magics: ServingMagics) -> tuple[str, Iterable[str]]:
    """What was typed of the word at the end of `arguments`, and all that could stand there."""
    found = _WORD.search(arguments)
    word = found[0] if found else ""
    try:
        before = split(arguments[: len(arguments) - len(word)])
    except UsageError:
        return word, ()
    option, value = _open_option(magic, word, before)
    positional, server = _positional(magic, before), magics.server
    if option:
        return value, _paths(_bare(value)) if option in PATHS else _values(option, positional, server)
    if not word.startswith("-") and (known := _words(magic, word, positional, magics)) is not None:
        return word, known
    if word.startswith("-") or (positional and not word):
        return word, _unused_options(magic, before)
    if magic.parser.prog == "tfs_serve":
        return word, [*_variables(magics), *([] if positional else _paths(_bare(word), directories_only=True))]
    return word, ()


def _words(magic: Any, word: str, before: list[str], magics: ServingMagics) -> Iterable[str] | None:
    """What may stand after the words `before` in a line, None where nothing is known about it."""
    what = magic.parser.prog, len(before)
    if what[0] in _CONFIGURES and before:
        return words(what[0], word, before, magics.server) if magics.server is not None else ()
    if what in _FIRST_IS_A_MODEL:
        paths = _paths(_bare(word), directories_only=True) if what[0] == "tfs_load" else ()
        return [*_names(magics.server), *paths]
    if what == ("tfs_doctor", 0):
        return _paths(_bare(word))
    if what == ("tfs_sync", 0):
        return next(tuple(action.choices) for action in magic.parser._actions if action.choices)  # noqa: SLF001
    if what == ("tfs_push", 0):
        return [*_names(magics.server), *_variables(magics), *_paths(_bare(word), directories_only=True)]
    return _addresses(magics.server) if what == ("tfs_push", 1) else None


def _variables(magics: ServingMagics) -> list[str]:
    """The notebook's variables that hold models."""
    from tfs_notebook.engine.models.export import can_be_exported

    variables = [name for name, value in magics.shell.user_ns.items() if can_be_exported(value)]
    return [name for name in variables if not name.startswith("_")]


def _addresses(server: Server | None) -> list[str]:
    """Where the served models come from in OSS, or how an address begins."""
    models = _models(server) if server is not None and server.running else []
    places = {server.place(model.config.base_path) for model in models if server is not None and model.config}
    return sorted(filter(is_oss, places)) or [SCHEME]


def _open_option(magic: Any, word: str, before: list[str]) -> tuple[str, str]:
    """The option that `word` gives a value ("" for none), and what was typed of that value."""
    option, equals, value = word.partition("=")
    if equals and option in options(magic):
        return option, value
    last = before[-1] if before else ""
    return last if last in options(magic) and last not in _switches(magic) else "", word


def _bare(word: str) -> str:
    return word.strip("\"'")


def _paths(start: str, *, directories_only: bool = False) -> Iterable[str]:
    """The paths that begin with `start`; IPython would offer every name of Python's beside them."""
    whole = os.path.expanduser(start)  # noqa: PTH111 - what was typed is kept
    for path in sorted(glob.glob(f"{glob.escape(whole)}*")):  # noqa: PTH207
        is_dir = Path(path).is_dir()
        if (is_dir or not directories_only) and printable(path) == path:
            yield start + path[len(whole) :] + "/" * is_dir


def _positional(magic: Any, words: list[str]) -> list[str]:
    """The words that are neither options nor their values."""
    return [
        word
        for word, previous in zip(words, ["", *words], strict=False)
        if not word.startswith("-") and (previous not in options(magic) or previous in _switches(magic))
    ]


def _unused_options(magic: Any, before: list[str]) -> list[str]:
    passed_over = {word.partition("=")[0] for word in before} | {f"--{name}" for name in ACCEPTED_FLAGS}
    switches = _switches(magic)
    return [name if name in switches else f"{name}=" for name in options(magic) if name not in passed_over]


def _switches(magic: Any) -> set[str]:
    """The options of `magic` that need no value."""
    bare = {name for action in magic.parser._actions if action.nargs == 0 for name in action.option_strings}  # noqa: SLF001
    return bare | SWITCHES


def _values(option: str, named: list[str], server: Server | None) -> Iterable[str]:
    if option in {"--via", "--plot"}:
        return ("local", "rest", "grpc") if option == "--via" else PLOTS
    if option in SWITCHES:
        return ("true", "false")
    if option not in {"--version", "--label", "--signature_name"} or server is None or not server.running:
        return ()
    asked = [model for model in _models(server) if model.name in named] or _models(server)
    if option == "--label":
        return sorted({label for model in asked for label in model.labels})
    available = [version for model in asked for version in model.versions if version.state is State.AVAILABLE]
    if option == "--version":
        return [str(number) for number in sorted({version.number for version in available}, reverse=True)]
    return sorted({name for version in available for name in version.calls})


def _names(server: Server | None) -> list[str]:
    return [model.name for model in _models(server)] if server is not None and server.running else []


def _models(server: Server) -> list[ModelStatus]:
    return [model for model in server.status().models if model.config is not None]
