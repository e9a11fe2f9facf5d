"""Servers with everything on that a fault could meet, and the question that each of them must go on answering."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from hypothesis import settings
from prometheus_client.parser import text_string_to_metric_families

import tfs_notebook
from tests.support.serving import ask, config_text, until
from tfs_notebook.settings.monitoring import DEFAULT_PATH

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.conftest import Models
    from tfs_notebook.server.server import Server

ANY: dict[str, Any] = {"rest_api_port": 0, "port": 0}
FIXED = settings(max_examples=60, deadline=None, derandomize=True)
"""So many examples of what comes at random, the same ones in every run."""
BATCHED: dict[str, Any] = {"enable_batching": True}
FUZZED = (
    "half_plus_two", "half_plus_two_tf1", "multi", "dtypes", "vocabulary", "bytes_image", "any_width", "cnn", "raising",
    "aliased", "quantised",
)  # fmt: skip
"""The models that are asked at random: of all dtypes, of several ranks, with variables, tables and errors."""


def logged(directory: Path, names: tuple[str, ...]) -> dict[str, str]:
    """The field by which every request to the models `names` is written down in `directory`."""
    sink = f"log_collector_config {{ filename_prefix: '{directory}/' }} sampling_config {{ sampling_rate: 1 }}"
    return dict.fromkeys(names, f"logging_config {{ {sink} }}")


@contextmanager
def serving_as(way: str, models: Models, directory: Path) -> Iterator[Server]:
    """The models `FUZZED`, served in one of three ways: `plain`, `batched`, or `counted and logged` as well."""
    paths = {name: models.path(name) for name in FUZZED}
    options: dict[str, Any] = {} if way == "plain" else dict(BATCHED)
    fields: Mapping[str, str] = {}
    if way == "counted and logged":
        (directory / "monitoring").write_text("prometheus_config { enable: true }")
        options["monitoring_config_file"] = str(directory / "monitoring")
        fields = logged(directory / "log", FUZZED)
    with tfs_notebook.serve(config=config_text(paths, fields), **options, **ANY) as server:
        assert server.problems == []
        yield server
        assert server.problems == []
        assert_nothing_pinned(server)
        if way == "counted and logged":
            page = ask(server, "GET", DEFAULT_PATH).body.decode()
            assert "request_count" in "".join(family.name for family in text_string_to_metric_families(page))
            assert list((directory / "log").glob("half_plus_two-*.tfrecord"))


WAYS = ("plain", "batched", "counted and logged")


def assert_answers(server: Server, name: str = "half_plus_two") -> None:
    """The model `name`, a half_plus_two, is asked over REST and answers."""
    reply = ask(server, "POST", f"/v1/models/{name}:predict", {"instances": [1.0]})
    assert (reply.status, reply.json) == (200, {"predictions": [2.5]})


def assert_nothing_pinned(server: Server) -> None:
    """No version is kept loaded by a request that is over."""
    serving = server._core.manager.registry.serving
    loaded = [one for versions in serving.values() for one in versions.values()]
    until(lambda: not any(one._pins for one in loaded), "a request that is over keeps a version loaded")
