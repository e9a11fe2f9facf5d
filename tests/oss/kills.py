"""Kills a process at every step that it makes on the disk: `python -m tests.oss.kills publish|replace|withdraw DIR`.

For every n a child does the same from the start and is killed right before its n-th step; each leaves its directory as
DIR/n, and the last, which came to its end, is the first to have no further step.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
from pathlib import Path

from tfs_notebook.oss.cache.cache import Cache

PATH = "modelA/7"
FILES = {"saved_model.pb": b"graph", "variables/variables.index": b"index", "variables/data": b"data" * 1000}
OLD = frozenset({("old", 3, "e0")})
NEW = frozenset((path, len(content), f"e of {path}") for path, content in FILES.items())
_STEPS = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate")


def stage(cache: Cache) -> None:
    """Put the version into the staging directory, as a download does."""
    for path, content in FILES.items():
        file = cache.staging(PATH) / "content" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)


def prepare(cache: Cache, operation: str) -> None:
    """Everything up to the operation."""
    cache.prepare()
    cache.recover()
    if operation != "publish":
        old = cache.staging(PATH) / "content"
        old.mkdir(parents=True)
        (old / "old").write_bytes(b"old")
        cache.publish(PATH, OLD)
    if operation != "withdraw":
        stage(cache)


def act(cache: Cache, operation: str) -> None:
    """The operation itself."""
    if operation == "withdraw":
        cache.withdraw(PATH)
        cache.empty_trash(lambda path: False)
    else:
        cache.publish(PATH, NEW, replace=operation == "replace")


def _die_before_step(number: int) -> None:
    steps = itertools.count()

    def on_event(event: str, arguments: tuple[object, ...]) -> None:
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if (event in _STEPS or writes) and next(steps) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(on_event)


def main() -> None:
    """See the module."""
    operation, directory = sys.argv[1], Path(sys.argv[2])
    for number in itertools.count():
        cache = Cache(directory / str(number) / "endpoint" / "bucket" / "root")
        child = os.fork()
        if not child:
            prepare(cache, operation)
            _die_before_step(number)
            act(cache, operation)
            os._exit(0)
        if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0:
            break


if __name__ == "__main__":
    main()
