"""Clients that are killed, and very many of them, cost the others nothing and leave nothing behind."""

from __future__ import annotations

import resource
import socket
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2

import tfs_notebook
from tests.faults.parts import ANY, BATCHED, assert_answers, assert_nothing_pinned
from tests.support.serving import PATIENCE, ask, config_text, until
from tfs_notebook.settings import deployment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Models
    from tfs_notebook.server.server import Server

SECONDS = 2.0
HEAD = b"POST /v1/models/%b:predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
REST = """
import socket, sys, time
connection = socket.create_connection((sys.argv[1], int(sys.argv[2])))
connection.sendall(bytes.fromhex(sys.argv[3]))
print("asked", flush=True)
time.sleep(600)
"""
GRPC = """
import sys, time, grpc
channel = grpc.insecure_channel(sys.argv[1])
call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict").future(bytes.fromhex(sys.argv[2]))
print("asked", flush=True)
time.sleep(600)
"""


@contextmanager
def client(program: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A process that has sent its request, and stays."""
    command = [sys.executable, "-c", program, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "asked\n"
            yield process
        finally:
            process.kill()


def place(server: Server) -> tuple[str, str]:
    address = urlsplit(server.rest_url or "")
    return str(address.hostname), str(address.port)


def rest_message(length: int | None = None) -> bytes:
    body = b'{"instances": [%f]}' % SECONDS
    return HEAD % (b"together", length or len(body)) + body


def grpc_message() -> bytes:
    request = predict_pb2.PredictRequest(model_spec={"name": "together"})
    request.inputs["seconds"].CopyFrom(tf.make_tensor_proto([SECONDS], tf.float32))
    return bytes(request.SerializeToString())


@pytest.fixture(params=[{}, BATCHED], ids=["one by one", "batched"])
def server(request: pytest.FixtureRequest, models: Models) -> Iterator[Server]:
    paths = {name: models.path(name) for name in ("half_plus_two", "together")}
    with tfs_notebook.serve(config=config_text(paths), **request.param, **ANY) as server:
        yield server


@pytest.mark.parametrize("protocol", ["REST", "gRPC"])
def test_a_client_that_is_killed_while_its_request_runs(server: Server, models: Models, protocol: str) -> None:
    asks = (REST, *place(server), rest_message().hex())
    if protocol == "gRPC":
        asks = (GRPC, str(server.grpc_target), grpc_message().hex())
    loaded = server._core.manager.registry.serving["together"][1]
    with client(*asks) as process:
        until(lambda: loaded._pins == 1)
        process.kill()
        process.wait()
        assert_answers(server)
    assert_nothing_pinned(server)
    # so its version can be unloaded
    server.reload(deployment.parse_config(config_text({"half_plus_two": models.path("half_plus_two")})))
    until(lambda: ask(server, "GET", "/v1/models/together").json["model_version_status"][0]["state"] == "END")
    assert_answers(server)


def test_a_client_that_is_killed_before_its_body_is_whole(server: Server) -> None:
    with client(REST, *place(server), rest_message(length=1000).hex()) as process:
        process.kill()
        process.wait()
    assert_answers(server)
    assert_nothing_pinned(server)
    http = server._endpoints._rest._http
    until(lambda: not http.connections, "the connection of a dead client is kept")


@pytest.fixture
def many_files() -> Iterator[None]:
    """As many open files as 500 connections take when client and server are one process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, 4096), hard), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_files")
@pytest.mark.parametrize("options", [{}, BATCHED], ids=["one by one", "batched"])
def test_500_connections_at_a_time_are_all_answered(models: Models, options: dict[str, bool]) -> None:
    with (
        tfs_notebook.serve(str(models.path("half_plus_two")), **options, **ANY) as server,
        ExitStack() as stack,
    ):
        host, port = place(server)
        connections = [
            stack.enter_context(socket.create_connection((host, int(port)), timeout=PATIENCE)) for _ in range(500)
        ]
        for number, connection in enumerate(connections):
            body = b'{"instances": [%d]}' % number
            connection.sendall(HEAD % (b"model", len(body)) + body)
        for number, connection in enumerate(connections):
            reply = connection.recv(4096)
            assert reply.startswith(b"HTTP/1.1 200 OK"), reply
            assert reply.endswith(b"[%s]}" % str(number / 2 + 2).encode()), reply
        assert_answers(server, "model")
        assert_nothing_pinned(server)
