"""What a person writes for a tensor → the array that a signature is fed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tfs_notebook.errors import invalid_argument

if TYPE_CHECKING:
    from tfs_notebook.engine.models.signature import Signature, TensorSpec


def as_inputs(value: Any, signature: Signature) -> Mapping[str, np.ndarray]:
    """`value` as arrays by input alias: a mapping by alias, or the value of the only input.

    Raises ServingError INVALID_ARGUMENT that names the input which cannot be converted, its position in `where`.
    """
    if not isinstance(value, Mapping):
        if len(signature.inputs) != 1:
            aliases = ", ".join(signature.inputs) or "none"
            raise invalid_argument(f"{signature.name} has the inputs {aliases}: pass a mapping by name")
        value = {next(iter(signature.inputs)): value}
    inputs = signature.inputs
    return {
        alias: _as_array(alias, part, inputs[alias]) if alias in inputs else np.asarray(part)
        for alias, part in value.items()
    }


def _as_array(alias: str, value: Any, spec: TensorSpec) -> np.ndarray:
    if spec.dtype == "string":
        # As objects: numpy's own byte strings lose the zero bytes at their end
        return _as_strings(alias, np.array(value, dtype=object))
    if isinstance(value, np.ndarray) and value.dtype == spec.numpy_dtype:
        return value
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise invalid_argument(f"{alias} is ragged: {error}", where=alias) from None
    if array.dtype.hasobject or spec.numpy_dtype is None or (array.size and not _fits(array.dtype, spec)):
        raise invalid_argument(f"{alias} takes {spec}, not {_kind(array.dtype)}", where=alias)
    with np.errstate(over="ignore"):  # what is too large for a float becomes infinite, as over REST
        converted = array.astype(spec.numpy_dtype)
    if array.dtype.kind in "iu" and converted.dtype.kind in "iu" and (converted != array).any():
        position = tuple(np.argwhere(converted != array)[0])
        where = alias + "".join(f"[{index}]" for index in position)
        raise invalid_argument(f"{alias} takes {spec}, which {array[position]} does not fit into", where=where)
    return converted


def _kind(dtype: np.dtype[Any]) -> str:
    """A dtype as a person calls it: numpy's names for strings and objects say nothing."""
    return {"U": "text", "S": "text", "O": "Python objects", "M": "dates", "m": "durations"}.get(dtype.kind, str(dtype))


def _fits(given: np.dtype[Any], spec: TensorSpec) -> bool:
    """Whether a conversion is harmless: any number for a float, whole numbers for an integer, bool for bool."""
    is_number = given.kind in "iuf" or given.name == "bfloat16"
    if spec.dtype in {"float", "double", "half", "bfloat16"}:
        return is_number
    if spec.dtype.startswith("complex"):
        return is_number or given.kind == "c"
    return given.kind == "b" if spec.dtype == "bool" else given.kind in "iu"


def _as_strings(alias: str, array: np.ndarray) -> np.ndarray:
    encoded = np.empty(array.shape, dtype=object)
    for position, item in np.ndenumerate(array):
        if not isinstance(item, (str, bytes)):
            where = alias + "".join(f"[{index}]" for index in position)
            raise invalid_argument(f"{alias} takes strings, not {type(item).__name__}", where=where)
        encoded[position] = item.encode() if isinstance(item, str) else bytes(item)
    return encoded
