"""The monitoring config file: what it switches on, and what is wrong with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import tfs_notebook
from tests.support.serving import ask
from tfs_notebook import cli
from tfs_notebook.errors import Code, ServingError
from tfs_notebook.options import Options
from tfs_notebook.server import start
from tfs_notebook.settings import deployment
from tfs_notebook.settings.monitoring import DEFAULT_PATH, metrics_path

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Models


def written(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "monitoring.config"


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("", ""),
        ("prometheus_config {}", ""),
        ("prometheus_config { path: '/metrics' }", ""),
        ("prometheus_config { enable: false, path: '/metrics' }", ""),
        ("prometheus_config { enable: true }", "/monitoring/prometheus/metrics"),
        ("prometheus_config: { enable: true path: '' };", "/monitoring/prometheus/metrics"),
        ('# for the dashboard\nprometheus_config {\n  enable: true,\n  path: "/metrics"\n}\n', "/metrics"),
    ],
)
def test_the_path_of_the_metrics(file: Path, text: str, path: str) -> None:
    assert metrics_path(Options(monitoring_config_file=written(file, text))) == path


def test_without_a_file_there_are_no_metrics() -> None:
    assert metrics_path(Options()) == ""
    assert DEFAULT_PATH == "/monitoring/prometheus/metrics"


def test_a_file_below_a_mount(file: Path) -> None:
    written(file, "prometheus_config { enable: true }")
    mounted = Options(monitoring_config_file=f"/models/{file.name}", mount="/models", model_root=str(file.parent))
    assert metrics_path(mounted) == DEFAULT_PATH


@pytest.mark.parametrize(
    ("text", "position", "reason", "hint"),
    [
        (
            "prometheus_config {\n  enabled: true\n}",
            "2:3",
            'Message type "tensorflow.serving.PrometheusConfig" has no field named "enabled".',
            "  enabled: true\n  ^\nDid you mean enable?",
        ),
        (
            "promethius_config {}",
            "1:1",
            'Message type "tensorflow.serving.MonitoringConfig" has no field named "promethius_config".',
            "promethius_config {}\n^\nDid you mean prometheus_config?",
        ),
        ("prometheus_config { enable: 7 }", "1:29", "", "prometheus_config { enable: 7 }\n" + " " * 28 + "^"),
        (
            "prometheus_config {",
            "1:19",
            "",
            "prometheus_config {\n" + " " * 18 + "^\nThe block opened at 1:1 (prometheus_config) is not closed.",
        ),
        (
            '{"prometheus_config": {}}',
            "1:1",
            "",
            (
                '{"prometheus_config": {}}\n^\nThis is JSON; the text format has no outer braces and no quotes around '
                "names: name { field: 'value' }"
            ),
        ),
    ],
)
def test_a_text_that_is_no_monitoring_config(file: Path, text: str, position: str, reason: str, hint: str) -> None:
    with pytest.raises(ServingError) as caught:
        metrics_path(Options(monitoring_config_file=written(file, text)))
    error = caught.value
    assert (error.code, error.where, error.hint) == (Code.INVALID_ARGUMENT, f"{file}:{position}", hint)
    assert error.message.startswith(
        f"Error parsing text-format tensorflow.serving.MonitoringConfig: {position}: {reason}"
    )


@pytest.mark.parametrize("path", ["metrics", "http://localhost/metrics", "/metrics?all", "?"])
def test_a_path_that_no_request_can_have(file: Path, path: str) -> None:
    written(file, f"prometheus_config {{ enable: true path: '{path}' }}")
    with pytest.raises(ServingError) as caught:
        metrics_path(Options(monitoring_config_file=str(file)))
    error = caught.value
    assert (error.code, error.where) == (Code.INVALID_ARGUMENT, str(file))
    assert error.message == f"prometheus_config.path is '{path}', which no request can have"
    assert "'/monitoring/prometheus/metrics'" in error.hint


def test_a_file_that_cannot_be_read(file: Path) -> None:
    with pytest.raises(ServingError, match="No such file or directory") as missing:
        metrics_path(Options(monitoring_config_file=str(file)))
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(ServingError, match="it is not UTF-8 text") as binary:
        metrics_path(Options(monitoring_config_file=str(file)))
    for caught in (missing, binary):
        assert caught.value.code is Code.NOT_FOUND
        assert str(file) in caught.value.message
        assert "--monitoring_config_file" in caught.value.hint


def test_a_notebook_hears_of_a_bad_file_before_anything_is_loaded(file: Path, models: Models) -> None:
    given = {"monitoring_config_file": written(file, "prometheus_config { enable: maybe }"), "rest_api_port": 0}
    with pytest.raises(ServingError, match="1:29"):
        deployment.plan(str(models.path("half_plus_two")), "", given)


def test_a_bad_file_changes_nothing_of_a_running_server(file: Path, models: Models) -> None:
    path, bad = str(models.path("half_plus_two")), written(file, "prometheus_config { enable: maybe }")
    with tfs_notebook.serve(path, rest_api_port=0, port=0) as server:
        with pytest.raises(ServingError, match="1:29"):
            start.change(server, path, "", {"monitoring_config_file": bad})
        assert ask(server, "POST", "/v1/models/model:predict", {"instances": [1.0]}).json == {"predictions": [2.5]}


def test_a_command_line_with_a_bad_file_ends(
    file: Path, models: Models, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli.signal, "signal", lambda *_: None)
    written(file, "prometheus_config {\n  enabled: true\n}")
    arguments = [f"--model_base_path={models.path('half_plus_two')}", f"--monitoring_config_file={file}"]
    assert cli.main(arguments) == 255
    out, err = capsys.readouterr()
    assert out == f"Failed to start server. Error: INVALID_ARGUMENT: Invalid protobuf file: '{file}'\n"
    assert "Error parsing text-format tensorflow.serving.MonitoringConfig: 2:3: " in err
    assert "  enabled: true\n  ^\nDid you mean enable?\n" in err
