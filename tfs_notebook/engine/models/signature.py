"""What a signature takes and returns, free of TensorFlow so that codecs and displays import in no time.

A `TensorSpec` keeps the dtype as TensorFlow Serving prints it (`float`, `int32`, `string`, `bfloat16`, …: the names
of `DataTypeString` in tensorflow/core/framework/types.cc) beside the numpy dtype that carries it. Strings are numpy
object arrays of `bytes`, as TensorFlow returns them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

DEFAULT_SIGNATURE = "serving_default"


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output of a signature.

    `shape` is None for an unknown rank and holds None for an unknown dimension; `dtype` is TensorFlow Serving's printed
    name; `numpy_dtype` is None for a dtype that numpy cannot carry (resource, variant, quantised).
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...] | None
    numpy_dtype: np.dtype[np.generic] | None

    def __str__(self) -> str:
        if self.shape is None:
            return f"{self.dtype} of any shape"
        return f"{self.dtype}[{', '.join('?' if size is None else str(size) for size in self.shape)}]"


@dataclass(frozen=True, slots=True)
class Signature:
    """A named function of a SavedModel: aliases to the tensors it is fed and the tensors it fetches.

    `defaults` are the values that stand in for inputs a gRPC request leaves out (SignatureDef.defaults).
    """

    name: str
    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]
    method_name: str = "tensorflow/serving/predict"
    defaults: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __str__(self) -> str:
        inputs = ", ".join(f"{alias}: {spec}" for alias, spec in self.inputs.items())
        outputs = ", ".join(f"{alias}: {spec}" for alias, spec in self.outputs.items())
        return f"{self.name}({inputs}) → {outputs}"


def together(signatures: Collection[Signature]) -> Signature:
    """What takes and returns all that `signatures` do, each tensor by its own name instead of an alias.

    The same signatures in any order have the same name together, which no signature of a model has.
    """
    return Signature(
        name="".join(f"{name}\n" for name in sorted(signature.name for signature in signatures)),
        inputs={spec.name: spec for signature in signatures for spec in signature.inputs.values()},
        outputs={spec.name: spec for signature in signatures for spec in signature.outputs.values()},
    )
