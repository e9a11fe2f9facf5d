"""The three ways to ask a `Question`, and the answer. However it is sent, the model gets the same tensors."""

from __future__ import annotations

import base64
import json
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np

from tfs_notebook.api.calls.model_spec import ModelSpec
from tfs_notebook.api.calls.names import unknown_signature
from tfs_notebook.api.json import codec as json_codec
from tfs_notebook.api.tensor_proto import from_array, to_array
from tfs_notebook.engine.models.signature import DEFAULT_SIGNATURE, Signature, TensorSpec
from tfs_notebook.errors import Code, ServingError
from tfs_notebook.notebook.predict.answer import Answer
from tfs_notebook.notebook.predict.request import as_json, from_json
from tfs_notebook.runtime import result_of
from tfs_notebook.threads import run_on_daemon_thread

if TYPE_CHECKING:
    from collections.abc import Mapping

    import grpc

    from tfs_notebook.api.local import Prediction
    from tfs_notebook.notebook.predict.request import Question
    from tfs_notebook.server.server import Server
    from tfs_notebook.settings.tls import Tls

_CODES = {
    400: Code.INVALID_ARGUMENT, 401: Code.UNAUTHENTICATED, 403: Code.PERMISSION_DENIED, 404: Code.NOT_FOUND,
    429: Code.RESOURCE_EXHAUSTED, 501: Code.UNIMPLEMENTED, 503: Code.UNAVAILABLE, 504: Code.DEADLINE_EXCEEDED,
}  # fmt: skip
_CHANNEL = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.enable_http_proxy", 0),
]


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back: the version where it is told, outputs by alias, seconds by stage."""

    version: int | None
    outputs: Mapping[str, np.ndarray]
    times: Mapping[str, float] = field(default_factory=dict)


def ask(question: Question, server: Server, via: str) -> Answer:
    """Send the question `via` local, rest or grpc. Raises ServingError."""
    spec = question.spec
    with server.open(spec) as call:
        signature = call.signature(question.signature_name)
        if signature is None:
            raise unknown_signature(question.signature_name)
        inputs = question.tensors(signature)
    ways = {"local": _ask_local, "rest": _ask_rest, "grpc": _ask_grpc}
    started = time.perf_counter()
    reply = ways[via](question, server, signature, inputs)
    seconds = time.perf_counter() - started
    outputs = {alias: reply.outputs[alias] for alias in signature.outputs}  # gRPC's maps have no order
    return Answer(spec.name, reply.version, signature.name, via, seconds, outputs, spec.label, inputs, reply.times)


def _ask_local(question: Question, server: Server, signature: Signature, inputs: Mapping[str, np.ndarray]) -> Reply:
    spec, label, version = question.spec, question.spec.label, question.spec.version

    def predict() -> Prediction:
        return server.predict(spec.name, inputs, version=version, label=label, signature_name=signature.name)

    # Inside TensorFlow the main thread would not hear Ctrl-C.
    prediction = result_of(run_on_daemon_thread(predict, "tfs-ask"))
    return Reply(prediction.version, prediction.outputs, {"run": prediction.run_seconds})


def _ask_rest(question: Question, server: Server, signature: Signature, inputs: Mapping[str, np.ndarray]) -> Reply:
    if server.rest_url is None:
        raise ServingError(Code.FAILED_PRECONDITION, "REST is off", hint="%tfs_serve … --rest_api_port=8501")
    return ask_rest_at(server.rest_url, server.options.token, question, signature, inputs)


def ask_rest_at(
    url: str, token: str, question: Question, signature: Signature, inputs: Mapping[str, np.ndarray]
) -> Reply:
    """Ask whatever answers REST at `url`, like `http://localhost:8501`. Raises ServingError."""
    body = question.body or as_json({"inputs": inputs})
    if (json_codec.parse_predict(body).signature_name or DEFAULT_SIGNATURE) != signature.name:
        body = as_json({**from_json(body), "signature_name": signature.name})
    request = urllib.request.Request(  # noqa: S310 - this server's own http address
        f"{url}{predict_path(question.spec)}",
        data=body,
        headers={"Content-Type": "application/json", "authorization": token},
    )
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(request) as response:
            reply = json.loads(response.read().decode("utf-8", "surrogateescape"))
    except urllib.error.HTTPError as refused:
        with refused:
            raise ServingError(_CODES.get(refused.code, Code.UNKNOWN), _refusal(refused)) from None
    except urllib.error.URLError as error:
        raise ServingError(Code.UNAVAILABLE, f"{url}: {error.reason}") from None
    return Reply(question.spec.version, _reply_arrays(reply, signature))


def _refusal(refused: urllib.error.HTTPError) -> str:
    text = refused.read().decode("utf-8", "replace")
    try:
        return str(json.loads(text)["error"])
    except (ValueError, TypeError, KeyError):
        return text or str(refused.reason)


def predict_path(spec: ModelSpec) -> str:
    """The path that a predict request for `spec` is posted to."""
    chosen = ""
    if spec.version is not None:
        chosen = f"/versions/{spec.version}"
    elif spec.label is not None:
        chosen = f"/labels/{quote(spec.label, safe='')}"
    return f"/v1/models/{quote(spec.name, safe='')}{chosen}:predict"


def _reply_arrays(reply: Mapping[str, Any], signature: Signature) -> dict[str, np.ndarray]:
    values = reply.get("outputs", reply.get("predictions"))
    if len(signature.outputs) == 1:
        by_alias = {next(iter(signature.outputs)): values}
    elif "outputs" in reply:
        by_alias = values
    else:
        by_alias = {alias: [row[alias] for row in values] for alias in signature.outputs}
    return {alias: _reply_array(by_alias[alias], spec) for alias, spec in signature.outputs.items()}


def _reply_array(value: Any, spec: TensorSpec) -> np.ndarray:
    if spec.dtype != "string":
        return np.asarray(value, dtype=spec.numpy_dtype)
    return np.asarray(_bytes(value), dtype=object)


def _bytes(value: Any) -> Any:
    if isinstance(value, list):
        return [_bytes(item) for item in value]
    if isinstance(value, dict):
        return base64.b64decode(value["b64"])
    return value.encode("utf-8", "surrogateescape")


def _ask_grpc(question: Question, server: Server, signature: Signature, inputs: Mapping[str, np.ndarray]) -> Reply:
    import grpc
    from tensorflow_serving.apis.predict_pb2 import PredictRequest
    from tensorflow_serving.apis.prediction_service_pb2_grpc import PredictionServiceStub

    if server.grpc_target is None:
        raise ServingError(Code.FAILED_PRECONDITION, "gRPC is off", hint="%tfs_serve … --port=8500")
    spec = question.spec
    request = PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = spec.name, signature.name
    if spec.version is not None:
        request.model_spec.version.value = spec.version
    elif spec.label is not None:
        request.model_spec.version_label = spec.label
    for alias, array in inputs.items():
        request.inputs[alias].CopyFrom(from_array(array))
    with _channel(server.grpc_target, server.tls) as channel:
        try:
            reply = PredictionServiceStub(channel).Predict(request, metadata=(("authorization", server.options.token),))
        except grpc.RpcError as refused:
            raise ServingError(Code(refused.code().value[0]), refused.details() or "") from None
    outputs = {alias: to_array(alias, proto) for alias, proto in reply.outputs.items()}
    return Reply(reply.model_spec.version.value, outputs)


def _channel(target: str, tls: Tls | None) -> grpc.Channel:
    """A channel that trusts the server's own certificate alone, by the name `localhost` or that of the target."""
    import grpc

    if tls is None:
        return grpc.insecure_channel(target, options=_CHANNEL)
    if tls.client_verify:
        raise ServingError(
            Code.FAILED_PRECONDITION,
            "gRPC demands a certificate of its clients (client_verify), and this one has none",
            hint="Ask with --via rest, or from a program that has a certificate.",
        )
    credentials = grpc.ssl_channel_credentials(root_certificates=tls.certificate.encode())
    return grpc.secure_channel(target, credentials, options=_CHANNEL)
