"""Section 1: command-line flags."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import grpc
import pytest
from tensorflow_serving.apis import prediction_service_pb2_grpc

from tests.conformance.calls import predict_request
from tests.support.ports import free_ports
from tests.support.serving import PATIENCE
from tests.test_cli import running
from tfs_notebook.options import FLAGS as OPTIONS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Models

CPUS = os.cpu_count() or 1
STRINGS = [
    "grpc_socket_path",
    "batching_parameters_file",
    "model_config_file",
    "model_base_path",
    "tensorflow_session_config_file",
    "ssl_config_file",
    "platform_config_file",
    "grpc_channel_arguments",
    "monitoring_config_file",
    "thread_pool_factory_config_file",
    "mixed_precision",
]
SWITCHES = [
    "rest_api_enable_cors_support",
    "enable_batching",
    "enable_per_model_batching_parameters",
    "allow_version_labels_for_unavailable_models",
    "use_alts_credentials",
    "prefer_tflite_model",
    "enable_signature_method_name_check",
    "xla_cpu_compilation_enabled",
    "xla_gpu_compilation_enabled",
    "skip_initialize_tpu",
    "enable_grpc_healthcheck_service",
    "enable_serialization_as_tensor_content",
    "version",
]
FLAGS: dict[str, int | float | bool | str] = {
    "port": 8500,
    "rest_api_port": 0,
    "rest_api_num_threads": 4 * CPUS,
    "rest_api_timeout_in_ms": 30000,
    "model_config_file_poll_wait_seconds": 0,
    "model_name": "default",
    "num_load_threads": 0,
    "num_unload_threads": 0,
    "max_num_load_retries": 5,
    "load_retry_interval_micros": 60_000_000,
    "file_system_poll_wait_seconds": 1,
    "flush_filesystem_caches": True,
    "tensorflow_session_parallelism": 0,
    "tensorflow_intra_op_parallelism": 0,
    "tensorflow_inter_op_parallelism": 0,
    "per_process_gpu_memory_fraction": 0.0,
    "saved_model_tags": "serve",
    "grpc_max_threads": 4 * CPUS,
    "enable_model_warmup": True,
    "num_request_iterations_for_warmup": 0,
    "remove_unused_fields_from_bundle_metagraph": True,
    "num_tflite_pools": CPUS,
    "num_tflite_interpreters_per_pool": 1,
    "enable_profiler": True,
    **dict.fromkeys(STRINGS, ""),
    **dict.fromkeys(SWITCHES, False),
}
"""All 48 of section 1.2 with their defaults."""


def ran(*arguments: str) -> tuple[int, str, str]:
    """The exit status of a tfs-model-server that does not get as far as serving, with its stdout and stderr."""
    environment = {**os.environ, "TFS_NOTEBOOK_TOKEN": ""}
    command = [sys.executable, "-m", "tfs_notebook.cli", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, env=environment, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def usage() -> str:
    status, out, err = ran("--help")
    assert (status, err) == (255, "")
    return out


# 1.1 Parsing rules, of which tests/test_cli.py has the whole table

NOTHING = "Both server_options.model_base_path and server_options.model_config_file are empty!"


@pytest.mark.parametrize(
    ("arguments", "unknown"),
    [
        (["--model_name=m"], []),
        (["--enable_batching"], []),
        (["--enable_batching=TRUE"], []),
        (["--port", "8500"], ["--port", "8500"]),
        (["-port=1"], ["-port=1"]),
        (["--noenable_batching"], ["--noenable_batching"]),
        (["--use_tflite_model"], ["--use_tflite_model"]),  # no such flag in this version
        (["--", "--model_base_path=/m", "--help"], ["--model_base_path=/m", "--help"]),
    ],
)
def test_arguments_with_which_it_carries_on(arguments: list[str], unknown: list[str], usage: str) -> None:
    status, out, _ = ran(*arguments)
    told = "".join(f"unknown argument: {argument}\n" for argument in unknown)
    failure = f"Failed to start server. Error: INVALID_ARGUMENT: {NOTHING}\n"
    assert (status, out) == (255, (told + usage if told else "") + failure)


@pytest.mark.parametrize(
    "argument",
    [
        "--enable_batching=1",
        "--enable_batching=yes",
        "--port=85x",
        "--per_process_gpu_memory_fraction=0.5x",
        "--version_x",
    ],
)
def test_values_that_cannot_be_parsed(argument: str, usage: str) -> None:
    status, out, _ = ran(argument)
    assert status == 255
    assert out.endswith(usage)
    assert "Failed to start server" not in out


def test_the_versions() -> None:
    status, out, _ = ran("--version")
    assert status == 0
    assert re.fullmatch(r"TensorFlow ModelServer: .+\nTensorFlow Library: .+\n", out)


# 1.2 All 48 flags


def test_there_are_48_beside_our_own(usage: str) -> None:
    shown = set(re.findall("^\t--([a-z_0-9]+)=", usage, re.MULTILINE))
    assert shown == FLAGS.keys() | {name for name, flag in OPTIONS.items() if flag.own}
    assert len(FLAGS) == 48


@pytest.mark.parametrize("flag", FLAGS)
def test_a_flag_and_its_default(flag: str, usage: str) -> None:
    default = FLAGS[flag]
    (line,) = (line for line in usage.splitlines() if line.startswith(f"\t--{flag}="))
    shown, type_name = line.split("\t")[1:3]
    text = str(default).lower() if isinstance(default, bool) else f'"{default}"' if default == str(default) else default
    names = {bool: "bool", int: "int", float: "float", str: "string"}
    assert (shown.strip(), type_name) == (f"--{flag}={text}", names[type(default)])


# 1.3 Conflicts


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--port=0", "--model_base_path=/m"],
            "At least one of server_options.grpc_port or server_options.grpc_socket_path must be set.",
        ),
        (
            ["--use_alts_credentials", "--ssl_config_file=/f", "--model_base_path=/m"],
            "Either use_alts_credentials must be false or ssl_config_file must be empty.",
        ),
        ([], NOTHING),
        (["--model_name=m", "--rest_api_port=1"], NOTHING),
        (
            ["--batching_parameters_file=/f", "--model_base_path=/m"],
            "server_options.batching_parameters_file is set without setting server_options.enable_batching to true.",
        ),
        (
            [
                "--tensorflow_session_parallelism=1",
                "--tensorflow_intra_op_parallelism=1",
                "--tensorflow_inter_op_parallelism=1",
                "--model_base_path=/m",
            ],
            (
                "Either configure server_options.tensorflow_session_parallelism or "
                "(server_options.tensorflow_intra_op_parallelism, server_options.tensorflow_inter_op_parallelism) "
                "separately. You cannot configure all."
            ),
        ),
    ],
)
def test_conflicts(arguments: list[str], message: str) -> None:
    status, out, _ = ran(*arguments)
    assert (status, out) == (255, f"Failed to start server. Error: INVALID_ARGUMENT: {message}\n")


@pytest.mark.parametrize(
    ("flag", "message", "more"),
    [
        ("model_config_file", "ModelServerConfig", ()),
        ("ssl_config_file", "SSLConfig", ("--model_base_path=/m",)),
        ("monitoring_config_file", "MonitoringConfig", ("--model_base_path=/m",)),
        ("batching_parameters_file", "BatchingParameters", ("--model_base_path=/m", "--enable_batching")),
        ("tensorflow_session_config_file", "ConfigProto", ("--model_base_path=/m",)),
    ],
)
def test_files_that_are_no_text_proto(flag: str, message: str, more: tuple[str, ...], tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("no_such_field: 1")
    status, out, err = ran(f"--{flag}={file}", *more)
    assert status == 255
    assert out == f"Failed to start server. Error: INVALID_ARGUMENT: Invalid protobuf file: '{file}'\n"
    assert re.search(rf"Error parsing text-format tensorflow\S*{message}: 1:\d+: ", err)


def test_rest_on_the_port_of_grpc_is_left_out(models: Models) -> None:
    (port,) = free_ports(1)
    flags = f"--port={port}", f"--rest_api_port={port}", f"--model_base_path={models.path('half_plus_two')}"
    with running(*flags) as process, grpc.insecure_channel(f"localhost:{port}") as channel:
        process.logged("server_options.http_port cannot be same as grpc_port.")
        process.logged(f"Running gRPC ModelServer at 127.0.0.1:{port} ...")
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        reply = stub.Predict(predict_request("default", {"x": [1.0]}), timeout=PATIENCE)
        assert reply.outputs["y"].float_val == [2.5]
