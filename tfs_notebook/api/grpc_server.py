"""gRPC: TensorFlow Serving's PredictionService and ModelService on a thread pool.

The threaded server has the lower latency and the higher throughput of grpcio's two. Handlers are registered by method
name on the messages of tensorflow-serving-api, so that unmodified clients find what they expect.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from concurrent.futures import CancelledError
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

os.environ.setdefault("GRPC_VERBOSITY", "ERROR")  # else `!command` in a cell prints grpc's notice about forks

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

from tfs_notebook.api.auth import token_matches
from tfs_notebook.api.classification_messages import (
    classification_response,
    multi_inference_response,
    regression_response,
)
from tfs_notebook.api.grpc_tls import credentials
from tfs_notebook.api.health import HEALTH, Health
from tfs_notebook.api.inference import ModelSpec, check_names, unknown_signature
from tfs_notebook.api.pool import Pool
from tfs_notebook.api.proto_codec import encode_outputs, to_array
from tfs_notebook.api.reflection import Reflection
from tfs_notebook.api.request_records import log_message
from tfs_notebook.api.status_messages import model_spec, signature_def_map, status_message
from tfs_notebook.engine.signature import DEFAULT_SIGNATURE
from tfs_notebook.errors import Code, ServingError, invalid_argument

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from concurrent.futures import Future

    from tensorflow_serving.apis import model_pb2
    from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

    from tfs_notebook.api.inference import Call, Inference
    from tfs_notebook.api.metrics import Metrics
    from tfs_notebook.channel_arguments import ChannelArguments
    from tfs_notebook.engine.counters import Labels
    from tfs_notebook.tls import Tls

_log = logging.getLogger(__name__)
_STATUS = {code.value[0]: code for code in grpc.StatusCode}
_MAX_MESSAGE = 2**31 - 1
_MAX_DETAILS = 1024
_LONGEST_SECONDS = 1e9
_COUNTED = {"PredictRequest": "Predict", "ClassificationRequest": "Classify", "RegressionRequest": "Regress"}
"""The requests that TensorFlow Serving counts, and its name of their API."""
DEFAULT_RELOAD_SECONDS = 60.0
SERVICES = ("tensorflow.serving.PredictionService", "tensorflow.serving.ModelService")


@dataclass(frozen=True, slots=True, kw_only=True)
class GrpcOptions:
    """How the gRPC front end listens. `port` 0 picks a free one; with a `socket_path` it listens there instead.

    `arguments` overrule the server's own; `health` answers grpc.health.v1.Health; `counted` puts requests into the
    metrics.
    """

    host: str = "127.0.0.1"
    port: int = 0
    token: str = field(default="", repr=False)
    threads: int = 8
    tensor_content: bool = False
    counted: bool = False
    socket_path: str = ""
    tls: Tls | None = None
    arguments: ChannelArguments = ()
    health: bool = False


class GrpcServer:
    """The gRPC front end of one `Inference`; `reload` begins to apply a ModelServerConfig within so many seconds."""

    def __init__(
        self,
        inference: Inference,
        metrics: Metrics,
        reload: Callable[[ModelServerConfig, float], Future[None]],
        options: GrpcOptions,
    ) -> None:
        self.options = options
        self._inference = inference
        self._metrics = metrics
        self._reload = reload
        self._pool = Pool(max(options.threads, 1), thread_name_prefix="tfs-grpc")
        # so_reuseport lets a second process listen on the same port without an error
        arguments = {
            "grpc.so_reuseport": 0,
            "grpc.max_receive_message_length": _MAX_MESSAGE,
            "grpc.max_send_message_length": -1,
            **dict(options.arguments),
        }
        self._server = grpc.server(self._pool, options=list(arguments.items()))
        self._health = Health()
        self._reflection = Reflection((*SERVICES, *([HEALTH] if options.health else [])))
        self._server.add_generic_rpc_handlers((_Services(self),))
        self._stopped = threading.Event()
        self.listening = False
        """Whether new connections are accepted."""
        self.port = 0

    def listens_as(self, wanted: GrpcOptions) -> bool:
        """Whether this listens where `wanted` asks to, so that only `options` need to be replaced."""
        mine = self.options
        fixed = replace(
            wanted,
            port=mine.port,
            token=mine.token,
            threads=mine.threads,
            tensor_content=mine.tensor_content,
            counted=mine.counted,
        )
        return fixed == mine and wanted.port in {self.port, mine.port}

    def stands_at(self, wanted: GrpcOptions) -> bool:
        """Whether this has the port, on whatever interface, or the socket that `wanted` asks for."""
        if wanted.socket_path or self.options.socket_path:
            return wanted.socket_path == self.options.socket_path
        return wanted.port == self.port

    def resize(self) -> None:
        """Have as many threads as the options say now."""
        self._pool.resize(self.options.threads)

    def start(self) -> None:
        """Listen. Raises OSError when the port or the socket is taken, or grpc cannot use the key material."""
        options, tls = self.options, self.options.tls
        host = f"[{options.host}]" if ":" in options.host else options.host
        address = f"unix:{quote(options.socket_path)}" if options.socket_path else f"{host}:{options.port}"
        try:
            if tls is None:
                bound = self._server.add_insecure_port(address)
            else:
                bound = self._server.add_secure_port(address, credentials(tls))
        except RuntimeError as error:
            raise OSError(str(error)) from None
        self.port = 0 if options.socket_path else bound
        self._server.start()
        self.listening = True

    def stop_listening(self, grace: float = 5.0) -> None:
        """Take no more requests; those under way have `grace` seconds. Returns at once."""
        self.listening = False
        self._health.drain()
        self._reflection.drain()
        try:
            self._stopped = self._server.stop(grace)
        except RuntimeError:  # the interpreter ends, and begins no more threads
            self._stopped = self._server.stop(None)

    async def close(self, grace: float = 5.0) -> None:
        """Take no more requests, finish those under way within `grace` seconds; when cancelled, give them up."""
        self.stop_listening(grace)
        deadline = time.monotonic() + grace + 1.0
        try:
            while not self._stopped.is_set() and time.monotonic() < deadline:  # noqa: ASYNC110 - a thread sets it
                await asyncio.sleep(0.01)
        finally:
            self._server.stop(None)
            self._pool.shutdown(wait=False)
            self._health.close()
            self._reflection.close()

    def methods(self) -> dict[str, grpc.RpcMethodHandler[Any, Any]]:
        """What is called by which name."""
        prediction, model = "/tensorflow.serving.PredictionService/", "/tensorflow.serving.ModelService/"
        return {
            f"{prediction}Predict": self._method(self._predict, predict_pb2.PredictRequest),
            f"{prediction}Classify": self._method(self._classify, classification_pb2.ClassificationRequest),
            f"{prediction}Regress": self._method(self._regress, regression_pb2.RegressionRequest),
            f"{prediction}MultiInference": self._method(self._multi_inference, inference_pb2.MultiInferenceRequest),
            f"{prediction}GetModelMetadata": self._method(self._metadata, metadata_pb2.GetModelMetadataRequest),
            f"{model}GetModelStatus": self._method(self._status, status_pb2.GetModelStatusRequest),
            f"{model}HandleReloadConfigRequest": self._method(self._reload_config, management_pb2.ReloadConfigRequest),
            **self._reflection.methods(),
            **self.open_methods(),
        }

    def open_methods(self) -> dict[str, grpc.RpcMethodHandler[Any, Any]]:
        """The methods among them that need no token: probes have none, and learn nothing but that this serves."""
        return self._health.methods() if self.options.health else {}

    def _method(self, answer: Callable[[Any, grpc.ServicerContext], Any], request_type: Any) -> Any:
        api = _COUNTED.get(request_type.DESCRIPTOR.name)

        def handle(request: Any, context: grpc.ServicerContext) -> Any:
            try:
                if api and self.options.counted:
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
        reply = encode_outputs(outputs, as_content=self.options.tensor_content) + spec
        if len(reply) > _MAX_MESSAGE:
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
        within = DEFAULT_RELOAD_SECONDS if timeout is None else max(timeout * 0.9, timeout - 0.5)
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


class _Services(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # generic in its stubs only
    """Finds the method that is called; without the token none of its message is read."""

    def __init__(self, server: GrpcServer) -> None:
        self._server = server
        self._methods = server.methods()
        self._open_methods = server.open_methods()

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        token = self._server.options.token
        if token and not _authorized(details.invocation_metadata, token):
            return self._open_methods.get(details.method) or _UNAUTHORIZED
        return self._methods.get(details.method)


def _refuse(_messages: Any, context: grpc.ServicerContext) -> Any:
    return context.abort(grpc.StatusCode.UNAUTHENTICATED, "Missing or wrong token in the metadata 'authorization'")


_UNAUTHORIZED: grpc.RpcMethodHandler[Any, Any] = grpc.stream_unary_rpc_method_handler(_refuse)


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


def _authorized(metadata: Iterable[tuple[str, str | bytes]], token: str) -> bool:
    return any(token_matches(value, token) for key, value in metadata if key == "authorization")


def _time_remaining(context: grpc.ServicerContext) -> float | None:
    """Seconds to the caller's deadline, None without one: grpcio then says some hundred thousand years."""
    remaining = context.time_remaining()
    return None if remaining is None or remaining > _LONGEST_SECONDS else remaining


def _cut(message: str) -> str:
    encoded = message.encode(errors="replace")
    if len(encoded) <= _MAX_DETAILS:
        return encoded.decode()
    return encoded[:_MAX_DETAILS].decode(errors="ignore") + "...TRUNCATED"
