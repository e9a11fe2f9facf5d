"""TensorFlow Serving's PredictionService and ModelService over gRPC: what is called by which name, and what it answers.

Handlers are registered by method name on the messages of tensorflow-serving-api, so that unmodified clients find what
they expect.
"""

from __future__ import annotations

import logging
from concurrent.futures import CancelledError
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import grpc
from tensorflow_serving.apis import (
    classification_pb2,
    inference_pb2,
    predict_pb2,
    regression_pb2,
)
from tensorflow_serving.apis import (
    get_model_metadata_pb2 as metadata_pb2,
)
from tensorflow_serving.apis import (
    get_model_status_pb2 as status_pb2,
)
from tensorflow_serving.apis import (
    model_management_pb2 as management_pb2,
)

from tfs_notebook.api.classification_messages import (
    classification_response,
    multi_inference_response,
    regression_response,
)
from tfs_notebook.api.inference import ModelSpec, check_names, unknown_signature
from tfs_notebook.api.proto_codec import encode_outputs, to_array
from tfs_notebook.api.request_records import log_message
from tfs_notebook.api.status_messages import model_spec, signature_def_map, status_message
from tfs_notebook.engine.signature import DEFAULT_SIGNATURE
from tfs_notebook.errors import Code, ServingError, invalid_argument

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import Future

    from tensorflow_serving.apis import model_pb2
    from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

    from tfs_notebook.api.grpc_server import GrpcServer
    from tfs_notebook.api.inference import Call, Inference
    from tfs_notebook.api.metrics import Metrics
    from tfs_notebook.engine.counters import Labels

    Reload = Callable[[ModelServerConfig, float], Future[None]]

_log = logging.getLogger(__name__)
_STATUS = {code.value[0]: code for code in grpc.StatusCode}
MAX_MESSAGE = 2**31 - 1
"""Bytes of a message at most."""
_MAX_DETAILS = 1024
_LONGEST_SECONDS = 1e9
_COUNTED = {"PredictRequest": "Predict", "ClassificationRequest": "Classify", "RegressionRequest": "Regress"}
"""The requests that TensorFlow Serving counts, and its name of their API."""
_DEFAULT_RELOAD_SECONDS = 60.0
SERVICES = ("tensorflow.serving.PredictionService", "tensorflow.serving.ModelService")


