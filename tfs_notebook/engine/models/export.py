"""A model in memory as a SavedModel on disk: a Keras model, a tf.Module, a tf.function or a loaded SavedModel."""

from __future__ import annotations

import errno
import logging
import os
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfs_notebook.errors import Code, ServingError, invalid_argument

if TYPE_CHECKING:
    from collections.abc import Iterator

_INIT_SIGNATURE = "__saved_model_init_op"
"""TensorFlow's own, by which tables are initialised."""
_KERAS = (("keras", "Model"), ("tf_keras", "Model"))
_FUNCTIONS = (("tensorflow.python.eager.polymorphic_function.polymorphic_function", "Function"),)
_TRACKABLES = (("tensorflow.python.trackable.autotrackable", "AutoTrackable"),)
_SIGNATURE_REMEDY = "@tf.function(input_signature=[tf.TensorSpec([None], tf.float32)])"
_FOREIGN = {
    "torch": "PyTorch",
    "sklearn": "scikit-learn",
    "xgboost": "XGBoost",
    "lightgbm": "LightGBM",
    "jax": "JAX",
    "flax": "Flax",
    "transformers": "Transformers",
}
_MAX_REASON_LENGTH = 600


def can_be_exported(value: object) -> bool:
    """True for a Keras model, tf.Module, tf.function or loaded SavedModel; imports no library."""
    if _is_a(value, *_KERAS, ("tensorflow", "Module"), *_FUNCTIONS):
        return True
    return _is_a(value, *_TRACKABLES) and hasattr(value, "signatures")


def is_model(value: object) -> bool:
    """True for what people call a model, whether or not it can be exported here."""
    return can_be_exported(value) or bool(_library(value))


def check_exportable(value: object, name: str) -> None:
    """Raise ServingError INVALID_ARGUMENT, with the remedy, when `value` cannot be exported; `name` is its variable."""
    kind = type(value).__name__
    if value is None:
        raise invalid_argument(f"{name} is None: run the cell that makes the model first")
    if library := _library(value):
        raise ServingError(
            Code.INVALID_ARGUMENT,
            f"{name} is a {kind} of {library}, and TensorFlow Serving serves TensorFlow models",
            hint="What can be served: a Keras model, a tf.Module, a tf.function, a loaded SavedModel, or a path.",
        )
    if not can_be_exported(value):
        raise invalid_argument(
            f"{name} is a {kind}: what can be served is a Keras model, a tf.Module, a tf.function, a loaded "
            "SavedModel, or a path"
        )
    if _is_a(value, *_KERAS):
        _check_keras(value, name)


def _check_keras(model: Any, name: str) -> None:
    backend = getattr(sys.modules.get("keras"), "backend", None)
    backend_name = backend.backend() if backend is not None and _is_a(model, ("keras", "Model")) else "tensorflow"
    if backend_name != "tensorflow":
        raise ServingError(
            Code.INVALID_ARGUMENT,
            f"{name} runs on Keras's backend {backend_name}, and TensorFlow Serving serves TensorFlow models",
            hint='os.environ["KERAS_BACKEND"] = "tensorflow" before Keras is imported, in a new kernel.',
        )
    if not model.built:
        raise ServingError(
            Code.INVALID_ARGUMENT,
            f"{name}, a {type(model).__name__}, has not been built: its input shape is unknown",
            hint=f"Call it once, {name}(x[:1]), or begin it with keras.Input(shape=…).",
        )


def _library(value: object) -> str:
    """The library that `value` is a model of, when that is another than TensorFlow."""
    kinds = [module for kind in type(value).__mro__ for module in [kind.__module__.partition(".")[0]]]
    if can_be_exported(value) or not any(hasattr(value, name) for name in ("predict", "forward", "apply", "generate")):
        return ""
    return next((_FOREIGN[module] for module in kinds if module in _FOREIGN), "")


def _is_a(value: object, *names: tuple[str, str]) -> bool:
    kinds = (getattr(sys.modules.get(module), name, None) for module, name in names)
    return isinstance(value, tuple(kind for kind in kinds if isinstance(kind, type)))


@contextmanager
def exported(model: Any) -> Iterator[Path]:
    """Where `model`, a path or something that `can_be_exported`, is on disk. Raises ServingError for anything else."""
    if isinstance(model, (str, Path)):
        yield Path(model).expanduser()
    elif can_be_exported(model):
        with tempfile.TemporaryDirectory(prefix="tfs-push-") as scratch:
            directory = Path(scratch) / "model"
            export(model, directory)
            yield directory
    else:
        raise invalid_argument(f"A {type(model).__name__} cannot be pushed: give a path, a Keras model or a tf.Module")


