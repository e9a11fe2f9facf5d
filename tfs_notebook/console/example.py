"""A request body that a signature takes, made from what it declares."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from tfs_notebook.engine.models.signature import Signature, TensorSpec

_MOST_VALUES = 100_000
"""A body with more would only be a burden to the page."""


def example_body(signature: Signature) -> str:
    """JSON for `:predict`: one instance where every input has a batch dimension, the `inputs` otherwise.

    "" when an input cannot be written in JSON or is too large to be looked at.
    """
    inputs = signature.inputs
    if not inputs or any(spec.numpy_dtype is None for spec in inputs.values()) or _size(signature) > _MOST_VALUES:
        return ""
    if all(spec.shape is not None and spec.shape and spec.shape[0] is None for spec in inputs.values()):
        instance = {alias: _value(spec, (spec.shape or ())[1:]) for alias, spec in inputs.items()}
        only = next(iter(instance.values())) if len(instance) == 1 else instance
        return _text({"instances": [only]})
    values = {alias: _value(spec, spec.shape or ()) for alias, spec in inputs.items()}
    return _text({"inputs": values if len(values) > 1 else next(iter(values.values()))})


def _size(signature: Signature) -> int:
    total = 0
    for spec in signature.inputs.values():
        size = 1
        for dimension in spec.shape or ():
            size *= dimension or 1
        total += size
    return total


def _value(spec: TensorSpec, shape: tuple[int | None, ...]) -> Any:
    if not shape:
        return (
            "text" if spec.dtype == "string" else False if spec.dtype == "bool" else 0 if "int" in spec.dtype else 0.0
        )
    return [_value(spec, shape[1:]) for _ in range(shape[0] if shape[0] is not None else 1)]


def _text(body: dict[str, Any]) -> str:
    return orjson.dumps(body).decode()
