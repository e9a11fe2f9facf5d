"""TensorFlow Serving's REST API: what is answered to requests under /v1/, whatever HTTP server they came by.

Small bodies are read on the loop, and `turns` says where their calls run; what takes longer is read on the pool.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from tfs_notebook.api import json_codec, status_messages
from tfs_notebook.api.batched_reply import BatchedReply
from tfs_notebook.api.json_examples import ExamplesBody, encode_result, evaluate
from tfs_notebook.api.request_records import log_arrays, log_examples
from tfs_notebook.api.rest_body import inflated, is_compressed
from tfs_notebook.engine.signature import DEFAULT_SIGNATURE
from tfs_notebook.errors import invalid_argument

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import numpy as np

    from tfs_notebook.api.http_messages import Request
    from tfs_notebook.api.inference import Call, Inference
    from tfs_notebook.api.rest import RestServer
    from tfs_notebook.api.routes import Route
    from tfs_notebook.api.turns import Turns
    from tfs_notebook.engine.signature import Signature

T = TypeVar("T")

_LARGE_BODY = 64 << 10
"""Bytes from which even numbers take so long to read that other requests should not wait for it."""
_LEAST_MEMORY = 256 << 20
"""Bytes that the values of a body may take however low its own limit is."""


class RestApi:
    """Answers the requests of one `server` by its options of the moment."""

    def __init__(self, inference: Inference, turns: Turns, server: RestServer) -> None:
        self._inference = inference
        self._turns = turns
        self._server = server
        self._one_at_a_time = threading.Lock()

    def answer(self, request: Request, asked: Route) -> bytes | Awaitable[bytes]:
        """The reply, or what is to be awaited for it."""
        if asked.action == "status":
            return status_messages.status_json(self._inference.status(asked.spec.name, asked.spec.version))
        if asked.action == "metadata":
            with self._inference.open(asked.spec) as call:
                return status_messages.metadata_json(call.model, call.version, call.signature_def)
        if is_compressed(request):
            return self._answer_inflated(request.body, asked)
        return self._answer(request.body, asked)

    async def _answer_inflated(self, body: bytes, asked: Route) -> bytes:
        plain = await self._in_pool(inflated, body, self._server.options.max_body_bytes)
        reply = self._answer(plain, asked)
        return reply if isinstance(reply, bytes) else await reply

    def _answer(self, body: bytes, asked: Route) -> bytes | Awaitable[bytes]:
        return self._predict(asked, body) if asked.action == "predict" else self._in_pool(self._evaluate, asked, body)

    def _evaluate(self, asked: Route, body: bytes) -> bytes:
        """The reply to classify or regress, whose body is read before its model is looked for."""
        with self._one_at_a_time if len(body) > _LARGE_BODY else nullcontext():
            json_codec.check_cost(body, self._most_bytes)
            parsed = ExamplesBody(body)
        with self._inference.open(asked.spec) as call:
            result = evaluate(call, asked.action, parsed, self._server.options.timeout)
            if self._inference.logs:
                log_examples(self._inference.logs, call, asked.spec, parsed, result)
            return encode_result(result)

    def _predict(self, asked: Route, body: bytes) -> bytes | Awaitable[bytes]:
        parsed = json_codec.parse_quickly(body) if len(body) <= _LARGE_BODY else None
        if parsed is None:
            return self._in_pool(self._predict_large, asked, body)
        work, call, seconds = self._prepare(asked, parsed)
        if seconds is None and call.is_batched:
            return self._run_batched(*work.args, **work.keywords)
        if not self._turns.may_run_now(seconds, alone=self._server.alone):
            return self._turns.run(work, call.close, seconds=seconds)
        try:
            return work()
        finally:
            call.close()

    def _prepare(self, asked: Route, parsed: json_codec.PredictBody) -> tuple[partial[bytes], Call, float | None]:
        """What is to be done for a request, the hold on the version that does it, and how long it will take."""
        call = self._inference.open(asked.spec)
        try:
            signature = _signature(call, parsed)
            inputs = parsed.tensors(signature)
            work = partial(self._run, asked, call, signature, inputs, row_format=parsed.row_format)
            return work, call, call.expected_seconds(signature, inputs)
        except BaseException:
            call.close()
            raise

    @property
    def _most_bytes(self) -> int:
        return max(_LEAST_MEMORY, 4 * self._server.options.max_body_bytes)

    def _predict_large(self, asked: Route, body: bytes) -> bytes:
        with self._one_at_a_time:  # what is made of a large body can be many times its size
            parsed = json_codec.parse_predict(body, most_bytes=self._most_bytes)
            work, call, _ = self._prepare(asked, parsed)
            del parsed
        with call:
            return work()

    def _run(
        self, asked: Route, call: Call, signature: Signature, inputs: dict[str, np.ndarray], *, row_format: bool
    ) -> bytes:
        outputs = call.predict(signature, inputs, timeout=self._server.options.timeout)
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
        if self._inference.logs:
            log_arrays(self._inference.logs, call, asked.spec, signature, inputs, outputs)
        return json_codec.encode_predict(outputs, row_format=row_format)

    def _run_batched(
        self, asked: Route, call: Call, signature: Signature, inputs: dict[str, np.ndarray], *, row_format: bool
    ) -> asyncio.Future[bytes]:
        """`_run` without a thread that waits, but for what takes long to write or is refused by the model."""
        write = partial(self._write, asked, call, signature, inputs, row_format=row_format)
        reply = BatchedReply(self._turns, call, write)
        try:
            begun = reply.begin(signature, inputs, self._server.options.timeout)
        except BaseException:
            call.close()
            raise
        if begun:
            return reply
        work = partial(self._run, asked, call, signature, inputs, row_format=row_format)
        return self._turns.run(work, call.close, seconds=None)

    async def _in_pool(self, function: Callable[..., T], *args: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._turns.pool, function, *args)


def _signature(call: Call, parsed: json_codec.PredictBody) -> Signature:
    signature = call.signature(parsed.signature_name)
    if signature is not None:
        return signature
    name = parsed.signature_name or DEFAULT_SIGNATURE
    if name in call.signature_def:  # it names an operation, and takes nothing
        raise invalid_argument(f"Failed to get input map for signature: {parsed.signature_name or 'DEFAULT'}")
    raise invalid_argument(f'Serving signature name: "{name}" not found in signature def')
