"""Which addresses an interface has, and by which name a program on this machine reaches who listens on them."""

from __future__ import annotations

import socket
from contextlib import ExitStack, closing

import pytest

from tests.support.ports import free_port
from tfs_notebook.api.addresses import bound_sockets, own_name

BOTH = {"127.0.0.1": socket.AF_INET, "::1": socket.AF_INET6}


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def answering(host: str) -> set[str]:
    """The loopback addresses that answer when somebody listens on `host`."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(closing(each)) for each in bound_sockets(host, 0)]
        port = sockets[0].getsockname()[1]
        for each in sockets:
            each.listen()
        return {address for address, family in BOTH.items() if connects(family, address, port)}


def connects(family: int, address: str, port: int) -> bool:
    try:
        with socket.socket(family) as client:
            return client.connect_ex((address, port)) == 0
    except OSError:
        return False


@pytest.mark.parametrize(
    ("host", "addresses"),
    [
        ("127.0.0.1", {"127.0.0.1", "::1"}),
        ("localhost", {"127.0.0.1", "::1"}),
        ("::", {"127.0.0.1", "::1"}),
        ("0.0.0.0", {"127.0.0.1"}),
        ("::1", {"::1"}),
    ],
)
def test_who_is_reached(host: str, addresses: set[str]) -> None:
    if has_ipv6():
        assert answering(host) == addresses
    elif host != "::1":
        assert answering(host) == {"127.0.0.1"}


def test_the_second_address_of_this_machine_is_left_to_who_has_it() -> None:
    with ExitStack() as stack:
        port = free_port()
        if has_ipv6():
            stack.enter_context(socket.create_server(("::1", port), family=socket.AF_INET6))
        sockets = [stack.enter_context(closing(each)) for each in bound_sockets("127.0.0.1", port)]
        assert [each.getsockname() for each in sockets] == [("127.0.0.1", port)]


def test_a_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        bound_sockets("127.0.0.1", taken.getsockname()[1])


@pytest.mark.parametrize("means", [["127.0.0.1"], ["127.0.0.1", "::1"], []])
@pytest.mark.parametrize(
    ("addresses", "names"),
    [
        (["127.0.0.1", "::1"], ["localhost", "localhost", "localhost"]),
        (["::"], ["localhost", "localhost", "localhost"]),
        (["127.0.0.1"], ["localhost", "127.0.0.1", "127.0.0.1"]),
        (["0.0.0.0"], ["localhost", "127.0.0.1", "127.0.0.1"]),
        (["::1"], ["[::1]", "[::1]", "[::1]"]),
        (["192.0.2.1"], ["192.0.2.1", "192.0.2.1", "192.0.2.1"]),
    ],
)
def test_localhost_is_said_only_where_it_is_right(
    monkeypatch: pytest.MonkeyPatch, means: list[str], addresses: list[str], names: list[str]
) -> None:
    def look_up(*_: object, **__: object) -> list[tuple[int, ...]]:
        if not means:
            raise OSError("nobody knows")
        return [(BOTH[address],) for address in means]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    assert own_name(addresses) == names[[["127.0.0.1"], ["127.0.0.1", "::1"], []].index(means)]
