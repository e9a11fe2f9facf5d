"""TensorFlow Serving's PredictionService and ModelService over gRPC: what is called by which name, and what it answers.

Handlers are registered by method name on the messages of tensorflow-serving-api, so that unmodified clients find what
they expect.
"""

from __future__ import annotations

from contextlib import closing
from functools import partial
from time import perf_counter
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

from tfs_notebook.api.calls.call import Asking
from tfs_notebook.api.calls.exchanges import Messages
from tfs_notebook.api.calls.model_spec import ModelSpec
from tfs_notebook.api.classification_messages import (
    classification_response,
    multi_inference_response,
    regression_response,
)
from tfs_notebook.api.grpc.errors import Answers, spec_of, time_remaining
from tfs_notebook.api.grpc.predict import Predict
from tfs_notebook.api.status_messages import model_spec, signature_def_map, status_message
from tfs_notebook.errors import invalid_argument

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import Future

    from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

    from tfs_notebook.api.calls.call import Call
    from tfs_notebook.api.grpc.options import GrpcOptions
    from tfs_notebook.api.inference import Inference
    from tfs_notebook.api.metrics.metrics import Metrics
    from tfs_notebook.engine.metrics.counters import Labels

    Reload = Callable[[ModelServerConfig, float], Future[None]]

_DEFAULT_RELOAD_SECONDS = 60.0
SERVICES = ("tensorflow.serving.PredictionService", "tensorflow.serving.ModelService")


class GrpcApi:
    """Answers calls by the options of the moment."""

    def __init__(
        self, inference: Inference, metrics: Metrics, reload: Reload, options: Callable[[], GrpcOptions]
    ) -> None:
        """`reload` begins to apply a ModelServerConfig within so many seconds."""
        self._inference = inference
        self._metrics = metrics
        self._reload = reload
        self._answers = Answers(metrics, options)
        self._predict = Predict(inference, self._answers, options)

    def methods(self) -> dict[str, grpc.RpcMethodHandler[Any, Any]]:
        """What is called by which name."""
        prediction, model = (f"/{service}/" for service in SERVICES)
        return {
            f"{prediction}Predict": _handler(self._predict, predict_pb2.PredictRequest),
            f"{prediction}Classify": self._method(self._classify, classification_pb2.ClassificationRequest),
            f"{prediction}Regress": self._method(self._regress, regression_pb2.RegressionRequest),
            f"{prediction}MultiInference": self._method(self._multi_inference, inference_pb2.MultiInferenceRequest),
            f"{prediction}GetModelMetadata": self._method(self._metadata, metadata_pb2.GetModelMetadataRequest),
            f"{model}GetModelStatus": self._method(self._status, status_pb2.GetModelStatusRequest),
            f"{model}HandleReloadConfigRequest": self._method(self._reload_config, management_pb2.ReloadConfigRequest),
        }

    def _method(self, answer: Callable[[Any, grpc.ServicerContext], Any], request_type: Any) -> Any:
        def behavior(request: Any, context: grpc.ServicerContext) -> Any:
            return self._answers.answer(self._answers.counting(request), partial(answer, request), context)

        return _handler(behavior, request_type)

    def _classify(self, request: Any, context: grpc.ServicerContext) -> Any:
        with self._inference.open(spec_of(request), *_asking("Classify", request)) as call:
            return _said(call, request, classification_response(call, request, time_remaining(context)))

    def _regress(self, request: Any, context: grpc.ServicerContext) -> Any:
        with self._inference.open(spec_of(request), *_asking("Regress", request)) as call:
            return _said(call, request, regression_response(call, request, time_remaining(context)))

    def _multi_inference(self, request: Any, context: grpc.ServicerContext) -> Any:
        """The first task's model spec decides which version answers all of them."""
        first = request.tasks[0] if request.tasks else None
        spec = spec_of(first) if first and first.HasField("model_spec") else ModelSpec("")
        with self._inference.open(spec, *_asking("MultiInference", *request.tasks)) as call:
            return _said(call, request, multi_inference_response(call, request, time_remaining(context)))

    def _metadata(self, request: Any, _context: grpc.ServicerContext) -> Any:
        if not request.metadata_field:
            raise invalid_argument("GetModelMetadataRequest must specify at least one metadata_field")
        for name in request.metadata_field:
            if name != "signature_def":
                raise invalid_argument(f"Metadata field {name} is not supported")
        with closing(self._inference.open(spec_of(request))) as call:
            response = metadata_pb2.GetModelMetadataResponse(model_spec=model_spec(call.model, call.version))
            response.metadata["signature_def"].Pack(signature_def_map(call.signature_def))
        return response

    def _status(self, request: Any, _context: grpc.ServicerContext) -> Any:
        spec = spec_of(request)
        return status_message(self._inference.status(spec.name, spec.version))

    def _reload_config(self, request: Any, context: grpc.ServicerContext) -> Any:
        if request.config.WhichOneof("config") != "model_config_list":
            raise invalid_argument(
                "ServerModelConfig type not supported by HandleReloadConfigRequest. "
                "Only ModelConfigList is currently supported"
            )
        # A caller with a deadline is to hear the reason, not just that it is over
        timeout = time_remaining(context)
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


def _asking(method: str, *asked: Any) -> tuple[Asking, list[str], float]:
    """What is asked now: by which method, which signature by each of what is `asked`, and when that is."""
    return Asking("grpc", method), [each.model_spec.signature_name for each in asked], perf_counter()


def _said(call: Call, request: Any, reply: Any) -> bytes:
    """`reply`, serialized; observers may know both."""
    serialized = _serialized(reply)
    if call.wants_tensors:
        call.exchange = Messages(request, serialized)
    return serialized


def _handler(behavior: Callable[[Any, grpc.ServicerContext], Any], request_type: Any) -> Any:
    return grpc.unary_unary_rpc_method_handler(
        behavior, request_deserializer=request_type.FromString, response_serializer=_serialized
    )


def _serialized(reply: Any) -> bytes:
    return reply if isinstance(reply, bytes) else bytes(reply.SerializeToString())


def _growth(before: Mapping[Labels, int], after: Mapping[Labels, int]) -> int:
    """By how much the first series of a counter has grown, 0 without any."""
    first = next(iter(after), None)
    return 0 if first is None else after[first] - before.get(first, 0)


def _cancel(future: Future[None]) -> None:
    future.cancel()
