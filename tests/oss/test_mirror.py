"""All that a server serves from OSS, over HTTP, with real SavedModels."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.serving import until
from tfs_notebook.engine.completeness import missing_part
from tfs_notebook.engine.config import Latest, ModelConfig, VersionPolicy
from tfs_notebook.oss.address import OssAddress
from tfs_notebook.oss.endpoint import StoreOptions
from tfs_notebook.oss.mirror import Mirror, MirrorOptions
from tfs_notebook.oss.oss2_store import open_store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Models
    from tests.oss.server import OssServer

ROOT = OssAddress.parse("oss://examplebucket/models/tf_serving/")


def model(name: str, base_path: str = "", policy: VersionPolicy | None = None) -> ModelConfig:
    return ModelConfig(name, base_path or f"{ROOT}{name}/", policy=policy or Latest())


@contextmanager
def mirror(tmp_path: Path, *models: ModelConfig, mounted: bool = True, **options: object) -> Iterator[Mirror]:
    changes: list[str] = []
    settings = MirrorOptions(**{"poll_seconds": 0.05, "cache_dir": str(tmp_path / "cache"), **options})  # type: ignore[arg-type]
    made = Mirror(settings, lambda bucket: open_store(bucket, StoreOptions()), changes.append)
    if mounted:
        made.mount(ROOT, "/models")
    try:
        made.want({each.name: each for each in models})
        yield made
    finally:
        made.close()


def versions(made: Mirror, name: str) -> list[str]:
    directory = Path(made.directory(f"{ROOT}{name}"))
    return sorted(path.name for path in directory.iterdir()) if directory.is_dir() else []


def test_a_model_in_the_bucket_appears_in_its_directory_and_is_complete(
    oss: OssServer, models: Models, tmp_path: Path
) -> None:
    oss.put_tree("models/tf_serving/modelA/1", models.path("half_plus_two") / "1")
    with mirror(tmp_path, model("modelA")) as made:
        until(lambda: versions(made, "modelA") == ["1"])
        assert missing_part(Path(made.directory("/models/modelA")) / "1") == ""
        until(lambda: made.status()[0].state == "in step")
        assert not made.outlook("/models/modelA").coming


@pytest.mark.parametrize("stalled", ["LIST", "GET"])
def test_closing_does_not_wait_for_an_answer_that_does_not_come(
    oss: OssServer, models: Models, tmp_path: Path, stalled: str
) -> None:
    oss.put_tree("models/tf_serving/modelA/1", models.path("half_plus_two") / "1")
    fault = oss.fail("stall", method=stalled, times=None)
    before = set(threading.enumerate())
    with mirror(tmp_path, model("modelA")) as made:
        assert fault.reached.wait(20)
        begun = time.monotonic()
        made.close()
        assert time.monotonic() - begun < 5.0
        until(lambda: not [thread for thread in set(threading.enumerate()) - before if "tfs-" in thread.name])
