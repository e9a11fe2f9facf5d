"""Every option once: flag name, type, default and help.

Command line, magics, completion and documentation are made from the fields of `Options`. A name, type and default that
TensorFlow Serving also has is TensorFlow Serving's; the others are marked as this project's own in their help.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field, fields
from typing import Any, get_type_hints

from tfs_notebook.errors import invalid_argument, printable

ANY_PORT = -1
"""As a port: pick a free one. (0 switches a protocol off, as in TensorFlow Serving.)"""
NOTEBOOK_DEFAULTS: dict[str, Any] = {"rest_api_port": 8501, "model_name": "model"}
"""Where a notebook and `tfs_notebook.serve` start from something else than the command line."""

_INTEGER = re.compile(r"\s*[+-]?[0-9]+", re.ASCII)
_NUMBER = re.compile(r"\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?", re.ASCII | re.IGNORECASE)


def _option(default: Any, text: str, *, own: bool = False, secret: bool = False, example: str = "") -> Any:
    return field(default=default, repr=not secret, metadata={"help": text, "own": own, "example": example})


@dataclass(frozen=True, slots=True)
class OptionFile:
    """The `text` of the file that `option` names; `path` is where it was found, and absolute."""

    option: str
    path: str
    text: str = field(repr=False)  # it may hold a key


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a server behaves. Durations are in the unit that their name says."""

    port: int = _option(8500, "TCP port of gRPC; -1: any free one; 0: none, but in a notebook any free one.")
    grpc_socket_path: str = _option(
        "", "Path of a Unix socket on which gRPC answers, too; taken over from whoever listens there."
    )
    rest_api_port: int = _option(0, "TCP port of REST; -1: any free one; 0: none, but in a notebook any free one.")
    rest_api_num_threads: int = _option(4 * (os.cpu_count() or 1), "Threads that run the slower REST requests.")
    rest_api_timeout_in_ms: int = _option(30_000, "How long a REST request may run; 0 or less: no limit.")
    rest_api_enable_cors_support: bool = _option(False, "Let pages of other sites read REST replies.")
    grpc_channel_arguments: str = _option(
        "", "Comma-separated key=value: arguments for the gRPC server, like grpc.max_concurrent_streams=100."
    )
    ssl_config_file: str = _option(
        "", "File with an SSLConfig in text format: the key and certificates with which gRPC speaks TLS."
    )
    enable_grpc_healthcheck_service: bool = _option(
        False, "Answer grpc.health.v1.Health on gRPC; probes need no token for it."
    )
    grpc_max_threads: int = _option(4 * (os.cpu_count() or 1), "Threads that run gRPC requests.")
    enable_serialization_as_tensor_content: bool = _option(
        False, "Answer gRPC Predict with numbers in tensor_content instead of float_val, int_val and so on."
    )
    enable_signature_method_name_check: bool = _option(
        False, "Refuse signatures whose method_name is not that of the request."
    )
    model_name: str = _option("default", "Name of the model in --model_base_path.")
    model_base_path: str = _option("", "Directory that holds the numbered versions of the one model to serve.")
    model_config_file: str = _option(
        "",
        "File with a ModelServerConfig in text format; then --model_name and --model_base_path are ignored.",
    )
    model_config_file_poll_wait_seconds: int = _option(
        0, "Seconds between two looks at --model_config_file; 0 or less: it is read once."
    )
    monitoring_config_file: str = _option(
        "",
        "File with a MonitoringConfig in text format: with prometheus_config { enable: true } the REST port also "
        "answers /monitoring/prometheus/metrics, or the path given there, with counts and latencies for Prometheus.",
    )
    file_system_poll_wait_seconds: int = _option(
        1, "Seconds between two looks for new versions; 0 or less: only when a configuration is applied."
    )
    enable_batching: bool = _option(
        False, "Run the requests of several clients together, in batches; 64 threads or more wait."
    )
    batching_parameters_file: str = _option(
        "", "File with BatchingParameters in text format; without it a batch holds what waits when a thread is free."
    )
    enable_per_model_batching_parameters: bool = _option(
        False, "Batch only versions that hold a batching_params.pbtxt, each by its own; --enable_batching is needed."
    )
    allow_version_labels_for_unavailable_models: bool = _option(
        False, "Allow a new label to name a version that is not available."
    )
    num_load_threads: int = _option(0, "Threads that load models; 0 leaves the number to the server.")
    num_unload_threads: int = _option(0, "Threads that unload models; 0 leaves the number to the server.")
    max_num_load_retries: int = _option(5, "How often a load that failed is tried again.")
    load_retry_interval_micros: int = _option(60_000_000, "Microseconds between two attempts to load.")
    saved_model_tags: str = _option("serve", "Comma-separated: the exact set of tags of the meta graph to load.")
    prefer_tflite_model: bool = _option(False, "Serve a version's model.tflite, where it has one, by TFLite.")
    enable_model_warmup: bool = _option(
        True, "Let a version answer the requests in its assets.extra/tf_serving_warmup_requests before it serves."
    )
    num_request_iterations_for_warmup: int = _option(0, "How often each of them is answered; 0 or less: once.")
    tensorflow_session_parallelism: int = _option(0, "Threads of a session, within and between operations.")
    tensorflow_intra_op_parallelism: int = _option(0, "Threads that one operation may use; 1 suits small models.")
    tensorflow_inter_op_parallelism: int = _option(0, "Threads that run operations side by side.")
    tensorflow_session_config_file: str = _option(
        "", "File with a ConfigProto in text format for all sessions; the options for threads and GPU memory win."
    )
    per_process_gpu_memory_fraction: float = _option(
        0.0, "Share of the GPU's memory that TensorFlow may take; 0: as much as it needs."
    )
    host: str = _option(
        "127.0.0.1",
        "Interface to listen on: 127.0.0.1 is this machine alone, with ::1 where there is one; 0.0.0.0 is every "
        "interface by IPv4, and :: by IPv4 and IPv6.",
        own=True,
    )
    token: str = _option(
        "",
        "Token that requests carry in the header or metadata `authorization`; default: $TFS_NOTEBOOK_TOKEN. "
        "On an interface that others can reach one is made up when none is given. "
        "/livez, /readyz and gRPC's health service need none, and tell no names.",
        own=True,
        secret=True,
    )
    allow_without_token: bool = _option(False, "Serve without a token on an interface that others can reach.", own=True)
    allowed_hosts: str = _option(
        "", "Comma-separated names that a REST request's Host header may have besides localhost.", own=True
    )
    enable_input_shape_check: bool = _option(
        True,
        "Refuse tensors whose rank, size, row splits or sparse indices may end the process. With false the model is "
        "given any, as by TensorFlow Serving, and one wrong request can end the kernel.",
        own=True,
    )
    rest_api_max_body_mb: int = _option(256, "Largest body of a REST request, in MiB.", own=True)
    rest_api_body_budget_mb: int = _option(
        1024,
        "Most that the bodies of all REST requests may take together, compressed ones inflated, in MiB; what does not "
        "fit is refused, but for bodies of up to 64 KiB.",
        own=True,
    )
    request_log_file_mb: int = _option(
        64, "Largest file of a model's logging_config, in MiB; none has more than 1000 records.", own=True
    )
    rest_api_gzip_from_kb: int = _option(
        64,
        "Compress REST replies of at least so many KiB for clients that accept gzip; 0: none. Worth it on slow nets.",
        own=True,
    )
    console_port: int = _option(
        0,
        "TCP port of the console, a web page that shows and changes what is served; -1: any free one; 0: none.",
        own=True,
    )
    model_root: str = _option("", "Directory, or prefix oss://BUCKET/PREFIX/, that --mount stands for.", own=True)
    mount: str = _option("", "Path, like /models, below which base paths are looked up in --model_root.", own=True)
    oss_poll_wait_seconds: int = _option(
        30,
        "Seconds between two looks at what is in OSS, each of which is paid for; 0 or less: only when asked by "
        "%tfs_sync now.",
        own=True,
    )
    oss_endpoint: str = _option(
        "", "Endpoint of OSS, like https://oss-cn-hangzhou-internal.aliyuncs.com; default: $OSS_ENDPOINT.", own=True
    )
    oss_region: str = _option(
        "", "Region of the buckets, like cn-hangzhou; default: that of the endpoint, or $OSS_REGION.", own=True
    )
    oss_cname: bool = _option(False, "--oss_endpoint is a domain of one's own that stands for the bucket.", own=True)
    oss_cache_dir: str = _option(
        "", "Directory for the copies of what is in OSS; default: tfs_notebook in the user's cache directory.", own=True
    )
    oss_marker: str = _option(
        "",
        "Name of an object, like _SUCCESS, without which a version in OSS is not complete.",
        own=True,
        example="_SUCCESS",
    )
    oss_keep_versions: int = _option(
        2,
        "Versions of a model that stay in the copy though nobody asks for them any more, for a way back; less than 0: "
        "all.",
        own=True,
    )
    oss_disk_budget_mb: int = _option(
        0, "Most that the copy of a mount or base path may take, in MiB; 0: no limit.", own=True
    )
    switch_interval_micros: int = _option(
        1000,
        "While requests come, and up to a second longer, let them run after so many microseconds of a cell's Python "
        "(Python itself: 5000). With less they are answered sooner and the cell is slower; with 0 it is left alone.",
        own=True,
    )
    files: tuple[OptionFile, ...] = ()
    """What the files that are named above hold, where they have been read (`settings.files`). Not a flag."""

    def __post_init__(self) -> None:
        """Raise ServingError INVALID_ARGUMENT for a text that no configuration, reply or log could hold."""
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, str) and (shown := printable(value)) != value:
                given = f"--{item.name}={shown}" if item.repr else f"--{item.name}"
                remedy = "Rename what it names, or make a link to that under another name"
                raise invalid_argument(f"{given} is not UTF-8 text, which a configuration and a reply are. {remedy}.")


