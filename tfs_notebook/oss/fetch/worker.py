"""A process that downloads, so that no other thread of the kernel waits: `python -m tfs_notebook.oss.fetch.worker`.

It reads one line of JSON from its standard input: the store with the keys to it (never on a command line), the
directory, and the objects. It writes lines of JSON: bytes that have arrived, files that are done, and how it ended. It
ends when its input ends, which is when the process that started it does. It does not import TensorFlow.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from tfs_notebook.oss.client.store import StoredObject, StoreError
from tfs_notebook.oss.fetch.download import fetch
from tfs_notebook.oss.fetch.throttle import Throttle

if TYPE_CHECKING:
    from collections.abc import Mapping

_REPORT_SECONDS = 0.1
_PR_SET_PDEATHSIG = 1


def request(store: Mapping[str, Any], files: Mapping[str, StoredObject], directory: Path) -> bytes:
    """The line that tells a fetcher what to do."""
    content = {
        "store": dict(store),
        "directory": str(directory),
        "files": {path: asdict(stored) for path, stored in files.items()},
    }
    return json.dumps(content).encode() + b"\n"


class _Reporter:
    """Progress as lines of JSON, bytes at most ten times a second."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._lock = threading.Lock()
        self._size = 0
        self._reported = 0.0

    def received(self, size: int) -> None:
        with self._lock:
            self._size += size
            if time.monotonic() - self._reported >= _REPORT_SECONDS:
                self._report_size()

    def done(self, path: str, *, verified: bool) -> None:
        with self._lock:
            self._report_size()
            self._write({"done": path, "verified": verified})

    def end(self, **how: object) -> None:
        with self._lock:
            self._report_size()
            self._write({"end": how})

    def _report_size(self) -> None:
        if self._size:
            self._write({"received": self._size})
        self._size, self._reported = 0, time.monotonic()

    def _write(self, line: Mapping[str, object]) -> None:
        self._out.write(json.dumps(line) + "\n")
        self._out.flush()


def _end_with_parent() -> None:
    """End this process when its input ends; on Linux also when only a fork of the parent keeps the input open."""

    def wait() -> None:
        sys.stdin.buffer.read()
        os._exit(1)

    threading.Thread(target=wait, daemon=True, name="tfs-oss-parent").start()
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def main() -> None:
    """Do what the first line of the standard input says."""
    throttle = Throttle(os.getppid())
    throttle.begin()
    from tfs_notebook.oss.client.oss2_store import Oss2Store

    job = json.loads(sys.stdin.buffer.readline())
    _end_with_parent()
    reporter = _Reporter(sys.stdout)
    files = {path: StoredObject(**stored) for path, stored in job["files"].items()}
    try:
        store = Oss2Store.from_portable(job["store"])
        fetch(store, files, Path(job["directory"]), reporter, throttle)
    except StoreError as error:
        reporter.end(fault=error.fault.name, message=error.message, hint=error.hint)
    except OSError as error:
        reporter.end(errno=error.errno, message=error.strerror, filename=str(error.filename or job["directory"]))
    else:
        reporter.end()
    os._exit(0)


if __name__ == "__main__":
    main()
