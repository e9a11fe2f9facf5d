"""Requests and replies as a PredictionLog has them, made of what each front end has at hand."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from tensorflow.core.example.example_pb2 import Example
from tensorflow_serving.apis.classification_pb2 import ClassificationRequest
from tensorflow_serving.apis.model_pb2 import ModelSpec as ModelSpecMessage
from tensorflow_serving.apis.predict_pb2 import PredictRequest
from tensorflow_serving.apis.regression_pb2 import RegressionRequest

from tfs_notebook.api.classification import Classes
from tfs_notebook.api.classification_messages import result_response
from tfs_notebook.api.tensor_proto import encode_outputs, from_array
from tfs_notebook.engine.models.signature import DEFAULT_SIGNATURE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tfs_notebook.api.calls.model_spec import ModelSpec
    from tfs_notebook.api.classification import Result
    from tfs_notebook.api.json.examples import ExamplesBody

_KINDS = {
    "PredictRequest": "predict_log",
    "ClassificationRequest": "classify_log",
    "RegressionRequest": "regress_log",
    "MultiInferenceRequest": "multi_inference_log",
}
"""In which field of PredictionLog a message belongs."""


@dataclass(frozen=True, slots=True)
class Messages:
    """One of PredictionService's requests that ask a model, and its answer, as a message or serialized.

    Neither is changed any more.
    """

    message: Any
    answer: Any

    @property
    def kind(self) -> str:
        """The field of PredictionLog."""
        return _KINDS[self.message.DESCRIPTOR.name]

    @property
    def size(self) -> int:
        """Bytes of both."""
        answer = self.answer
        return int(self.message.ByteSize() + (len(answer) if isinstance(answer, bytes) else answer.ByteSize()))

    def request(self) -> Any:
        """The request."""
        return self.message

    def reply(self) -> bytes:
        """The reply, serialized."""
        return self.answer if isinstance(self.answer, bytes) else bytes(self.answer.SerializeToString())

    def alone(self) -> Messages:
        """The same."""
        return self


@dataclass(frozen=True, slots=True)
class ArraysExchange:
    """A prediction that was asked for without a message: it stands as the message that asks the same.

    With `shared`, others may change the arrays as soon as the observers were told.
    """

    spec: ModelSpec
    signature_name: str
    inputs: Mapping[str, np.ndarray]
    outputs: Mapping[str, np.ndarray]
    output_filter: Sequence[str] = ()
    shared: bool = False

    kind = "predict_log"

    @property
    def size(self) -> int:
        """Bytes of the arrays."""
        return sum(_size(array) for arrays in (self.inputs, self.outputs) for array in arrays.values())

    def request(self) -> PredictRequest:
        """The request."""
        request = PredictRequest(model_spec=_spec(self.spec, self.signature_name), output_filter=self.output_filter)
        for alias, array in self.inputs.items():
            request.inputs[alias].CopyFrom(from_array(array))
        return request

    def reply(self) -> bytes:
        """The reply, serialized."""
        return bytes(encode_outputs(self.outputs))

    def alone(self) -> Messages | ArraysExchange:
        """The same to keep."""
        if self.shared:
            return Messages(self.request(), self.reply())
        return replace(self, outputs={alias: _alone(array) for alias, array in self.outputs.items()})


@dataclass(frozen=True, slots=True)
class ExamplesExchange:
    """A classify or regress request over REST, whose examples came to `result`."""

    spec: ModelSpec
    body: ExamplesBody
    result: Result

    @property
    def kind(self) -> str:
        """The field of PredictionLog."""
        return "classify_log" if isinstance(self.result, Classes) else "regress_log"

    @property
    def size(self) -> int:
        """Bytes of the examples and the result."""
        result, body = self.result, self.body
        size = _size(result.labels) + result.scores.nbytes if isinstance(result, Classes) else result.nbytes
        return size + len(body.context) + sum(map(len, body.given))

    def request(self) -> ClassificationRequest | RegressionRequest:
        """The request."""
        request = ClassificationRequest() if self.kind == "classify_log" else RegressionRequest()
        request.model_spec.CopyFrom(_spec(self.spec, self.body.signature_name or DEFAULT_SIGNATURE))
        if self.body.context:
            examples = request.input.example_list_with_context
            examples.context.MergeFromString(self.body.context)
        else:
            examples = request.input.example_list
        examples.examples.extend(map(Example.FromString, self.body.given))
        return request

    def reply(self) -> bytes:
        """The reply, serialized."""
        return bytes(result_response(self.result).SerializeToString())

    def alone(self) -> ExamplesExchange:
        """The same to keep."""
        result = self.result
        kept = Classes(_alone(result.labels), _alone(result.scores)) if isinstance(result, Classes) else _alone(result)
        return replace(self, result=kept)


def _spec(asked: ModelSpec, signature_name: str) -> ModelSpecMessage:
    spec = ModelSpecMessage(name=asked.name, signature_name=signature_name)
    if asked.version is not None:
        spec.version.value = asked.version
    elif asked.label is not None:
        spec.version_label = asked.label
    return spec


def _alone(array: np.ndarray) -> np.ndarray:
    """`array` without the rest of the batch that it may be a part of, which nobody counts while it waits."""
    whole = array.base
    return array.copy() if isinstance(whole, np.ndarray) and whole.nbytes > array.nbytes else array


def _size(array: np.ndarray) -> int:
    return sum(map(len, array.flat)) if array.dtype.hasobject else array.nbytes
