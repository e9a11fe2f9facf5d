"""TensorFlow Serving's REST API: what is answered to requests under /v1/, whatever HTTP server they came by.

Small bodies are read on the loop, and `dispatch.place` says where their calls run; what takes longer is read on the
pool, and large bodies one at a time.
"""

from __future__ import annotations

import asyncio
from contextlib import closing
from functools import partial
from math import inf
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeVar

from tfs_notebook.api import status_messages
from tfs_notebook.api.calls.call import Asking
from tfs_notebook.api.calls.exchanges import ArraysExchange, ExamplesExchange
from tfs_notebook.api.dispatch.batched import BatchedReply
from tfs_notebook.api.dispatch.place import Place, place
from tfs_notebook.api.dispatch.thresholds import HUGE_REQUEST_BYTES, LARGE_REQUEST_BYTES, REST, SMALL_COMPRESSED_BYTES
from tfs_notebook.api.json import codec as json_codec
from tfs_notebook.api.json.examples import ExamplesBody, encode_result, evaluate
from tfs_notebook.api.rest.body import inflated, inflated_at_once, is_compressed
from tfs_notebook.engine.models.signature import DEFAULT_SIGNATURE
from tfs_notebook.errors import invalid_argument

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import numpy as np

    from tfs_notebook.api.calls.call import Call
    from tfs_notebook.api.dispatch.executor import Executor
    from tfs_notebook.api.http.body_budget import BodyBudget
    from tfs_notebook.api.http.messages import Request
    from tfs_notebook.api.inference import Inference
    from tfs_notebook.api.rest.options import RestOptions
    from tfs_notebook.api.rest.routes import Route
    from tfs_notebook.engine.models.signature import Signature

T = TypeVar("T")

_ASKING = {action: Asking("rest", action.title()) for action in ("predict", "classify", "regress")}
_MIN_VALUE_BYTES = 256 << 20
"""Bytes that the values of a body may take however low its own limit is."""


