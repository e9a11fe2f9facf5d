"""Which models the words of a `%tfs_serve` line name: variables of the notebook, or a path."""

from __future__ import annotations

import os
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfs_notebook.engine.models.export import can_be_exported, check_exportable, is_model
from tfs_notebook.errors import invalid_argument, not_found

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def named_models(words: Sequence[str], namespace: Mapping[str, Any], *, variables_only: bool) -> dict[str, Any]:
    """The models that `words` name by variables of `namespace`; none when the only word is a path.

    Raises ServingError for a word that is both, for a variable that is no model, and for two paths.
    """
    if variables_only:
        return {word: _variable(word, namespace) for word in words}
    found = {word: namespace[word] for word in words if _means_variable(word, namespace)}
    if not found:
        if len(words) > 1:
            raise invalid_argument(
                f"{' '.join(words)}: one path at a time; --model_config_file=FILE, or %%tfs_serve with the text in the "
                "cell, serves several models"
            )
        _check_path(words[0] if words else "", namespace)
        return {}
    if len(found) < len(words):
        other = next(word for word in words if word not in found)
        raise invalid_argument(
            f"{other} is not a variable, as {next(iter(found))} is: serve a path by a line of its own"
        )
    for word, model in found.items():
        check_exportable(model, word)
    return found


def path_in(word: str, namespace: Mapping[str, Any]) -> str:
    """The path that `word` means: its own text, or what a variable of that name holds when there is no such path."""
    value = namespace.get(word)
    if isinstance(value, (str, os.PathLike)) and str(value) and not _exists(word):
        return os.fspath(value)
    return word


def _variable(word: str, namespace: Mapping[str, Any]) -> Any:
    if word not in namespace:
        raise not_found(f"There is no variable {word}", hint=_nearest(word, namespace))
    check_exportable(namespace[word], word)
    return namespace[word]


def _means_variable(word: str, namespace: Mapping[str, Any]) -> bool:
    if word not in namespace or not word.isidentifier():
        return False
    value = namespace[word]
    if not is_model(value):
        return False
    if _exists(word):
        kind = "directory" if Path(word).expanduser().is_dir() else "file"
        raise invalid_argument(
            f"{word} is both a variable, a {type(value).__name__}, and a {kind}: %tfs_serve --variable {word} serves "
            f"the variable, %tfs_serve ./{word} the {kind}"
        )
    return True


def _check_path(word: str, namespace: Mapping[str, Any]) -> None:
    """Raise ServingError for a word that is no path, and is or nearly is a variable's name."""
    if not word.isidentifier() or _exists(word):
        return
    value = namespace.get(word, word)
    if word in namespace and not isinstance(value, (str, os.PathLike)):
        check_exportable(value, word)
    if word not in namespace and (near := _nearest(word, namespace)):
        raise not_found(f"There is neither a variable nor a directory called {word}", hint=near)


def _nearest(word: str, namespace: Mapping[str, Any]) -> str:
    models = [name for name, value in namespace.items() if can_be_exported(value) and not name.startswith("_")]
    near = get_close_matches(word, models, n=1)
    if near:
        return f"Did you mean {near[0]}, a {type(namespace[near[0]]).__name__}?"
    return f"Variables that can be served: {', '.join(models)}." if models else ""


def _exists(word: str) -> bool:
    try:
        return Path(word).expanduser().exists()
    except (OSError, RuntimeError):
        return False
