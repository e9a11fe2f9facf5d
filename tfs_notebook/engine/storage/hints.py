"""What to do about a path that cannot be served, guessed from what stands there."""

from __future__ import annotations

import re
from difflib import get_close_matches
from itertools import islice
from shlex import quote
from typing import TYPE_CHECKING

from tfs_notebook.errors import printable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_KERAS_FILES = (".keras", ".h5", ".hdf5")
_SAVED_MODEL_FILES = frozenset({"saved_model.pb", "saved_model.pbtxt"})
_CONFIG_FILES = (".pbtxt", ".config", ".conf", ".textproto")
_NUMBERED = re.compile(r"[a-zA-Z._ -]*([0-9]+)(?:\.0)*")
_MAX_ENTRIES = 200


def keras_file(directory: Path) -> str:
    """The name of a Keras file in `directory`, "" when there is none; never raises."""
    return next((path.name for path in _children(directory) if path.suffix in _KERAS_FILES), "")


def for_missing(path: Path) -> str:
    """What may have been meant by `path`, which is not there."""
    path = path.absolute()
    parent = next(filter(is_dir, path.parents), None)
    if parent is None:
        return ""
    if parent == parent.parent:
        top = f"/{path.parts[1]}"
        line = f"%tfs_serve DIRECTORY --mount={top} --model_config_file=…"
        return f"There is no {top} on this machine. A directory of yours stands for it with: {line}"
    name = path.relative_to(parent).parts[0]
    near = get_close_matches(name, [child.name for child in _children(parent)], n=1)
    meant = f"Did you mean {parent / near[0]}? " if near else ""
    return printable(f"{meant}{parent} exists and holds {listing(parent)}")


def for_file(path: Path) -> str:
    """What to do about `path`, which is a file where a directory was expected."""
    if path.suffix in _KERAS_FILES:
        return _from_keras(path, path.with_suffix(""))
    if path.suffix == ".tflite":
        base = path.with_suffix("")
        copy = f"mkdir -p {quote(f'{base}/1')} && cp {quote(str(path))} {quote(f'{base}/1/model.tflite')}"
        return f"{path.name} is a TFLite model: {copy}, then serve {base} with --prefer_tflite_model"
    if path.name in _SAVED_MODEL_FILES:
        return for_no_version(path.parent)
    if path.suffix in _CONFIG_FILES:
        return f"If it is a config file: --model_config_file={path}"
    return "The base path must be a directory that can be read."


def for_no_version(base: Path) -> str:
    """What to do about `base`, which is a directory without a numbered version."""
    return printable(next(_guesses(base), "") or f"{base} holds {listing(base)}.")


def _guesses(base: Path) -> Iterator[str]:
    children = list(_children(base))
    names = {child.name for child in children}
    if names & _SAVED_MODEL_FILES:
        if base.name.isdecimal():
            yield f"{base} is version {int(base.name)} itself: serve the directory that it is in, {base.parent}"
        versions = f"{base}-versions"
        move = f"mkdir {quote(versions)} && mv {quote(str(base))} {quote(f'{versions}/1')}, then serve {versions}"
        yield f"{base} is itself a SavedModel and belongs in a directory named by a number: {move}"
    if "model.tflite" in names:
        yield f"model.tflite belongs in a directory named by a number ({base}/1); --prefer_tflite_model serves it."
    for child in children:
        if child.suffix in _CONFIG_FILES and _mentions_models(child):
            yield (
                f"{child.name} in it is a config file: --model_config_file={child}, and --mount=/models lets {base} "
                "stand for /models in its base paths."
            )
    models = sorted(child.name for child in children if any(path.name.isdecimal() for path in _children(child)))
    if models:
        yield f"Versions are in {', '.join(models[:4])}: serve {base / models[0]}, or several models by a config."
    for child in children:
        if is_dir(child) and (number := number_in(child.name)):
            yield f"{child.name} is no number: rename it to {base / number}"
    if keras := keras_file(base):
        yield _from_keras(base / keras, base)


def number_in(name: str) -> str:
    """The number that a directory called `name`, like `v1` or `1.0`, was probably to have; "" for none."""
    found = _NUMBERED.fullmatch(name)
    return found[1] if found else ""


def _from_keras(path: Path, base: Path) -> str:
    return f"{path.name} is a Keras file: keras.models.load_model('{path}').export('{base}/1'), then serve {base}"


def _mentions_models(path: Path) -> bool:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return "model_config_list" in file.read(100_000)
    except OSError:
        return False


def listing(directory: Path) -> str:
    """The names in `directory`, as many as can be read at a glance."""
    try:
        names = sorted(entry.name + "/" * entry.is_dir() for entry in directory.iterdir())
    except OSError as error:
        return f"nothing that can be listed ({error.strerror})"
    shown = printable(", ".join(names[:8]))
    return (shown + f" and {len(names) - 8} more" if len(names) > 8 else shown) or "nothing"


def _children(directory: Path) -> list[Path]:
    try:
        return list(islice(directory.iterdir(), _MAX_ENTRIES))
    except OSError:
        return []


def is_dir(path: Path) -> bool:
    """Whether `path` is a directory; a path that cannot be looked at is none."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False
