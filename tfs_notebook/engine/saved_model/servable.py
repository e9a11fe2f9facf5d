"""A SavedModel version as a servable: a session of its own, its signatures resolved to feeds and fetches."""

from __future__ import annotations

import time
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from tfs_notebook.engine.input_checks.shapes import SeveralShapeChecks, ShapeChecks, shape_checks
from tfs_notebook.engine.models.signature import Signature, TensorSpec
from tfs_notebook.engine.saved_model.compilation import Compilation
from tfs_notebook.engine.saved_model.operations import Operations
from tfs_notebook.engine.saved_model.session import CALLING_THREAD, Runner
from tfs_notebook.engine.saved_model.signature_call import SignatureCall
from tfs_notebook.engine.saved_model.twin import Twin
from tfs_notebook.errors import Code, ServingError, invalid_argument

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

SMALL_GRAPH = 300
"""A graph of up to so many operations is compiled as a callable, too: that takes little, and saves 2 µs a call."""
_DTYPE_NAMES = {"float32": "float", "float64": "double", "float16": "half"}
"""Where TensorFlow's C++ name (`DataTypeString`) is not the Python one."""


class SavedModel:
    """A loaded SavedModel. `run` may be called from any number of threads."""

    def __init__(self, session: Any, meta_graph: Any, *, check_shapes: bool = True) -> None:
        self._runner = Runner(session)
        self._compilation = Compilation()
        self._is_small = _count_operations(meta_graph.graph_def) <= SMALL_GRAPH
        self.signature_def: Mapping[str, Any] = MappingProxyType(dict(meta_graph.signature_def))
        operations = Operations(meta_graph.graph_def)
        callables = dict(self._make_callables(operations))
        self._callables = callables
        self._twin: Twin | None = None
        self._counts_calls = False
        self._keeps_state = any(operations.keeps_state(callable_.signature) for callable_ in callables.values())
        self.signatures: Mapping[str, Signature] = MappingProxyType(
            {name: callable_.signature for name, callable_ in callables.items()}
        )
        self._shapes = {
            name: shape_checks(meta_graph, operations, signature) if check_shapes else ShapeChecks(signature)
            for name, signature in self.signatures.items()
        }
        self.composites = {name: shapes.composites for name, shapes in self._shapes.items()}
        """The ragged and sparse tensors among the inputs of each signature; none where shapes are not checked."""

    def _make_callables(self, operations: Operations) -> Iterator[tuple[str, SignatureCall]]:
        for name, definition in sorted(self.signature_def.items()):
            signature = signature_from(name, definition)
            try:
                callable_ = self._make_callable(signature, bounded=operations.is_bounded(signature))
            except (KeyError, ValueError):
                continue  # names an operation, as `__saved_model_init_op` does: nothing that can be called
            yield name, callable_

    def _make_callable(self, signature: Signature, *, bounded: bool) -> SignatureCall:
        feeds = {alias: self._runner.tensor(spec.name) for alias, spec in signature.inputs.items()}
        fetches = {}
        for alias, spec in signature.outputs.items():
            try:
                fetches[alias] = self._runner.tensor(spec.name)
            except (KeyError, ValueError):  # a ragged or sparse tensor, which has no name: the others can be had
                if spec.name and len(signature.outputs) == 1:
                    raise
        return SignatureCall(
            self._runner, self._compilation, signature, feeds, fetches, bounded=bounded, is_small=self._is_small
        )

    def may_have_twin(self, load: Callable[[], Any | None]) -> None:
        """Let short calls run in the session that `load` makes once there are many, if they answer the same there."""
        if not self._keeps_state and any(callable_.has_quick for callable_ in self._callables.values()):
            self._twin = Twin(load)
            self._counts_calls = True

    def may_be_batched(self, signature: Signature, inputs: Mapping[str, np.ndarray]) -> bool:
        """Whether rows of other calls may join `inputs`: not when `run` refuses them, or when they are row splits."""
        shapes = self._shapes_of(signature)
        try:
            shapes.check(inputs)
        except ServingError:
            return False
        return shapes.joins

    def _shapes_of(self, signature: Signature) -> ShapeChecks | SeveralShapeChecks:
        """What `signature` takes, which may be several of the model's `together`."""
        try:
            return self._shapes[signature.name]
        except KeyError:
            return SeveralShapeChecks(self._shapes[name] for name in signature.name.splitlines())

    def expected_seconds(self, signature: Signature, inputs: Mapping[str, np.ndarray]) -> float | None:
        """How long a call with `inputs` takes on the calling thread, None when that cannot be told.

        Never told of strings, whose arrays hold pointers: their size says nothing about the work.
        """
        callable_ = self._callables[signature.name]
        if callable_.takes_strings:
            return None
        size = 0
        for array in inputs.values():
            size += array.nbytes
        return callable_.latency.expected_seconds(size)

    def run(
        self,
        signature: Signature,
        inputs: Mapping[str, np.ndarray],
        outputs: Sequence[str] | None,
        timeout: float | None,
    ) -> dict[str, np.ndarray]:
        """The outputs by alias, all of them for None, for inputs by alias; `timeout` in seconds.

        Neither dtype nor shape is checked beforehand, but a shape that may end the process (`input_checks`); raises
        ServingError with the code and text of the graph's error, DEADLINE_EXCEEDED after `timeout`.
        """
        try:
            callable_ = self._callables[signature.name]
        except KeyError:  # several together; not kept, as clients choose which
            callable_ = self._make_callable(signature, bounded=False)
        size = 0
        for array in inputs.values():
            size += array.nbytes
        self._shapes_of(signature).check(inputs)
        latency = callable_.latency
        pool = latency.begin(size)
        on_processor = time.thread_time() if latency.is_in_doubt else None
        started = time.perf_counter()
        try:
            values = callable_.run(inputs, outputs, pool, timeout)
        except tf.errors.OpError as error:
            raise ServingError(Code(error.error_code), error.message) from None
        except UnicodeDecodeError as error:  # the message quotes bytes of the request
            raise invalid_argument(error.object.decode("utf-8", "surrogateescape")) from None
        except (TypeError, ValueError, RuntimeError) as error:
            raise invalid_argument(str(error)) from None
        finally:
            latency.end()
        seconds = time.perf_counter() - started
        if on_processor is not None:
            on_processor = time.thread_time() - on_processor
        found, output_size = {}, 0
        for alias, value in zip(callable_.fetches if outputs is None else outputs, values, strict=True):
            found[alias] = array = value if isinstance(value, np.ndarray) else _as_array(value)
            output_size += array.nbytes
        latency.record(pool, seconds, size, output_size, on_processor)
        if self._counts_calls and pool == CALLING_THREAD and self._twin is not None:
            self._counts_calls = not self._twin.called(latency.expected_seconds(size), self._use_twin)
        return found

    def _use_twin(self, runner: Runner) -> None:
        for callable_ in self._callables.values():
            callable_.use_twin(runner)

    def close(self) -> None:
        """Close the session, which frees the variables at once, and let go of the graph."""
        self._callables = {}
        if self._twin is not None:
            self._twin.close()
        self._runner.close()
        del self._runner


