"""Load from outside: wrk for REST, h2load for gRPC, both from Debian's packages."""

from __future__ import annotations

import re
import shutil
import statistics
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

SECONDS = 2
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}


class MissingToolError(RuntimeError):
    """A load generator is not installed."""


@dataclass(frozen=True)
class Load:
    """What a load generator saw: latencies in seconds, requests a second."""

    p50: float
    p99: float
    rate: float


def _tool(name: str, package: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise MissingToolError(f"{name} is missing: apt install {package}")
    return path


def rest(
    port: int, body: bytes, *, path: str = "/v1/models/model:predict", connections: int = 1, token: str = ""
) -> Load:
    """POST `body` over so many keep-alive connections. Raises RuntimeError when a reply was no success."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "body").write_bytes(body)
        script = Path(directory, "post.lua")
        script.write_text(
            f'local file = io.open("{directory}/body", "rb")\nwrk.method = "POST"\nwrk.body = file:read("*a")\n'
            'wrk.headers["Content-Type"] = "application/json"\n'
            f'wrk.headers["Authorization"] = "{token}"\n'
        )
        command = [_tool("wrk", "wrk"), "-t1", f"-c{connections}", f"-d{SECONDS}s", "--latency", "-s", str(script)]
        printed = subprocess.run(
            [*command, f"http://127.0.0.1:{port}{path}"], capture_output=True, text=True, check=True
        )
    if "Non-2xx" in printed.stdout or "Socket errors" in printed.stdout:
        raise RuntimeError(printed.stdout)
    return Load(
        _percentile(printed.stdout, 50),
        _percentile(printed.stdout, 99),
        float(_find(r"Requests/sec:\s+([\d.]+)", printed.stdout)),
    )


def _percentile(text: str, percent: int) -> float:
    value, unit = re.search(rf"{percent}%\s+([\d.]+)(us|ms|s)", text).groups()  # type: ignore[union-attr]
    return float(value) * _UNITS[unit]


def _find(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    assert found is not None, text
    return found.group(1)


def grpc(port: int, message: bytes, *, connections: int = 1, requests: int = 3000) -> Load:
    """Call Predict with `message`. Raises RuntimeError when a reply was no success."""
    with tempfile.TemporaryDirectory() as directory:
        body, log = Path(directory, "body"), Path(directory, "log")
        body.write_bytes(b"\0" + len(message).to_bytes(4, "big") + message)
        printed = subprocess.run(
            [
                _tool("h2load", "nghttp2-client"), f"-n{requests}", f"-c{connections}", "-m1", "-t1",
                f"--data={body}", f"--log-file={log}",
                "-Hcontent-type: application/grpc", "-Hte: trailers",
                f"http://127.0.0.1:{port}/tensorflow.serving.PredictionService/Predict",
            ],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        micros = [int(line.split("\t")[2]) for line in log.read_text().splitlines()]
    if f"{requests} succeeded" not in printed.stdout:
        raise RuntimeError(printed.stdout)
    ordered = sorted(micros[len(micros) // 10 :])
    return Load(
        statistics.median(ordered) / 1e6,
        ordered[int(len(ordered) * 0.99)] / 1e6,
        float(_find(r"finished in .*?, ([\d.]+) req/s", printed.stdout)),
    )
