"""How a response's body goes over a socket, undisturbed or with a fault on the way."""

from __future__ import annotations

import socket
import struct
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from tests.oss.stand_in.faults import Fault
    from tests.oss.stand_in.reading import Reply


class DisconnectError(Exception):
    """Nothing more goes over this connection."""


def reset(connection: socket.socket) -> None:
    """End the connection with RST: with a linger time of 0, closing discards what is still in the buffers."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
    raise DisconnectError


def stall(fault: Fault, closing: threading.Event) -> None:
    """Wait until the fault is released, its seconds are over, or the server closes."""
    fault.reached.set()
    deadline = float("inf") if fault.seconds is None else time.monotonic() + fault.seconds
    while not fault.released.wait(0.02) and time.monotonic() < deadline:
        if closing.is_set():
            raise DisconnectError


@dataclass
class Delivery:
    """One response's body on its way to a client; `sent` is told the bytes that the socket took.

    `swap` puts other content where the object is.
    """

    connection: socket.socket
    reply: Reply
    closing: threading.Event
    sent: Callable[[int], None]
    swap: Callable[[Fault], None]

    def send(self, fault: Fault | None) -> None:
        """Send the body. Raises DisconnectError when a fault ends the connection."""
        source = self.reply.body.source
        if isinstance(source, bytes):
            self._send(fault, None)
        else:
            with source.open("rb") as file:
                self._send(fault, file)

    def _send(self, fault: Fault | None, file: BinaryIO | None) -> None:
        if fault is None or not fault.acts_on_body:
            self._piece(file, 0, self.reply.length)
        elif fault.name == "slow":
            self._drip(fault, file)
        else:
            self._until(fault, file)

    def _piece(self, file: BinaryIO | None, start: int, end: int) -> None:
        source = self.reply.body.source
        if isinstance(source, bytes):
            self.connection.sendall(memoryview(source)[self.reply.start + start : self.reply.start + end])
        elif file is not None and end > start:
            self.connection.sendfile(file, self.reply.start + start, end - start)
        self.sent(end - start)

    def _until(self, fault: Fault, file: BinaryIO | None) -> None:
        """Send up to where the fault is, let it act, and send the rest."""
        at = min(fault.at or 0, self.reply.length)
        self._piece(file, 0, at)
        fault.reached.set()
        if fault.name == "cut":
            raise DisconnectError
        if fault.name == "reset":
            reset(self.connection)
        if fault.name == "stall":
            stall(fault, self.closing)
        if fault.name == "swap":
            self.swap(fault)
        if fault.name == "corrupt" and at < self.reply.length:
            (byte,) = self.reply.body.pieces(self.reply.start + at, self.reply.start + at + 1)
            self.connection.sendall(bytes([byte[0] ^ 0xFF]))
            self.sent(1)
            at += 1
        self._piece(file, at, self.reply.length)

    def _drip(self, fault: Fault, file: BinaryIO | None) -> None:
        fault.reached.set()
        start, step = 0, max(1, fault.rate // 50)
        while start < self.reply.length and not fault.released.wait(step / fault.rate):
            if self.closing.is_set():
                raise DisconnectError
            self._piece(file, start, min(self.reply.length, start + step))
            start += step
        if start < self.reply.length:
            self._piece(file, start, self.reply.length)
