from __future__ import annotations

import pytest

from tfs_notebook.settings.mount import Mount


@pytest.mark.parametrize(
    ("base_path", "directory"),
    [
        ("/models/modelA/", "/srv/tf/modelA"),
        ("/models/modelA", "/srv/tf/modelA"),
        ("/models", "/srv/tf"),
        ("/models/", "/srv/tf"),
        ("/models/a/b/c", "/srv/tf/a/b/c"),
        ("/models2/modelA", "/models2/modelA"),
        ("/other/models/modelA", "/other/models/modelA"),
        ("models/modelA", "models/modelA"),
        ("gs://bucket/models", "gs://bucket/models"),
    ],
)
@pytest.mark.parametrize("path", ["/models", "/models/"])
def test_paths_below_the_mount_are_found_in_its_root(path: str, base_path: str, directory: str) -> None:
    assert Mount(path, "/srv/tf").resolve(base_path) == directory


def test_without_a_path_nothing_is_mounted() -> None:
    assert Mount("", "/home/me").resolve("/models/modelA/") == "/models/modelA/"


def test_a_mounted_root_in_oss_keeps_every_letter_of_what_is_below_it() -> None:
    mount = Mount("/models", "oss://examplebucket/tf/")
    assert mount.resolve("/models/.hidden/m/") == "oss://examplebucket/tf/.hidden/m/"
    assert mount.resolve("/models") == "oss://examplebucket/tf/"
