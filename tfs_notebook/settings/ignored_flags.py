"""TensorFlow Serving's flags that have no effect here: parsed as there, so that its command lines go on working.

A flag that does something is a field of `Options`; command line and magics know both.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any

from tfs_notebook.options import FLAGS, Flag

if TYPE_CHECKING:
    from collections.abc import Mapping

_log = logging.getLogger(__name__)

_TABLE: tuple[tuple[str, Any, str], ...] = (
    ("flush_filesystem_caches", True, "models are read by Python, which keeps no file cache to drop"),
    ("use_alts_credentials", False, "Google's ALTS is not in grpcio's servers; the gRPC port stays as it is without"),
    ("platform_config_file", "", "sessions are configured by --tensorflow_session_config_file and the flags beside it"),
    ("remove_unused_fields_from_bundle_metagraph", True, "of a meta graph only the signatures are kept"),
    ("num_tflite_pools", os.cpu_count() or 1, "a model has one pool of interpreters, as many as processors"),
    ("num_tflite_interpreters_per_pool", 1, "requests to a TFLite model are not split"),
    ("xla_cpu_compilation_enabled", False, "the TensorFlow of this process decides about XLA"),
    ("xla_gpu_compilation_enabled", False, "the TensorFlow of this process decides about XLA"),
    ("enable_profiler", True, "tf.profiler profiles this process"),
    ("thread_pool_factory_config_file", "", "TensorFlow for Python has no thread pool factories"),
    ("mixed_precision", "", "a model runs in the precision that it was exported in"),
    ("skip_initialize_tpu", False, "no TPU is initialised"),
)

ACCEPTED_FLAGS: dict[str, Flag] = {
    name: Flag(name, type(default), default, f"Accepted without effect: {why}.", own=False)
    for name, default, why in _TABLE
}
"""The flags by name."""
KNOWN_FLAGS = {**FLAGS, **ACCEPTED_FLAGS}
"""Every flag that may be given, those of `Options` first."""
_REASONS = {name: why for name, _, why in _TABLE}


def without_accepted(given: Mapping[str, Any]) -> dict[str, Any]:
    """`given` (values by flag name) without the flags of this module; logs each that asked for another than the default
    behaviour.
    """
    for name, value in given.items():
        if name in ACCEPTED_FLAGS and value != ACCEPTED_FLAGS[name].default:
            _log.warning("--%s=%s is accepted and has no effect here: %s", name, _spelt(value), _REASONS[name])
    return {name: value for name, value in given.items() if name not in ACCEPTED_FLAGS}


def _spelt(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
