"""tfs-model-server held to tensorflow_model_server's command line."""

from __future__ import annotations

import http.client
import json
import os
import queue
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from tensorflow_serving.apis import get_model_status_pb2, model_service_pb2_grpc

import tfs_notebook
from tests.support.ports import free_ports
from tests.support.serving import PATIENCE, config_text, until
from tfs_notebook import cli
from tfs_notebook.cli import FlagError, parse_flags
from tfs_notebook.settings.ignored_flags import KNOWN_FLAGS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Models


@pytest.mark.parametrize(
    ("arguments", "found", "unknown"),
    [
        ([], {}, []),
        (["--port=1", "--model_name=m"], {"port": 1, "model_name": "m"}, []),
        (["--port=1", "--port=2"], {"port": 2}, []),
        (["--model_base_path=a=b"], {"model_base_path": "a=b"}, []),
        (["--model_name="], {"model_name": ""}, []),
        (["--port", "8500"], {}, ["--port", "8500"]),
        (["-port=1"], {}, ["-port=1"]),
        (["port=1"], {}, ["port=1"]),
        (["--nothing=1"], {}, ["--nothing=1"]),
        (["--port_=1"], {}, ["--port_=1"]),
        (["--allow_version_labels_for_unavailable_models"], {"allow_version_labels_for_unavailable_models": True}, []),
        (["--allow_without_token=FALSE"], {"allow_without_token": False}, []),
        (["--noallow_without_token"], {}, ["--noallow_without_token"]),
        (["--port=1", "--", "--port=2", "--help"], {"port": 1}, ["--port=2", "--help"]),
        (["--version"], {"version": True}, []),
        (["--version=false"], {"version": False}, []),
        (["--enable_profiler=False", "--num_tflite_pools=2"], {"enable_profiler": False, "num_tflite_pools": 2}, []),
    ],
)
def test_flags(arguments: list[str], found: dict[str, Any], unknown: list[str]) -> None:
    assert parse_flags(arguments) == (found, unknown)


