"""What can be pushed: a version on this machine, or a model in memory, which is exported first."""

from __future__ import annotations

import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfs_notebook.engine.completeness import has_model, missing_part
from tfs_notebook.engine.storage import list_versions
from tfs_notebook.errors import Code, ServingError, invalid_argument, not_found

if TYPE_CHECKING:
    from collections.abc import Iterator


def can_be_exported(value: object) -> bool:
    """Whether `value` is a Keras model or a tf.Module; imports neither."""
    tensorflow, keras = sys.modules.get("tensorflow"), sys.modules.get("keras")
    kinds = (getattr(tensorflow, "Module", None), getattr(keras, "Model", None))
    return isinstance(value, tuple(kind for kind in kinds if isinstance(kind, type)))


@contextmanager
def exported(model: Any) -> Iterator[Path]:
    """The directory of one complete version of `model`, for as long as the `with` lasts.

    `model` is a path of a version, or of a directory of numbered ones (then the newest complete one), or a Keras model
    or tf.Module. Raises ServingError for anything else.
    """
    if isinstance(model, (str, Path)):
        yield _version_at(Path(model).expanduser())
    elif can_be_exported(model):
        with tempfile.TemporaryDirectory(prefix="tfs-push-") as scratch:
            _export(model, Path(scratch) / "model")
            yield Path(scratch) / "model"
    else:
        raise invalid_argument(f"A {type(model).__name__} cannot be pushed: give a path, a Keras model or a tf.Module")


def _version_at(path: Path) -> Path:
    if not path.is_dir():
        raise not_found(f"{path} is no directory", hint="Give a version's directory, or one of numbered versions.")
    if has_model(path, prefer_tflite=True):
        return _complete(path)
    versions = list_versions(path)
    complete = [number for number in sorted(versions, reverse=True) if not _missing(versions[number])]
    if complete:
        return versions[complete[0]]
    if versions:
        return _complete(versions[max(versions)])
    raise not_found(
        f"{path} holds neither a saved_model.pb nor numbered versions", hint="model.export(PATH) writes one."
    )


def _missing(path: Path) -> str:
    return missing_part(path, prefer_tflite=True)


def _complete(path: Path) -> Path:
    if missing := _missing(path):
        raise ServingError(Code.FAILED_PRECONDITION, f"{path} is not complete: {missing}")
    return path


def _export(model: Any, path: Path) -> None:
    keras = sys.modules.get("keras")
    if keras is not None and isinstance(model, keras.Model):
        model.export(path, verbose=False)
        return
    import tensorflow as tf

    tf.saved_model.save(model, str(path))
