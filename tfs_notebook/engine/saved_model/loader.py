"""How a version directory becomes a SavedModel: with what options, in what sessions, and what is told when it fails."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import tensorflow as tf
from google.protobuf import text_format

from tfs_notebook.engine.saved_model.graph_loader import load_into
from tfs_notebook.engine.saved_model.servable import SavedModel
from tfs_notebook.engine.saved_model.session import HAS_OWN_THREADS, open_session
from tfs_notebook.engine.saved_model.session_overrides import override
from tfs_notebook.engine.saved_model.twin import MAX_BYTES
from tfs_notebook.engine.storage.scan import Fingerprint
from tfs_notebook.errors import Code, ServingError, not_found

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """How sessions are made. Thread counts of 0 leave the choice to TensorFlow.

    `base_config` is a ConfigProto in text format; the other fields overwrite its own.
    """

    tags: tuple[str, ...] = ("serve",)
    intra_op_threads: int = 0
    inter_op_threads: int = 0
    gpu_memory_fraction: float = 0.0
    base_config: str = ""

    def config(self) -> Any:
        """The ConfigProto. GPU memory grows on demand: the kernel's own models live on the same device."""
        config = tf.compat.v1.ConfigProto(
            gpu_options=tf.compat.v1.GPUOptions(allow_growth=True), allow_soft_placement=True
        )
        text_format.Merge(self.base_config, config)
        config.intra_op_parallelism_threads = self.intra_op_threads
        config.inter_op_parallelism_threads = self.inter_op_threads
        if self.inter_op_threads and not config.session_inter_op_thread_pool:  # else the process's first session counts
            config.session_inter_op_thread_pool.add(
                num_threads=self.inter_op_threads, global_name=f"tfs_notebook_{self.inter_op_threads}"
            )
        config.gpu_options.per_process_gpu_memory_fraction = self.gpu_memory_fraction
        return config


def _devices() -> tuple[str, ...]:
    found = tf.config.list_physical_devices("GPU") or tf.config.list_physical_devices("CPU")
    return tuple(device.name.removeprefix("/physical_device:") for device in found)


DEVICES = _devices()
"""The devices that models run on: the GPUs if there are any, else the CPU. Asking takes the driver's start-up."""

_CAN_HAVE_TWINS = HAS_OWN_THREADS and (os.cpu_count() or 1) > 1 and DEVICES[0].startswith("CPU")


def load_saved_model(
    directory: Path, options: SessionOptions | None = None, *, check_shapes: bool = True
) -> SavedModel:
    """Load the SavedModel in `directory`; without `check_shapes` it is given tensors of any shape.

    Raises ServingError with the code and text of TensorFlow Serving's loader.
    """
    if not any((directory / name).is_file() for name in ("saved_model.pb", "saved_model.pbtxt")):
        raise not_found(
            "Specified file path does not appear to contain a SavedModel bundle "
            f"(should have a file called `saved_model.pb`)\nSpecified file path: {directory}"
        )
    options = options or SessionOptions()
    config = options.config()
    override(config, directory)
    session = None
    files = Fingerprint.of(directory)
    try:
        session = open_session(config)
        model = SavedModel(session, load_into(session, options.tags, str(directory)), check_shapes=check_shapes)
    except Exception as error:
        if session is not None:
            session.close()
        raise _load_error(error, directory, options.tags) from error
    if _CAN_HAVE_TWINS and not config.intra_op_parallelism_threads and files.size <= MAX_BYTES:
        model.may_have_twin(lambda: _load_twin(config, options.tags, directory, files))
    return model


def _load_twin(config: Any, tags: tuple[str, ...], directory: Path, files: Fingerprint) -> Any | None:
    """A second session with the same version and one thread for an operation; None when its files have changed."""
    config.intra_op_parallelism_threads = 1
    session = open_session(config)
    try:
        load_into(session, tags, str(directory))
        is_same = Fingerprint.of(directory) == files
    except Exception:
        session.close()
        raise
    if is_same:
        return session
    session.close()
    return None


@dataclass(frozen=True, slots=True)
class Loader:
    """`load_saved_model` with options; equal ones load a version in the same way."""

    options: SessionOptions = SessionOptions()
    check_shapes: bool = True

    def __call__(self, directory: Path) -> SavedModel:
        """Load the SavedModel in `directory`."""
        return load_saved_model(directory, self.options, check_shapes=self.check_shapes)


def _load_error(error: Exception, directory: Path, tags: Iterable[str]) -> ServingError:
    if isinstance(error, ServingError):
        return error
    if isinstance(error, tf.errors.OpError):
        return ServingError(Code(error.error_code), error.message, where=str(directory))
    if isinstance(error, MemoryError):
        return ServingError(Code.RESOURCE_EXHAUSTED, f"{directory}: out of memory", where=str(directory))
    if isinstance(error, RuntimeError) and "associated with tags" in str(error):
        return not_found(
            f"Could not find meta graph def matching supplied tags: {{ {' '.join(tags)} }}. To inspect available "
            "tag-sets in the SavedModel, please use the SavedModel CLI: `saved_model_cli`",
            hint=str(error),
        )
    if isinstance(error, (OSError, ValueError)):
        return ServingError(Code.DATA_LOSS, f"{directory}: {error}", where=str(directory))
    return ServingError(Code.UNKNOWN, f"{directory}: {type(error).__name__}: {error}", where=str(directory))
