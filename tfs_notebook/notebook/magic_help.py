"""The help of `%tfs_serve?`: options by what they are for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from IPython.core.magic_arguments import MagicHelpFormatter

from tfs_notebook.options import FLAGS, Flag

if TYPE_CHECKING:
    import argparse

GROUPS: dict[str, tuple[str, ...]] = {
    "models and versions": (
        "model_name", "model_base_path", "model_config_file", "model_config_file_poll_wait_seconds", "mount",
        "model_root", "file_system_poll_wait_seconds", "allow_version_labels_for_unavailable_models",
        "saved_model_tags", "prefer_tflite_model", "enable_input_shape_check",
    ),
    "models in OSS": (
        "oss_endpoint", "oss_region", "oss_cname", "oss_poll_wait_seconds", "oss_cache_dir", "oss_marker",
        "oss_keep_versions", "oss_disk_budget_mb",
    ),
    "REST": (
        "rest_api_port", "rest_api_num_threads", "rest_api_timeout_in_ms", "rest_api_enable_cors_support",
        "rest_api_max_body_mb", "rest_api_body_budget_mb", "rest_api_gzip_from_kb",
    ),
    "gRPC": (
        "port", "grpc_socket_path", "grpc_max_threads", "grpc_channel_arguments", "ssl_config_file",
        "enable_grpc_healthcheck_service", "enable_serialization_as_tensor_content",
        "enable_signature_method_name_check",
    ),
    "who may ask": ("host", "token", "allow_without_token", "allowed_hosts", "console_port"),
    "batching": ("enable_batching", "batching_parameters_file", "enable_per_model_batching_parameters"),
    "metrics and request log": ("monitoring_config_file", "request_log_file_mb"),
    "loading and warm-up": (
        "num_load_threads", "num_unload_threads", "max_num_load_retries", "load_retry_interval_micros",
        "enable_model_warmup", "num_request_iterations_for_warmup",
    ),
    "TensorFlow and Python": (
        "tensorflow_session_parallelism", "tensorflow_intra_op_parallelism", "tensorflow_inter_op_parallelism",
        "tensorflow_session_config_file", "per_process_gpu_memory_fraction", "switch_interval_micros",
    ),
}  # fmt: skip
"""Names of options by the title they stand under; within a group the ones that are wanted most come first."""


def grouped() -> dict[str, list[Flag]]:
    """The flags of `Options` by title; those that no group names are the last ones, under `others`."""
    named = {name for names in GROUPS.values() for name in names}
    others = [flag for flag in FLAGS.values() if flag.name not in named]
    groups = {title: [FLAGS[name] for name in names] for title, names in GROUPS.items()}
    return groups | ({"others": others} if others else {})


class ServeHelpFormatter(MagicHelpFormatter):
    """Options as they are written: `--port=INT`, and a switch by its name alone."""

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if not action.option_strings:
            return str(super()._format_action_invocation(action))  # type: ignore[no-untyped-call]
        value = "" if action.nargs == "?" else f"={action.metavar}"
        return f"{action.option_strings[0]}{value}"
