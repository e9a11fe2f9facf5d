from __future__ import annotations

import socket

import pytest

from tfs_notebook.endpoints import PortTakenError, check_port, with_token
from tfs_notebook.errors import ServingError
from tfs_notebook.options import Options


def test_a_port_that_somebody_has() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        for host in ("127.0.0.1", "0.0.0.0"):
            with pytest.raises(PortTakenError, match=rf"--port={port}: cannot listen on {host}:{port} \(Address"):
                check_port("port", host, port)
    check_port("port", "127.0.0.1", port)


def test_a_port_with_connections_that_linger() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port))
        server, _ = other.accept()
        server.close()  # first, so that it is this side that waits
        client.close()
    check_port("port", "127.0.0.1", port)


def test_an_interface_that_this_machine_does_not_have() -> None:
    with pytest.raises(PortTakenError, match=r"cannot listen on 192\.0\.2\.1:1"):
        check_port("port", "192.0.2.1", 1)


def test_a_number_that_is_no_port() -> None:
    with pytest.raises(ServingError, match="--port=65536 is not a TCP port: they go from 1 to 65535"):
        check_port("port", "127.0.0.1", 65536)


@pytest.mark.parametrize(
    ("options", "environment", "token"),
    [
        (Options(), "", ""),
        (Options(token="given"), "environment", "given"),
        (Options(), "environment", "environment"),
        (Options(host="0.0.0.0", token="given"), "", "given"),
        (Options(host="0.0.0.0"), "environment", "environment"),
        (Options(host="0.0.0.0", allow_without_token=True), "", ""),
    ],
)
def test_the_token_in_force(options: Options, environment: str, token: str) -> None:
    assert with_token(options, environment).token == token


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.1", "my.lab"])
def test_a_token_is_made_up_where_others_can_reach(host: str) -> None:
    made = {with_token(Options(host=host)).token for _ in range(3)}
    assert len(made) == 3
    assert min(map(len, made)) >= 32
