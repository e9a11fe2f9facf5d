"""Which thread does what for a request, and every threshold by which this is decided: in seconds, or in bytes.

How long a call takes is learnt by the engine from the calls before it (`engine.models.latency`): a time when it is
known to be short, None when it is not. `place` makes a decision of it:

=====================  ============  ============  ==================================================================
place                  REST          gRPC          why
=====================  ============  ============  ==================================================================
AT_ONCE, alone         under 1 ms    under 200 µs  A hop to another thread and back costs more than a small model does
AT_ONCE, others wait   never         under 200 µs  gRPC's messages come on several threads, REST's on one
IN_TURN                under 50 µs   never         Short calls of several clients in a row find the caches warm
THREADS                known         known         As many threads as can work at the same time, which take turns
POOL                   unknown       unknown       More threads: a call of unknown time may hold one for long
BATCH                  batched       batched       No thread is held while a call waits for its batch
=====================  ============  ============  ==================================================================

What is read or written for a call is placed by its size: a little where it arrives, more on the pool, and what may fill
the memory on one thread, one body after the other.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CallLimits:
    """Up to how many seconds a call of one protocol runs on the thread that read its request."""

    alone_seconds: float
    """At once, when no other request waits for that thread."""
    crowded_seconds: float
    """At once, when others wait."""
    in_turn_seconds: float
    """When others wait, once everything that has come is read."""


REST = CallLimits(alone_seconds=0.001, crowded_seconds=0.0, in_turn_seconds=0.00005)
GRPC = CallLimits(alone_seconds=0.0002, crowded_seconds=0.0002, in_turn_seconds=0.0)

CROWD_SECONDS = 0.002
"""Connections that send within that time of each other wait for each other. The loop's clock ticks in milliseconds."""
TURN_SECONDS = 0.002
"""How long a connection's requests are read and answered before the other connections have their turn."""
WAKE_SECONDS = 0.0002
"""How long a call of known time may wait for a thread that is awake before another thread is woken."""
LEAVE_PROCESSOR_SECONDS = 0.0005
"""Calls under this leave a processor to the reading of requests and the writing of replies, which take as long."""

LARGE_REQUEST_BYTES = 64 << 10
"""A body or message above this is read on the pool: even numbers take so long that other requests would wait."""
HUGE_REQUEST_BYTES = 1 << 20
"""A body above this is read on one thread, one body after the other: what is made of it may fill the memory."""
SMALL_COMPRESSED_BYTES = 16 << 10
"""A compressed body up to this is inflated where it arrives, at most to `LARGE_REQUEST_BYTES`."""
LARGE_OUTPUT_BYTES = 32 << 10
"""Outputs of a batched call above this are written on the pool: that takes as long as a short call."""
