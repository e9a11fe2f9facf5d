"""The report as a person reads it, with and without a server, and what it says of ports and of PAI-EAS."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.ports import free_port
from tfs_notebook.notebook.doctor import ports
from tfs_notebook.notebook.doctor.eas import look_at_service
from tfs_notebook.notebook.doctor.finding import Finding
from tfs_notebook.notebook.doctor.report import Report, doctor

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Models

SERVICE: dict[str, Any] = {
    "metadata": {"name": "multi", "enable_grpc": False},
    "containers": [
        {"port": 8501, "script": "/usr/bin/tf_serving_entrypoint.sh --model_config_file=/models/model_config.pbtxt"}
    ],
    "storage": [{"mount_path": "/models", "oss": {"path": "oss://examplebucket/models/tf_serving/"}}],
}


def test_everything_is_fine(models: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tfs_notebook

    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    base = models.path("half_plus_two")
    with tfs_notebook.serve(base, port=0, rest_api_port=0) as server:
        report = tfs_notebook.doctor(str(base), server=server)
    assert report.findings == ()
    first, second = repr(report).splitlines()
    assert first.startswith("Everything looks fine at ")
    for looked_at in (
        "of the running server",
        f"the model in {base}",
        "the 1 served model;",
        "memory",
        "device",
        "disk",
    ):
        assert looked_at in second


def test_a_report_says_each_finding_with_its_remedy() -> None:
    report = Report((Finding("port <1>", "it is taken", "take another"),), ("ports",), 0.0)
    assert repr(report).splitlines()[1:] == ["✗ port <1>: it is taken. take another", "Looked at: ports"]
    page = report._repr_mimebundle_()["text/html"]
    assert "port &lt;1&gt;" in page
    assert "<script" not in page
    assert report.headline.startswith("1 finding at ")


def test_ports_of_others_and_those_of_pai_eas() -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        (finding,) = ports._taken({"rest_api_port": port})
    assert str(finding) == (
        f"port {port}: this process listens there. %tfs_serve … --rest_api_port=-1 picks a free one, or stop that"
    )
    (finding,) = ports._reserved({"rest_api_port": 8080, "port": 8500})
    assert "--rest_api_port=8501" in finding.remedy


def test_a_proxy_in_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("http_proxy", "http://proxy.example:3128")
    (finding,) = ports._proxy("localhost")
    assert finding.remedy.startswith("os.environ['no_proxy'] = 'localhost,127.0.0.1'")
    monkeypatch.setenv("no_proxy", "localhost")
    assert list(ports._proxy("localhost")) == []


@pytest.mark.parametrize(
    ("change", "problem", "remedy"),
    [
        ({"port": 8080}, "8080 is PAI-EAS's own: the service waits for ever", '"port": 8501'),
        ({"port": 8500}, "it is 8500, but REST listens on 8501: the service waits for ever", '"port": 8501'),
        (
            {"script": "tf_serving_entrypoint.sh --model_config_file=/data/m.pbtxt"},
            "--model_config_file=/data/m.pbtxt is below no mount_path (mounted: /models)",
            '"mount_path": "/data", or another path',
        ),
        ({"command": "sleep 1"}, "it has a command and a script: one of them is ignored", "keep the script"),
    ],
)
def test_a_service_that_cannot_answer(tmp_path: Path, change: dict[str, Any], problem: str, remedy: str) -> None:
    path = tmp_path / "service.json"
    path.write_text(json.dumps(SERVICE))
    assert look_at_service(path) == []
    path.write_text(json.dumps({**SERVICE, "containers": [{**SERVICE["containers"][0], **change}]}))
    assert (problem, remedy) in [(found.problem, found.remedy) for found in look_at_service(path)]
    assert doctor(str(path)).findings


def test_a_service_of_grpc(tmp_path: Path) -> None:
    path = tmp_path / "service.json"
    container = {**SERVICE["containers"][0], "port": 8500}
    service = {**SERVICE, "metadata": {"enable_grpc": True}, "containers": [container]}
    path.write_text(json.dumps(service))
    assert [found.remedy for found in look_at_service(path)] == ['"networking": {"path": "/"}']
    path.write_text(json.dumps({**service, "networking": {"path": "/"}}))
    assert look_at_service(path) == []
    path.write_text("{")
    (finding,) = look_at_service(path)
    assert "cannot be read as JSON" in finding.problem
