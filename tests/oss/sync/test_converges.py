"""Uploads, overwrites, deletions and bad moments in any order: nothing half is published, and in the end all is."""

from __future__ import annotations

import random
import threading
from collections import defaultdict
from typing import TYPE_CHECKING

import pytest

from tests import trees
from tests.oss.syncing import FILES, PREFIX, Watched, identity, listings, model, watched
from tests.support.serving import PATIENCE, until
from tfs_notebook.engine.config import AllVersions

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Models
    from tests.oss.stand_in.server import OssServer

FAULTS = ("cut", "reset", "corrupt", "checksum", "lost", "error", "archived", "expired")
NAMES = ("modelA", "modelB")
VARIANTS = ("vocabulary", "half_plus_two")
"""What a version may be: two models that have files of the same names, and files that only one of them has."""


def contents(models: Models) -> list[dict[str, bytes]]:
    """The files of each variant."""
    found = []
    for variant in VARIANTS:
        directory = models.path(variant) / "1"
        files = [path for path in directory.rglob("*") if path.is_file()]
        found.append({path.relative_to(directory).as_posix(): path.read_bytes() for path in files})
    return found


def published(seen: Watched) -> dict[str, dict[str, bytes]]:
    """Every published version that stays while it is read, by its path, with its files."""
    found = {}
    for name in NAMES:
        for version in seen.versions(name):
            content = read(seen.directory(name) / version)
            if content is not None:
                found[f"{name}/{version}"] = content
    return found


def read(directory: Path) -> dict[str, bytes] | None:
    """The files of a version, None when it did not stay while they were read."""
    before = identity(directory)
    content = {path.relative_to(directory).as_posix(): trees.content(path) for path in trees.files(directory)}
    return content if before is not None and identity(directory) == before else None


class Bucket:
    """Changes the bucket one object at a time, and remembers the files that each version has had at any moment."""

    def __init__(self, oss: OssServer, models: Models) -> None:
        self.oss = oss
        self.variants = contents(models)
        self.moments: defaultdict[str, list[dict[str, bytes]]] = defaultdict(list)
        self._now: defaultdict[str, dict[str, bytes]] = defaultdict(dict)

    def put(self, path: str, variant: int, name: str) -> None:
        if name in self.variants[variant]:
            self._now[path] = {**self._now[path], name: self.variants[variant][name]}
            self.moments[path].append(self._now[path])
            self.oss.put(f"{PREFIX}/{path}/{name}", self.variants[variant][name])

    def delete(self, path: str, name: str) -> None:
        self._now[path] = {other: content for other, content in self._now[path].items() if other != name}
        self.moments[path].append(self._now[path])
        self.oss.delete(f"{PREFIX}/{path}/{name}")

    def disturb(self, chance: random.Random) -> None:
        """Upload a version, perhaps over another, slowly or not, remove one or a part of it, or let requests fail."""
        path, variant = f"{chance.choice(NAMES)}/{chance.randint(1, 3)}", chance.randrange(len(VARIANTS))
        what = chance.choice(["upload", "upload", "slowly", "remove", "damage", "fault", "fault"])
        if what in ("upload", "slowly"):
            for name in chance.sample(FILES, len(FILES)):
                self.put(path, variant, name)
                threading.Event().wait(chance.uniform(0, 0.05) if what == "slowly" else 0)
        elif what == "remove":
            for name in chance.sample(FILES, len(FILES)):
                self.delete(path, name)
        elif what == "damage":
            self.delete(path, chance.choice(FILES))
        else:
            method = chance.choice(["GET", "LIST"])
            self.oss.fail(chance.choice(FAULTS), method=method, times=chance.randint(1, 3), at=chance.randint(0, 500))


@pytest.mark.parametrize("seed", range(3))
def test_whatever_happens_what_is_published_was_in_the_bucket_and_the_end_is_what_is_there(
    oss: OssServer, models: Models, tmp_path: Path, seed: int
) -> None:
    chance, bucket = random.Random(seed), Bucket(oss, models)
    ever = set()
    with watched(tmp_path, *(model(name, AllVersions()) for name in NAMES), keep_versions=0) as seen:
        for _ in range(40):
            bucket.disturb(chance)
            if chance.random() < 0.2:  # a moment's peace, so that something is published now and then
                oss.heal()
                seen.mirror.sync_now()
                before = listings(oss)
                until(lambda: listings(oss) >= before + 4)  # noqa: B023
            for path, files in published(seen).items():
                assert files in bucket.moments[path], path
                ever.add(path)
        oss.heal()
        for number, name in enumerate(NAMES):
            oss.delete(f"{PREFIX}/{name}/")
            for file in FILES:
                bucket.put(f"{name}/7", number, file)
        seen.mirror.sync_now()
        expected = {f"{name}/7": files for name, files in zip(NAMES, bucket.variants, strict=True)}
        until(lambda: published(seen) == expected, timeout=PATIENCE)
        until(lambda: seen.status.state == "in step" and not seen.status.warnings)
        assert not trees.names(seen.directory().parent / ".tfs-sync" / "staging")
    assert ever
