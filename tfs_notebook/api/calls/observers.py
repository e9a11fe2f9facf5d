"""Who is told of each call when it ends: whatever counts, records, mirrors or shows calls is one of these."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING, TypeAlias

from tfs_notebook.errors import Code

if TYPE_CHECKING:
    from collections.abc import Callable

    from tfs_notebook.api.calls.record import CallRecord

Observer: TypeAlias = "Callable[[CallRecord], None]"
"""What is told of a call, on whatever thread has ended it, before the reply is sent: it must return at once."""
_log = logging.getLogger(__name__)


class Observers:
    """Observers of the same calls; any thread may add and remove them."""

    def __init__(self) -> None:
        self.told: tuple[Observer, ...] = ()
        self.want_tensors = False
        """Whether one of them wants inputs, outputs and messages, which cost nothing while none does."""
        self._wishes: dict[Observer, bool] = {}
        self._changing = threading.Lock()

    def add(self, observer: Observer, *, tensors: bool = False) -> None:
        """Tell `observer` of the calls that end from now on, with `tensors` if it wants them; again changes that."""
        with self._changing:
            self._wishes[observer] = tensors
            self._changed()

    def remove(self, observer: Observer) -> None:
        """Tell it no more; one that is not there is passed over."""
        with self._changing:
            self._wishes.pop(observer, None)
            self._changed()

    def _changed(self) -> None:
        self.told, self.want_tensors = tuple(self._wishes), any(self._wishes.values())

    def tell(self, record: CallRecord) -> None:
        """Tell all of them. What one raises is logged: neither the others nor the call hear of it."""
        for observer in self.told:
            try:
                observer(record)
            except Exception:
                _log.exception("An observer of calls failed")


def count_call(record: CallRecord) -> None:
    """The engine's statistics: an observer."""
    stats, ran, started, replied = record.stats, record.ran, record.started, record.replied
    if stats is None:
        return
    if record.code or ran is None or started is None:
        stats.record_error(record.code, replied)
    else:
        stats.record(replied - record.received, ran - started, replied)


def code_of(error: BaseException) -> Code:
    """The status of a request that ended with `error`, as the client hears it; CANCELLED when it has gone."""
    code = getattr(error, "code", None)
    if isinstance(code, Code):
        return code
    if isinstance(error, (ConnectionError, asyncio.CancelledError)):
        return Code.CANCELLED
    return Code.RESOURCE_EXHAUSTED if isinstance(error, MemoryError) else Code.INTERNAL
