"""Requests ↔ PredictionLog messages: what the request log writes down, and what warm-up asks again."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

from tfs_notebook.api.calls.call import Call
from tfs_notebook.api.calls.model_spec import ModelSpec
from tfs_notebook.api.calls.names import check_names, unknown_signature
from tfs_notebook.api.calls.observers import Observers
from tfs_notebook.api.classification_messages import (
    classification_response,
    multi_inference_response,
    regression_response,
)
from tfs_notebook.api.status_messages import model_spec
from tfs_notebook.api.tensor_proto import to_array
from tfs_notebook.engine.models.servable import Loaded
from tfs_notebook.errors import Code, ServingError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tensorflow_serving.apis.predict_pb2 import PredictRequest

    from tfs_notebook.api.calls.record import CallRecord, Exchange
    from tfs_notebook.engine.models.servable import Servable
    from tfs_notebook.engine.request_log.log import ModelLog

_NOBODY = Observers()


# Written down


def write_down(logs: Mapping[str, ModelLog], call: CallRecord) -> None:
    """Leave `call` to the log of its model, if that picks it; a MultiInference is picked as a whole."""
    log, exchange = logs.get(call.model), call.exchange
    if log is None or exchange is None or call.task or not log.picks():
        return
    record = PredictionLog()
    record.log_metadata.model_spec.CopyFrom(model_spec(call.model, call.version, call.signature_name))
    record.log_metadata.sampling_config.sampling_rate = log.config.sampling_rate
    record.log_metadata.timestamp_secs = int(time.time())
    log.submit(partial(_finish, record, exchange.alone()), exchange.size)


def _finish(record: PredictionLog, exchange: Exchange) -> bytes:
    """`record`, serialized, with the request and the reply; who answered is put into a reply that does not tell."""
    log = getattr(record, exchange.kind)
    log.request.CopyFrom(exchange.request())
    if exchange.kind != "multi_inference_log":
        log.response.model_spec.CopyFrom(record.log_metadata.model_spec)
    log.response.MergeFromString(exchange.reply())
    return bytes(record.SerializeToString())


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
    ask(Call(Loaded("", 0, servable), ModelSpec(""), None, (), 0.0, _NOBODY), getattr(record, kind).request)


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
