"""Predict over gRPC: one known to be short is answered where its message arrives, others on the pool or by a batch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache, partial
from time import perf_counter
from typing import TYPE_CHECKING, Any

from tensorflow_serving.apis import predict_pb2

from tfs_notebook.api.calls.call import Asking
from tfs_notebook.api.calls.exchanges import Messages
from tfs_notebook.api.calls.names import check_names, unknown_signature
from tfs_notebook.api.dispatch.place import Place, place
from tfs_notebook.api.dispatch.thresholds import GRPC, LARGE_REQUEST_BYTES
from tfs_notebook.api.grpc.errors import MAX_MESSAGE, spec_of, time_remaining
from tfs_notebook.api.status_messages import model_spec
from tfs_notebook.api.tensor_proto import encode_outputs, to_array
from tfs_notebook.engine.models.signature import DEFAULT_SIGNATURE
from tfs_notebook.errors import Code, ServingError

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    import grpc
    import numpy as np

    from tfs_notebook.api.calls.call import Begun, Call
    from tfs_notebook.api.grpc.errors import Answers
    from tfs_notebook.api.grpc.options import GrpcOptions
    from tfs_notebook.api.grpc.rpc import Rpc
    from tfs_notebook.api.inference import Inference
    from tfs_notebook.engine.models.signature import Signature

_ASKING = Asking("grpc", "Predict")


class Predict:
    """The behaviour of the method Predict."""

    def __init__(self, inference: Inference, answers: Answers, options: Callable[[], GrpcOptions]) -> None:
        self._inference = inference
        self._answers = answers
        self._options = options

    def __call__(self, request: Any, context: grpc.ServicerContext) -> Any:
        """The reply; waits for it."""
        return self._answer(request, perf_counter(), context)

    def _answer(self, request: Any, received: float, context: grpc.ServicerContext) -> Any:
        return self._answers.answer(self._answers.counting(request), partial(self._whole, request, received), context)

    def _whole(self, request: Any, received: float, context: grpc.ServicerContext) -> bytes:
        with self._open(request, received) as call:
            return self._run(_Asked(request, call, *_inputs(call, request)), context)

    def _open(self, request: Any, received: float) -> Call:
        return self._inference.open(spec_of(request), _ASKING, (request.model_spec.signature_name,), received)

    def begin(self, message: bytes, rpc: Rpc) -> None:
        """Answer `rpc`, here or later."""
        received = perf_counter()
        if len(message) > LARGE_REQUEST_BYTES:
            rpc.finish_in_pool(partial(self._unread, message, received), _nothing)
            return
        counting, call = self._answers.counting(None), None
        try:
            request = predict_pb2.PredictRequest.FromString(message)
            counting = self._answers.counting(request)
            call = self._open(request, received)
            self._place(_Asked(request, call, *_inputs(call, request)), counting, rpc)
        except Exception as error:
            if call is not None:
                call.end(error)
            rpc.finish(partial(self._answers.answer, counting, partial(_fail, error)), _nothing)

    def _unread(self, message: bytes, received: float, context: grpc.ServicerContext) -> Any:
        nothing = self._answers.counting(None)
        request = self._answers.answer(nothing, lambda _: predict_pb2.PredictRequest.FromString(message), context)
        return self._answer(request, received, context)

    def _place(self, asked: _Asked, counting: AbstractContextManager[object], rpc: Rpc) -> None:
        seconds = asked.call.expected_seconds(asked.signature, asked.inputs)
        work = partial(self._answers.answer, counting, partial(self._run_and_end, asked))
        end = partial(_end, asked.call)
        # Messages come on several threads: whether others wait makes no difference to this one
        where = place(seconds, GRPC, alone=True, is_batched=asked.may_be_batched)
        if where is Place.AT_ONCE:
            rpc.finish(work, end)
        elif where is not Place.BATCH or not self._begin_batched(asked, counting, rpc):
            rpc.finish_in_pool(work, end, seconds)

    def _begin_batched(self, asked: _Asked, counting: AbstractContextManager[object], rpc: Rpc) -> bool:
        """Whether the call waits for its batch, whose thread answers; it leaves it when the caller goes."""
        over = False

        def when_over(begun: Begun) -> None:
            nonlocal over
            over = True
            work = partial(self._answers.answer, counting, partial(self._end_batched, asked, begun))
            rpc.finish(work, partial(_end, asked.call))

        def when_gone() -> None:
            if begun is not None and not over and begun.give_up():
                _end(asked.call)

        begun = asked.call.begin(asked.signature, asked.inputs, when_over, timeout=time_remaining(rpc.context))
        if begun is not None and not rpc.context.add_callback(when_gone):
            when_gone()
        return begun is not None

    def _end_batched(self, asked: _Asked, begun: Begun, _context: object) -> bytes:
        with asked.call:
            return self._reply(asked, begun.end())

    def _run_and_end(self, asked: _Asked, context: grpc.ServicerContext) -> bytes:
        with asked.call:
            return self._run(asked, context)

    def _run(self, asked: _Asked, context: grpc.ServicerContext) -> bytes:
        timeout, output_filter = time_remaining(context), asked.request.output_filter
        return self._reply(
            asked, asked.call.predict(asked.signature, asked.inputs, output_filter=output_filter, timeout=timeout)
        )

    def _reply(self, asked: _Asked, outputs: dict[str, np.ndarray]) -> bytes:
        model = asked.request.model_spec
        spec = _spec_only(model.name, asked.call.version, model.signature_name or DEFAULT_SIGNATURE)
        reply = encode_outputs(outputs, as_content=self._options().tensor_content) + spec
        if len(reply) > MAX_MESSAGE:
            raise ServingError(Code.RESOURCE_EXHAUSTED, f"The reply of {len(reply)} bytes is too long for a message")
        if asked.call.wants_tensors:
            asked.call.exchange = Messages(asked.request, reply)
        return reply


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request whose names are right, and the hold on the version that answers it."""

    request: Any
    call: Call
    signature: Signature
    inputs: dict[str, np.ndarray]

    @property
    def may_be_batched(self) -> bool:
        return self.call.is_batched and not self.request.output_filter


def _inputs(call: Call, request: Any) -> tuple[Signature, dict[str, np.ndarray]]:
    """The signature that is asked for, and its inputs by alias."""
    name, sent = request.model_spec.signature_name, request.inputs
    signature = call.signature(name)
    if signature is None:
        raise unknown_signature(name)
    if len(sent) != len(signature.inputs) or any(alias not in sent for alias in signature.inputs):
        check_names(signature, sent)
    inputs = {alias: to_array(alias, proto) for alias, proto in sent.items()}
    call.parsed = perf_counter()
    return signature, inputs


def _nothing(_refusal: ServingError | None = None) -> None:
    pass


def _end(call: Call, refusal: ServingError | None = None) -> None:
    """End `call` unless it has ended: it was not run, because of `refusal` or as its caller has gone."""
    call.end(refusal or ServingError(Code.CANCELLED, "The caller has gone"))


def _fail(error: Exception, _context: object) -> bytes:
    raise error


@lru_cache(maxsize=1024)
def _spec_only(name: str, version: int, signature_name: str) -> bytes:
    """A PredictResponse without outputs, for those that precede it."""
    spec: bytes = predict_pb2.PredictResponse(model_spec=model_spec(name, version, signature_name)).SerializeToString()
    return spec
