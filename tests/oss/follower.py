"""A process that keeps the test's root in step until it is killed: `python -m tests.oss.follower CACHE MODEL…`."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from tests.oss.syncing import model, watched

if __name__ == "__main__":
    with watched(Path(sys.argv[1]), *map(model, sys.argv[2:])):
        threading.Event().wait()
