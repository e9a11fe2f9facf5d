"""The OSS server of the tests, started for each test that asks for it, and Alibaba Cloud's own client of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.oss.server import OssServer, oss_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    import oss2


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