@pytest.mark.parametrize(
    "argument",
    [
        "--port=",
        "--port=x",
        "--port=8500x",
        "--allow_without_token=1",
        "--use_alts_credentials=1",
        "--num_tflite_pools=many",
        "--enable_profilers",
        "--allow_without_tokens",
        "--version_x=1",
        "--help",
    ],
)
def test_flags_that_end_the_process(argument: str) -> None:
    with pytest.raises(FlagError):
        parse_flags([argument])


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--help"], ""),
        (["--port=abc"], "--port is a whole number, not 'abc'\n"),
        (["--version_x"], "--version is true or false, not '--version_x'\n"),
    ],
)
def test_the_usage(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(arguments) == 255
    out = capsys.readouterr().out
    assert out.startswith(told + "usage: tfs-model-server\nFlags:\n\t--port=8500 ")
    for name in (*KNOWN_FLAGS, "version"):
        assert f"\t--{name}=" in out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--rest_api_port", "8501"], "--rest_api_port: a value follows =, without a blank: --rest_api_port=8501\n"),
        (["-port=8500"], "-port=8500: did you mean --port=8500?\n"),
        (["--model_basepath=/models"], "--model_basepath=/models: did you mean --model_base_path=/models?\n"),
    ],
)
def test_what_was_meant_by_an_unknown_argument(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    assert cli.main(arguments) == 255  # for want of a model: TensorFlow Serving goes on without what it does not know
    out, err = capsys.readouterr()
    assert out.startswith(f"unknown argument: {arguments[0]}\n")
    assert told in err
    assert "--model_base_path=DIRECTORY serves the newest of the versions" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--port=0"],
            "At least one of server_options.grpc_port or server_options.grpc_socket_path must be set.",
        ),
        (
            ["--use_alts_credentials", "--ssl_config_file=/f"],
            "Either use_alts_credentials must be false or ssl_config_file must be empty.",
        ),
        ([], "Both server_options.model_base_path and server_options.model_config_file are empty!"),
        (
            ["--model_base_path=/m", "--batching_parameters_file=/f"],
            "server_options.batching_parameters_file is set without setting server_options.enable_batching to true.",
        ),
        (
            ["--batching_parameters_file=/f"],
            "Both server_options.model_base_path and server_options.model_config_file are empty!",
        ),
        (
            [f"--tensorflow_{kind}_parallelism=1" for kind in ("session", "intra_op", "inter_op")],
            (
                "Either configure server_options.tensorflow_session_parallelism or "
                "(server_options.tensorflow_intra_op_parallelism, server_options.tensorflow_inter_op_parallelism) "
                "separately. You cannot configure all."
            ),
        ),
    ],
)
def test_conflicts(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    assert cli.main(arguments) == 255
    assert capsys.readouterr().out == f"Failed to start server. Error: INVALID_ARGUMENT: {message}\n"


def test_a_batching_parameters_file_with_a_syntax_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    file = tmp_path / "batching.txt"
    file.write_text("max_batch_size: 8\n")
    ports = [f"--{name}={port}" for name, port in zip(("port", "rest_api_port"), free_ports(2), strict=True)]
    arguments = [*ports, "--enable_batching", f"--batching_parameters_file={file}", f"--model_base_path={tmp_path}"]
    assert cli.main(arguments) == 255
    out, err = capsys.readouterr()
    assert out == f"Failed to start server. Error: INVALID_ARGUMENT: Invalid protobuf file: '{file}'\n"
    assert "Error parsing text-format tensorflow.serving.BatchingParameters: 1:" in err
    assert "max_batch_size: 8\n" in err


def test_a_config_file_with_a_syntax_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    file = tmp_path / "models.config"
    file.write_text("model_config_list {\n  confg {}\n}")
    assert cli.main([f"--model_config_file={file}"]) == 255
    out, err = capsys.readouterr()
    assert out == f"Failed to start server. Error: INVALID_ARGUMENT: Invalid protobuf file: '{file}'\n"
    assert "Error parsing text-format tensorflow.serving.ModelServerConfig: 2:3: " in err
    assert "  confg {}\n  ^\n" in err


@pytest.mark.parametrize(
    ("content", "out", "err"),
    [
        ("server_crt: ''", "INVALID_ARGUMENT: Invalid protobuf file: '{file}'", "there is no field server_crt"),
        (
            "",
            "INVALID_ARGUMENT: --ssl_config_file={file}: server_key holds no private key: it is empty",
            "The PEM text",
        ),
        (None, "NOT_FOUND: {file}; No such file or directory", "--ssl_config_file names an SSLConfig"),
    ],
)
def test_an_ssl_config_that_cannot_be_used(
    content: str | None,
    out: str,
    err: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    file = tmp_path / "ssl"
    if content is not None:
        file.write_text(content)
    assert cli.main([f"--ssl_config_file={file}", f"--model_base_path={tmp_path}"]) == 255
    told = capsys.readouterr()
    assert told.out == f"Failed to start server. Error: {out.format(file=file)}\n"
    assert err in told.err


# Processes


class Process:
    """A tfs-model-server, and the lines it has written to stderr."""

    def __init__(self, *arguments: str, module: str = "tfs_notebook.cli", **environment: str) -> None:
        self.popen = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "TFS_NOTEBOOK_TOKEN": "", **environment},
        )
        self._lines: queue.Queue[str] = queue.Queue()
        self.log: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        for line in self.popen.stderr or ():
            self._lines.put(line)

    def logged(self, text: str, timeout: float = PATIENCE) -> str:
        """Wait for a line with `text`."""
        deadline = time.monotonic() + timeout
        while not (found := [line for line in self.log if text in line]):
            try:
                self.log.append(self._lines.get(timeout=deadline - time.monotonic()))
            except (queue.Empty, ValueError):
                raise AssertionError(f"{text!r} is not among {''.join(self.log)}") from None
        return found[0]

    def port(self, text: str) -> int:
        return int(self.logged(text).rpartition(":")[2].split()[0])

    def wait(self) -> tuple[int, str]:
        """The exit status, and everything that was written to stdout."""
        assert self.popen.stdout
        out = self.popen.stdout.read()
        status = self.popen.wait(PATIENCE)
        self._reader.join()
        while not self._lines.empty():
            self.log.append(self._lines.get())
        return status, out


