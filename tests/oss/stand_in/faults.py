"""Faults that tests inject into the OSS server while it runs.

Body faults act `at` a number of bytes of the response's body (at its end, if it is shorter; 0 unless given):

* "cut": the connection is closed there. For PUT and POST: there in the request's body.
* "stall": nothing more comes, for `seconds` or until released. Without `at`: before the response begins.
* "reset": the connection is reset. Without `at`: before the response begins.
* "corrupt": the byte there is another one; the headers are right.
* "swap": the object is replaced by `content` there, while this response goes on with the old one. Without `at`: before
  the request is answered.
* "slow": the body comes at `rate` bytes per second.

The others change the answer:

* "error": `status`, and `code` of the XML.
* "lost": the request is done, but the connection closed without an answer.
* "checksum": a wrong x-oss-hash-crc64ecma; "no_checksum": none.
* "skew": the server's clock is `seconds` ahead, for this request only (for all of them: `OssServer.clock_offset`).
* "expired": SecurityTokenExpired. "archived": InvalidObjectState.
* "empty": a listing without objects.
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_BODY = frozenset({"cut", "corrupt", "slow"})
_BODY_OR_BEFORE = frozenset({"stall", "reset", "swap"})
_ANSWER = frozenset({"error", "lost", "checksum", "no_checksum", "skew", "expired", "archived", "empty"})
NAMES = _BODY | _BODY_OR_BEFORE | _ANSWER


@dataclass(eq=False)
class Fault:
    """One injected fault: `hits` counts the requests it met, `reached` is set at the first of them."""

    name: str
    method: str
    key: str | None
    times: int | None
    after: int
    at: int | None
    seconds: float | None
    status: int
    code: str
    content: bytes | Path
    rate: int
    hits: int = 0
    reached: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)

    @property
    def acts_on_body(self) -> bool:
        """Whether it acts while the response's body is sent."""
        return self.name in _BODY or (self.name in _BODY_OR_BEFORE and self.at is not None)

    @property
    def acts_on_answer(self) -> bool:
        """Whether it makes another answer of the one the request would have got."""
        return self.name in _ANSWER or (self.name == "swap" and self.at is None)

    def release(self) -> None:
        """Let a stalled or slow response go on, and those that this fault would hold up later."""
        self.released.set()

    def stop(self) -> None:
        """Meet no more requests."""
        self.times = 0
        self.release()

    def matches(self, operation: str, key: str) -> bool:
        """Whether this fault meets the request, which it may let pass `after` others."""
        if self.times is not None and self.hits >= self.times:
            return False
        if not re.fullmatch(self.method, operation) or (self.key is not None and not re.search(self.key, key)):
            return False
        self.after -= 1
        return self.after < 0


class Faults:
    """The faults of a server, in the order of their injection; a request meets at most one. Thread-safe."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._lock = threading.Lock()

    def add(self, fault: Fault) -> Fault:
        """Inject a fault. Raises ValueError for one that is none."""
        if fault.name not in NAMES:
            raise ValueError(f"{fault.name!r} is no fault; there are {', '.join(sorted(NAMES))}")
        with self._lock:
            self._faults.append(fault)
        return fault

    def take(self, operation: str, key: str) -> Fault | None:
        """The fault that a request meets: the first that matches."""
        with self._lock:
            for fault in self._faults:
                if fault.matches(operation, key):
                    fault.hits += 1
                    return fault
        return None

    def clear(self) -> None:
        """Forget all faults and release what they stall."""
        with self._lock:
            for fault in self._faults:
                fault.stop()
            self._faults.clear()
