"""gRPC methods beside the requests: they neither wait for the threads of these nor keep them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import ThreadPoolExecutor


class Aside:
    """A method that runs on a `pool` of its own, in the way that grpcio has for its own health service.

    One that is `non_blocking` is given, as `send_response_callback`, what sends a response, and None to end, from any
    thread.
    """

    def __init__(self, method: Callable[..., Any], pool: ThreadPoolExecutor, *, non_blocking: bool = False) -> None:
        self.experimental_thread_pool = pool
        self.experimental_non_blocking = non_blocking
        self._method = method

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Call the method."""
        return self._method(*args, **options)