@contextmanager
def running(*arguments: str, **settings: str) -> Iterator[Process]:
    process = Process(*arguments, **settings)
    try:
        yield process
    finally:
        if process.popen.poll() is None:
            process.popen.kill()
        process.popen.wait()
        process._reader.join()
        for pipe in (process.popen.stdout, process.popen.stderr):
            assert pipe
            pipe.close()


def is_refused(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) != 0


def test_it_serves_and_ends_on_sigterm_when_everybody_has_been_answered(models: Models, tmp_path: Path) -> None:
    rest_port, grpc_port = free_ports(2)
    file = tmp_path / "models.config"
    missing = tmp_path / "missing"
    names = {"half": models.path("half_plus_two"), "slow": models.path("slow"), "missing": missing}
    file.write_text(config_text(names))
    with running(
        f"--port={grpc_port}",
        f"--rest_api_port={rest_port}",
        f"--model_config_file={file}",
        "--nothing=1",
        "--rest_api_port",
    ) as process:
        process.logged("(Re-)adding model: half")
        process.logged("Successfully loaded servable version {name: slow version: 1}")
        # Until the last model is there, nobody listens
        process.logged(f"Could not find base path {missing} for servable missing")
        assert is_refused(rest_port)
        assert is_refused(grpc_port)
        models.copy("half_plus_two", missing)
        process.logged(f"Running gRPC ModelServer at 127.0.0.1:{grpc_port} ...")
        process.logged(f"Exporting HTTP/REST API at:localhost:{rest_port} ...")

        with closing(http.client.HTTPConnection("localhost", rest_port, timeout=PATIENCE)) as connection:
            connection.request("POST", "/v1/models/half:predict", b'{"instances": [1.0]}')
            assert json.load(connection.getresponse()) == {"predictions": [2.5]}
        with grpc.insecure_channel(f"localhost:{grpc_port}") as channel:
            stub = model_service_pb2_grpc.ModelServiceStub(channel)
            request = get_model_status_pb2.GetModelStatusRequest(model_spec={"name": "missing"})
            assert stub.GetModelStatus(request).model_version_status[0].state == 30

        with closing(http.client.HTTPConnection("localhost", rest_port, timeout=PATIENCE)) as connection:
            connection.request("POST", "/v1/models/slow:predict", b'{"inputs": 3.0}')
            with closing(http.client.HTTPConnection("localhost", rest_port, timeout=PATIENCE)) as other:
                other.request("GET", "/v1/models/slow")  # answered, so the slow request has been read as well
                assert other.getresponse().status == 200
            process.popen.send_signal(signal.SIGTERM)
            process.logged("Stopping: finishing the requests under way")
            until(lambda: is_refused(rest_port))
            response = connection.getresponse()
            assert json.load(response)["outputs"] >= 3.0
        status, out = process.wait()
        assert status == 0
        assert out.startswith("unknown argument: --nothing=1\nunknown argument: --rest_api_port\nusage: ")


@contextmanager
def asked_for(seconds: float, port: int) -> Iterator[http.client.HTTPConnection]:
    """A connection whose request takes so long, and has been read."""
    with closing(http.client.HTTPConnection("localhost", port, timeout=PATIENCE)) as connection:
        connection.request("POST", "/v1/models/default:predict", b'{"inputs": %f}' % seconds)
        with closing(http.client.HTTPConnection("localhost", port, timeout=PATIENCE)) as other:
            other.request("GET", "/v1/models/default")
            assert other.getresponse().status == 200
        yield connection


