"""The service.json of a PAI-EAS deployment: what keeps TensorFlow Serving in it from answering."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from tfs_notebook.notebook.doctor.finding import Finding
from tfs_notebook.notebook.doctor.ports import EAS_RESERVED

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_FLAG = re.compile(r"--(\w+)[= ]([^\s\"']+)")
_REST, _GRPC = 8501, 8500
"""What the image listens on unless its flags say otherwise."""


def look_at_service(path: Path) -> list[Finding]:
    """What is wrong with the service that `path` describes."""
    try:
        service = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        return [Finding(path.name, f"it cannot be read as JSON ({error})", "eascmd takes JSON without comments")]
    containers = service.get("containers") if isinstance(service, dict) else None
    if not (isinstance(containers, list) and containers and isinstance(containers[0], dict)):
        return [Finding(path.name, "it has no containers: a processor deployment speaks another protocol", _IMAGE)]
    return [*_command(containers[0]), *_port(service, containers[0]), *_mounts(service, containers[0])]


_IMAGE = 'write "containers": [{"image": …, "port": 8501, "script": "/usr/bin/tf_serving_entrypoint.sh …"}]'


def _flags(container: dict[str, Any]) -> dict[str, str]:
    return dict(_FLAG.findall(f"{container.get('script', '')} {container.get('command', '')}"))


def _command(container: dict[str, Any]) -> Iterator[Finding]:
    if container.get("command") and container.get("script"):
        yield Finding("containers[0]", "it has a command and a script: one of them is ignored", "keep the script")


def _port(service: dict[str, Any], container: dict[str, Any]) -> Iterator[Finding]:
    """A service speaks HTTP or gRPC, on the one port that it names."""
    flags, metadata = _flags(container), service.get("metadata") or {}
    speaks_grpc = bool(metadata.get("enable_grpc"))
    flag, default = ("port", _GRPC) if speaks_grpc else ("rest_api_port", _REST)
    listens = int(flags[flag]) if flags.get(flag, "").isdigit() else default
    port, about = container.get("port"), "containers[0].port"
    if port in EAS_RESERVED:
        yield Finding(about, f"{port} is PAI-EAS's own: the service waits for ever", f'"port": {listens}')
    elif port != listens:
        protocol = "gRPC" if speaks_grpc else "REST"
        problem = f"it is {port}, but {protocol} listens on {listens}: the service waits for ever"
        yield Finding(about, problem, f'"port": {listens}')
    if not speaks_grpc and port == _GRPC:
        yield Finding("metadata.enable_grpc", "the gateway speaks HTTP only, the port is gRPC's", '"enable_grpc": true')
    if speaks_grpc and (service.get("networking") or {}).get("path") != "/":
        yield Finding("networking.path", "gRPC is routed by the path /", '"networking": {"path": "/"}')


def _mounts(service: dict[str, Any], container: dict[str, Any]) -> Iterator[Finding]:
    mounts = [str(entry.get("mount_path", "")).rstrip("/") for entry in service.get("storage") or []]
    for flag, value in _flags(container).items():
        is_mounted = any(value == mount or value.startswith(f"{mount}/") for mount in mounts if mount)
        if flag in {"model_config_file", "model_base_path"} and value.startswith("/") and not is_mounted:
            mounted = ", ".join(filter(None, mounts)) or "nothing"
            problem = f"--{flag}={value} is below no mount_path (mounted: {mounted})"
            yield Finding("storage", problem, f'"mount_path": "{value.rsplit("/", 1)[0]}", or another path')
