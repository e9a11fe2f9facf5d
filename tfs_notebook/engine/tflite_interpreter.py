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
        if len(feeds) < len(self.inputs):
            self._blank(feeds)
        for index, array in feeds.items():
            self._interpreter.set_tensor(index, array)
        try:
            self._interpreter.invoke()
        except (RuntimeError, ValueError) as error:
            raise ServingError(Code.INTERNAL, "Failed to invoke TfLite interpreter", hint=str(error)) from None
        return [self._interpreter.get_tensor(index) for index in fetches]

    def _resize(self, feeds: Mapping[int, np.ndarray]) -> None:
        shapes = self._shapes | {index: array.shape for index, array in feeds.items()}
        if shapes == self._shapes and shapes:
            return
        for index, shape in shapes.items():
            if self._shapes.get(index) != shape:
                try:
                    self._interpreter.resize_tensor_input(index, shape)
                except (RuntimeError, ValueError) as error:
                    name = next(tensor.name for tensor in self.inputs if tensor.index == index)
                    raise ServingError(
                        Code.INTERNAL, f"Failed to resize input tensor: {name}", hint=str(error)
                    ) from None
        self.allocate()
        self._shapes = shapes

    def _blank(self, feeds: Mapping[int, np.ndarray]) -> None:
        """Fill what has no feed with zeros, not with what an earlier request left there."""
        for detail in self._interpreter.get_input_details():  # with the present shapes
            tensor = _tensor(detail)
            if tensor.index not in feeds:
                nothing = b"" if tensor.dtype == object else 0
                self._interpreter.set_tensor(tensor.index, np.full(detail["shape"], nothing, tensor.dtype))

    def allocate(self) -> None:
        """Take the memory for the present shapes. Raises ServingError INTERNAL when they do not fit together."""
        try:
            self._interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            raise ServingError(Code.INTERNAL, "Failed to allocate tensors", hint=str(error)) from None


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