def test_sigterm_does_not_wait_for_ever_and_a_second_one_not_at_all(models: Models) -> None:
    for signals, at_most in ((1, 20.0), (2, 5.0)):
        rest_port, grpc_port = free_ports(2)
        arguments = f"--port={grpc_port}", f"--rest_api_port={rest_port}", f"--model_base_path={models.path('slow')}"
        with running(*arguments) as process:
            process.logged("Exporting HTTP/REST API at:")
            with asked_for(60.0, rest_port):
                started = time.monotonic()
                process.popen.send_signal(signal.SIGTERM)
                process.logged("Stopping: finishing the requests under way")
                if signals == 2:
                    process.popen.send_signal(signal.SIGTERM)
                status, _ = process.wait()
                assert time.monotonic() - started < at_most
                assert status == (0 if signals == 1 else 128 + signal.SIGTERM)


def test_a_token_that_was_made_up_is_told(models: Models) -> None:
    rest_port, grpc_port = free_ports(2)
    base_path = models.path("half_plus_two")
    ports = f"--port={grpc_port}", f"--rest_api_port={rest_port}"
    with running("--host=0.0.0.0", f"--model_base_path={base_path}", *ports) as process:
        token = process.logged("Requests need the header or metadata authorization: ").split()[-1]
        process.logged("Exporting HTTP/REST API at:")
        for headers, expected in (({}, 401), ({"Authorization": token}, 200)):
            with closing(http.client.HTTPConnection("localhost", rest_port, timeout=PATIENCE)) as connection:
                connection.request("GET", "/v1/models/default", headers=headers)
                assert connection.getresponse().status == expected


def test_metrics_are_on_the_port_of_rest_and_without_one_it_says_so(models: Models, tmp_path: Path) -> None:
    file, pipe = tmp_path / "monitoring.config", tmp_path / "pipe"
    file.write_text("prometheus_config { enable: true }")
    os.mkfifo(pipe)  # as of `<(command)` in a shell: what is in it can be read once
    threading.Thread(target=pipe.write_text, args=[file.read_text()], daemon=True).start()
    arguments = ("--port=-1", f"--model_base_path={models.path('half_plus_two')}")
    with running(*arguments, "--rest_api_port=-1", f"--monitoring_config_file={pipe}") as process:
        rest_port = process.port("Exporting HTTP/REST API at:")
        with closing(http.client.HTTPConnection("localhost", rest_port, timeout=PATIENCE)) as connection:
            connection.request("GET", "/v1/models/default")
            connection.getresponse().read()
            connection.request("GET", "/monitoring/prometheus/metrics")
            page = connection.getresponse().read()
        assert b':tensorflow:serving:request_count{model_name="default",status="OK"} 1\n' in page
    with running(*arguments, f"--monitoring_config_file={file}") as process:
        process.logged("--monitoring_config_file has no effect without REST, on whose port metrics are served")


def test_a_socket_alone(models: Models, tmp_path: Path) -> None:
    path = tmp_path / "grpc"
    base_path = models.path("half_plus_two")
    with running("--port=0", f"--grpc_socket_path={path}", f"--model_base_path={base_path}") as process:
        process.logged(f"Running gRPC ModelServer at UNIX socket {path} ...")
        with grpc.insecure_channel(f"unix:{path}") as channel:
            stub = model_service_pb2_grpc.ModelServiceStub(channel)
            request = get_model_status_pb2.GetModelStatusRequest(model_spec={"name": "default"})
            assert stub.GetModelStatus(request).model_version_status[0].state == 30
        process.popen.send_signal(signal.SIGTERM)
        assert process.wait()[0] == 0
    assert not path.exists()


def test_one_model_and_ctrl_c(models: Models) -> None:
    (grpc_port,) = free_ports(1)
    base_path = models.path("half_plus_two")
    arguments = (f"--port={grpc_port}", f"--rest_api_port={grpc_port}", f"--model_base_path={base_path}")
    with running(*arguments) as process:
        process.logged(
            f"Building single TensorFlow model file config:  model_name: default model_base_path: {base_path}"
        )
        process.logged("Skipped exporting HTTP/REST API.")
        process.logged("Running gRPC ModelServer at 127.0.0.1:")
        process.popen.send_signal(signal.SIGINT)
        assert process.wait() == (0, "")


