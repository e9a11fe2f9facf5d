"""Asking a model without a network, on the way that REST and gRPC requests take."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from tfs_notebook.api.calls.call import Asking
from tfs_notebook.api.calls.exchanges import ArraysExchange
from tfs_notebook.api.calls.names import unknown_signature
from tfs_notebook.api.inputs import as_inputs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tfs_notebook.api.calls.model_spec import ModelSpec
    from tfs_notebook.api.inference import Inference


_ASKING = Asking("local", "Predict")


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer to a request: which version gave it, and its outputs by alias (strings: object arrays of bytes).

    `run_seconds` is how long the model took, with what it waited for a batch.
    """

    model: str
    version: int
    signature_name: str
    outputs: Mapping[str, np.ndarray]
    run_seconds: float = 0.0

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
    with inference.pin(asked, _ASKING, (signature_name,), perf_counter()) as call:
        signature = call.signature(signature_name)
        if signature is None:
            raise unknown_signature(signature_name)
        arrays = as_inputs(inputs, signature)
        call.parsed = perf_counter()
        outputs = call.predict(signature, arrays, output_filter=output_filter, timeout=timeout)
        seconds = perf_counter() - call.parsed
        if call.wants_tensors:
            call.exchange = ArraysExchange(asked, signature.name, arrays, outputs, output_filter, shared=True)
        for alias, array in outputs.items():
            if any(np.may_share_memory(array, given) for given in arrays.values()):
                outputs[alias] = array.copy()  # the caller may go on with what was passed
        return Prediction(call.model, call.version, signature.name, outputs, seconds)
