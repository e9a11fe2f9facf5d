"""Options as arguments of the magics: how they are declared, and what was given for them."""

from __future__ import annotations

import os
from argparse import SUPPRESS
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError
from IPython.core.magic_arguments import argument, argument_group, kwds

from tfs_notebook.errors import ServingError
from tfs_notebook.notebook.magic_help import ServeHelpFormatter, grouped
from tfs_notebook.notebook.magic_line import PATHS
from tfs_notebook.options import FLAGS, NOTEBOOK_DEFAULTS, PUSH_OPTIONS, Flag
from tfs_notebook.oss.address import check_spelling
from tfs_notebook.settings.ignored_flags import ACCEPTED_FLAGS, KNOWN_FLAGS

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable


def serving_flags(function: Callable[..., Any]) -> Callable[..., Any]:
    """Declare every serving flag as an argument of the magic `function`; its help shows those that do something."""
    for flag in ACCEPTED_FLAGS.values():
        function = _argument(flag, SUPPRESS)(function)
    for title, flags in reversed(grouped().items()):
        for flag in reversed(flags):
            function = _argument(flag, _help(flag).replace("%", "%%"))(function)
        function = argument_group(title)(function)
    parser = kwds(usage="%(prog)s [VARIABLE ...|PATH] [--OPTION=VALUE ...]", formatter_class=ServeHelpFormatter)
    declared: Callable[..., Any] = parser(function)
    return declared


def push_flags(function: Callable[..., Any]) -> Callable[..., Any]:
    """Declare the options that reach OSS as arguments of the magic `function`."""
    for name in reversed(PUSH_OPTIONS):
        function = _argument(FLAGS[name], _help(FLAGS[name]))(function)
    return function


def _argument(flag: Flag, text: str) -> Callable[..., Any]:
    switch = {"nargs": "?"} if flag.type is bool else {}
    return argument(f"--{flag.name}", default=_UNSET, metavar=flag.type.__name__.upper(), help=text, **switch)


def _help(flag: Flag) -> str:
    default = NOTEBOOK_DEFAULTS.get(flag.name, flag.default)
    if default in {"", False}:
        return flag.help
    return f"{flag.help} (default: {str(default).lower() if flag.type is bool else default})"


_UNSET = object()


def given_flags(arguments: argparse.Namespace) -> dict[str, Any]:
    """The values of the options that were written on the line, by name. Raises UsageError for one that is none."""
    flags = (flag for flag in KNOWN_FLAGS.values() if getattr(arguments, flag.name, _UNSET) is not _UNSET)
    return {flag.name: _value(flag, arguments) for flag in flags}


def _value(flag: Flag, arguments: argparse.Namespace) -> Any:
    try:
        value = flag.parse(getattr(arguments, flag.name))
        return _whole_path(value) if f"--{flag.name}" in PATHS else value
    except ValueError as error:
        raise UsageError(str(error)) from None
    except ServingError as error:
        raise UsageError(error.told) from None


def _whole_path(path: str) -> str:
    """`path` from the root, as the one on the line; `~` and relative paths would not do in a config."""
    check_spelling(path)
    if not path or "://" in path:
        return path
    return os.path.abspath(os.path.expanduser(path))  # noqa: PTH100, PTH111 - resolving links would show other names
