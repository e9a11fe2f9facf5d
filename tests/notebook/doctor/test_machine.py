"""Memory, device, disk and packages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfs_notebook.notebook.doctor import machine

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def distribution(where: Path, name: str, version: str, *requires: str) -> None:
    """What pip writes of an installed package."""
    directory = where / f"{name.replace('-', '_')}-{version}.dist-info"
    directory.mkdir()
    lines = [
        "Metadata-Version: 2.1",
        f"Name: {name}",
        f"Version: {version}",
        *(f"Requires-Dist: {r}" for r in requires),
    ]
    (directory / "METADATA").write_text("\n".join(lines))


def fix(requirement: str) -> str:
    return f"%pip install '{requirement}', then restart the kernel"


def test_packages_that_do_not_fit_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(machine.packages()) == [], "those that these tests run with"
    distribution(
        tmp_path, "tensorflow-serving-api", "2.0", "protobuf<4", "grpcio>=1; extra == 'other'", "no-such-package>=2"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    found = [str(finding) for finding in machine.packages(["tensorflow-serving-api"])]
    installed = machine.version_of("protobuf")
    assert found == [
        f"tensorflow-serving-api 2.0: needs protobuf<4, installed is {installed}. {fix('protobuf<4')}",
        f"tensorflow-serving-api 2.0: needs no-such-package, which is not installed. {fix('no-such-package>=2')}",
    ]


def test_what_was_exchanged_under_a_kernel_and_what_stands_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import numpy as np

    distribution(tmp_path, "numpy", "9.9")
    distribution(tmp_path, "tensorflow-cpu", "2.21.0")
    monkeypatch.syspath_prepend(str(tmp_path))
    twice, exchanged = machine.packages([])
    assert twice.problem == "tensorflow and tensorflow-cpu are installed into one directory"
    assert twice.remedy == "pip uninstall -y tensorflow tensorflow-cpu, then pip install tensorflow"
    assert str(exchanged) == (
        f"numpy: this kernel has imported {np.__version__}, 9.9 is installed by now. restart the kernel"
    )


def test_memory_is_the_container_s_where_that_has_less(tmp_path: Path) -> None:
    assert machine.free_memory(tmp_path) > 0, "without a container the machine's"
    for name, content in {"memory.max": "1000000", "memory.current": "900000"}.items():
        (tmp_path / name).write_text(content)
    (tmp_path / "memory.stat").write_text("anon 5\ninactive_file 200000\n")
    assert machine.free_memory(tmp_path) == 300_000
    (finding,) = machine.memory(300_000)
    assert finding.problem == "0 MB are free: the next model that is loaded may end the kernel"
    assert list(machine.memory(machine.LEAST_MEMORY)) == []


def test_a_gpu_that_tensorflow_does_not_find(tmp_path: Path) -> None:
    import tensorflow as tf

    assert not tf.config.list_physical_devices("GPU")
    assert list(machine.device(tmp_path)) == []
    (tmp_path / "nvidia0").touch()
    (finding,) = machine.device(tmp_path)
    assert finding.remedy == "pip install 'tensorflow[and-cuda]', then restart the kernel"


def test_a_disk_without_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "LEAST_DISK", 1 << 60)
    (finding,) = machine.disk(tmp_path / "not" / "yet")
    assert f"MB are free in {tmp_path}" in finding.problem
    assert "--oss_cache_dir=DIRECTORY" in finding.remedy
