"""What a change of where gRPC listens, or how, costs when it fails: nothing, or what is told."""

from __future__ import annotations

import socket
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

import tfs_notebook
from tests.settings.test_grpc import plainly, predict, securely
from tests.support.certificates import Authority, ssl_config
from tests.support.ports import free_port
from tests.support.serving import ask, until
from tfs_notebook import ServingError
from tfs_notebook.engine.events import Kind
from tfs_notebook.options import Options
from tfs_notebook.server import start
from tfs_notebook.server.server import Server
from tfs_notebook.settings.deployment import single_model
from tfs_notebook.settings.ports import PortTakenError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Models
    from tfs_notebook.engine.events import Event

ANY: dict[str, Any] = {"rest_api_port": 0, "port": 0}
AUTHORITY = Authority()


@pytest.fixture
def path(models: Models) -> str:
    return str(models.path("half_plus_two"))


@pytest.fixture
def bad_tls(tmp_path: Path) -> str:
    """A file with a key that OpenSSL takes and grpc does not."""
    key, certificate = AUTHORITY.issue("server", ec.SECP256K1())
    return ssl_config(tmp_path / "bad", server_key=key, server_cert=certificate)


@contextmanager
def never_disconnected(target: str) -> Iterator[None]:
    """A client on `target` that keeps its connection, and is answered at the end."""
    with grpc.insecure_channel(target) as channel:
        states: list[grpc.ChannelConnectivity] = []
        assert predict(channel) == [2.5]
        channel.subscribe(states.append)
        yield
        assert predict(channel) == [2.5]
        assert set(states) <= {grpc.ChannelConnectivity.IDLE, grpc.ChannelConnectivity.READY}


def port_of(server: Server, target: str | None = None) -> int:
    return int((target or server.grpc_target or "").rpartition(":")[2])


# Refused while the old one listens


def test_a_key_that_only_grpc_refuses_costs_no_connection(path: str, bad_tls: str) -> None:
    with tfs_notebook.serve(path, **ANY) as server, never_disconnected(str(server.grpc_target)):
        with pytest.raises(ServingError, match=r"--ssl_config_file: grpc cannot use the key .* P-256, P-384 and P-521"):
            start.change(server, path, "", {"ssl_config_file": bad_tls})
        assert server.problems == []


def test_a_key_that_only_grpc_refuses_starts_nothing(path: str, bad_tls: str) -> None:
    with pytest.raises(ServingError, match="--ssl_config_file: grpc cannot use the key"):
        tfs_notebook.serve(path, ssl_config_file=bad_tls, **ANY)


def test_an_interface_that_is_not_there_costs_no_connection(path: str) -> None:
    config = single_model("model", path)
    with Server(Options(port=free_port(), rest_api_port=0)) as server:
        server.start(config)
        with never_disconnected(str(server.grpc_target)):
            with pytest.raises(PortTakenError, match=r"--host=192\.0\.2\.1 is no address of this machine"):
                server.change(replace(server.options, host="192.0.2.1", token="t"), config)
            assert (server.problems, server.token) == ([], "")


# Back to where it was


def test_an_interface_where_somebody_else_listens(path: str) -> None:
    with tfs_notebook.serve(path, **ANY) as server:
        target, url = server.grpc_target, server.rest_url
        with socket.create_server(("127.0.0.2", port_of(server))):
            with pytest.raises(PortTakenError, match=f"cannot listen on 0.0.0.0:{port_of(server)} "):
                start.change(server, path, "", {"host": "0.0.0.0"})
            assert (server.grpc_target, server.rest_url, server.problems) == (target, url, [])
            assert plainly(target) == [2.5]
            assert ask(server, "GET", "/v1/models/model").status == 200


