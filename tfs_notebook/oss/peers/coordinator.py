"""Several processes with one local copy: one writes, the others follow, and take over when it ends.

Whoever holds the lock brings what all of them want, and deletes nothing that any of them uses. Every other process,
also one that is paused, leaves a report for it, a file that is locked as long as the process lives, and reads the
bulletin in which the writer says how it is going.
"""

from __future__ import annotations

import os
import uuid
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from tfs_notebook.oss.cache.cache import write_atomically
from tfs_notebook.oss.cache.file_lock import lock, stands_at, unlock
from tfs_notebook.oss.peers.messages import Bulletin, Report, Wants

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    from tfs_notebook.errors import ServingError


class Crew:
    """The place of this process among those that share the directory `private`."""

    def __init__(self, private: Path) -> None:
        self.has_news = False
        """Whether `attend` has found something new since this was last set to False."""
        self.followed: Bulletin | None = None
        """What the writer said when this process last tried to be it, as long as that is another process."""
        self._lock = private / "lock"
        self._bulletin = private / "writer.json"
        self._followers = private / "followers"
        self._held: int | None = None
        self._mine: tuple[Path, int] | None = None
        self._reported: bytes = b""
        self._reports: dict[Path, Report] = {}
        self._answered: set[tuple[Path, float]] = set()
        self._said: bytes = b""
        self._problem: ServingError | None = None
        self._failures = 0
        self._heard: tuple[object, Bulletin] = (None, Bulletin())

    @property
    def writes(self) -> bool:
        """Whether this process is the one that writes."""
        return self._held is not None

    @property
    def has_lost_lock(self) -> bool:
        """Whether the lock of this process is not where others look for it: somebody cleared the directory."""
        return self._held is not None and not stands_at(self._lock, self._held)

    def try_to_write(self) -> bool:
        """Become the writer if nobody is; whether this process is it. Raises OSError."""
        if self._held is None:
            self._held = lock(self._lock)
            if self._held is not None:
                self._bulletin.unlink(missing_ok=True)  # of one that has ended: nobody is to believe it
                self._withdraw_report()
        self.followed = None if self.writes else self.hear()
        return self.writes

    def yield_lock(self) -> None:
        """Neither write nor follow any more; this process goes on to report."""
        self.followed = None
        if self._held is None:
            return
        if not self.has_lost_lock:  # else the bulletin is another's
            with suppress(OSError):
                self._bulletin.unlink()
        unlock(self._held)
        self._held, self._said = None, b""
        self._reports.clear()

    def leave(self) -> None:
        """Belong to it no more."""
        self._withdraw_report()
        self.yield_lock()

    # The writer's side

    def attend(self) -> None:
        """Read what all others report, of which those that have ended go."""
        before = self._reports
        found = {path: self._report_in(path) for path in self._followers.glob("*.json")}
        self._reports = {path: report for path, report in found.items() if report is not None}
        self.has_news |= self._reports != before

    def _report_in(self, path: Path) -> Report | None:
        """What the process that holds `path` reports, None when it has ended."""
        held = lock(path)
        if held is not None:
            path.unlink(missing_ok=True)
            unlock(held)
            return None
        try:
            report = Report.decode(path.read_bytes())
        except FileNotFoundError:
            return None
        return report or self._reports.get(path, Report())  # it may be being written

    def wants(self, own: Wants) -> Wants:
        """What all others want, after what this process wants itself."""
        wants = dict(own)
        for report in self._reports.values():
            for base, policies in report.wants.items():
                wants[base] = (*wants.get(base, ()), *policies)
        return wants

    def is_asked(self) -> bool:
        """Whether another process has asked for a look since the last time that this was called."""
        before, self._answered = self._answered, {(path, report.asked) for path, report in self._reports.items()}
        return any(asked for _, asked in self._answered - before)

    def may_use(self, path: str, published: AbstractSet[str]) -> bool:
        """Whether another process may have the version `path` loaded, or load it, now that `published` stand there.

        That cannot be said of one that has not heard yet what stands there.
        """
        return any(path in report.uses or report.published != published for report in self._reports.values())

    def say(self, bulletin: Bulletin) -> None:
        """Let all others know. Raises OSError."""
        if bulletin.problem is not self._problem:
            self._problem, self._failures = bulletin.problem, self._failures + 1
        content = replace(bulletin, failures=self._failures).encode()
        if content != self._said:
            self._write_bulletin(content)
            self._said = content

    def _write_bulletin(self, content: bytes) -> None:
        try:
            write_atomically(self._bulletin, content)
        except OSError:  # a full disk has room for what is there, and others must hear before anything can be deleted
            with self._bulletin.open("r+b") as file:
                _overwrite(file.fileno(), content)

    # The others' side

    def report(self, report: Report) -> None:
        """Let the writer, whoever that is, know. Raises OSError."""
        if self._mine is not None and not stands_at(*self._mine):
            self._withdraw_report()
        while self._mine is None:
            path = self._followers / f"{uuid.uuid4().hex}.json"
            held = lock(path)
            if held is not None:  # else the writer was faster, and took it for one that a process had left
                self._mine = path, held
        content = report.encode()
        if content != self._reported:
            _overwrite(self._mine[1], content)
            self._reported = content

    def hear(self) -> Bulletin:
        """What the writer has last said, nothing when it has not spoken yet."""
        try:
            found = self._bulletin.stat()
            stamp = (found.st_ino, found.st_mtime_ns, found.st_size)
            if stamp != self._heard[0] and (bulletin := Bulletin.decode(self._bulletin.read_bytes())) is not None:
                self._heard = stamp, bulletin  # else it may be being written
        except OSError:
            self._heard = None, Bulletin()
        return self._heard[1]

    def _withdraw_report(self) -> None:
        if self._mine is not None:
            path, held = self._mine
            path.unlink(missing_ok=True)
            unlock(held)
            self._mine, self._reported = None, b""


def _overwrite(descriptor: int, content: bytes) -> None:
    os.pwrite(descriptor, content, 0)
    os.ftruncate(descriptor, len(content))
