"""How long a client may take: to ask, to send a body, to read its reply."""

from __future__ import annotations

SILENT_SECONDS = 75.0
"""How long a connection may be silent, or take to send the head of a request."""
PAUSE_SECONDS = 30.0
"""How long a client may pause in the middle of a body, or of reading its reply."""
BODY_SECONDS = 600.0
"""How long a client may take to send a body, or to read its reply."""
LINGERING_SECONDS = 10.0
"""How long what a client goes on sending to a connection that has ended is read."""


class ClientTimer:
    """Times how long a client keeps its server waiting; all times are the event loop's, in seconds."""

    def __init__(self, now: float) -> None:
        self.free_since = now
        """When the connection was opened, or its last reply was written."""
        self.heard = now
        """When the client last sent anything."""
        self.body_began = now
        """When the head of the last request was whole."""
        self._unread = 0
        self._reading_since = self._read = now

    def reads(self, unread: int, now: float) -> bool:
        """False when the client has stopped reading its reply, of which `unread` bytes are left."""
        if not unread:
            self._unread = 0
            return True
        if not self._unread:
            self._reading_since = now
        if not 0 < self._unread <= unread:
            self._read = now
        self._unread = unread
        self.free_since = now
        return now - self._read <= PAUSE_SECONDS and now - self._reading_since <= BODY_SECONDS

    def is_silent(self, now: float) -> bool:
        """True when a connection that waits for a request has waited too long."""
        return now - self.free_since > SILENT_SECONDS

    def has_lingered(self, now: float) -> bool:
        """True when a connection that was ended has been drained long enough."""
        return now - self.free_since > LINGERING_SECONDS

    def late_body(self, now: float) -> str:
        """Why the server waits no more for the rest of a body; empty while it does."""
        if now - self.body_began > BODY_SECONDS:
            return "The body took too long to arrive"
        if now - self.heard > PAUSE_SECONDS:
            return f"No more of the body arrived for {PAUSE_SECONDS:.0f} seconds"
        return ""
