"""Several processes that share one local copy: one writes it, the others follow, and one of them takes over when it
ends.

The process that holds the lock fetches what all of them want, and deletes nothing that any of them uses. Every other
process, paused or not, publishes its `FollowerState` in a file of its own, locked as long as the process lives, and
reads the `WriterState` that the writer publishes.
"""

from __future__ import annotations

import os
import uuid
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from tfs_notebook.oss.cache.cache import write_atomically
from tfs_notebook.oss.cache.file_lock import lock, stands_at, unlock
from tfs_notebook.oss.peers.messages import FollowerState, Wants, WriterState

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    from tfs_notebook.errors import ServingError


class Coordinator:
    """The part of one process among those that share the directory `private`."""

    def __init__(self, private: Path) -> None:
        self.followers_changed = False
        """True when `read_follower_states` has found something new since this was set to False."""
        self.other_writer: WriterState | None = None
        """What the writer had published when this process last tried to become it; None when no other process writes.
        """
        self._lock = private / "lock"
        self._writer_file = private / "writer.json"
        self._followers = private / "followers"
        self._lock_descriptor: int | None = None
        self._own_file: tuple[Path, int] | None = None
        self._published_follower_state: bytes = b""
        self._follower_states: dict[Path, FollowerState] = {}
        self._seen_requests: set[tuple[Path, float]] = set()
        self._published_writer_state: bytes = b""
        self._problem: ServingError | None = None
        self._failures = 0
        self._last_writer_state: tuple[object, WriterState] = (None, WriterState())

    @property
    def is_writer(self) -> bool:
        """True while this process writes the copy."""
        return self._lock_descriptor is not None

    @property
    def has_lost_lock(self) -> bool:
        """True when another process would not find this one's lock: somebody has cleared the directory."""
        return self._lock_descriptor is not None and not stands_at(self._lock, self._lock_descriptor)

    def try_to_lock(self) -> bool:
        """Become the writer if there is none. Returns whether this process is the writer. Raises OSError."""
        if self._lock_descriptor is None:
            self._lock_descriptor = lock(self._lock)
            if self._lock_descriptor is not None:
                self._writer_file.unlink(missing_ok=True)  # of a writer that has ended: nobody must believe it
                self._delete_own_file()
        self.other_writer = None if self.is_writer else self.read_writer_state()
        return self.is_writer

    def release_lock(self) -> None:
        """Neither write nor follow any more; this process still publishes its follower state."""
        self.other_writer = None
        if self._lock_descriptor is None:
            return
        if not self.has_lost_lock:  # else the file is another writer's
            with suppress(OSError):
                self._writer_file.unlink()
        unlock(self._lock_descriptor)
        self._lock_descriptor, self._published_writer_state = None, b""
        self._follower_states.clear()

    def leave(self) -> None:
        """Take part no more."""
        self._delete_own_file()
        self.release_lock()

    # The writer's side

    def read_follower_states(self) -> None:
        """Read the states of all followers, and delete the files of those that have ended."""
        before = self._follower_states
        found = {path: self._read_follower_state(path) for path in self._followers.glob("*.json")}
        self._follower_states = {path: state for path, state in found.items() if state is not None}
        self.followers_changed |= self._follower_states != before

    def _read_follower_state(self, path: Path) -> FollowerState | None:
        """The state of the process that holds `path`, None when that has ended."""
        held = lock(path)
        if held is not None:
            path.unlink(missing_ok=True)
            unlock(held)
            return None
        try:
            state = FollowerState.decode(path.read_bytes())
        except FileNotFoundError:
            return None
        return state or self._follower_states.get(path, FollowerState())  # the process may be writing it just now

    def wants(self, own: Wants) -> Wants:
        """What this process wants (`own`), together with what all followers want."""
        wants = dict(own)
        for state in self._follower_states.values():
            for base, policies in state.wants.items():
                wants[base] = (*wants.get(base, ()), *policies)
        return wants

    def is_listing_requested(self) -> bool:
        """Whether a follower has requested a listing since the last call."""
        before = self._seen_requests
        self._seen_requests = {(path, state.requested_at) for path, state in self._follower_states.items()}
        return any(requested_at for _, requested_at in self._seen_requests - before)

    def may_use(self, path: str, published: AbstractSet[str]) -> bool:
        """Whether a follower may have the version `path` loaded, or load it, while `published` is what is published.

        True for any follower that has not read yet what is published: it may be loading any of it.
        """
        return any(path in state.uses or state.published != published for state in self._follower_states.values())

    def publish_writer_state(self, writer_state: WriterState) -> None:
        """Publish the state of this writer for the followers. Raises OSError."""
        if writer_state.problem is not self._problem:
            self._problem, self._failures = writer_state.problem, self._failures + 1
        content = replace(writer_state, failures=self._failures).encode()
        if content != self._published_writer_state:
            self._write_writer_file(content)
            self._published_writer_state = content

    def _write_writer_file(self, content: bytes) -> None:
        try:
            write_atomically(self._writer_file, content)
        except (
            OSError
        ):  # on a full disk: overwrite in place, as followers must read this before anything can be deleted
            with self._writer_file.open("r+b") as file:
                _overwrite(file.fileno(), content)

    # The followers' side

    def publish_follower_state(self, state: FollowerState) -> None:
        """Publish the state of this follower for the writer, whichever process that is. Raises OSError."""
        if self._own_file is not None and not stands_at(*self._own_file):
            self._delete_own_file()
        while self._own_file is None:
            path = self._followers / f"{uuid.uuid4().hex}.json"
            held = lock(path)
            if held is not None:  # else the writer has just locked it, and takes it for the file of a dead process
                self._own_file = path, held
        content = state.encode()
        if content != self._published_follower_state:
            _overwrite(self._own_file[1], content)
            self._published_follower_state = content

    def read_writer_state(self) -> WriterState:
        """What the writer has last published, an empty state when there is none."""
        try:
            found = self._writer_file.stat()
            stamp = (found.st_ino, found.st_mtime_ns, found.st_size)
            if (
                stamp != self._last_writer_state[0]
                and (writer_state := WriterState.decode(self._writer_file.read_bytes())) is not None
            ):
                self._last_writer_state = stamp, writer_state  # else the writer may be writing it just now
        except OSError:
            self._last_writer_state = None, WriterState()
        return self._last_writer_state[1]

    def _delete_own_file(self) -> None:
        if self._own_file is not None:
            path, held = self._own_file
            path.unlink(missing_ok=True)
            unlock(held)
            self._own_file, self._published_follower_state = None, b""


def _overwrite(descriptor: int, content: bytes) -> None:
    os.pwrite(descriptor, content, 0)
    os.ftruncate(descriptor, len(content))
