"""TFLite's interpreter, for one thread at a time, and the pool from which each request takes one."""

from __future__ import annotations

import os
import queue
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from tfs_notebook.errors import Code, ServingError, invalid_argument

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Tensor:
    """An input or output of a model; `shape` holds None for an unknown dimension, strings have the dtype object."""

    index: int
    name: str
    shape: tuple[int | None, ...]
    dtype: np.dtype[Any]


class Interpreter:
    """A model's graph and the memory of one call. One that has raised is not to be used again."""

    def __init__(self, content: bytes) -> None:
        """Raises ServingError for `content` that is no model, and when TensorFlow has no interpreter."""
        make = _interpreter_type()
        # For good: `catch_warnings` would undo what other threads change meanwhile
        deprecated = r"\s*Warning: tf\.lite\.Interpreter is deprecated"
        warnings.filterwarnings("ignore", deprecated, UserWarning, r"tensorflow\.lite\.python\.interpreter")
        try:
            self._interpreter = make(model_content=content)
        except (ValueError, RuntimeError) as error:
            if not content or "latbuffer" in str(error) or "identifier" in str(error):
                raise invalid_argument("Cannot build FlatBufferModel from buffer.") from None
            raise ServingError(Code.INTERNAL, "Cannot build Interpreter from buffer.", hint=str(error)) from None
        self.inputs = [_tensor(detail) for detail in self._interpreter.get_input_details()]
        self.outputs = [_tensor(detail) for detail in self._interpreter.get_output_details()]
        self._shapes: dict[int, tuple[int, ...]] = {}

    def run(self, feeds: Mapping[int, np.ndarray], fetches: Sequence[int]) -> list[np.ndarray]:
        """The values of the tensors `fetches`, by index, for arrays of the inputs' dtypes and any shape.

        An input without a feed is all zeros. Raises ServingError with TensorFlow Serving's code and text; its hint has
        TFLite's own.
        """
        self._resize(feeds)
        for index, array in feeds.items():
            self._interpreter.set_tensor(index, array)
        with _told("Failed to invoke TfLite interpreter"):
            self._interpreter.invoke()
            return [self._interpreter.get_tensor(index) for index in fetches]

    def _resize(self, feeds: Mapping[int, np.ndarray]) -> None:
        """Give the inputs the shapes of `feeds`; one without a feed is not to be what an earlier request made of it."""
        arrays = {
            tensor.index: feeds[tensor.index] if tensor.index in feeds else _blank(tensor) for tensor in self.inputs
        }
        shapes = {index: array.shape for index, array in arrays.items()}
        if shapes != self._shapes:
            for tensor in self.inputs:
                if shapes[tensor.index] != self._shapes.get(tensor.index):
                    with _told(f"Failed to resize input tensor: {tensor.name}"):
                        self._interpreter.resize_tensor_input(tensor.index, shapes[tensor.index])
            self.allocate()
            self._shapes = shapes
        for index in arrays.keys() - feeds.keys():
            self._interpreter.set_tensor(index, arrays[index])

    def allocate(self) -> None:
        """Take the memory for the present shapes. Raises ServingError INTERNAL when they do not fit together."""
        with _told("Failed to allocate tensors"):
            self._interpreter.allocate_tensors()


@contextmanager
def _told(message: str) -> Iterator[None]:
    """Turn TFLite's errors into a ServingError INTERNAL with `message`; its hint has TFLite's own words."""
    try:
        yield
    except (RuntimeError, ValueError) as error:
        raise ServingError(Code.INTERNAL, message, hint=str(error)) from None


def _blank(tensor: Tensor) -> np.ndarray:
    """Zeros, or empty strings, in the shape that `tensor` was declared with."""
    shape = [1 if size is None else size for size in tensor.shape]
    return np.full(shape, b"" if tensor.dtype == object else 0, tensor.dtype)


class InterpreterPool:
    """As many interpreters of one model as there are processors, made when they are needed first."""

    def __init__(self, content: bytes, first: Interpreter) -> None:
        self._content = content
        self._free: queue.LifoQueue[Interpreter | None] = queue.LifoQueue()
        for _ in range((os.cpu_count() or 1) - 1):
            self._free.put(None)
        self._free.put(first)

    @contextmanager
    def take(self, timeout: float | None) -> Iterator[Interpreter]:
        """An interpreter of one's own. Raises ServingError DEADLINE_EXCEEDED when none is free in `timeout` seconds."""
        try:
            interpreter = self._free.get(timeout=max(timeout, 0.0) if timeout is not None else None)
        except queue.Empty:
            raise ServingError(Code.DEADLINE_EXCEEDED, "Timed out waiting for notification") from None
        unharmed = None
        try:
            interpreter = interpreter or Interpreter(self._content)
            yield interpreter
            unharmed = interpreter
        finally:
            self._free.put(unharmed)


def _interpreter_type() -> Any:
    try:
        return tf.lite.Interpreter
    except (AttributeError, ImportError) as error:
        raise ServingError(
            Code.UNIMPLEMENTED,
            f"TensorFlow {tf.__version__} has no tf.lite.Interpreter to load model.tflite with ({error})",
            hint="Install a TensorFlow that has it, or serve the SavedModel without --prefer_tflite_model.",
        ) from None


def _tensor(detail: Mapping[str, Any]) -> Tensor:
    signature = detail["shape_signature"]
    sizes = signature if len(signature) else detail["shape"]
    is_string = detail["dtype"] in {np.bytes_, np.str_, np.object_}
    return Tensor(
        index=int(detail["index"]),
        name=detail["name"],
        shape=tuple(None if size < 0 else int(size) for size in sizes),
        dtype=np.dtype(object if is_string else detail["dtype"]),
    )
