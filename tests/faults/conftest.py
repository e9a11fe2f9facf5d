"""The servers that hostile clients attack, started once and at the same time, ended with the tests of this folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.faults.hostile import TOKEN, Target, start, wait_until_serving
from tests.support.certificates import Authority, ssl_config

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Models


@pytest.fixture(scope="package")
def targets(models: Models, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Target, Target]]:
    """One server that anybody may ask, and one that wants a token and TLS and is impatient."""
    where = tmp_path_factory.mktemp("hostile")
    paths = {name: models.path(name) for name in ("half_plus_two", "bytes_image", "slow")}
    (where / "monitoring").write_text("prometheus_config { enable: true }")
    monitored = f"--monitoring_config_file={where}/monitoring"
    anybody = start(paths, where / "anybody", "--rest_api_body_budget_mb=160", monitored)
    authority = Authority()
    key, certificate = authority.issue("server")
    tls = ssl_config(where / "tls", server_key=key, server_cert=certificate)
    flags = monitored, f"--ssl_config_file={tls}"
    guarded = start(paths, where / "guarded", *flags, token=TOKEN, impatient=True)
    guarded.authority = authority.certificate
    try:
        for target in (anybody, guarded):
            wait_until_serving(target)
        yield anybody, guarded
    finally:
        for target in (anybody, guarded):
            target.close()


@pytest.fixture
def target(targets: tuple[Target, Target]) -> Target:
    """The server that anybody may ask."""
    return targets[0]


@pytest.fixture
def guarded(targets: tuple[Target, Target]) -> Target:
    """The server that wants a token, which these clients do not have, and gives up who pauses."""
    return targets[1]
