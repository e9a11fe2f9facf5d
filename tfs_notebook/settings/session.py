"""The options that say how sessions are made, as the engine takes them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from tfs_notebook.settings.files import option_file

if TYPE_CHECKING:
    from tfs_notebook.engine.saved_model.loader import SessionOptions
    from tfs_notebook.options import Options

_log = logging.getLogger(__name__)


def session_options(options: Options) -> SessionOptions:
    """The SessionOptions. What the session config file says of threads and GPU memory is overwritten, also with 0.

    Raises ServingError: NOT_FOUND for a file that cannot be read, INVALID_ARGUMENT with the position for other text.
    """
    from tfs_notebook.engine.saved_model.loader import SessionOptions

    intra, inter = options.tensorflow_intra_op_parallelism, options.tensorflow_inter_op_parallelism
    if not (intra or inter):
        intra = inter = options.tensorflow_session_parallelism
    made = SessionOptions(
        tags=tuple(tag for tag in options.saved_model_tags.split(",") if tag),
        intra_op_threads=intra,
        inter_op_threads=inter,
        gpu_memory_fraction=options.per_process_gpu_memory_fraction,
        base_config=_session_config(options),
    )
    if made.base_config:
        _warn_of_overwritten(made, options.tensorflow_session_config_file)
    return made


def _session_config(options: Options) -> str:
    """The ConfigProto in `tensorflow_session_config_file`, in text format; "" without a file."""
    file = option_file(options, "tensorflow_session_config_file")
    if file is None:
        return ""
    from tensorflow.core.protobuf.config_pb2 import ConfigProto

    from tfs_notebook.engine.text_proto import parse_text

    parse_text(file.text, ConfigProto(), file.path)
    return file.text


def _warn_of_overwritten(made: SessionOptions, path: str) -> None:
    """Tell what the file says in vain: TensorFlow Serving does not."""
    from google.protobuf import text_format
    from tensorflow.core.protobuf.config_pb2 import ConfigProto

    asked, config = text_format.Parse(made.base_config, ConfigProto()), made.config()
    for flag, before, now in (
        ("tensorflow_intra_op_parallelism", asked.intra_op_parallelism_threads, config.intra_op_parallelism_threads),
        ("tensorflow_inter_op_parallelism", asked.inter_op_parallelism_threads, config.inter_op_parallelism_threads),
        (
            "per_process_gpu_memory_fraction",
            asked.gpu_options.per_process_gpu_memory_fraction,
            config.gpu_options.per_process_gpu_memory_fraction,
        ),
    ):
        if before not in {0, now}:
            _log.warning("%s: %g is overwritten by --%s=%g, as in TensorFlow Serving", path, before, flag, now)
