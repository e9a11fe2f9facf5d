"""Requests ↔ PredictionLog messages: what the request log writes down, and what warm-up asks again."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from tensorflow.core.example.example_pb2 import Example
from tensorflow_serving.apis.classification_pb2 import ClassificationRequest
from tensorflow_serving.apis.model_pb2 import ModelSpec as ModelSpecMessage
from tensorflow_serving.apis.predict_pb2 import PredictRequest
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog
from tensorflow_serving.apis.regression_pb2 import RegressionRequest

from tfs_notebook.api.classification import Classes
from tfs_notebook.api.classification_messages import (
    classification_response,
    multi_inference_response,
    regression_response,
    result_response,
)
from tfs_notebook.api.inference import Call, check_names, unknown_signature
from tfs_notebook.api.status_messages import model_spec
from tfs_notebook.api.tensor_proto import encode_outputs, from_array, to_array
from tfs_notebook.engine.models.servable import Loaded
from tfs_notebook.engine.models.signature import DEFAULT_SIGNATURE
from tfs_notebook.errors import Code, ServingError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tfs_notebook.api.classification import Result
    from tfs_notebook.api.inference import ModelSpec
    from tfs_notebook.api.json.examples import ExamplesBody
    from tfs_notebook.engine.models.servable import Servable
    from tfs_notebook.engine.models.signature import Signature
    from tfs_notebook.engine.request_log.log import ModelLog


# Written down


def log_message(logs: Mapping[str, ModelLog], call: Call, request: Any, reply: Any) -> None:
    """Leave a request that `call` answered with `reply` to the log of its model, if that picks it.

    `request` is one of the messages of PredictionService that ask a model; `reply` is its answer, as a message or
    serialized. Neither is changed any more. A MultiInferenceRequest is one record, by the model spec of its first task.
    """
    log = logs.get(call.model)
    if log is None or not log.picks():
        return
    kind = _KINDS[request.DESCRIPTOR.name]
    spec = request.tasks[0].model_spec if kind == "multi_inference_log" else request.model_spec
    record = _record(log, call, spec.signature_name)
    is_bytes = isinstance(reply, bytes)
    finish = partial(_finish, record, kind, lambda: request, lambda: reply if is_bytes else reply.SerializeToString())
    log.submit(finish, request.ByteSize() + (len(reply) if is_bytes else reply.ByteSize()))


def log_arrays(
    logs: Mapping[str, ModelLog],
    call: Call,
    asked: ModelSpec,
    signature: Signature,
    inputs: Mapping[str, np.ndarray],
    outputs: Mapping[str, np.ndarray],
    *,
    output_filter: Sequence[str] = (),
    shared: bool = False,
) -> None:
    """The same for a prediction that was asked for without a message; it is logged as the one that asks the same.

    With `shared`, others may change the arrays as soon as this returns.
    """
    log = logs.get(call.model)
    if log is None or not log.picks():
        return
    record = _record(log, call, signature.name)
    if not shared:
        outputs = {alias: _alone(array) for alias, array in outputs.items()}
    request = partial(_request, asked, signature, inputs, output_filter)
    finish = partial(_finish, record, "predict_log", request, partial(encode_outputs, outputs))
    if shared:
        finish = partial(bytes, finish())
    log.submit(finish, sum(_size(array) for arrays in (inputs, outputs) for array in arrays.values()))


def log_examples(
    logs: Mapping[str, ModelLog], call: Call, asked: ModelSpec, body: ExamplesBody, result: Result
) -> None:
    """The same for a classify or regress request over REST, whose examples came to `result`."""
    log = logs.get(call.model)
    if log is None or not log.picks():
        return
    record = _record(log, call, body.signature_name)
    if isinstance(result, Classes):
        kind, result = "classify_log", Classes(_alone(result.labels), _alone(result.scores))
        size = _size(result.labels) + result.scores.nbytes
    else:
        kind, result = "regress_log", _alone(result)
        size = result.nbytes
    request = partial(_examples_request, kind, asked, body)
    reply = partial(_serialized_result, result)
    log.submit(partial(_finish, record, kind, request, reply), size + len(body.context) + sum(map(len, body.given)))


def _record(log: ModelLog, call: Call, signature_name: str) -> PredictionLog:
    """The record without request and reply: who answered, when, and how likely it was to be written down."""
    record = PredictionLog()
    spec = model_spec(call.model, call.version, signature_name or DEFAULT_SIGNATURE)
    record.log_metadata.model_spec.CopyFrom(spec)
    record.log_metadata.sampling_config.sampling_rate = log.config.sampling_rate
    record.log_metadata.timestamp_secs = int(time.time())
    return record


def _finish(record: PredictionLog, kind: str, request: Callable[[], Any], reply: Callable[[], bytes]) -> bytes:
    """`record`, serialized, with the request and the reply; who answered is put into a reply that does not tell."""
    log = getattr(record, kind)
    log.request.CopyFrom(request())
    if kind != "multi_inference_log":
        log.response.model_spec.CopyFrom(record.log_metadata.model_spec)
    log.response.MergeFromString(reply())
    return bytes(record.SerializeToString())


def _request(
    asked: ModelSpec, signature: Signature, inputs: Mapping[str, np.ndarray], output_filter: Sequence[str]
) -> PredictRequest:
    request = PredictRequest(model_spec=_asked_spec(asked, signature.name), output_filter=output_filter)
    for alias, array in inputs.items():
        request.inputs[alias].CopyFrom(from_array(array))
    return request


def _examples_request(kind: str, asked: ModelSpec, body: ExamplesBody) -> ClassificationRequest | RegressionRequest:
    request = ClassificationRequest() if kind == "classify_log" else RegressionRequest()
    request.model_spec.CopyFrom(_asked_spec(asked, body.signature_name or DEFAULT_SIGNATURE))
    if body.context:
        examples = request.input.example_list_with_context
        examples.context.MergeFromString(body.context)
    else:
        examples = request.input.example_list
    examples.examples.extend(map(Example.FromString, body.given))
    return request


def _asked_spec(asked: ModelSpec, signature_name: str) -> ModelSpecMessage:
    spec = ModelSpecMessage(name=asked.name, signature_name=signature_name)
    if asked.version is not None:
        spec.version.value = asked.version
    elif asked.label is not None:
        spec.version_label = asked.label
    return spec


def _serialized_result(result: Result) -> bytes:
    return bytes(result_response(result).SerializeToString())


def _alone(array: np.ndarray) -> np.ndarray:
    """`array` without the rest of the batch that it may be a part of, which nobody counts while it waits."""
    whole = array.base
    return array.copy() if isinstance(whole, np.ndarray) and whole.nbytes > array.nbytes else array


def _size(array: np.ndarray) -> int:
    return sum(map(len, array.flat)) if array.dtype.hasobject else array.nbytes


# Asked again


def replay(servable: Servable, record: PredictionLog) -> None:
    """Let `servable` answer the request in `record`, whichever model and version it was for.

    One without a request is passed over. Raises ServingError: the request's, UNIMPLEMENTED for a kind of request that
    cannot be asked again.
    """
    kind = record.WhichOneof("log_type")
    if kind is None:
        return
    ask = _ASK.get(kind)
    if ask is None:
        number = record.DESCRIPTOR.fields_by_name[kind].number
        raise ServingError(Code.UNIMPLEMENTED, f"Unsupported log_type for warmup: {number}")
    ask(Call(Loaded("", 0, servable)), getattr(record, kind).request)


def _ask_predict(call: Call, request: PredictRequest) -> None:
    signature = call.signature(request.model_spec.signature_name)
    if signature is None:
        raise unknown_signature(request.model_spec.signature_name)
    check_names(signature, request.inputs)
    inputs = {alias: to_array(alias, proto) for alias, proto in request.inputs.items()}
    call.predict(signature, inputs, output_filter=request.output_filter)


_KINDS = {
    "PredictRequest": "predict_log",
    "ClassificationRequest": "classify_log",
    "RegressionRequest": "regress_log",
    "MultiInferenceRequest": "multi_inference_log",
}
"""In which field of PredictionLog a message belongs."""
_ASK: Mapping[str, Callable[[Call, Any], object]] = {
    "predict_log": _ask_predict,
    "classify_log": classification_response,
    "regress_log": regression_response,
    "multi_inference_log": multi_inference_response,
}
"""How each kind of request is asked, by its field in PredictionLog."""
