"""batching_parameters.txt ↔ checked, frozen batching parameters.

TensorFlow Serving's BatchingParameters (servables/tensorflow/session_bundle_config.proto) is not in the package
tensorflow-serving-api; its fields are declared here, in a pool of their own so that a later package may bring it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, wrappers_pb2

from tfs_notebook.engine.text_file import read_text
from tfs_notebook.engine.text_proto import parse_text
from tfs_notebook.errors import Code, ServingError, invalid_argument

if TYPE_CHECKING:
    from pathlib import Path

FILE_OF_A_VERSION = "batching_params.pbtxt"
"""Beside a version's saved_model.pb: its own parameters."""
_POOL_WITHOUT_FILE = "model_server_batch_threads"
_IN_BRACES = (
    "Values stand in braces, like max_batch_size { value: 128 }; "
    "only allowed_batch_sizes and pad_variable_length_inputs have plain ones."
)
_FIELDS = {
    "max_batch_size": "Int64Value",
    "batch_timeout_micros": "Int64Value",
    "max_enqueued_batches": "Int64Value",
    "num_batch_threads": "Int64Value",
    "thread_pool_name": "StringValue",
    "allowed_batch_sizes": "",
    "pad_variable_length_inputs": "bool",
    "enable_large_batch_splitting": "BoolValue",
    "max_execution_batch_size": "Int64Value",
}
"""By name in the order of their numbers: the wrapper of the value, "" for a list of int64, bool for itself."""


@dataclass(frozen=True, slots=True)
class BatchingParameters:
    """How requests are put together. Sizes count rows; a `max_execution_batch_size` of 0 is `max_batch_size`."""

    max_batch_size: int = 1000
    batch_timeout_micros: int = 0
    max_enqueued_batches: int = 10
    num_batch_threads: int = os.cpu_count() or 1
    thread_pool_name: str = "batch_threads"
    allowed_batch_sizes: tuple[int, ...] = ()
    pad_variable_length_inputs: bool = False
    enable_large_batch_splitting: bool = False
    max_execution_batch_size: int = 0

    @property
    def largest_batch(self) -> int:
        """The most rows that are run at once."""
        return (self.enable_large_batch_splitting and self.max_execution_batch_size) or self.max_batch_size

    def check_threads(self) -> None:
        """Raise ServingError INVALID_ARGUMENT unless there are threads to run batches."""
        if self.num_batch_threads <= 0:
            raise invalid_argument(f"num_batch_threads must be positive; was {self.num_batch_threads}")

    def check_queue(self) -> None:
        """Raise ServingError INVALID_ARGUMENT, in TensorFlow Serving's words, unless queues can be made with these."""
        sizes = self.allowed_batch_sizes
        if sizes and sizes[-1] != self.max_batch_size:
            raise invalid_argument(
                f"Last entry in allowed_batch_sizes must match max_batch_size; last entry was {sizes[-1]}; "
                f"expected {self.max_batch_size}"
            )
        if self.max_batch_size <= 0:
            raise invalid_argument(f"input_batch_size_limit must be positive; was {self.max_batch_size}")
        if self.batch_timeout_micros < 0:
            raise invalid_argument(f"batch_timeout_micros must be non-negative; was {self.batch_timeout_micros}")
        if self.max_enqueued_batches <= 0:
            raise invalid_argument(f"max_enqueued_batches must be positive; was {self.max_enqueued_batches}")
        if self.max_execution_batch_size < 0:
            raise invalid_argument(f"max_execution_batch_size must be positive; was {self.max_execution_batch_size}")
        if self.largest_batch > self.max_batch_size:
            raise invalid_argument(
                "input_batch_size_limit must be larger than or equal to max_execution_batch_size; was "
                f"{self.max_batch_size}, {self.largest_batch}"
            )


WITHOUT_FILE = BatchingParameters(thread_pool_name=_POOL_WITHOUT_FILE)
"""What holds when batching is on and no file says how."""


def parse_parameters(text: str, source: str = "batching parameters") -> BatchingParameters:
    """The BatchingParameters in `text` (protobuf text format), unchecked.

    Raises ServingError INVALID_ARGUMENT with line and column; its hint shows the offending line of `source`.
    """
    try:
        message = parse_text(text, _message_type()(), source)
    except ServingError as error:
        if 'Expected "{"' not in error.message:
            raise
        raise ServingError(error.code, error.message, where=error.where, hint=f"{error.hint}\n{_IN_BRACES}") from None
    given: dict[str, Any] = {}
    for field, value in message.ListFields():
        kind = _FIELDS[field.name]
        given[field.name] = value if kind == "bool" else value.value if kind else tuple(value)
    return BatchingParameters(**given)


def parameters_of_version(directory: Path) -> BatchingParameters | None:
    """What a version directory says about its batching, None when it says nothing.

    Raises ServingError INVALID_ARGUMENT for a malformed file; its hint says where.
    """
    path = directory / FILE_OF_A_VERSION
    if not path.is_file():
        return None
    try:
        return parse_parameters(read_text(str(path)), str(path))
    except ServingError as error:
        if error.code is not Code.INVALID_ARGUMENT:
            raise
        raise ServingError(
            error.code, f"Invalid protobuf file: '{path}'", where=error.where, hint=f"{error.message}\n{error.hint}"
        ) from None


@lru_cache(maxsize=1)
def _message_type() -> Any:
    """The class of tensorflow.serving.BatchingParameters."""
    wrappers = descriptor_pb2.FileDescriptorProto()
    wrappers_pb2.DESCRIPTOR.CopyToProto(wrappers)
    file = descriptor_pb2.FileDescriptorProto(
        name="tfs_notebook/batching_parameters.proto",
        package="tensorflow.serving",
        syntax="proto3",
        dependency=[wrappers.name],
    )
    message = file.message_type.add(name="BatchingParameters")
    kinds = descriptor_pb2.FieldDescriptorProto
    for number, (name, kind) in enumerate(_FIELDS.items(), start=1):
        field = message.field.add(name=name, number=number, label=kinds.LABEL_OPTIONAL)
        if kind == "bool":
            field.type = kinds.TYPE_BOOL
        elif kind:
            field.type, field.type_name = kinds.TYPE_MESSAGE, f".google.protobuf.{kind}"
        else:
            field.type, field.label = kinds.TYPE_INT64, kinds.LABEL_REPEATED
    pool = descriptor_pool.DescriptorPool()
    pool.Add(wrappers)
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{file.package}.{message.name}"))
