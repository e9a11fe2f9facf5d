"""Unary calls that are answered where their message arrives, or later from any thread, without a thread that waits.

In grpcio's own way a thread of the pool asks for the message, sleeps until the thread that polls has it, and works
then: threads that hand each other the interpreter's lock take two thirds of the time of an echo. Here the polling
thread asks for the message and gives it to the method. The state of a call stays grpcio's own, and with it deadlines,
callers that have gone, and how a server stops. The names that this takes are private to grpcio: where one is missing,
calls go its own way.
"""

from __future__ import annotations

import logging
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

import grpc

from tfs_notebook.api.dispatch.threads import Threads
from tfs_notebook.errors import Code, ServingError
from tfs_notebook.threads import NoThreadError, Pool

if TYPE_CHECKING:
    from collections.abc import Callable

    Work = Callable[[grpc.ServicerContext], Any]
    End = Callable[[ServingError | None], object]
    """What is called at the end of a call, with why it found no thread, if it did not."""

try:
    from grpc._cython.cygrpc import ReceiveMessageOperation, StatusCode  # type: ignore[import-not-found]
    from grpc._server import (
        _RECEIVE_MESSAGE_TOKEN,
        _abort,
        _Context,
        _is_rpc_state_active,
        _receive_message,
        _RPCState,
        _status,
        _unary_response_in_pool,
    )
except ImportError:  # a grpcio that moved them
    HAS_SHORT_WAY = False
else:
    HAS_SHORT_WAY = True
_log = logging.getLogger(__name__)
_BEGUN: Future[None] = Future()
_BEGUN.set_result(None)


class GrpcPool(Pool):
    """Threads on which grpcio runs calls: one that finds none is refused."""

    def submit(self, function: Callable[..., Any], /, *args: Any, **options: Any) -> Future[Any]:
        """Run `function` on a thread."""
        try:
            return super().submit(function, *args, **options)
        except RuntimeError as error:
            if not (HAS_SHORT_WAY and len(args) > 2 and isinstance(args[2], _RPCState)):
                raise
            # It would end the thread of grpcio that polls, and with it the server
            _, event, state, *_ = args
            with state.condition:
                _abort(state, event.call, StatusCode.unavailable, _refusal(error).message.encode())
            return _BEGUN


class CallPool(GrpcPool):
    """The threads of a gRPC server; `for_known` are those for calls whose time is known.

    A call whose behaviour has a method `begin(message, rpc)` needs none: that is given the message as soon as it is
    there, finishes the `Rpc` or has it finished later, and neither blocks nor raises.
    """

    def __init__(self, threads: int, name: str) -> None:
        super().__init__(threads, thread_name_prefix=name)
        self.for_known = Threads(f"{name}-short")

    def submit(self, function: Callable[..., Any], /, *args: Any, **options: Any) -> Future[Any]:
        """Run `function` on a thread, unless it is grpcio's for a call that can begin."""
        if HAS_SHORT_WAY and args and args[0] is _unary_response_in_pool:
            _, event, state, method, *_ = args
            begin = getattr(method, "begin", None)
            if begin is not None:
                Rpc(event, state, begin, self).read()
                return _BEGUN
        return super().submit(function, *args, **options)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls."""
        super().shutdown(wait, cancel_futures=cancel_futures)
        self.for_known.close()


class Rpc:
    """A call under way; `context` tells of it."""

    def __init__(self, event: Any, state: Any, begin: Callable[[bytes, Rpc], None], pool: CallPool) -> None:
        self.context: grpc.ServicerContext = _Context(event, state, None)
        self._event = event
        self._state = state
        self._take = begin
        self._pool = pool
        self._receive = _receive_message(state, event.call, None)

    def read(self) -> None:
        """Ask for the message; the state's lock is held."""
        self._event.call.start_server_batch((ReceiveMessageOperation(0),), self._begin)
        self._state.due.add(_RECEIVE_MESSAGE_TOKEN)

    def _begin(self, event: Any) -> Any:
        """The message is there, or none will come. An exception would end the thread that polls."""
        outcome = self._receive(event)
        message, self._state.request = self._state.request, None
        if message is not None:
            self._take(message, self)
        elif _is_rpc_state_active(self._state):
            name = self._event.call_details.method.decode()
            details = f'"{name}" requires exactly one request message.'.encode()
            with self._state.condition:
                _abort(self._state, self._event.call, StatusCode.unimplemented, details)
        return outcome

    def finish(self, work: Work, end: End, refusal: ServingError | None = None) -> None:
        """Send what `work` returns, unless the caller has gone; `end` is called in either case. Does not raise."""
        try:
            try:
                if self.context.is_active():
                    self._answer(work)
            finally:
                end(refusal)
        except Exception:
            _log.exception("A call could not be ended")

    def _answer(self, work: Work) -> None:
        try:
            reply = work(self.context)
        except Exception as error:
            if not self._state.aborted:  # else by `work`, which has said why
                _log.exception("A call could not be answered")
            with self._state.condition:
                _abort(self._state, self._event.call, StatusCode.unknown, f"{type(error).__name__}: {error}".encode())
        else:
            _status(self._event, self._state, reply)

    def finish_in_pool(self, work: Work, end: End, seconds: float | None = None) -> None:
        """The same on a thread of the pool, or when it is known to take so many `seconds`, on one for short calls."""
        try:
            if seconds is None:
                self._pool.submit(self.finish, work, end)
            else:
                self._pool.for_known.submit(partial(self.finish, work, end), seconds)
        except RuntimeError as error:
            refusal = _refusal(error)
            self.finish(partial(_refuse, refusal), end, refusal)


def _refuse(refusal: ServingError, context: grpc.ServicerContext) -> NoReturn:
    context.abort(grpc.StatusCode.UNAVAILABLE, refusal.message)


def _refusal(error: RuntimeError) -> ServingError:
    """Why a call cannot run on a thread."""
    stopping = ServingError(Code.UNAVAILABLE, "The server is stopping")
    return error if isinstance(error, NoThreadError) else stopping
