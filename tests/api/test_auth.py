from __future__ import annotations

import pytest

from tfs_notebook.api.auth import LOCAL_NAMES, foreign_origin, host_name, is_loopback, new_token, token_matches


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1.2.3", "::1", "[::1]"])
def test_interfaces_that_keep_other_machines_out(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["", "0.0.0.0", "::", "192.168.0.1", "example.com", "localhost.example.com"])
def test_interfaces_that_do_not(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize("sent", ["tökén", "Bearer tökén", "bearer tökén", "BEARER   tökén ", "tökén".encode()])
def test_a_token_bare_or_as_a_bearers(sent: str | bytes) -> None:
    assert token_matches(sent, "tökén")


@pytest.mark.parametrize("sent", ["", "Bearer ", "Bearer", "tökén2", "töké", "Basic tökén", b"\xff", "\udcff"])
def test_what_is_not_the_token(sent: str | bytes) -> None:
    assert not token_matches(sent, "tökén")


def test_tokens_differ() -> None:
    assert len({new_token() for _ in range(100)}) == 100
    assert len(new_token()) >= 32


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("localhost", "localhost"),
        ("LocalHost:8501", "localhost"),
        ("127.0.0.1:1", "127.0.0.1"),
        ("[::1]", "[::1]"),
        ("[::1]:8501", "[::1]"),
        ("a.example:x", "a.example:x"),
        ("", ""),
    ],
)
def test_the_name_in_a_host_header(header: str, name: str) -> None:
    assert host_name(header) == name


@pytest.mark.parametrize(
    ("origin", "site", "foreign"),
    [
        ("http://evil.example", None, True),
        ("https://evil.example:8501", None, True),
        ("null", None, True),
        ("http://localhost:8888", None, False),
        ("http://127.0.0.1", None, False),
        ("http://[::1]:8888", None, False),
        ("http://evil.example", "cross-site", True),
        ("http://localhost:8888", "same-site", False),
        ("https://hub.example", "same-origin", False),
        ("null", "none", False),
    ],
)
def test_pages_of_other_sites_are_told_apart(origin: str, site: str | None, foreign: bool) -> None:
    assert foreign_origin(origin, site, LOCAL_NAMES) is foreign
