"""What many versions cost the process that serves them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import psutil

import tfs_notebook
from tests.support.serving import ALL, config_text, until
from tfs_notebook.engine.config import parse_config
from tfs_notebook.engine.lifecycle.version import State

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Models
    from tfs_notebook.server.server import Server

MODELS, VERSIONS = 5, 4


def ask_all(server: Server) -> int:
    """Ask every version, once all serve, until its calls have found their way; how many there are."""

    def versions() -> list[tuple[str, int, State]]:
        found = [(model.name, v.number, v.state) for model in server.status().models for v in model.versions]
        return [each for each in found if each[2] is not State.END]  # an older one may have settled first

    until(lambda: {state for _, _, state in versions()} == {State.AVAILABLE})
    serving = versions()
    for name, number, _ in serving:
        for _ in range(20):
            server.predict(name, np.ones(1, np.float32), version=number)
    return len(serving)


def test_versions_share_their_threads(models: Models, tmp_path: Path) -> None:
    bases = {f"m{number}": tmp_path / f"m{number}" for number in range(MODELS)}
    for base in bases.values():
        for number in range(1, VERSIONS + 1):
            models.copy("half_plus_two", base, number)
    one, process = {"m0": bases["m0"]}, psutil.Process()
    with tfs_notebook.serve(config=config_text(one), num_load_threads=2, rest_api_port=0, port=0) as server:
        assert ask_all(server) == 1
        before = process.num_threads()
        server.reload(parse_config(config_text(bases, dict.fromkeys(bases, ALL))))
        assert ask_all(server) == MODELS * VERSIONS
        # A thread for each base path that is looked at, and for each load, at a time
        assert process.num_threads() - before < MODELS * VERSIONS / 2
