"""The OSS server of the tests, started for each test that asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.oss.server import OssServer, oss_server

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def oss() -> Iterator[OssServer]:
    """A started server with the bucket `examplebucket`; the environment (OSS_ENDPOINT, …) leads clients to it."""
    with oss_server() as server:
        yield server
