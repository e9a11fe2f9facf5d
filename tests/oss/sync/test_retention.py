"""The room that there is for what is brought."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from tfs_notebook.errors import Code
from tfs_notebook.oss.address import OssAddress
from tfs_notebook.oss.cache.cache import Cache
from tfs_notebook.oss.sync.retention import MirrorOptions, Retention

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_what_is_on_the_disk_already_needs_no_more_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = Cache(tmp_path / "endpoint" / "bucket" / "root")
    cache.prepare()
    root = OssAddress.parse("oss://examplebucket/models/")
    holdings = Retention(root, cache, MirrorOptions(), lambda base: None, lambda path: False)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=(64 << 20) + 100))
    assert holdings.make_room(1000, 900) is None
    problem = holdings.make_room(1000, 800)
    assert problem is not None
    assert problem.code is Code.RESOURCE_EXHAUSTED
