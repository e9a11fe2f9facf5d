"""What an import costs, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = """
import json, sys, time
started = time.perf_counter()
{statement}
print(json.dumps([time.perf_counter() - started, sorted(sys.modules)]))
"""
EXTENSION = """
import IPython
shell = IPython.InteractiveShell.instance()
started = time.perf_counter()
import tfs_notebook
tfs_notebook.load_ipython_extension(shell)
"""


@pytest.mark.parametrize(
    "statement", ["import tfs_notebook", "import tfs_notebook.cli", EXTENSION], ids=["package", "cli", "extension"]
)
def test_nothing_heavy_is_imported(statement: str, tmp_path: Path) -> None:
    process = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(statement=statement)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "IPYTHONDIR": str(tmp_path)},
    )
    seconds, modules = json.loads(process.stdout)
    heavy = {"tensorflow", "keras", "grpc", "oss2", "aiohttp"}
    assert not heavy & set(modules)
    assert "tfs_notebook" in modules
    assert ("tfs_notebook.notebook.magics" in modules) == (statement is EXTENSION)
    assert seconds < 2.0
    assert process.stderr == ""


def test_public_names() -> None:
    import tfs_notebook

    for name in tfs_notebook.__all__:
        assert getattr(tfs_notebook, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = tfs_notebook.nothing