def test_a_socket_that_cannot_be_had_lets_the_port_go_back_to_what_it_spoke(path: str, tmp_path: Path) -> None:
    key, certificate = AUTHORITY.issue("server")
    tls = ssl_config(tmp_path / "tls", server_key=key, server_cert=certificate)
    with tfs_notebook.serve(path, ssl_config_file=tls, **ANY) as server:
        with pytest.raises(ServingError, match="there is no directory"):
            start.change(
                server, path, "", {"ssl_config_file": "", "grpc_socket_path": str(tmp_path / "no directory" / "grpc")}
            )
        assert securely(server.grpc_target, AUTHORITY) == [2.5]
        assert (server.problems, server.grpc_socket_target) == ([], None)


# Taken by somebody else meanwhile


def events_of(server: Server) -> list[Event]:
    events: list[Event] = []
    server.listen(events.append)
    return events


def test_a_port_that_somebody_else_was_quicker_to_take(path: str, tmp_path: Path) -> None:
    """For the few milliseconds of an exchange, which are made to last here, anybody can take it."""
    key, certificate = AUTHORITY.issue("server")
    tls = ssl_config(tmp_path / "tls", server_key=key, server_cert=certificate)
    with tfs_notebook.serve(path, **ANY) as server:
        target, events = str(server.grpc_target), events_of(server)
        place = server._endpoints._port
        server._runtime.call(place._stop_listening(place.server))
        with socket.create_server(("127.0.0.1", port_of(server, target))):
            taken = rf"--port={port_of(server, target)}: cannot listen on .* \(Address already in use\)"
            for _ in range(2):  # as long as it is taken
                with pytest.raises(PortTakenError, match=taken):
                    start.change(server, path, "", {"ssl_config_file": tls})
                assert (server.grpc_target, server.tls) == (None, None)
                assert ask(server, "GET", "/v1/models/model").status == 200
                (problem,) = server.problems
                assert "Nothing answers there any more: somebody else took the place" in problem.message
                assert f"--port={port_of(server, target)}" in problem.message
                assert [e.error for e in events if e.kind is Kind.SERVER][-1] is problem
        start.change(server, path, "", {"ssl_config_file": tls})
        assert (server.grpc_target, server.problems) == (target, [])
        assert securely(target, AUTHORITY) == [2.5]


def test_a_socket_in_whose_place_somebody_else_put_a_file(path: str, tmp_path: Path) -> None:
    with tfs_notebook.serve(path, grpc_socket_path=str(tmp_path / "grpc"), **ANY) as server:
        before = str(server.grpc_socket_target)
        (tmp_path / "grpc").unlink()
        (tmp_path / "grpc").write_text("")
        with pytest.raises(PortTakenError, match=f"--grpc_socket_path={tmp_path}/grpc is there already and is no sock"):
            start.change(server, path, "", {"grpc_channel_arguments": "a=1"})
        assert server.grpc_socket_target is None
        assert plainly(server.grpc_target) == [2.5]
        (problem,) = server.problems
        assert f"--grpc_socket_path={tmp_path}/grpc" in problem.message
        (tmp_path / "grpc").unlink()
        start.change(server, path, "", {})
        assert (server.grpc_socket_target, server.problems) == (before, [])
        assert plainly(before) == [2.5]


def test_a_rest_port_that_somebody_else_was_quicker_to_take(path: str) -> None:
    with tfs_notebook.serve(path, **ANY) as server:
        url = str(server.rest_url)
        server._runtime.loop.call_soon_threadsafe(server._endpoints._rest.stop_listening)
        until(lambda: not server._endpoints._rest.listening)
        with socket.create_server(("127.0.0.1", port_of(server, url))):
            with pytest.raises(PortTakenError, match=f"--rest_api_port={port_of(server, url)}: cannot listen"):
                start.change(server, path, "", {"host": "0.0.0.0"})
            assert server.rest_url is None
            assert plainly(server.grpc_target) == [2.5]
            (problem,) = server.problems
            assert f"--rest_api_port={port_of(server, url)}" in problem.message
        start.change(server, path, "", {})
        assert (server.rest_url, server.problems) == (url, [])
        assert ask(server, "GET", "/v1/models/model").status == 200
