"""A process that keeps the test's root in step until it is killed: `python -m tests.oss.follower CACHE OPTIONS MODEL…`.

OPTIONS is a JSON object with options of a mirror. Only TensorFlow's messages are imported: all of it takes seconds.
"""

from __future__ import annotations

import json
import sys
import threading
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from pathlib import Path

from tests.oss.syncing import model, watched


def leave_out_tensorflow() -> None:
    """Let the messages be imported from TensorFlow's folder without the library."""
    spec = PathFinder.find_spec("tensorflow")
    assert spec is not None
    sys.modules["tensorflow"] = module_from_spec(spec)  # its code is never run


if __name__ == "__main__":
    leave_out_tensorflow()
    with watched(Path(sys.argv[1]), *map(model, sys.argv[3:]), **json.loads(sys.argv[2])):
        threading.Event().wait()