class GrpcApi:
    """Answers the calls to one `server` by its options of the moment."""

    def __init__(self, inference: Inference, metrics: Metrics, reload: Reload, server: GrpcServer) -> None:
        """`reload` begins to apply a ModelServerConfig within so many seconds."""
        self._inference = inference
        self._metrics = metrics
        self._reload = reload
        self._server = server

    def methods(self) -> dict[str, grpc.RpcMethodHandler[Any, Any]]:
        """What is called by which name."""
        prediction, model = (f"/{service}/" for service in SERVICES)
        return {
            f"{prediction}Predict": self._method(self._predict, predict_pb2.PredictRequest),
            f"{prediction}Classify": self._method(self._classify, classification_pb2.ClassificationRequest),
            f"{prediction}Regress": self._method(self._regress, regression_pb2.RegressionRequest),
            f"{prediction}MultiInference": self._method(self._multi_inference, inference_pb2.MultiInferenceRequest),
            f"{prediction}GetModelMetadata": self._method(self._metadata, metadata_pb2.GetModelMetadataRequest),
            f"{model}GetModelStatus": self._method(self._status, status_pb2.GetModelStatusRequest),
            f"{model}HandleReloadConfigRequest": self._method(self._reload_config, management_pb2.ReloadConfigRequest),
        }

    def _method(self, answer: Callable[[Any, grpc.ServicerContext], Any], request_type: Any) -> Any:
        api = _COUNTED.get(request_type.DESCRIPTOR.name)

        def handle(request: Any, context: grpc.ServicerContext) -> Any:
            try:
                if api and self._server.options.counted:
                    with self._metrics.request("GRPC", request.model_spec.name, api):
                        return answer(request, context)
                return answer(request, context)
            except ServingError as error:
                code, message = error.code, error.message
            except CancelledError:
                code, message = Code.UNAVAILABLE, "The server is stopping"
            except MemoryError:
                code, message = Code.RESOURCE_EXHAUSTED, "Not enough memory for this request"
            except Exception as error:
                _log.exception("%s", type(request).__name__)
                code, message = Code.INTERNAL, f"{type(error).__name__}: {error}"
            return context.abort(_STATUS[int(code)], _cut(message))

        return grpc.unary_unary_rpc_method_handler(
            handle,
            request_deserializer=request_type.FromString,
            response_serializer=_serialized,
        )

    def _predict(self, request: Any, context: grpc.ServicerContext) -> bytes:
        asked = request.model_spec
        with self._inference.open(_spec(request)) as call:
            signature = call.signature(asked.signature_name)
            if signature is None:
                raise unknown_signature(asked.signature_name)
            sent = request.inputs
            if len(sent) != len(signature.inputs) or any(alias not in sent for alias in signature.inputs):
                check_names(signature, sent)
            inputs = {alias: to_array(alias, proto) for alias, proto in sent.items()}
            timeout = _time_remaining(context)
            outputs = call.predict(signature, inputs, output_filter=request.output_filter, timeout=timeout)
            spec = _spec_only(asked.name, call.version, asked.signature_name or DEFAULT_SIGNATURE)
        reply = encode_outputs(outputs, as_content=self._server.options.tensor_content) + spec
        if len(reply) > MAX_MESSAGE:
            raise ServingError(Code.RESOURCE_EXHAUSTED, f"The reply of {len(reply)} bytes is too long for a message")
        if self._inference.logs:
            log_message(self._inference.logs, call, request, reply)
        return reply

    def _classify(self, request: Any, context: grpc.ServicerContext) -> Any:
        with self._inference.open(_spec(request)) as call:
            return self._logged(call, request, classification_response(call, request, _time_remaining(context)))

    def _regress(self, request: Any, context: grpc.ServicerContext) -> Any:
        with self._inference.open(_spec(request)) as call:
            return self._logged(call, request, regression_response(call, request, _time_remaining(context)))

    def _multi_inference(self, request: Any, context: grpc.ServicerContext) -> Any:
        """The first task's model spec decides which version answers all of them."""
        first = request.tasks[0] if request.tasks else None
        with self._inference.open(_spec(first) if first and first.HasField("model_spec") else ModelSpec("")) as call:
            return self._logged(call, request, multi_inference_response(call, request, _time_remaining(context)))

    def _logged(self, call: Call, request: Any, reply: Any) -> Any:
        """`reply`, of which the request log was told."""
        if self._inference.logs:
            log_message(self._inference.logs, call, request, reply)
        return reply

    def _metadata(self, request: Any, _context: grpc.ServicerContext) -> Any:
        if not request.metadata_field:
            raise invalid_argument("GetModelMetadataRequest must specify at least one metadata_field")
        for name in request.metadata_field:
            if name != "signature_def":
                raise invalid_argument(f"Metadata field {name} is not supported")
        with self._inference.open(_spec(request)) as call:
            response = metadata_pb2.GetModelMetadataResponse(model_spec=model_spec(call.model, call.version))
            response.metadata["signature_def"].Pack(signature_def_map(call.signature_def))
        return response

    def _status(self, request: Any, _context: grpc.ServicerContext) -> Any:
        spec = _spec(request)
        return status_message(self._inference.status(spec.name, spec.version))

    def _reload_config(self, request: Any, context: grpc.ServicerContext) -> Any:
        if request.config.WhichOneof("config") != "model_config_list":
            raise invalid_argument(
                "ServerModelConfig type not supported by HandleReloadConfigRequest. "
                "Only ModelConfigList is currently supported"
            )
        # A caller with a deadline is to hear the reason, not just that it is over
        timeout = _time_remaining(context)
        within = _DEFAULT_RELOAD_SECONDS if timeout is None else max(timeout * 0.9, timeout - 0.5)
        before = {name: self._metrics.counts(name) for name in request.metric_names}
        reloading = self._reload(request.config, within)
        # A caller who has gone keeps no thread; the models come up all the same
        context.add_callback(partial(_cancel, reloading))
        reloading.result()
        response = management_pb2.ReloadConfigResponse()
        response.status.SetInParent()
        for name in request.metric_names:
            response.metric.add(name=name, int64_value_increase=_growth(before[name], self._metrics.counts(name)))
        return response


def _serialized(reply: Any) -> bytes:
    return reply if isinstance(reply, bytes) else bytes(reply.SerializeToString())


@lru_cache(maxsize=1024)
def _spec_only(name: str, version: int, signature_name: str) -> bytes:
    """A PredictResponse without outputs, for those that precede it."""
    spec: bytes = predict_pb2.PredictResponse(model_spec=model_spec(name, version, signature_name)).SerializeToString()
    return spec


def _growth(before: Mapping[Labels, int], after: Mapping[Labels, int]) -> int:
    """By how much the first series of a counter has grown, 0 without any."""
    first = next(iter(after), None)
    return 0 if first is None else after[first] - before.get(first, 0)


def _cancel(future: Future[None]) -> None:
    future.cancel()


def _spec(request: Any) -> ModelSpec:
    if not request.HasField("model_spec"):
        raise invalid_argument("Missing ModelSpec")
    spec: model_pb2.ModelSpec = request.model_spec
    chosen = spec.WhichOneof("version_choice")
    return ModelSpec(
        spec.name,
        version=spec.version.value if chosen == "version" else None,
        label=spec.version_label if chosen == "version_label" else None,
    )


def _time_remaining(context: grpc.ServicerContext) -> float | None:
    """Seconds to the caller's deadline, None without one: grpcio then says some hundred thousand years."""
    remaining = context.time_remaining()
    return None if remaining is None or remaining > _LONGEST_SECONDS else remaining


def _cut(message: str) -> str:
    encoded = message.encode(errors="replace")
    if len(encoded) <= _MAX_DETAILS:
        return encoded.decode()
    return encoded[:_MAX_DETAILS].decode(errors="ignore") + "...TRUNCATED"