def test_a_model_that_cannot_be_loaded_and_a_taken_rest_port(models: Models, tmp_path: Path) -> None:
    graph = models.copy("half_plus_two", tmp_path) / "saved_model.pb"
    graph.write_bytes(b"no graph")
    with socket.create_server(("127.0.0.1", 0)) as other:
        rest_port = other.getsockname()[1]
        with running(
            f"--port={free_ports(1)[0]}",
            f"--rest_api_port={rest_port}",
            f"--model_base_path={tmp_path}",
            "--max_num_load_retries=1",
            "--load_retry_interval_micros=1000",
        ) as process:
            status, out = process.wait()
    assert status == 255
    assert out.startswith(
        "Failed to start server. Error: UNKNOWN: 1 servable(s) did not become available: "
        "{{{name: default version: 1} due to error: DATA_LOSS: "
    )
    process.logged(f"Failed to start HTTP Server at 127.0.0.1:{rest_port}: ")
    process.logged("Loading servable: {name: default version: 1} failed: DATA_LOSS")
    process.logged("Retrying of Loading servable: {name: default version: 1} retry: 1")


@pytest.mark.parametrize("flag", ["port", "rest_api_port"])
def test_a_number_that_is_no_port(
    flag: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    assert cli.main(["--port=-1", f"--{flag}=-8500", f"--model_base_path={tmp_path}"]) == 255
    assert capsys.readouterr().out == (
        f"Failed to start server. Error: INVALID_ARGUMENT: --{flag}=-8500 is not a TCP port: they go from 1 to 65535, "
        "and -1 is any free one\n"
    )


def test_a_taken_grpc_port(models: Models, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert cli.main([f"--port={port}", f"--model_base_path={models.path('half_plus_two')}"]) == 255
    out = capsys.readouterr().out
    assert out.startswith("Failed to start server. Error: INVALID_ARGUMENT: Failed to BuildAndStart gRPC server")
    assert f"--port={port}" in out


def test_a_signal_while_the_models_are_loaded_ends_at_once(tmp_path: Path) -> None:
    with running(f"--port={free_ports(1)[0]}", f"--model_base_path={tmp_path / 'missing'}") as process:
        process.logged("Could not find base path")
        started = time.monotonic()
        process.popen.send_signal(signal.SIGTERM)
        status, _ = process.wait()
        assert status == 0
        assert time.monotonic() - started < 15
        process.logged("Stopped before the models were loaded")


@pytest.mark.parametrize(
    ("argument", "told"),
    [
        ("--model_base_path=/m", r"Error: INVALID_ARGUMENT: --model_name=\xf6 is not UTF-8 text"),
        ("--mödel\udcf6", "unknown argument: --mödel"),
    ],
)
def test_a_name_that_is_not_utf_8(argument: str, told: str) -> None:
    with running(argument, "--model_name=\udcf6", PYTHONUTF8="1") as process:
        status, out = process.wait()
    assert status == 255
    assert told in out
    assert "Traceback" not in "".join(process.log)


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    import tensorflow as tf

    assert cli.main(["--version", "--port=1"]) == 0
    version = tfs_notebook.__version__
    assert capsys.readouterr().out == (
        f"TensorFlow ModelServer: tfs-notebook {version}\nTensorFlow Library: {tf.__version__}\n"
    )


def test_the_script_is_installed() -> None:
    script = shutil.which("tfs-model-server", path=str(Path(sys.executable).parent))
    assert script is not None
    printed = subprocess.run([script, "--version"], capture_output=True, text=True, check=True, timeout=PATIENCE)
    assert printed.stdout.startswith(f"TensorFlow ModelServer: tfs-notebook {tfs_notebook.__version__}\n")
