from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from tfs_notebook.errors import ServingError
from tfs_notebook.options import FLAGS, Options

# name: (type, default) as in TensorFlow Serving
TENSORFLOW_SERVINGS: dict[str, tuple[type, Any]] = {
    "port": (int, 8500),
    "grpc_socket_path": (str, ""),
    "grpc_channel_arguments": (str, ""),
    "ssl_config_file": (str, ""),
    "enable_grpc_healthcheck_service": (bool, False),
    "rest_api_port": (int, 0),
    "rest_api_timeout_in_ms": (int, 30000),
    "rest_api_enable_cors_support": (bool, False),
    "enable_batching": (bool, False),
    "batching_parameters_file": (str, ""),
    "enable_per_model_batching_parameters": (bool, False),
    "allow_version_labels_for_unavailable_models": (bool, False),
    "model_config_file": (str, ""),
    "model_config_file_poll_wait_seconds": (int, 0),
    "model_name": (str, "default"),
    "monitoring_config_file": (str, ""),
    "model_base_path": (str, ""),
    "num_load_threads": (int, 0),
    "num_unload_threads": (int, 0),
    "max_num_load_retries": (int, 5),
    "load_retry_interval_micros": (int, 60_000_000),
    "file_system_poll_wait_seconds": (int, 1),
    "enable_model_warmup": (bool, True),
    "num_request_iterations_for_warmup": (int, 0),
    "tensorflow_session_parallelism": (int, 0),
    "tensorflow_intra_op_parallelism": (int, 0),
    "tensorflow_inter_op_parallelism": (int, 0),
    "prefer_tflite_model": (bool, False),
    "tensorflow_session_config_file": (str, ""),
    "per_process_gpu_memory_fraction": (float, 0.0),
    "enable_signature_method_name_check": (bool, False),
    "enable_serialization_as_tensor_content": (bool, False),
    "saved_model_tags": (str, "serve"),
}


@pytest.mark.parametrize("name", TENSORFLOW_SERVINGS)
def test_flags_that_tensorflow_serving_has_are_tensorflow_servings(name: str) -> None:
    flag = FLAGS[name]
    assert (flag.type, flag.default, flag.own) == (*TENSORFLOW_SERVINGS[name], False)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"model_base_path": "/m\udcf6del"}, r"--model_base_path=/m\xf6del is not UTF-8 text"),
        ({"model_name": "\ud800"}, r"--model_name=\ud800 is not UTF-8 text"),
        ({"token": "secret\udcf6"}, "--token is not UTF-8 text"),
    ],
)
def test_text_that_no_configuration_could_hold(given: dict[str, str], message: str) -> None:
    with pytest.raises(ServingError) as caught:
        Options(**given)  # type: ignore[arg-type]
    assert caught.value.message.startswith(message)
    assert Options(model_base_path="/mödel", model_name="模型").model_name == "模型"


def test_every_option_is_a_flag_with_a_help() -> None:
    assert [*FLAGS, "files"] == [field.name for field in fields(Options)]
    for flag in FLAGS.values():
        assert flag.help.endswith(".")
        assert isinstance(flag.default, flag.type)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("port", "0", 0),
        ("port", "+8", 8),
        ("port", " 8", 8),
        ("port", "-1", -1),
        ("allowed_hosts", "", ""),
        ("allowed_hosts", "a,b", "a,b"),
        ("per_process_gpu_memory_fraction", "0.25", 0.25),
        ("per_process_gpu_memory_fraction", " +.5", 0.5),
        ("per_process_gpu_memory_fraction", "1", 1.0),
        ("per_process_gpu_memory_fraction", "1.E-1", 0.1),
        ("allow_without_token", None, True),
        ("allow_without_token", "TRUE", True),
        ("allow_without_token", "False", False),
    ],
)
def test_values(name: str, text: str | None, value: Any) -> None:
    assert FLAGS[name].parse(text) == value


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("port", "", "--port is a whole number, not ''"),
        ("port", "8 ", "--port is a whole number, not '8 '"),
        ("port", "8x", "--port is a whole number, not '8x'"),
        ("port", "8.0", "--port is a whole number, not '8.0'"),
        ("port", "8_0", "--port is a whole number, not '8_0'"),
        ("port", "٨", "--port is a whole number, not '٨'"),
        ("port", None, "--port needs a value: --port=8500"),
        ("per_process_gpu_memory_fraction", "", "--per_process_gpu_memory_fraction is a number, not ''"),
        ("per_process_gpu_memory_fraction", "50%", "--per_process_gpu_memory_fraction is a number, not '50%'"),
        ("per_process_gpu_memory_fraction", "1_0", "--per_process_gpu_memory_fraction is a number, not '1_0'"),
        ("per_process_gpu_memory_fraction", ".", "--per_process_gpu_memory_fraction is a number, not '.'"),
        ("host", None, "--host needs a value: --host=127.0.0.1"),
        ("token", None, "--token needs a value: --token=…"),
        ("oss_marker", "", "--oss_marker= is empty: write --oss_marker=_SUCCESS, or leave it out"),
        ("oss_marker", " ", "--oss_marker=  is empty: write --oss_marker=_SUCCESS, or leave it out"),
        ("allow_without_token", "1", "--allow_without_token is true or false, not '1'"),
        ("allow_without_token", "yes", "--allow_without_token is true or false, not 'yes'"),
        ("allow_without_token", "", "--allow_without_token is true or false, not ''"),
    ],
)
def test_values_that_are_none(name: str, text: str | None, message: str) -> None:
    with pytest.raises(ValueError, match=name) as caught:
        FLAGS[name].parse(text)
    assert str(caught.value) == message


def test_the_token_is_not_shown() -> None:
    assert "secret" not in repr(Options(token="secret"))
