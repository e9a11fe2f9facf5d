"""grpc.health.v1.Health as TensorFlow Serving answers it, and NOT_SERVING once the server drains.

It has threads of its own, so that a probe is answered while every other thread runs a model; no lock is held while
something is sent, so that a watcher who does not read holds nobody else up.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import grpc
from grpc_health.v1 import health_pb2

from tfs_notebook.api.grpc.background import Aside
from tfs_notebook.api.grpc.rpc import GrpcPool

if TYPE_CHECKING:
    from collections.abc import Callable

    Send = Callable[[health_pb2.HealthCheckResponse | None], None]

HEALTH = "grpc.health.v1.Health"
NAMES = frozenset({"", "ModelService", "PredictionService"})
"""What can be asked for: TensorFlow Serving knows its services by their short names."""
_Status = health_pb2.HealthCheckResponse
_CHECK_THREADS = 2
_WATCH_THREADS = 2


class Health:
    """The health of one gRPC server."""

    def __init__(self) -> None:
        self._status = _Status.SERVING
        self._watchers: dict[Send, bool] = {}
        self._checks = GrpcPool(_CHECK_THREADS, thread_name_prefix="tfs-grpc-health")
        self._watches = GrpcPool(_WATCH_THREADS, thread_name_prefix="tfs-grpc-health-watch")

    def methods(self) -> dict[str, grpc.RpcMethodHandler[Any, Any]]:
        """What is called by which name."""
        types = {
            "request_deserializer": health_pb2.HealthCheckRequest.FromString,
            "response_serializer": _Status.SerializeToString,
        }
        watch = Aside(self._watch, self._watches, non_blocking=True)
        return {
            f"/{HEALTH}/Check": grpc.unary_unary_rpc_method_handler(Aside(self._check, self._checks), **types),
            f"/{HEALTH}/Watch": grpc.unary_stream_rpc_method_handler(watch, **types),
        }

    def drain(self) -> None:
        """Tell the watchers NOT_SERVING and end their streams, which would keep the server from ending."""
        self._status = _Status.NOT_SERVING
        if self._watchers:
            with contextlib.suppress(RuntimeError):  # the interpreter ends, and begins no more threads
                self._watches.submit(self._end_watches)

    def close(self) -> None:
        """Let the threads end."""
        self._checks.shutdown(wait=False)
        self._watches.shutdown(wait=False)

    def _check(self, request: health_pb2.HealthCheckRequest, context: grpc.ServicerContext) -> Any:
        if request.service not in NAMES:
            context.abort(grpc.StatusCode.NOT_FOUND, "service name unknown")
        return _Status(status=self._status)

    def _watch(
        self, request: health_pb2.HealthCheckRequest, context: grpc.ServicerContext, send_response_callback: Send
    ) -> None:
        known = request.service in NAMES
        self._watchers[send_response_callback] = known
        if not context.add_callback(lambda: self._forget(send_response_callback)):
            self._forget(send_response_callback)  # the caller has gone already
        send_response_callback(_Status(status=self._status if known else _Status.SERVICE_UNKNOWN))
        if self._status == _Status.NOT_SERVING:
            self._end(send_response_callback)

    def _forget(self, watcher: Send) -> None:
        self._watchers.pop(watcher, None)

    def _end_watches(self) -> None:
        for watcher in list(self._watchers):
            self._end(watcher)

    def _end(self, watcher: Send) -> None:
        known = self._watchers.pop(watcher, None)
        if known:
            watcher(_Status(status=_Status.NOT_SERVING))
        if known is not None:  # a stream can be ended once
            watcher(None)
