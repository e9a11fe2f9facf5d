"""What callers in Python pass, which nobody has looked at before: refused by its type, with what was meant."""

from __future__ import annotations

import operator
import os
from typing import Any

from tfs_notebook.errors import invalid_argument


def as_path(given: Any) -> str:
    """The path to serve. Raises ServingError INVALID_ARGUMENT for what is none, like a model."""
    try:
        return os.fspath(given)  # type: ignore[no-any-return]
    except TypeError:
        raise invalid_argument(
            f"A path is served, not an object of type {type(given).__name__}: write the model into a directory, by "
            'model.export("my_model/1") or tf.saved_model.save(module, "my_model/1"), and serve "my_model"'
        ) from None


def as_version(given: Any) -> int | None:
    """The number of a version, None for none. Raises ServingError INVALID_ARGUMENT for anything else, like "1"."""
    if given is None:
        return None
    try:
        return operator.index(given)
    except TypeError:
        raise invalid_argument(f"A version is a whole number, not {given!r} of type {type(given).__name__}") from None
