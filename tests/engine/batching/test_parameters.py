from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tfs_notebook.engine.batching.parameters import (
    WITHOUT_FILE,
    BatchingParameters,
    parameters_of_version,
    parse_parameters,
)
from tfs_notebook.errors import Code, ServingError

if TYPE_CHECKING:
    from pathlib import Path

EVERYTHING = """
max_batch_size { value: 128 }
batch_timeout_micros { value: 0 }
max_enqueued_batches { value: 1000000 }
num_batch_threads { value: 8 }
thread_pool_name { value: 'mine' }
allowed_batch_sizes: 16
allowed_batch_sizes: [64, 128]
pad_variable_length_inputs: true
enable_large_batch_splitting { value: true }
max_execution_batch_size { value: 64 }
"""


def refused(text: str) -> ServingError:
    with pytest.raises(ServingError) as error:
        parse_parameters(text, "batching.txt")
    assert error.value.code is Code.INVALID_ARGUMENT
    return error.value


def test_every_field() -> None:
    assert parse_parameters(EVERYTHING) == BatchingParameters(
        max_batch_size=128,
        batch_timeout_micros=0,
        max_enqueued_batches=1_000_000,
        num_batch_threads=8,
        thread_pool_name="mine",
        allowed_batch_sizes=(16, 64, 128),
        pad_variable_length_inputs=True,
        enable_large_batch_splitting=True,
        max_execution_batch_size=64,
    )


def test_what_is_not_said_is_tensorflow_servings_default() -> None:
    parameters = parse_parameters("")
    assert parameters == BatchingParameters()
    assert (parameters.max_batch_size, parameters.batch_timeout_micros) == (1000, 0)
    assert (parameters.max_enqueued_batches, parameters.thread_pool_name) == (10, "batch_threads")
    assert WITHOUT_FILE.thread_pool_name == "model_server_batch_threads"


def test_the_largest_batch_is_that_of_splitting_only_with_splitting() -> None:
    assert parse_parameters("max_execution_batch_size { value: 4 }").largest_batch == 1000
    assert parse_parameters("enable_large_batch_splitting { value: true }").largest_batch == 1000
    assert parse_parameters(EVERYTHING).largest_batch == 64


def test_a_wrapped_value_written_plainly_is_refused_with_its_position() -> None:
    error = refused("max_batch_size { value: 8 }\nbatch_timeout_micros: 1000\n")
    assert error.message.startswith("Error parsing text-format tensorflow.serving.BatchingParameters: 2:")
    assert error.where.startswith("batching.txt:2:")
    assert "batch_timeout_micros: 1000\n" in error.hint
    assert error.hint.endswith(
        "\nValues stand in braces, like max_batch_size { value: 128 }; "
        "only allowed_batch_sizes and pad_variable_length_inputs have plain ones."
    )


def test_the_nearest_field_is_named() -> None:
    assert "Did you mean max_batch_size?" in refused("max_batchsize { value: 8 }").hint


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "allowed_batch_sizes: 8",
            "Last entry in allowed_batch_sizes must match max_batch_size; last entry was 8; expected 1000",
        ),
        (
            "max_batch_size { value: 16 } allowed_batch_sizes: [16, 8]",
            "Last entry in allowed_batch_sizes must match max_batch_size; last entry was 8; expected 16",
        ),
        ("max_batch_size { value: 0 }", "input_batch_size_limit must be positive; was 0"),
        ("batch_timeout_micros { value: -1 }", "batch_timeout_micros must be non-negative; was -1"),
        ("max_enqueued_batches { value: 0 }", "max_enqueued_batches must be positive; was 0"),
        ("max_execution_batch_size { value: -2 }", "max_execution_batch_size must be positive; was -2"),
        (
            "enable_large_batch_splitting { value: true } max_execution_batch_size { value: 1001 }",
            "input_batch_size_limit must be larger than or equal to max_execution_batch_size; was 1000, 1001",
        ),
    ],
)
def test_what_no_queue_can_be_made_with(text: str, message: str) -> None:
    with pytest.raises(ServingError) as error:
        parse_parameters(text).check_queue()
    assert str(error.value) == f"INVALID_ARGUMENT: {message}"


def test_batches_need_a_thread() -> None:
    with pytest.raises(ServingError) as error:
        parse_parameters("num_batch_threads { value: 0 }").check_threads()
    assert str(error.value) == "INVALID_ARGUMENT: num_batch_threads must be positive; was 0"


def test_descending_sizes_are_not_refused_as_in_tensorflow_serving() -> None:
    parse_parameters("max_batch_size { value: 8 } allowed_batch_sizes: [16, 8]").check_queue()


def test_the_parameters_of_a_version(tmp_path: Path) -> None:
    assert parameters_of_version(tmp_path) is None
    file = tmp_path / "batching_params.pbtxt"
    file.write_text("max_batch_size { value: 2 }")
    assert parameters_of_version(tmp_path) == BatchingParameters(max_batch_size=2)
    file.write_text("max_batch_size: 2")
    with pytest.raises(ServingError) as error:
        parameters_of_version(tmp_path)
    assert str(error.value) == f"INVALID_ARGUMENT: Invalid protobuf file: '{file}'"
    assert error.value.where.startswith(f"{file}:1:")
    assert "max_batch_size: 2\n" in error.value.hint
