"""Server reflection: tools such as grpcurl ask a server for its services and their messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2
from tensorflow_serving.apis import model_service_pb2, prediction_service_pb2  # noqa: F401 - what is described

from tfs_notebook.api.grpc.background import Aside
from tfs_notebook.api.grpc.rpc import GrpcPool

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_THREADS = 4
"""A stream keeps one for as long as its caller likes."""


class Reflection:
    """Describes `services`, whose messages must have been imported, and itself."""

    def __init__(self, services: Iterable[str]) -> None:
        self._servicer: Any = reflection.ReflectionServicer((*services, reflection.SERVICE_NAME))
        self._pool = GrpcPool(_THREADS, thread_name_prefix="tfs-grpc-reflection")
        self._streams: set[Any] = set()

    def methods(self) -> dict[str, grpc.RpcMethodHandler[Any, Any]]:
        """What is called by which name."""
        handler = grpc.stream_stream_rpc_method_handler(
            Aside(self._describe, self._pool),
            request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
            response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
        )
        return {f"/{reflection.SERVICE_NAME}/ServerReflectionInfo": handler}

    def drain(self) -> None:
        """End the streams, which would keep the server from ending."""
        for context in list(self._streams):
            context.cancel()

    def close(self) -> None:
        """Let the threads end."""
        self._pool.shutdown(wait=False)

    def _describe(self, requests: Iterator[Any], context: Any) -> Iterator[Any]:
        self._streams.add(context)
        try:
            yield from self._servicer.ServerReflectionInfo(requests, context)
        finally:
            self._streams.discard(context)