PUSH_OPTIONS = ("oss_endpoint", "oss_region", "oss_cname", "oss_marker")
"""Names of the options that a push has besides."""


@dataclass(frozen=True, slots=True)
class Flag:
    """An option as command lines see it."""

    name: str
    type: type[Any]
    default: Any
    help: str
    own: bool
    example: str = ""
    """A value of a text that must not be empty where it is given."""

    def parse(self, text: str | None) -> Any:
        """The value that `text` spells (None: a flag without `=`). Raises ValueError where TensorFlow's parser would.

        A number must consume the whole text; `true` and `false` in any case are the only booleans.
        """
        if self.type is bool:
            if text is None or text.lower() == "true":
                return True
            if text.lower() == "false":
                return False
            raise ValueError(f"--{self.name} is true or false, not {text!r}")
        if text is None:
            raise ValueError(f"--{self.name} needs a value: --{self.name}={self.default or '…'}")
        if self.example and not text.strip():
            raise ValueError(f"--{self.name}={text} is empty: write --{self.name}={self.example}, or leave it out")
        if self.type is str:
            return text
        if self.type is int and not _INTEGER.fullmatch(text):
            raise ValueError(f"--{self.name} is a whole number, not {text!r}")
        if self.type is float and not _NUMBER.fullmatch(text):
            raise ValueError(f"--{self.name} is a number, not {text!r}")
        return self.type(text)


def _flags() -> dict[str, Flag]:
    types = get_type_hints(Options)
    flags = (item for item in fields(Options) if item.metadata)
    return {item.name: Flag(item.name, types[item.name], item.default, **item.metadata) for item in flags}


FLAGS = _flags()
"""The options by name."""
