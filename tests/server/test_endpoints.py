"""Which token is in force."""

from __future__ import annotations

import pytest

from tfs_notebook.options import Options
from tfs_notebook.server.endpoints import with_token


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


def test_a_token_that_was_made_up_stays() -> None:
    assert with_token(Options(host="0.0.0.0"), "", "made up").token == "made up"
    assert with_token(Options(host="127.0.0.1"), "", "made up").token == ""
    assert with_token(Options(host="0.0.0.0", token="given"), "", "made up").token == "given"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.1", "my.lab"])
def test_a_token_is_made_up_where_others_can_reach(host: str) -> None:
    made = {with_token(Options(host=host)).token for _ in range(3)}
    assert len(made) == 3
    assert min(map(len, made)) >= 32
