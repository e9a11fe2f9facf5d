"""The machine: memory, device, disk of the copies from OSS, and Python packages that do not fit together."""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from tfs_notebook.notebook.doctor.finding import Finding
from tfs_notebook.oss.cache.cache import cache_directory

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tfs_notebook.server.server import Server

LEAST_MEMORY, LEAST_DISK = 512 << 20, 2 << 30
"""Bytes that should be free: TensorFlow alone takes the first."""
_CGROUPS = Path("/sys/fs/cgroup")
_CGROUP_FILES = (("", "memory.max", "memory.current"), ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes"))
"""Of both versions of control groups: their directory, and the files of limit and usage."""
PACKAGES = (
    "tfs-notebook", "tensorflow", "tensorflow-serving-api", "keras", "grpcio", "grpcio-health-checking",
    "grpcio-reflection", "protobuf", "numpy", "ml-dtypes", "ipykernel", "ipywidgets", "jupyterlab",
)  # fmt: skip
_BUILDS = ("tensorflow", "tensorflow-cpu", "tensorflow-intel", "tf-nightly", "tensorflow-gpu")
"""Distributions that write to the one directory `tensorflow`."""
_IMPORTED = {"tensorflow": "tensorflow", "numpy": "numpy", "google.protobuf": "protobuf", "grpc": "grpcio"}


def look(server: Server | None) -> list[tuple[str, Iterable[Finding]]]:
    """What was looked at, and what was found, part by part."""
    cache = cache_directory(server.options.oss_cache_dir if server is not None else "")
    return [
        ("memory", list(memory(free_memory()))),
        ("device", list(device())),
        (f"disk of the OSS cache {cache}", list(disk(cache))),
        (f"versions of {', '.join(name for name in PACKAGES if version_of(name))}", list(packages())),
    ]


def free_memory(cgroups: Path = _CGROUPS) -> int:
    """Bytes that this process may still take: of the machine, or of its container where that has less."""
    free = psutil.virtual_memory().available
    for directory, limit, usage in _CGROUP_FILES:
        here = cgroups / directory
        try:
            used = int((here / usage).read_text("ascii")) - _page_cache(here)
            free = min(free, int((here / limit).read_text("ascii")) - used)
        except (OSError, ValueError):  # no such file, or `max`
            continue
    return max(free, 0)


def _page_cache(cgroup: Path) -> int:
    """Bytes of files that are kept in memory only while nobody needs it."""
    lines = (cgroup / "memory.stat").read_text("ascii").splitlines()
    return next(
        (int(line.split()[1]) for line in lines if line.startswith(("inactive_file", "total_inactive_file"))), 0
    )


def memory(free: int) -> Iterator[Finding]:
    """What there is to say of so many `free` bytes."""
    if free < LEAST_MEMORY:
        problem = f"{free / 1e6:.0f} MB are free: the next model that is loaded may end the kernel"
        yield Finding(
            "memory", problem, "shut down other kernels, or serve fewer versions (latest { num_versions: 1 })"
        )


def device(gpus: Path = Path("/dev")) -> Iterator[Finding]:
    """A GPU that is there, by its file in `gpus`, but not for TensorFlow."""
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is None or not list(gpus.glob("nvidia[0-9]*")):
        return
    if not tensorflow.config.list_physical_devices("GPU"):
        problem = "this machine has a GPU that TensorFlow does not find: models run on the CPU"
        yield Finding("device", problem, "pip install 'tensorflow[and-cuda]', then restart the kernel")


def disk(directory: Path) -> Iterator[Finding]:
    """Whether models from OSS find room where they are copied to."""
    there = next(filter(Path.is_dir, (directory, *directory.parents)), Path("/"))
    free = psutil.disk_usage(str(there)).free
    if free < LEAST_DISK:
        problem = f"{free / 1e6:,.0f} MB are free in {there}"
        yield Finding(
            "OSS cache", problem, "make room there, or %tfs_serve … --oss_cache_dir=DIRECTORY on a larger disk"
        )


def packages(names: Iterable[str] = PACKAGES) -> Iterator[Finding]:
    """Requirements of the installed packages among `names` that are not met, and what was exchanged under a kernel."""
    yield from _twice()
    for name in names:
        yield from _unmet(name)
    for module, name in _IMPORTED.items():
        loaded = getattr(sys.modules.get(module), "__version__", None)
        installed = version_of(name)
        if loaded and installed and loaded != installed:
            problem = f"this kernel has imported {loaded}, {installed} is installed by now"
            yield Finding(name, problem, "restart the kernel")


def _twice() -> Iterator[Finding]:
    several = [name for name in _BUILDS if version_of(name)]
    if len(several) > 1:
        problem = f"{' and '.join(several)} are installed into one directory"
        yield Finding("tensorflow", problem, f"pip uninstall -y {' '.join(several)}, then pip install tensorflow")


def _unmet(name: str) -> Iterator[Finding]:
    from packaging.requirements import InvalidRequirement, Requirement

    if not version_of(name):
        return
    for text in metadata.requires(name) or ():
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        found = version_of(requirement.name)
        if not found:
            problem = f"needs {requirement.name}, which is not installed"
        elif not requirement.specifier.contains(found, prereleases=True):
            problem = f"needs {requirement.name}{requirement.specifier}, installed is {found}"
        else:
            continue
        asked = f"{requirement.name}{requirement.specifier}"
        yield Finding(f"{name} {version_of(name)}", problem, f"%pip install '{asked}', then restart the kernel")


def version_of(name: str) -> str:
    """The installed version of a distribution, "" for none."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""
