"""tfs-serving-entrypoint held to tf_serving_entrypoint.sh."""

from __future__ import annotations

import http.client
import json
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tests.support.ports import free_ports
from tests.support.serving import PATIENCE
from tests.test_cli import running
from tfs_notebook.entrypoint import arguments

if TYPE_CHECKING:
    from tests.conftest import Models

MODULE = "tfs_notebook.entrypoint"


@pytest.mark.parametrize(
    ("environment", "name", "base_path"),
    [
        ({}, "model", "/models/model"),
        ({"MODEL_NAME": "half"}, "half", "/models/half"),
        ({"MODEL_BASE_PATH": "/my models"}, "model", "/my models/model"),
        ({"MODEL_NAME": "", "MODEL_BASE_PATH": "/m"}, "", "/m/"),
    ],
)
def test_the_environment(
    environment: dict[str, str], name: str, base_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("MODEL_NAME", "MODEL_BASE_PATH"):
        monkeypatch.delenv(variable, raising=False)
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setattr(sys, "argv", ["tfs-serving-entrypoint", "--enable_profiler=false", "x"])
    asked = ["--port=8500", "--rest_api_port=8501", f"--model_name={name}", f"--model_base_path={base_path}"]
    assert arguments() == [*asked, "--enable_profiler=false", "x"]


def test_further_flags_of_the_environment(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    given = {
        "MODEL_CONFIG_FILE": "/models/models.config",
        "MODEL_CONFIG_FILE_POLL_WAIT_SECONDS": "30",
        "TENSORFLOW_INTRA_OP_PARALLELISM": "2",
        "ENABLE_BATCHING": "true",
        "GRPC_SOCKET_PATH": "",
        "PORT": "80",
        "REST_API_PORT": "tcp://10.0.0.1:8501",  # what Kubernetes tells of a service that is called rest-api
        "TOKEN": "x",
    }
    for variable, value in given.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setattr(sys, "argv", ["tfs-serving-entrypoint", "--enable_batching=false"])
    assert sorted(arguments()[4:-1]) == [
        "--enable_batching=true",
        "--model_config_file=/models/models.config",
        "--model_config_file_poll_wait_seconds=30",
        "--tensorflow_intra_op_parallelism=2",
    ]
    assert arguments()[-1] == "--enable_batching=false"
    assert (
        "$MODEL_CONFIG_FILE of the environment: --model_config_file=/models/models.config\n" in capsys.readouterr().err
    )


def test_a_flag_of_the_environment_that_cannot_be_parsed() -> None:
    with running(module=MODULE, ENABLE_BATCHING="yes") as process:
        status, out = process.wait()
    assert (status, out) == (1, "")
    message = "$ENABLE_BATCHING of the environment cannot be used: --enable_batching is true or false, not 'yes'"
    assert process.log == [f"Failed to start server. {message}\n"]


def test_it_serves_the_model_of_the_environment_and_later_flags_win(models: Models) -> None:
    base_path = models.path("half_plus_two")
    rest_port, grpc_port = free_ports(2)
    flags = f"--port={grpc_port}", f"--rest_api_port={rest_port}", "--enable_profiler=false", "--num_tflite_pools=99"
    environment = {"MODEL_NAME": base_path.name, "MODEL_BASE_PATH": str(base_path.parent)}
    with running(*flags, module=MODULE, **environment) as process:
        process.logged("--enable_profiler=false is accepted and has no effect here: ")
        process.logged("--num_tflite_pools=99 is accepted and has no effect here: ")
        process.logged(f"Running gRPC ModelServer at 127.0.0.1:{grpc_port} ...")
        process.logged(f"Exporting HTTP/REST API at:localhost:{rest_port} ...")
        with closing(http.client.HTTPConnection("localhost", rest_port, timeout=PATIENCE)) as connection:
            connection.request("POST", "/v1/models/half_plus_two:predict", b'{"instances": [1.0]}')
            assert json.load(connection.getresponse()) == {"predictions": [2.5]}


def test_a_wrong_value_and_the_version() -> None:
    with running("--enable_profiler=1", module=MODULE) as process:
        status, out = process.wait()
        assert status == 255
        assert out.startswith("--enable_profiler is true or false, not '1'\nusage: tfs-model-server\nFlags:\n")
    with running("--version", module=MODULE) as process:
        status, out = process.wait()
        assert status == 0
        assert out.startswith("TensorFlow ModelServer: tfs-notebook ")
