"""The reply to a predict that runs with others: no thread is held while it waits for its batch."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from tfs_notebook.api.dispatch.place import Place
from tfs_notebook.api.dispatch.thresholds import LARGE_OUTPUT_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np

    from tfs_notebook.api.calls.call import Begun, Call
    from tfs_notebook.api.dispatch.executor import Executor
    from tfs_notebook.engine.models.signature import Signature

    Outputs = dict[str, np.ndarray]


class BatchedReply(asyncio.Future[bytes]):
    """What `write` makes of the outputs of `call`, which this closes. Cancelled, it leaves the queue.

    All of it belongs to the running loop, which takes the outputs of a whole batch in one go.
    """

    def __init__(self, executor: Executor, call: Call, write: Callable[[Outputs], bytes]) -> None:
        super().__init__(loop=asyncio.get_running_loop())
        self._executor = executor
        self._call = call
        self._write = write
        self._begun: Begun | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._writing: asyncio.Future[bytes] | None = None

    def begin(self, signature: Signature, inputs: Mapping[str, np.ndarray], timeout: float | None) -> bool:
        """Wait at most `timeout` seconds; False when it must be asked by `Call.predict`. Raises ServingError.

        The call is not closed in these two cases.
        """
        loop = self.get_loop()
        self._begun = self._call.begin(
            signature, inputs, lambda _: self._executor.notify(loop, self._end), timeout=timeout
        )
        if self._begun is None:
            return False
        if timeout is not None:
            self._timer = loop.call_later(timeout, self._end)
        return True

    def cancel(self, msg: Any | None = None) -> bool:
        """Nobody will hear the reply."""
        if not super().cancel(msg):
            return False
        begun = self._take_begun()
        if begun is not None:
            begun.give_up()
            self._call.close()
        elif self._writing is not None:
            self._writing.cancel()
        return True

    def _take_begun(self) -> Begun | None:
        begun, self._begun = self._begun, None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        return begun

    def _end(self) -> None:
        """It is over, or its time is."""
        begun = self._take_begun()
        if begun is None:  # both, or it was cancelled
            return
        try:
            outputs = begun.end()
            if sum(array.nbytes for array in outputs.values()) > LARGE_OUTPUT_BYTES:
                self._writing = self._executor.run(Place.POOL, partial(self._write, outputs), self._call.close)
                self._writing.add_done_callback(self._written)
                return
            reply = self._write(outputs)
        except Exception as error:
            self.set_exception(error)
        else:
            self.set_result(reply)
        self._call.close()

    def _written(self, writing: asyncio.Future[bytes]) -> None:
        if self.done() or writing.cancelled():
            return
        error = writing.exception()
        if error is None:
            self.set_result(writing.result())
        else:
            self.set_exception(error)
