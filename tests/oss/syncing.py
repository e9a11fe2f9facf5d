"""Parts for the tests of the synchronisation: a mirror of a bucket, what it has published, and SavedModels uploaded."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests import trees
from tfs_notebook.engine.config import Latest, ModelConfig, VersionPolicy
from tfs_notebook.engine.storage.completeness import missing_part
from tfs_notebook.engine.storage.scan import parse_version
from tfs_notebook.oss.address import OssAddress
from tfs_notebook.oss.client.endpoint import StoreOptions
from tfs_notebook.oss.client.oss2_store import open_store
from tfs_notebook.oss.sync.mirror import Mirror, MirrorOptions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Models
    from tests.oss.stand_in.server import OssServer
    from tfs_notebook.engine.storage.remote import FetchStatus, SourceStatus
    from tfs_notebook.oss.client.credentials import Provider
    from tfs_notebook.oss.client.store import ObjectStore

PREFIX = "models/tf_serving"
ROOT = OssAddress.parse(f"oss://examplebucket/{PREFIX}/")
POLL = 0.05
FILES = (
    "saved_model.pb",
    "variables/variables.index",
    "variables/variables.data-00000-of-00001",
    "assets/vocabulary.txt",
    "fingerprint.pb",
)
"""Those of the model `vocabulary`."""


def model(name: str = "modelA", policy: VersionPolicy | None = None, base_path: str = "") -> ModelConfig:
    return ModelConfig(name, base_path or f"/models/{name}", policy=policy or Latest())


def upload(oss: OssServer, models: Models, version: str, *names: str, model: str = "vocabulary") -> None:
    """Upload a SavedModel as `modelA/1`, or only those of its files that are named."""
    directory = models.path(model) / "1"
    for path in sorted(directory.rglob("*")):
        name = path.relative_to(directory).as_posix()
        if path.is_file() and (not names or name in names):
            oss.put(f"{PREFIX}/{version}/{name}", path)


def open_impatiently(bucket: str, patience: float = 1.0, provider: Provider | None = None) -> ObjectStore:
    """The bucket, which waits for the next bytes of an answer for `patience` seconds only."""
    return open_store(bucket, StoreOptions(), provider, timeouts=(5, patience))


def identity(directory: Path) -> tuple[int, int] | None:
    """What is another pair once another directory stands there, or the same one again; None when none does."""
    found = trees.status(directory)
    # A number is used again, and who moves a directory changes its ctime
    return (found.st_ino, found.st_ctime_ns) if found else None


@dataclass
class Watched:
    """A mirror with the root mounted at /models; `changes` are the directories that it told a change of."""

    mirror: Mirror
    changes: list[str] = field(default_factory=list)

    def directory(self, name: str = "modelA") -> Path:
        return Path(self.mirror.directory(f"/models/{name}"))

    def versions(self, name: str = "modelA") -> list[str]:
        """The published versions, each of which is checked to be complete."""
        directory = self.directory(name)
        found = [version for version in trees.names(directory) if parse_version(version) is not None]
        for version in found:
            while (before := identity(directory / version)) and (missing := missing_part(directory / version)):
                assert identity(directory / version) != before, missing  # else it has changed: look again
        return found

    def fetch_status(self, name: str = "modelA") -> FetchStatus:
        return self.mirror.fetch_status(f"/models/{name}")

    @property
    def status(self) -> SourceStatus:
        (status,) = self.mirror.status()
        return status

    @property
    def warnings(self) -> str:
        return "\n".join(self.status.warnings)

    @property
    def problem(self) -> str:
        problem = self.status.problem
        return problem.told if problem is not None else ""


@contextmanager
def watched(
    tmp_path: Path,
    *models: ModelConfig,
    in_use: Any = None,
    patience: float = 1.0,
    provider: Provider | None = None,
    **options: Any,
) -> Iterator[Watched]:
    """A mirror for `models` until the end of the block."""
    settings = MirrorOptions(**{"poll_seconds": POLL, "cache_dir": str(tmp_path / "cache"), **options})
    changes: list[str] = []
    mirror = Mirror(settings, lambda bucket: open_impatiently(bucket, patience, provider), changes.append)
    if in_use is not None:
        mirror.in_use = in_use
    mirror.mount(ROOT, "/models")
    try:
        mirror.want(models or (model(),))
        yield Watched(mirror, changes)
    finally:
        mirror.close()


def listings(oss: OssServer) -> int:
    """How many listings were answered so far."""
    return sum(request.operation == "LIST" and request.status == 200 for request in oss.requests)
