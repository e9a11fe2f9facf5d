"""A model in memory as a SavedModel on disk, for as long as somebody needs that."""

from __future__ import annotations

import logging
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfs_notebook.errors import invalid_argument

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def can_be_exported(value: object) -> bool:
    """Whether `value` is a Keras model or a tf.Module; imports neither library."""
    return isinstance(value, _kinds("keras", "Model") + _kinds("tensorflow", "Module"))


def check_path(path: str, namespace: Mapping[str, Any]) -> None:
    """Raise ServingError INVALID_ARGUMENT for the name of a variable that `can_be_exported` where a path was meant."""
    variable = namespace.get(path)
    if can_be_exported(variable) and not Path(path).exists():
        how = (
            f"{path}.export('{path}/1')" if hasattr(variable, "export") else f"tf.saved_model.save({path}, '{path}/1')"
        )
        raise invalid_argument(
            f"{path} is a variable, a {type(variable).__name__}, and no directory: {how} writes version 1 into one, "
            f"which %tfs_serve {path} then serves"
        )


def _kinds(module: str, name: str) -> tuple[type[Any], ...]:
    kind = getattr(sys.modules.get(module), name, None)
    return (kind,) if isinstance(kind, type) else ()


@contextmanager
def exported(model: Any) -> Iterator[Path]:
    """Where `model`, a path or something that `can_be_exported`, is on disk. Raises ServingError for anything else."""
    if isinstance(model, (str, Path)):
        yield Path(model).expanduser()
    elif can_be_exported(model):
        with tempfile.TemporaryDirectory(prefix="tfs-push-") as scratch:
            directory = Path(scratch) / "model"
            with _without_info():
                _export(model, directory)
            _check_signatures(model, directory)
            yield directory
    else:
        raise invalid_argument(f"A {type(model).__name__} cannot be pushed: give a path, a Keras model or a tf.Module")


@contextmanager
def _without_info() -> Iterator[None]:
    """Keep from the cell where TensorFlow writes a model to: it is gone soon."""
    log = logging.getLogger("tensorflow")
    level = log.level
    log.setLevel(logging.WARNING)
    try:
        yield
    finally:
        log.setLevel(level)


def _check_signatures(model: Any, directory: Path) -> None:
    """Raise ServingError when nobody could ask what was exported."""
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    saved_model = SavedModel.FromString((directory / "saved_model.pb").read_bytes())
    signatures = {name for meta_graph in saved_model.meta_graphs for name in meta_graph.signature_def}
    if not signatures - {_INIT_SIGNATURE}:
        raise invalid_argument(
            f"The {type(model).__name__} has no signature that could be asked: give one of its methods "
            "@tf.function(input_signature=[tf.TensorSpec([None], tf.float32)]), or write it with "
            "tf.saved_model.save(model, DIRECTORY, signatures=model.METHOD) and push the directory"
        )


_INIT_SIGNATURE = "__saved_model_init_op"
"""TensorFlow's own, by which tables are initialised."""


def _export(model: Any, directory: Path) -> None:
    if isinstance(model, _kinds("keras", "Model")):
        model.export(str(directory), verbose=False)
        return
    import tensorflow as tf

    tf.saved_model.save(model, str(directory))
