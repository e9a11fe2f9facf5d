"""An example of what a signature takes: tensors of its dtypes and shapes, and the REST body that carries them."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tfs_notebook.api.json.values import FLOATS, INTEGER_RANGES
from tfs_notebook.engine.input_checks.row_splits import RaggedInput
from tfs_notebook.engine.models.signature import DEFAULT_SIGNATURE

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from tfs_notebook.engine.input_checks.composite_inputs import Composite
    from tfs_notebook.engine.models.signature import Signature, TensorSpec

PNG = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGNgYGAAAAAEAAH2FzhVAAAAAElFTkSuQmCC")
"""A black picture of one pixel: what a model that takes encoded images can decode."""
_IMAGE = re.compile(r"image|img|jpe?g|png|picture|photo", re.IGNORECASE)
_METHODS = {"tensorflow/serving/classify": "classify", "tensorflow/serving/regress": "regress"}
_MOST_WRITTEN_OUT = 32
"""Numbers of a tensor that a program lists; more are told by how often they repeat."""


@dataclass(frozen=True, slots=True)
class ExampleTensor:
    """A tensor of `shape`: `value` in every place, or `values` as nested lists where the places differ.

    `dtype` is TensorFlow Serving's name. A string is `bytes`; `is_text` tells whether JSON may carry it as text.
    """

    dtype: str
    shape: tuple[int, ...]
    value: Any
    values: list[Any] | None = None
    is_text: bool = False

    @property
    def leaf(self) -> Any:
        """One place of it in JSON."""
        if not isinstance(self.value, bytes):
            return self.value
        return self.value.decode() if self.is_text else {"b64": base64.b64encode(self.value).decode()}

    @property
    def size(self) -> int:
        """How many places it has."""
        size = 1
        for count in self.shape:
            size *= count
        return size

    @property
    def json(self) -> Any:
        """As REST's JSON carries it."""
        if self.values is not None:
            return self.values
        built = self.leaf
        for count in reversed(self.shape):
            built = [built] * count
        return built


@dataclass(frozen=True, slots=True)
class Example:
    """The tensors of an example by input, and how REST carries them: `format` is `instances` or `inputs`.

    `signature_name` is "" where a request need not name it. `json_lacks` are dtypes that REST's JSON has no form for.
    """

    tensors: Mapping[str, ExampleTensor]
    format: str
    signature_name: str
    verb: str = "predict"
    json_lacks: tuple[str, ...] = ()

    @property
    def fits_rest(self) -> bool:
        """Whether REST can carry it at all: TensorFlow Serving's takes no request without inputs."""
        return bool(self.tensors) and not self.json_lacks

    @property
    def is_long(self) -> bool:
        """Whether programs should make the body instead of listing it."""
        return sum(tensor.size for tensor in self.tensors.values()) > _MOST_WRITTEN_OUT

    @property
    def body(self) -> dict[str, Any]:
        """The body of the REST request."""
        named = {"signature_name": self.signature_name} if self.signature_name else {}
        if self.verb != "predict":
            return {**named, "examples": [{"x": 1.5}]}
        values = {alias: tensor.json for alias, tensor in self.tensors.items()}
        if self.format == "instances":
            rows = {alias: value[0] for alias, value in values.items()}
            return {**named, "instances": [next(iter(rows.values())) if len(rows) == 1 else rows]}
        return {**named, "inputs": next(iter(values.values())) if len(values) == 1 else values}

    @property
    def json(self) -> str:
        """The body as JSON."""
        return json.dumps(self.body)


def example_of(signature: Signature, composites: Collection[Composite] = ()) -> Example:
    """An example that `signature` takes: unknown dimensions are 1, numbers 1, ragged and sparse tensors in order.

    `composites` are the ragged and sparse tensors among its inputs. The body has rows (`instances`) only where every
    input and output has a free first dimension, as TensorFlow Serving asks of them.
    """
    tensors = {alias: _tensor(alias, spec) for alias, spec in signature.inputs.items()}
    for composite in composites:
        tensors |= dict(_parts(composite, tensors))
    specs = [*signature.inputs.values(), *signature.outputs.values()]
    by_rows = bool(tensors) and not composites and all(spec.shape and spec.shape[0] is None for spec in specs)
    known = FLOATS | INTEGER_RANGES.keys() | {"bool", "string"}
    return Example(
        tensors,
        "instances" if by_rows else "inputs",
        "" if signature.name == DEFAULT_SIGNATURE else signature.name,
        _METHODS.get(signature.method_name, "predict"),
        tuple(sorted({spec.dtype for spec in specs} - known)),
    )


def _tensor(alias: str, spec: TensorSpec) -> ExampleTensor:
    shape = (1,) if spec.shape is None else tuple(1 if size is None else size for size in spec.shape)
    if spec.dtype == "string":
        if alias.endswith("_bytes") or _IMAGE.search(alias):
            return ExampleTensor(spec.dtype, shape, PNG)
        return ExampleTensor(spec.dtype, shape, b"text", is_text=True)
    if spec.dtype == "bool":
        return ExampleTensor(spec.dtype, shape, value=True)
    return ExampleTensor(spec.dtype, shape, 1 if spec.dtype in INTEGER_RANGES else 1.0)


def _parts(composite: Composite, tensors: Mapping[str, ExampleTensor]) -> Iterator[tuple[str, ExampleTensor]]:
    """The parts of a ragged tensor of one row with one value, or of a sparse one with a value in its first place."""
    if isinstance(composite, RaggedInput):
        for alias in composite.splits:
            yield alias, ExampleTensor(tensors[alias].dtype, (2,), 0, [0, 1])
        return
    dimensions = tensors[composite.indices].shape[-1]
    yield composite.indices, ExampleTensor(tensors[composite.indices].dtype, (1, dimensions), 0)
    yield composite.dense_shape, ExampleTensor(tensors[composite.dense_shape].dtype, (dimensions,), 1)
