"""A version's `model.tflite` as a servable (`--prefer_tflite_model`)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from tfs_notebook.engine.saved_model.servable import dtype_name, signature_from
from tfs_notebook.engine.storage.completeness import TFLITE_FILE
from tfs_notebook.engine.tflite.interpreter import Interpreter, InterpreterPool, Tensor
from tfs_notebook.engine.tflite.shapes import TFLiteShapes
from tfs_notebook.engine.tflite.signatures import made_up_signature, stored_signatures, tensors_of
from tfs_notebook.errors import Code, ServingError, invalid_argument

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import numpy as np

    from tfs_notebook.engine.models.servable import Servable
    from tfs_notebook.engine.models.signature import Signature


@dataclass(frozen=True, slots=True)
class TFLiteLoader:
    """Loads a directory's `model.tflite`; one without is loaded by `otherwise`."""

    otherwise: Callable[[Path], Servable]
    check_shapes: bool = True

    def __call__(self, directory: Path) -> Servable:
        """Load what is in `directory`. Raises ServingError."""
        path = directory / TFLITE_FILE
        return load_tflite_model(path, check_shapes=self.check_shapes) if path.is_file() else self.otherwise(directory)


def load_tflite_model(path: Path, *, check_shapes: bool = True) -> TFLiteModel:
    """Load the TFLite model in the file `path`; without `check_shapes` it is given tensors of any shape.

    Raises ServingError with TensorFlow Serving's code and text.
    """
    try:
        # Not mapped into memory: a file that is written again would end the process
        return TFLiteModel(path.read_bytes(), check_shapes=check_shapes)
    except ServingError as error:
        raise ServingError(error.code, error.message, where=str(path), hint=error.hint) from None
    except OSError as error:
        raise ServingError(Code.DATA_LOSS, f"{path}: {error.strerror}", where=str(path)) from None


class TFLiteModel:
    """A loaded TFLite model. `run` may be called from any number of threads."""

    def __init__(self, content: bytes, *, check_shapes: bool = True) -> None:
        """Raises ServingError for `content` that is no model, that cannot be prepared, or whose signatures name what it
        does not have.
        """
        first = Interpreter(content)
        _check_operations(first)
        self._shapes = TFLiteShapes(content) if check_shapes else None
        definitions = stored_signatures(content) or made_up_signature(first.inputs, first.outputs)
        self.signature_def: Mapping[str, Any] = MappingProxyType(definitions)
        self.signatures: Mapping[str, Signature] = MappingProxyType(
            {name: signature_from(name, definition) for name, definition in sorted(definitions.items())}
        )
        self._inputs: dict[str, Tensor] = {}
        self._outputs: dict[str, Tensor] = {}
        for definition in definitions.values():
            self._inputs |= tensors_of(definition.inputs, first.inputs, "input")
            self._outputs |= tensors_of(definition.outputs, first.outputs, "output")
        self._pool = InterpreterPool(content, first)

    def expected_seconds(
        self,
        signature: Signature,  # noqa: ARG002
        inputs: Mapping[str, np.ndarray],  # noqa: ARG002
    ) -> float | None:
        """None: a call may have to wait for an interpreter."""
        return None

    def run(
        self,
        signature: Signature,
        inputs: Mapping[str, np.ndarray],
        outputs: Sequence[str] | None,
        timeout: float | None,
    ) -> dict[str, np.ndarray]:
        """The outputs by alias, all of them for None, for inputs by alias.

        `timeout` bounds the wait for an interpreter in seconds; TFLite cannot be ended once it runs. Where TensorFlow
        Serving copies the bytes of a wrong dtype over the input, ServingError INVALID_ARGUMENT is raised.
        """
        feeds = {}
        for position, (alias, array) in enumerate(inputs.items()):
            tensor = self._inputs[signature.inputs[alias].name]
            _check_dtype(position, alias, array, tensor)
            if self._shapes is not None:
                self._shapes.check(alias, tensor, array.shape)
            feeds[tensor.index] = array
        asked = list(signature.outputs) if outputs is None else outputs
        fetches = [self._outputs[signature.outputs[alias].name].index for alias in asked]
        with self._pool.take(timeout) as interpreter:
            values = interpreter.run(feeds, fetches)
        return dict(zip(asked, values, strict=True))

    def close(self) -> None:
        """Let go of the interpreters and the model's bytes."""
        del self._pool


def _check_operations(interpreter: Interpreter) -> None:
    """Raise ServingError INTERNAL, with TFLite's words as its hint, for a model that no request can be answered by.

    One that lacks an operation, or cannot be prepared for the only shape that it takes. Whether other shapes fit is
    seen with those of a request.
    """
    try:
        interpreter.allocate()
    except ServingError as error:
        if _MISSING.search(error.hint):
            raise ServingError(Code.INTERNAL, "Cannot build Interpreter from buffer.", hint=error.hint) from None
        if not any(None in tensor.shape for tensor in interpreter.inputs):
            raise


_MISSING = re.compile("unresolved custom op|Select TensorFlow op|Flex delegate|Didn't find op", re.IGNORECASE)


def _check_dtype(position: int, alias: str, array: np.ndarray, tensor: Tensor) -> None:
    if array.dtype != tensor.dtype:
        expected, given = (dtype_name(tf.as_dtype(dtype)) for dtype in (tensor.dtype, array.dtype))
        raise invalid_argument(f"Expects arg[{position}] to be {expected} but {given} is provided", where=alias)
