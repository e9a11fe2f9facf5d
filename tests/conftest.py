"""Quiet TensorFlow, and the small SavedModels of `tests/support/saved_models.py`, each exported once a session."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import importlib
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Models:
    """The exporters' models by name, exported on first use into a directory that the whole session shares."""

    root: Path

    def path(self, name: str) -> Path:
        """The base path that holds version 1 of the model `name`. Shared: a test that changes files takes a `copy`."""
        base_path = self.root / name
        if not base_path.exists():
            # Not every test needs TensorFlow, whose import takes seconds.
            exporters = importlib.import_module("tests.support.saved_models")
            getattr(exporters, name)(base_path / "1")
        return base_path

    def copy(self, name: str, to: Path, version: int = 1) -> Path:
        """Put the model `name` at `to`/`version` in one rename, as a server polling `to` must see it; returns that."""
        target = to / str(version)
        copying = to / f".{version}.copying"
        shutil.copytree(self.path(name) / "1", copying)
        return copying.rename(target)


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    """The session's SavedModels: `models.path("cnn")` to read, `models.copy("cnn", tmp_path, version=2)` to change."""
    return Models(tmp_path_factory.mktemp("models"))