def _count_operations(graph: Any) -> int:
    return len(graph.node) + sum(len(function.node_def) for function in graph.library.function)


def _as_array(value: Any) -> np.ndarray:
    """The array of a scalar, which TensorFlow returns as bytes or as a numpy scalar."""
    return np.array(value, dtype=object) if isinstance(value, bytes) else np.asarray(value)


def signature_from(name: str, definition: Any) -> Signature:
    """The signature that a SignatureDef describes."""
    return Signature(
        name=name,
        inputs=MappingProxyType({alias: _spec(info) for alias, info in sorted(definition.inputs.items())}),
        outputs=MappingProxyType({alias: _spec(info) for alias, info in sorted(definition.outputs.items())}),
        method_name=definition.method_name,
        defaults=MappingProxyType({alias: tf.make_ndarray(proto) for alias, proto in definition.defaults.items()}),
    )


def _spec(info: Any) -> TensorSpec:
    dtype = tf.as_dtype(info.dtype) if info.dtype else None
    shape = (
        None if info.tensor_shape.unknown_rank else tuple(None if d.size < 0 else d.size for d in info.tensor_shape.dim)
    )
    return TensorSpec(name=info.name, dtype=dtype_name(dtype), shape=shape, numpy_dtype=_numpy_dtype(dtype))


def dtype_name(dtype: Any) -> str:
    """A tf.DType as TensorFlow Serving prints it, `invalid` for None."""
    if dtype is None:
        return "invalid"
    name: str = dtype.base_dtype.name
    return _DTYPE_NAMES.get(name, name) + ("" if dtype == dtype.base_dtype else "_ref")


def _numpy_dtype(dtype: Any) -> np.dtype[np.generic] | None:
    if dtype is None or dtype in {tf.resource, tf.variant} or dtype.is_quantized:
        return None
    numpy_dtype: np.dtype[np.generic] = np.dtype(dtype.as_numpy_dtype)
    return numpy_dtype
