from __future__ import annotations

import errno
import socket

import pytest

from tests.settings.test_port_holder import listening
from tests.support.ports import free_port
from tfs_notebook.errors import ServingError
from tfs_notebook.options import Options
from tfs_notebook.settings.ports import PortTakenError, check_port, check_ports, refusal


def test_a_port_that_somebody_has() -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        for host in ("127.0.0.1", "0.0.0.0"):
            with pytest.raises(PortTakenError, match=rf"--port={port}: cannot listen on {host}:{port} \(Address"):
                check_port("port", host, port)
    check_port("port", "127.0.0.1", port)


def test_a_port_with_connections_that_linger() -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", port)) as other:
        client = socket.create_connection(("127.0.0.1", port))
        server, _ = other.accept()
        server.close()  # first, so that it is this side that waits
        client.close()
    check_port("port", "127.0.0.1", port)


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.name.invalid"])
def test_an_interface_that_this_machine_does_not_have(host: str) -> None:
    with pytest.raises(PortTakenError, match=f"cannot listen on {host}:8500 .* --host={host} is no address of this"):
        check_port("port", host, 8500)


def test_a_port_for_administrators() -> None:
    error = refusal("port", "127.0.0.1", 80, PermissionError(errno.EACCES, "Permission denied"))
    assert "--port=80: cannot listen on 127.0.0.1:80 (Permission denied). Ports below 1024" in str(error)


def test_both_ports_are_named_when_both_are_taken() -> None:
    one, two = free_port(), free_port()
    with socket.create_server(("127.0.0.1", one)), socket.create_server(("127.0.0.1", two)):
        ports = {"port": one, "rest_api_port": two}
        with pytest.raises(PortTakenError) as error:
            check_ports(Options(**ports))
    places = " and ".join(f"127.0.0.1:{port}" for port in ports.values())
    assert str(error.value) == (
        f"--port={ports['port']} and --rest_api_port={ports['rest_api_port']}: cannot listen on {places} (Address "
        "already in use). This process listens there; stop that, or let --port=-1 --rest_api_port=-1 pick free ones."
    )
    check_ports(Options(port=0, rest_api_port=-1))


def test_two_that_have_a_port_each_are_named_in_one_line() -> None:
    own = free_port()
    with (
        socket.create_server(("127.0.0.1", own)),
        listening("127.0.0.1", socket.AF_INET) as (pid, other),
        pytest.raises(PortTakenError) as error,
    ):
        check_ports(Options(port=own, rest_api_port=other))
    assert "\n" not in str(error.value)
    assert f"in use). This process listens on {own} and process {pid} (" in str(error.value)
    assert str(error.value).endswith(
        f") listens on {other}; stop them, or let --port=-1 --rest_api_port=-1 pick free ones."
    )


def test_a_number_that_is_no_port() -> None:
    with pytest.raises(ServingError, match="--port=65536 is not a TCP port: they go from 1 to 65535"):
        check_port("port", "127.0.0.1", 65536)


def test_one_port_for_both() -> None:
    with pytest.raises(ServingError, match="--port and --rest_api_port are both 8600: gRPC and REST need a port each"):
        check_ports(Options(port=8600, rest_api_port=8600))
    check_ports(Options(port=0, rest_api_port=0))
