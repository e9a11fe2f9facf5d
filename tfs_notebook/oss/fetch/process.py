"""The download of some files of one version, in a thread of its own, and for much of it in a process of its own.

A download in the kernel's process delays its other threads by tens of milliseconds, again and again, so that only small
ones are made here.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfs_notebook.engine.storage.remote import Transfer
from tfs_notebook.oss.client.store import Fault, StoreError
from tfs_notebook.oss.fetch import worker
from tfs_notebook.oss.fetch.download import fetch
from tfs_notebook.threads import NoThreadError, start_daemon_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from tfs_notebook.oss.client.store import ObjectStore, StoredObject

LARGE = 16 << 20
"""Bytes from which a download gets a process."""

_SPEED_SECONDS = 5.0
_PACKAGES = str(Path(__file__).parents[3])


class _CancelledError(Exception):
    """The download is not wanted any more."""


class Download:
    """Brings `files` into a staging directory; calls `ended` from its thread, once, however it ends."""

    def __init__(
        self,
        name: str,
        store: ObjectStore,
        files: Mapping[str, StoredObject],
        directory: Path,
        ended: Callable[[], None],
    ) -> None:
        self.name = name
        self.files = files
        self.error: StoreError | OSError | None = None
        self.by_size_only: list[str] = []
        """Files of which the store tells no checksum."""
        self.finished = threading.Event()
        self.cancelled = False
        self._store = store
        self._directory = directory
        self._ended = ended
        self._size = sum(stored.size for stored in files.values())
        self._done = 0
        self._received = 0
        self._lately: deque[tuple[float, int]] = deque([(time.monotonic(), 0)])
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()
        self._thread = start_daemon_thread(self._run, "tfs-oss-fetch")

    def cancel(self) -> None:
        """End it soon; what has arrived stays in the staging directory."""
        with self._lock:
            self.cancelled = True
            if self._process is not None:
                self._process.kill()

    def join(self, timeout: float) -> None:
        """Wait for its end, at most so many seconds."""
        self._thread.join(timeout)

    def progress(self) -> Transfer:
        """How far it is; any thread may ask."""
        lately = list(self._lately)
        (since, before), now = lately[0], time.monotonic()
        speed = max(self._received - before, 0) / max(now - since, 0.1)
        return Transfer(self.name, self._done, len(self.files), self._received, self._size, speed)

    # What a download tells

    def received(self, size: int) -> None:
        """So many bytes more; ends a download that is cancelled."""
        if self.cancelled:
            raise _CancelledError
        self._received += size
        now = time.monotonic()
        if now - self._lately[-1][0] > 0.1:
            self._lately.append((now, self._received))
            while now - self._lately[0][0] > _SPEED_SECONDS:
                self._lately.popleft()

    def done(self, path: str, *, verified: bool) -> None:
        """A file is there."""
        self._done += 1
        if not verified:
            self.by_size_only.append(path)

    def _run(self) -> None:
        try:
            portable = getattr(self._store, "portable", None)
            if self._size >= LARGE and portable is not None:
                self._fetch_in_process(portable())
            else:
                fetch(self._store, self.files, self._directory, self)
        except _CancelledError:
            pass
        except (StoreError, OSError) as error:
            self.error = error
        except NoThreadError as error:  # for the parts of a large file
            self.error = StoreError(Fault.UNREACHABLE, error.message, hint=error.hint)
        except Exception as error:
            self.error = OSError(f"an error of this program: {error!r}")
            raise
        finally:
            self.finished.set()
            self._ended()

    def _fetch_in_process(self, store: Mapping[str, Any]) -> None:
        """Let another process do it, and listen to it."""
        with self._lock:
            if self.cancelled:
                return
            self._process = process = _start()
        with process:
            try:
                with contextlib.suppress(BrokenPipeError):  # it has died, and its last words tell why
                    process.stdin.write(worker.request(store, self.files, self._directory).decode())  # type: ignore[union-attr]
                    process.stdin.flush()  # type: ignore[union-attr]
                how = self._listen(process.stdout or ())
            finally:
                process.kill()
        if "fault" in how:
            raise StoreError(Fault[how["fault"]], how["message"], hint=how["hint"])
        if how:
            raise OSError(how["errno"], how["message"], how["filename"])

    def _listen(self, lines: Iterable[str]) -> dict[str, Any]:
        """How it ended: empty when it did what it was asked."""
        last_words = "without a word"
        for line in lines:
            try:
                told = json.loads(line)
            except ValueError:
                last_words = f"with {line.strip()!r}"
                continue
            if "received" in told:
                self.received(told["received"])
            elif "done" in told:
                self.done(told["done"], verified=told["verified"])
            else:
                return dict(told["end"])
        if self.cancelled:
            raise _CancelledError
        raise StoreError(Fault.UNREACHABLE, f"the process that downloads {self.name} ended {last_words}")


def _start() -> subprocess.Popen[str]:
    """A fetcher: it finds what this process finds, but nothing in whatever directory this process is in."""
    paths = [path for path in sys.path if Path(path).is_absolute()]
    return subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", worker.__name__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # not hit by Ctrl-C; in the same session, as priorities hold within one only (see throttle)
        **({"process_group": 0} if sys.version_info >= (3, 11) else {"start_new_session": True}),
        cwd=Path(sys.executable).anchor,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(dict.fromkeys([*paths, _PACKAGES]))},
    )
