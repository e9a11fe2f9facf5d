"""Requests ↔ PredictionLog messages: what the request log writes down, and what warm-up asks again."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from tensorflow_serving.apis.predict_pb2 import PredictRequest, PredictResponse
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

from tfs_notebook.api.classification_messages import (
    classification_response,
    multi_inference_response,
    regression_response,
)
from tfs_notebook.api.inference import Call, check_names, unknown_signature
from tfs_notebook.api.proto_codec import encode_outputs, from_array, to_array
from tfs_notebook.api.status_messages import model_spec
from tfs_notebook.engine.servable import Loaded
from tfs_notebook.engine.signature import DEFAULT_SIGNATURE
from tfs_notebook.errors import Code, ServingError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tfs_notebook.api.inference import ModelSpec
    from tfs_notebook.engine.request_log import ModelLog
    from tfs_notebook.engine.servable import Servable
    from tfs_notebook.engine.signature import Signature


# Written down


def log_message(logs: Mapping[str, ModelLog], call: Call, request: PredictRequest, reply: bytes) -> None:
    """Leave a PredictRequest that `call` answered with `reply` (a PredictResponse) to the log of its model, if that
    picks it.
    """
    log = logs.get(call.model)
    if log is not None and log.picks():
        record = _record(log, call, request.model_spec.signature_name)
        log.submit(partial(_finish, record, lambda: request, lambda: reply), request.ByteSize() + len(reply))


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
    """The same for a request that was no message; it is logged as the one that would have asked the same.

    With `shared`, others may change the arrays as soon as this returns.
    """
    log = logs.get(call.model)
    if log is None or not log.picks():
        return
    record = _record(log, call, signature.name)
    if not shared:
        outputs = {alias: _alone(array) for alias, array in outputs.items()}
    request = partial(_request, asked, signature, inputs, output_filter)
    finish = partial(_finish, record, request, partial(encode_outputs, outputs))
    if shared:
        finish = partial(bytes, finish())
    log.submit(finish, sum(_size(array) for arrays in (inputs, outputs) for array in arrays.values()))


def _record(log: ModelLog, call: Call, signature_name: str) -> PredictionLog:
    """The record without request and reply: who answered, when, and how likely it was to be written down."""
    record = PredictionLog()
    spec = model_spec(call.model, call.version, signature_name or DEFAULT_SIGNATURE)
    record.log_metadata.model_spec.CopyFrom(spec)
    record.log_metadata.sampling_config.sampling_rate = log.config.sampling_rate
    record.log_metadata.timestamp_secs = int(time.time())
    return record


def _finish(record: PredictionLog, request: Callable[[], PredictRequest], reply: Callable[[], bytes]) -> bytes:
    record.predict_log.request.CopyFrom(request())
    response = PredictResponse(model_spec=record.log_metadata.model_spec)
    response.MergeFromString(reply())
    record.predict_log.response.CopyFrom(response)
    return bytes(record.SerializeToString())


def _request(
    asked: ModelSpec, signature: Signature, inputs: Mapping[str, np.ndarray], output_filter: Sequence[str]
) -> PredictRequest:
    request = PredictRequest(output_filter=output_filter)
    request.model_spec.name, request.model_spec.signature_name = asked.name, signature.name
    if asked.version is not None:
        request.model_spec.version.value = asked.version
    elif asked.label is not None:
        request.model_spec.version_label = asked.label
    for alias, array in inputs.items():
        request.inputs[alias].CopyFrom(from_array(array))
    return request


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


_ASK: Mapping[str, Callable[[Call, Any], object]] = {
    "predict_log": _ask_predict,
    "classify_log": classification_response,
    "regress_log": regression_response,
    "multi_inference_log": multi_inference_response,
}
"""How each kind of request is asked, by its field in PredictionLog."""
