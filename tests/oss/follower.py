"""A process that keeps the test's root in step until it is killed: `python -m tests.oss.follower CACHE OPTIONS MODEL…`.

OPTIONS is a JSON object with options of a mirror.
"""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path

from tests.oss.syncing import model, watched

if __name__ == "__main__":
    with watched(Path(sys.argv[1]), *map(model, sys.argv[3:]), **json.loads(sys.argv[2])):
        threading.Event().wait()
