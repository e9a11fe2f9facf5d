"""The OSS server of the tests, started for each test that asks for it, and Alibaba Cloud's own client of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.notebook.conftest import notebook, shell
from tests.oss.guide import Guide
from tests.oss.stand_in.server import OssServer, oss_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import oss2

__all__ = ["guide", "guide_models", "notebook", "oss", "shell"]


@pytest.fixture
def oss() -> Iterator[OssServer]:
    """A started server with the bucket `examplebucket`; the environment (OSS_ENDPOINT, …) leads clients to it."""
    with oss_server() as server:
        yield server


@pytest.fixture
def bucket(oss: OssServer) -> oss2.Bucket:
    """oss2's own view of `examplebucket`."""
    from tests.oss.clients import client

    return client(oss)


@pytest.fixture(scope="session")
def guide_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the guide's SavedModels are exported, once a session."""
    return tmp_path_factory.mktemp("guide")


@pytest.fixture
def guide(oss: OssServer, guide_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Guide:
    """The guide's models in the bucket, and a cache of this test's own to bring them to."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return Guide(oss, guide_models)