class RestApi:
    """Answers requests by the options of the moment."""

    def __init__(
        self,
        inference: Inference,
        executor: Executor,
        bodies: BodyBudget,
        options: Callable[[], RestOptions],
        is_alone: Callable[[], bool],
    ) -> None:
        """`is_alone` tells that no request of another connection waits for the loop."""
        self._inference = inference
        self._executor = executor
        self._bodies = bodies
        self._options = options
        self._is_alone = is_alone

    def answer(self, request: Request, asked: Route) -> bytes | Awaitable[bytes]:
        """The reply, or what is to be awaited for it."""
        if asked.action == "status":
            return status_messages.status_json(self._inference.status(asked.spec.name, asked.spec.version))
        if asked.action == "metadata":
            with closing(self._inference.open(asked.spec)) as call:
                return status_messages.metadata_json(call.model, call.version, call.signature_def)
        if is_compressed(request):
            return self._answer_compressed(request, asked)
        if request.size > HUGE_REQUEST_BYTES:
            return self._executor.read_and_run(lambda: self._read(request, asked, request.take_body()))
        return self._answer(request, asked, request.take_body())

    def _answer(self, request: Request, asked: Route, body: bytes) -> bytes | Awaitable[bytes]:
        if asked.action == "predict":
            return self._predict(request, asked, body)
        return self._in_pool(self._whole, request, asked, body)

    def _answer_compressed(self, request: Request, asked: Route) -> bytes | Awaitable[bytes]:
        """What inflates to more than a little is read in the same step, so that nothing inflated waits in memory."""
        request.compressed = True
        body = request.take_body()
        plain = inflated_at_once(body, LARGE_REQUEST_BYTES) if len(body) <= SMALL_COMPRESSED_BYTES else None
        if plain is not None:
            return self._answer(request, asked, plain)
        request.add_body(body)
        del body
        most, budget = self._options().max_body_bytes, self._bodies
        return self._executor.read_and_run(lambda: self._read(request, asked, inflated(request, most, budget)))

    def _whole(self, request: Request, asked: Route, body: bytes) -> bytes:
        work, end = self._read(request, asked, body)
        try:
            return work()
        finally:
            end()

    def _read(self, request: Request, asked: Route, body: bytes) -> tuple[Callable[[], bytes], Callable[[], None]]:
        """What is to be done for a body, and what is to be called when it is over.

        For classify and regress it is read before the model is looked for.
        """
        if asked.action == "predict":
            parsed = json_codec.parse_predict(body, max_bytes=self._max_bytes)
            work, call, _ = self._prepare(request, asked, parsed)
            return work, call.close
        json_codec.check_cost(body, self._max_bytes)
        return partial(self._evaluate, request, asked, ExamplesBody(body)), _nothing

    def _evaluate(self, request: Request, asked: Route, parsed: ExamplesBody) -> bytes:
        call = self._open(request, asked, parsed.signature_name)
        try:
            call.parsed = perf_counter()
            result = evaluate(call, asked.action, parsed, self._options().timeout)
            if call.wants_tensors:
                call.exchange = ExamplesExchange(asked.spec, parsed, result)
            return encode_result(result)
        finally:
            call.close()

    def _open(self, request: Request, asked: Route, signature_name: str) -> Call:
        """The hold on the version that answers `request`, which is told its reply."""
        call = self._inference.open(asked.spec, _ASKING[asked.action], (signature_name,), request.received)
        request.call = call
        if request.over:  # the client has gone, and may not have found the call
            call.replied(asyncio.CancelledError("The client has gone"))
        return call

    def _predict(self, request: Request, asked: Route, body: bytes) -> bytes | Awaitable[bytes]:
        parsed = json_codec.parse_quickly(body) if len(body) <= LARGE_REQUEST_BYTES else None
        if parsed is None:
            return self._in_pool(self._whole, request, asked, body)
        work, call, seconds = self._prepare(request, asked, parsed)
        where = place(seconds, REST, alone=self._is_alone(), is_batched=call.is_batched)
        if where is Place.BATCH:
            return self._run_batched(*work.args, **work.keywords)
        if where is not Place.AT_ONCE:
            return self._executor.run(where, work, call.close, inf if seconds is None else seconds)
        try:
            return work()
        finally:
            call.close()

    def _prepare(
        self, request: Request, asked: Route, parsed: json_codec.PredictBody
    ) -> tuple[partial[bytes], Call, float | None]:
        """What is to be done for a request, the hold on the version that does it, and how long it will take."""
        call = self._open(request, asked, parsed.signature_name)
        try:
            signature = _signature(call, parsed)
            inputs = parsed.tensors(signature)
            call.parsed = perf_counter()
            work = partial(self._run, asked, call, signature, inputs, row_format=parsed.row_format)
            return work, call, call.expected_seconds(signature, inputs)
        except BaseException:
            call.close()
            raise

    @property
    def _max_bytes(self) -> int:
        return max(_MIN_VALUE_BYTES, 4 * self._options().max_body_bytes)

    def _run(
        self, asked: Route, call: Call, signature: Signature, inputs: dict[str, np.ndarray], *, row_format: bool
    ) -> bytes:
        outputs = call.predict(signature, inputs, timeout=self._options().timeout)
        return self._write(asked, call, signature, inputs, outputs, row_format=row_format)

    def _write(
        self,
        asked: Route,
        call: Call,
        signature: Signature,
        inputs: dict[str, np.ndarray],
        outputs: dict[str, np.ndarray],
        *,
        row_format: bool,
    ) -> bytes:
        if call.wants_tensors:
            call.exchange = ArraysExchange(asked.spec, signature.name, inputs, outputs)
        return json_codec.encode_predict(outputs, row_format=row_format)

    def _run_batched(
        self, asked: Route, call: Call, signature: Signature, inputs: dict[str, np.ndarray], *, row_format: bool
    ) -> asyncio.Future[bytes]:
        """`_run` without a thread that waits, but for what takes long to write or is refused by the model."""
        write = partial(self._write, asked, call, signature, inputs, row_format=row_format)
        reply = BatchedReply(self._executor, call, write)
        try:
            begun = reply.begin(signature, inputs, self._options().timeout)
        except BaseException:
            call.close()
            raise
        if begun:
            return reply
        work = partial(self._run, asked, call, signature, inputs, row_format=row_format)
        return self._executor.run(Place.POOL, work, call.close)

    async def _in_pool(self, function: Callable[..., T], *args: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor.pool, function, *args)


def _nothing() -> None:
    pass


def _signature(call: Call, parsed: json_codec.PredictBody) -> Signature:
    signature = call.signature(parsed.signature_name)
    if signature is not None:
        return signature
    name = parsed.signature_name or DEFAULT_SIGNATURE
    if name in call.signature_def:  # it names an operation, and takes nothing
        raise invalid_argument(f"Failed to get input map for signature: {parsed.signature_name or 'DEFAULT'}")
    raise invalid_argument(f'Serving signature name: "{name}" not found in signature def')
