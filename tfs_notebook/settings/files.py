"""The files that options name: each is read once for a deployment.

What can be read once only, like a pipe or what a shell puts in the place of `<(command)`, would be empty the next time.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tfs_notebook.engine.text_file import read_text
from tfs_notebook.errors import invalid_argument
from tfs_notebook.options import OptionFile
from tfs_notebook.oss.address import is_oss
from tfs_notebook.settings.mount import Mount

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tfs_notebook.options import Options

_HINTS = {
    "monitoring_config_file": "--monitoring_config_file names a file in text format: "
    "prometheus_config { enable: true }",
    "batching_parameters_file": "--batching_parameters_file names a file with BatchingParameters in text format.",
    "ssl_config_file": "--ssl_config_file names an SSLConfig in text format.",
    "tensorflow_session_config_file": "--tensorflow_session_config_file names a file with a ConfigProto in text "
    "format.",
}
FILE_OPTIONS = tuple(_HINTS)
"""The options that name a file on this machine which is read at the start, but for the model config file."""


def with_files(options: Options, kept: Sequence[OptionFile] = ()) -> Options:
    """`options` with the text of every file that they name; what was read before goes on from the text in `kept` when
    it is no file that can be read again. Raises ServingError NOT_FOUND for what cannot be read, INVALID_ARGUMENT for
    what is in OSS.
    """
    named = (name for name in FILE_OPTIONS if getattr(options, name))
    return replace(options, files=tuple(_read(options, name, kept) for name in named))


def option_file(options: Options, name: str) -> OptionFile | None:
    """The file that the option `name` names, None for none. Read now, unless `options` come from `with_files`.

    Raises ServingError NOT_FOUND for what cannot be read.
    """
    if not getattr(options, name):
        return None
    return next((file for file in options.files if file.option == name), None) or _read(options, name)


def can_be_read_again(path: str) -> bool:
    """Whether a second look finds in `path` what the first one found, or there is nothing yet: not so in a pipe."""
    return Path(path).is_file() or not Path(path).exists()


def _read(options: Options, name: str, kept: Sequence[OptionFile] = ()) -> OptionFile:
    given = getattr(options, name)
    if is_oss(place := Mount(options.mount, options.model_root).resolve(given)):
        raise invalid_argument(
            f"--{name}={given} is {place}: only models and --model_config_file may be in OSS. Copy it to this "
            "machine, and give it by a path that is not below --mount"
        )
    path = os.path.abspath(place)  # noqa: PTH100 - resolving links would show other names
    if not can_be_read_again(path):
        for file in kept:
            if (file.option, file.path) == (name, path):
                return file
    return OptionFile(name, path, read_text(path, _HINTS[name]))
