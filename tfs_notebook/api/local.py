"""Asking a model without a network, on the way that REST and gRPC requests take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tfs_notebook.api.inference import unknown_signature
from tfs_notebook.api.inputs import as_inputs
from tfs_notebook.api.records import log_arrays

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tfs_notebook.api.inference import Inference, ModelSpec


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer to a request: which version gave it, and its outputs by alias (strings: object arrays of bytes)."""

    model: str
    version: int
    signature_name: str
    outputs: Mapping[str, np.ndarray]

    def __getitem__(self, alias: str) -> np.ndarray:
        return self.outputs[alias]

    @property
    def array(self) -> np.ndarray:
        """The only output. Raises ValueError when the signature has several."""
        if len(self.outputs) != 1:
            raise ValueError(f"{self.signature_name} has the outputs {', '.join(self.outputs)}: take one by its name")
        return next(iter(self.outputs.values()))


def predict(
    inference: Inference,
    asked: ModelSpec,
    inputs: Any,
    signature_name: str,
    output_filter: Sequence[str],
    timeout: float | None,
) -> Prediction:
    """The answer to `inputs`, as `as_inputs` takes them; `timeout` in seconds. Raises ServingError."""
    with inference.pin(asked) as call:
        signature = call.signature(signature_name)
        if signature is None:
            raise unknown_signature(signature_name)
        arrays = as_inputs(inputs, signature)
        outputs = call.predict(signature, arrays, output_filter=output_filter, timeout=timeout)
        if logs := inference.logs:
            log_arrays(logs, call, asked, signature, arrays, outputs, output_filter=output_filter, shared=True)
        for alias, array in outputs.items():
            if any(np.may_share_memory(array, given) for given in arrays.values()):
                outputs[alias] = array.copy()  # the caller may go on with what was passed
        return Prediction(call.model, call.version, signature.name, outputs)