def export(model: Any, directory: Path, name: str = "") -> None:
    """Write `model` as a SavedModel into `directory`, which is made.

    Raises ServingError: INVALID_ARGUMENT for a model that cannot be exported, and RESOURCE_EXHAUSTED for a full disk.
    `name` is its variable, for messages.
    """
    name = name or f"The {type(model).__name__}"
    try:
        with _without_info():
            _write(model, directory, name)
    except ServingError:
        raise
    except Exception as error:
        if _is_full_disk(error):
            message = f"{name} cannot be exported: no space is left in {directory.parent}"
            hint = "Make room there, or export to another disk: --export_to DIRECTORY."
            raise ServingError(Code.RESOURCE_EXHAUSTED, message, hint=hint) from None
        message = f"{name}, a {type(model).__name__}, cannot be exported: {_reason(error)}"
        raise ServingError(Code.INVALID_ARGUMENT, message, hint=_hint(error, name)) from error
    _check_signatures(model, directory)


def _write(model: Any, directory: Path, name: str) -> None:
    if _is_a(model, *_KERAS):
        model.export(str(directory), verbose=False)
        return
    import tensorflow as tf

    if _is_a(model, *_FUNCTIONS):
        module = tf.Module()
        module.function = model
        tf.saved_model.save(module, str(directory), signatures=_concrete(model, name))
    elif not _is_a(model, ("tensorflow", "Module")):  # a loaded SavedModel
        tf.saved_model.save(model, str(directory), signatures=dict(model.signatures))
    else:
        tf.saved_model.save(model, str(directory))


def _concrete(function: Any, name: str) -> Any:
    """What is served of a tf.function: by its input signature, or the only way in which it was called."""
    if function.input_signature is not None:
        return function.get_concrete_function()
    traced = function._list_all_concrete_functions()  # noqa: SLF001 - there is no public way to ask
    if len(traced) == 1:
        return traced[0]
    calls = "has not been called yet" if not traced else f"was called in {len(traced)} ways"
    raise ServingError(
        Code.INVALID_ARGUMENT,
        f"{name}, a tf.function, has no input_signature and {calls}: what is to be served is unknown",
        hint=f"Write {_SIGNATURE_REMEDY} above it, with the shape and dtype of each argument.",
    )


@contextmanager
def _without_info() -> Iterator[None]:
    """Keep from the cell where TensorFlow and Keras write a model to, and what they warn of meanwhile."""
    logs = [logging.getLogger(name) for name in ("tensorflow", "absl")]
    levels = [log.level for log in logs]
    for log in logs:
        log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for log, level in zip(logs, levels, strict=True):
            log.setLevel(level)


def _check_signatures(model: Any, directory: Path) -> None:
    """Raise ServingError when nobody could ask what was exported."""
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    saved_model = SavedModel.FromString((directory / "saved_model.pb").read_bytes())
    signatures = {name for meta_graph in saved_model.meta_graphs for name in meta_graph.signature_def}
    if not signatures - {_INIT_SIGNATURE}:
        raise invalid_argument(
            f"The {type(model).__name__} has no signature that could be asked: give one of its methods "
            f"{_SIGNATURE_REMEDY}, or write it with "
            "tf.saved_model.save(model, DIRECTORY, signatures=model.METHOD) and serve the directory"
        )


def _is_full_disk(error: BaseException) -> bool:
    numbers = errno.ENOSPC, errno.EDQUOT, errno.EFBIG
    return getattr(error, "errno", None) in numbers or any(os.strerror(number) in str(error) for number in numbers)


def _reason(error: Exception) -> str:
    """The lines of an error that say what is wrong: Keras adds all arguments to them, TensorFlow code."""
    text = getattr(error, "message", None) or str(error)
    lines: list[str] = []
    for line in map(str.strip, text.splitlines()):
        if line.startswith(("Arguments received by", "in user code", "File ", "During handling")):
            continue
        if lines and (not line or sum(map(len, lines)) > _MAX_REASON_LENGTH):
            break
        if line:
            lines.append(line)
    return f"{type(error).__name__}: {' '.join(lines) or type(error).__name__}"[:_MAX_REASON_LENGTH]


def _hint(error: Exception, name: str) -> str:
    text = str(error)
    if any(words in text for words in ("never called", "never been called", "input shape", "be built", "been built")):
        return f"Call it once, {name}(x[:1]), or begin it with keras.Input(shape=…)."
    if "numpy" in text or "SymbolicTensor" in text or "KerasTensor" in text or "bool" in text:
        return "Inside a model use functions of TensorFlow or keras.ops: NumPy sees no values while it is traced."
    if "untracked resource" in text or "captured" in text:
        return "Keep variables and tables as attributes of the model, so that they are exported with it."
    return "tf.saved_model.save(model, DIRECTORY, signatures=…) writes one function of it, to be served from there."
