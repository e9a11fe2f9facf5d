"""Work that may never end, on a thread that nobody has to wait for."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def aside(work: Callable[[], T], name: str) -> Future[T]:
    """What `work` returns or raises, on a thread called `name`.

    An executor would lose a worker to work that hangs, as a read from a dead network file system does, and the process
    would wait for that worker at its end.
    """
    future: Future[T] = Future()
    future.set_running_or_notify_cancel()

    def run() -> None:
        try:
            result = work()
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(result)

    threading.Thread(target=run, name=name, daemon=True).start()
    return future
