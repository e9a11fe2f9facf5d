"""What every gRPC method does alike: counting its requests, and saying errors as TensorFlow Serving does."""

from __future__ import annotations

import logging
from concurrent.futures import CancelledError
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.message import DecodeError

from tfs_notebook.api.calls.model_spec import ModelSpec
from tfs_notebook.errors import Code, ServingError, invalid_argument

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from tensorflow_serving.apis import model_pb2

    from tfs_notebook.api.grpc.options import GrpcOptions
    from tfs_notebook.api.metrics.metrics import Metrics

_log = logging.getLogger(__name__)
_STATUS = {code.value[0]: code for code in grpc.StatusCode}
MAX_MESSAGE = 2**31 - 1
"""Bytes of a message at most."""
_MAX_DETAILS = 1024
_MAX_SECONDS = 1e9
_COUNTED = {"PredictRequest": "Predict", "ClassificationRequest": "Classify", "RegressionRequest": "Regress"}
"""The requests that TensorFlow Serving counts, and its name of their API."""


class Answers:
    """How calls are answered, by the options of the moment."""

    def __init__(self, metrics: Metrics, options: Callable[[], GrpcOptions]) -> None:
        self._metrics = metrics
        self._options = options

    def counting(self, request: Any) -> AbstractContextManager[object]:
        """Counts, from now to the end of a `with`, a request of a kind that is counted; None is of no kind."""
        api = _COUNTED.get(type(request).__name__)
        if api and self._options().counted:
            return self._metrics.request("GRPC", request.model_spec.name, api)
        return nullcontext()

    def answer(
        self,
        counting: AbstractContextManager[object],
        work: Callable[[grpc.ServicerContext], Any],
        context: grpc.ServicerContext,
    ) -> Any:
        """What `work` returns; ends the call with the status of what it raises."""
        try:
            with counting:
                return work(context)
        except ServingError as error:
            code, message = error.code, error.message
        except CancelledError:
            code, message = Code.UNAVAILABLE, "The server is stopping"
        except MemoryError:
            code, message = Code.RESOURCE_EXHAUSTED, "Not enough memory for this request"
        except DecodeError:
            code, message = Code.INTERNAL, "Exception deserializing request!"  # in grpcio's words
        except Exception as error:
            _log.exception("A request")
            code, message = Code.INTERNAL, f"{type(error).__name__}: {error}"
        return context.abort(_STATUS[int(code)], _cut(message))


def spec_of(request: Any) -> ModelSpec:
    """Which model a request is for. Raises ServingError INVALID_ARGUMENT when it does not say."""
    if not request.HasField("model_spec"):
        raise invalid_argument("Missing ModelSpec")
    spec: model_pb2.ModelSpec = request.model_spec
    chosen = spec.WhichOneof("version_choice")
    return ModelSpec(
        spec.name,
        version=spec.version.value if chosen == "version" else None,
        label=spec.version_label if chosen == "version_label" else None,
    )


def time_remaining(context: grpc.ServicerContext) -> float | None:
    """Seconds to the caller's deadline, None without one: grpcio then says some hundred thousand years."""
    remaining = context.time_remaining()
    return None if remaining is None or remaining > _MAX_SECONDS else remaining


def _cut(message: str) -> str:
    encoded = message.encode(errors="replace")
    if len(encoded) <= _MAX_DETAILS:
        return encoded.decode()
    return encoded[:_MAX_DETAILS].decode(errors="ignore") + "...TRUNCATED"
