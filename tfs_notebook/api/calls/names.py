"""The names of inputs, outputs and signatures in a request: the checks and texts of TensorFlow Serving's
`PreProcessPrediction`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfs_notebook.engine.models.signature import DEFAULT_SIGNATURE
from tfs_notebook.errors import Code, ServingError, invalid_argument

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    import numpy as np

    from tfs_notebook.engine.models.signature import Signature


def bind(signature: Signature, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """`inputs` completed by the signature's defaults. Raises ServingError for names that are missing or too many."""
    check_names(signature, inputs.keys())
    return {alias: inputs[alias] if alias in inputs else signature.defaults[alias] for alias in signature.inputs}


def check_names(signature: Signature, sent: Collection[str]) -> None:
    """Raise ServingError INVALID_ARGUMENT unless the inputs `sent` are, with its defaults, those of `signature`."""
    sent, expected, defaults = set(sent), signature.inputs.keys(), signature.defaults.keys()
    if len(sent) > len(expected) or (len(sent) < len(expected) and not defaults):
        raise invalid_argument(
            f"input size does not match signature: {len(sent)}!={len(expected)} len({_names(sent)}) != "
            f"len({_names(expected)}). Sent extra: {_names(sent - expected)}. "
            f"Missing but required: {_names(expected - sent - defaults)}."
        )
    for alias, spec in signature.inputs.items():
        if alias not in sent and alias not in defaults:
            raise invalid_argument(
                f"Signature input alias: {alias}(feed name: {spec.name}) not found in request and no default value "
                f"provided. Inputs expected to be in the request {_names(expected - defaults)}, "
                f"or default input alias set: {_names(defaults)}"
            )
    if sent - expected:
        raise invalid_argument(
            f"Inputs contains invalid name. Used request inputs: {_names(sent & expected)}, "
            f"request input: {_names(sent)}"
        )


def filtered(signature: Signature, output_filter: Sequence[str]) -> tuple[str, ...]:
    """The outputs that are asked for. Raises ServingError INVALID_ARGUMENT for names that are wrong or repeated."""
    for position, alias in enumerate(output_filter):
        if alias not in signature.outputs:
            raise invalid_argument(
                f"output tensor alias not found in signature: {alias} Outputs expected to be in the set "
                f"{_names(signature.outputs.keys())}."
            )
        if alias in output_filter[:position]:
            raise invalid_argument(f"duplicate output tensor alias: {alias}")
    return tuple(output_filter)


def _names(names: Collection[str]) -> str:
    return "{" + ",".join(sorted(names)) + "}"


def unknown_signature(name: str) -> ServingError:
    """What gRPC answers for a signature that the model does not have (REST has words of its own)."""
    return ServingError(Code.FAILED_PRECONDITION, f'Serving signature key "{name or DEFAULT_SIGNATURE}" not found.')
