"""Section 2: model config and reload."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import grpc
import pytest

import tfs_notebook
from tests.conformance.calls import ANY, asked, hold, let_load, refusal, reload_config
from tests.support import saved_models
from tests.support.serving import ALL, ask, config_text, label, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Models
    from tfs_notebook.server.server import Server

Served = tuple["Server", grpc.Channel]


@pytest.fixture(scope="module")
def server(models: Models) -> Iterator[Server]:
    """Serves what the last reload asked for, without retries."""
    text = config_text({"m": models.path("half_plus_two")})
    with tfs_notebook.serve(config=text, max_num_load_retries=0, **ANY) as server:
        yield server


@pytest.fixture
def served(server: Server, models: Models) -> Iterator[Served]:
    """The server with the one model `m`, x/2 + 2, and a channel."""
    with grpc.insecure_channel(server.grpc_target) as channel:
        reload_config(channel, "model_config_list {}")
        reload_config(channel, config_text({"m": models.path("half_plus_two")}))
        yield server, channel


# 2.1 Fields, and the text format


@pytest.mark.parametrize(
    ("fields", "model"),
    [
        ("name: 'a' base_path: '{path}' model_platform: 'tensorflow'", "a"),
        ("name: 'a', base_path: '{path}'; model_platform: \"tensorflow\"", "a"),
        ("# a comment\n name: 'a' base_path: '{path}' model_type: TENSORFLOW", "a"),
        ("name: 'a' base_path: '{path}' model_type: 1", "a"),
        ("name: 'a/b c' base_path: '{path}' model_platform: 'tensorflow'", "a%2Fb%20c"),
        ("name: 'a' base_path: '{path}' model_platform: 'tensorflow' model_version_policy: {{ all: {{}} }}", "a"),
    ],
)
def test_spellings_of_a_model(served: Served, models: Models, fields: str, model: str) -> None:
    server, channel = served
    fields = fields.format(path=models.path("half_plus_two"))
    assert reload_config(channel, f"model_config_list: {{ config: {{ {fields} }} }}").status.error_code == 0
    assert asked(server, model) == 2.5
    assert asked(server, "m") == 404


# 2.2 Validation, and 2.5 what a reload takes


def entries(*fields: str) -> str:
    return f"model_config_list {{ {' '.join(f'config {{ {field} }}' for field in fields)} }}"


TF, M = "model_platform: 'tensorflow'", "name: 'm' base_path: '/m'"
UNSUPPORTED = (
    "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is currently supported"
)


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("", "INVALID_ARGUMENT", UNSUPPORTED),
        ("custom_model_config { type_url: 'x/y' }", "INVALID_ARGUMENT", UNSUPPORTED),
        (
            entries(f"{M} {TF}", f"{M} {TF}"),
            "INVALID_ARGUMENT",
            "Illegal to list model m multiple times in config list",
        ),
        (
            entries(f"name: 'n' base_path: 'n/m' {TF}"),
            "INVALID_ARGUMENT",
            "Expected model n to have an absolute path or URI; got base_path()=n/m",
        ),
        (
            entries(f"name: 'n' {TF}"),
            "INVALID_ARGUMENT",
            "Expected model n to have an absolute path or URI; got base_path()=",
        ),
        (
            entries(f"{M} model_platform: 'other'"),
            "INVALID_ARGUMENT",
            (
                "Illegal to change a model's platform. For model m platform was tensorflow and new platform requested "
                "is other"
            ),
        ),
        (
            entries(f"{M} model_type: TENSORFLOW {TF}"),
            "INVALID_ARGUMENT",
            (
                "Illegal setting both ModelServerConfig::model_type (deprecated) and "
                "ModelServerConfig::model_platform, model name is m"
            ),
        ),
        (
            entries(M),
            "INVALID_ARGUMENT",
            (
                "Illegal setting neither ModelServerConfig::model_type (deprecated) nor "
                "ModelServerConfig::model_platform, model name is m"
            ),
        ),
        (
            entries(f"{M} model_type: OTHER"),
            "INVALID_ARGUMENT",
            "ModelServerConfig::model_type choice 2 not supported.",
        ),
        (
            entries("name: 'n' base_path: '/n' model_platform: 'caffe'"),
            "INVALID_ARGUMENT",
            "Model n requests unsupported platform caffe",
        ),
        (
            entries("name: 'n' base_path: '/n'"),
            "INVALID_ARGUMENT",
            (
                "Illegal setting neither ModelServerConfig::model_type (deprecated) nor "
                "ModelServerConfig::model_platform, model name is n"
            ),
        ),
        # duplicates come before paths, and paths before platforms
        (
            entries("name: 'n'", "name: 'n'"),
            "INVALID_ARGUMENT",
            "Illegal to list model n multiple times in config list",
        ),
        (
            entries("name: 'n'"),
            "INVALID_ARGUMENT",
            "Expected model n to have an absolute path or URI; got base_path()=",
        ),
    ],
)
def test_configurations_that_are_refused_change_nothing(served: Served, text: str, code: str, message: str) -> None:
    server, channel = served
    assert refusal(lambda: reload_config(channel, text)) == (code, message)
    assert asked(server, "m") == 2.5


def test_a_label_that_is_refused(served: Served, models: Models) -> None:
    server, channel = served
    text = config_text({"m": models.path("half_plus_two")}, {"m": label("a", 9)})
    assert refusal(lambda: reload_config(channel, text)) == (
        "FAILED_PRECONDITION",
        "Request to assign label to version 9 of model m, which is not currently available for inference",
    )
    assert asked(server, "m") == 2.5


def test_a_logging_config_logs(served: Served, models: Models, tmp_path: Path) -> None:
    """TensorFlow Serving refuses it with `No request-logger-creator provided.`, after the models were loaded."""
    server, channel = served
    collector = f"log_collector_config {{ filename_prefix: '{tmp_path}/requests' }}"
    fields = f"logging_config {{ {collector} sampling_config {{ sampling_rate: 1.0 }} }}"
    reload_config(channel, config_text({"m": models.path("half_plus_two")}, {"m": fields}))
    assert asked(server, "m") == 2.5
    until(lambda: any(file.stat().st_size for file in tmp_path.glob("requests*")))


# 2.3 What a reload does


def test_the_list_is_the_whole_truth(served: Served, models: Models) -> None:
    server, channel = served
    path = models.path("half_plus_two")
    reload_config(channel, config_text({"n": path, "o": path}))
    assert [asked(server, name) for name in ("m", "n", "o")] == [404, 2.5, 2.5]
    reload_config(channel, "model_config_list {}")
    assert [asked(server, name) for name in ("m", "n", "o")] == [404, 404, 404]

    def ended() -> bool:  # the unloading is not waited for
        statuses = ask(server, "GET", "/v1/models/n").json["model_version_status"]
        return [(each["version"], each["state"], each["status"]["error_code"]) for each in statuses] == [
            ("1", "END", "OK")
        ]

    until(ended)
    reload_config(channel, config_text({"n": path}))
    assert asked(server, "n") == 2.5


def test_a_new_model_that_does_not_load_is_told_and_nothing_is_rolled_back(
    served: Served, models: Models, tmp_path: Path
) -> None:
    server, channel = served
    saved_models.truncated_pb(models.copy("half_plus_two", tmp_path / "bad", 3))
    text = config_text({"bad": tmp_path / "bad", "good": models.path("half_plus_two")})
    code, error = refusal(lambda: reload_config(channel, text))
    assert code == "UNKNOWN"
    start, _, rest = error.partition(" due to error: ")
    assert start == "1 model(s) did not become available: {{{name: bad version: 3}"
    assert rest.endswith("}, }")
    assert [asked(server, name) for name in ("m", "good", "bad")] == [404, 2.5, 404]
    (status,) = ask(server, "GET", "/v1/models/bad").json["model_version_status"]
    assert (status["version"], status["state"]) == ("3", "END")
    assert rest == f"{status['status']['error_code']}: {status['status']['error_message']}}}, }}"


def test_versions_are_compared_by_number_only(served: Served, tmp_path: Path) -> None:
    server, channel = served
    saved_models.half_plus_two(tmp_path / "1", scale=0, offset=7)
    reload_config(channel, config_text({"m": tmp_path}))
    assert asked(server, "m") == 2.5  # what was loaded from the path before
    reload_config(channel, "model_config_list {}")
    reload_config(channel, config_text({"m": tmp_path}))
    assert asked(server, "m") == 7.0


def test_another_policy_loads_and_unloads_versions(served: Served, models: Models, tmp_path: Path) -> None:
    server, channel = served
    for version in (1, 2, 3):
        models.copy("half_plus_two", tmp_path, version)

    def available() -> list[str]:
        statuses = ask(server, "GET", "/v1/models/m").json["model_version_status"]
        return [item["version"] for item in statuses if item["state"] == "AVAILABLE"]

    for policy, versions in (
        (ALL, ["3", "2", "1"]),
        ("", ["3"]),
        ("model_version_policy { specific { versions: 1 versions: 2 } }", ["2", "1"]),
        ("model_version_policy { latest { num_versions: 2 } }", ["3", "2"]),
    ):
        reload_config(channel, config_text({"m": tmp_path}, {"m": policy}))
        until(lambda versions=versions: available() == versions, f"{policy}: {available()}")


def test_only_new_models_are_waited_for(served: Served, models: Models, tmp_path: Path) -> None:
    server, channel = served
    for version in (1, 2):
        models.copy("half_plus_two", tmp_path, version)
    hold(tmp_path / "2")
    reload_config(channel, config_text({"m": tmp_path}))
    assert asked(server, "m/versions/2") == 404
    assert asked(server, "m") == 2.5
    let_load(tmp_path / "2")
    until(lambda: asked(server, "m/versions/2") == 2.5)


def test_a_new_model_is_waited_for_and_holds_up_no_other_reload(served: Served, models: Models, tmp_path: Path) -> None:
    """TensorFlow Serving does one reload after the other."""
    server, channel = served
    path = models.path("half_plus_two")
    hold(models.copy("half_plus_two", tmp_path, 1))
    with ThreadPoolExecutor(1) as aside:
        waiting = aside.submit(reload_config, channel, config_text({"m": path, "n": tmp_path}))
        until(lambda: b'"LOADING"' in ask(server, "GET", "/v1/models/n").body)
        assert not waiting.done()
        reload_config(channel, config_text({"m": path, "o": path}))
        assert [asked(server, name) for name in ("m", "n", "o")] == [2.5, 404, 2.5]
        let_load(tmp_path / "1")
        assert waiting.result().status.error_code == 0  # it asks for nothing any more
        assert [asked(server, name) for name in ("m", "n", "o")] == [2.5, 404, 2.5]


def test_a_model_without_versions_is_waited_for_until_the_deadline(
    served: Served, models: Models, tmp_path: Path
) -> None:
    """TensorFlow Serving blocks for ever."""
    server, channel = served
    (tmp_path / "empty").mkdir()
    text = config_text({"m": models.path("half_plus_two"), "empty": tmp_path / "empty"})
    code, error = refusal(lambda: reload_config(channel, text, timeout=3.0))
    assert (code, asked(server, "m")) == ("UNKNOWN", 2.5)
    assert error.startswith("1 model(s) did not become available: {{{name: empty} due to error: NOT_FOUND: ")
    models.copy("half_plus_two", tmp_path / "empty", 1)  # it stays configured
    until(lambda: asked(server, "empty") == 2.5)


# 2.5 The reply


def test_the_reply_tells_how_counters_have_grown(served: Served, models: Models) -> None:
    _, channel = served
    name = "/tensorflow/serving/request_count"
    reply = reload_config(channel, config_text({"m": models.path("half_plus_two")}), name, "/no/such/counter")
    assert (reply.status.error_code, reply.status.error_message) == (0, "")
    assert [(metric.name, metric.int64_value_increase) for metric in reply.metric] == [
        (name, 0), ("/no/such/counter", 0),
    ]  # fmt: skip


# 2.4 The file poll


def test_the_file_is_applied_when_it_changes_and_bad_ones_are_not(models: Models, tmp_path: Path) -> None:
    path, file = models.path("half_plus_two"), tmp_path / "models.config"
    file.write_text(config_text({"a": path}))
    options = {"model_config_file": str(file), "model_config_file_poll_wait_seconds": 1}
    with tfs_notebook.serve(**options, **ANY) as server, grpc.insecure_channel(server.grpc_target) as channel:
        assert asked(server, "a") == 2.5
        file.write_text("model_config_list { config { nam: 'b' } }")
        until(lambda: server.problems)
        assert asked(server, "a") == 2.5
        file.write_text(config_text({"b": path}))
        until(lambda: (asked(server, "a"), asked(server, "b")) == (404, 2.5))
        # What was set over gRPC stays, unlike in TensorFlow Serving, until the file changes
        reload_config(channel, config_text({"c": path}))
        assert (asked(server, "b"), asked(server, "c")) == (404, 2.5)
        file.write_text(config_text({"d": path}))
        until(lambda: (asked(server, "c"), asked(server, "d")) == (404, 2.5))


def test_a_file_without_a_config_changes_nothing(models: Models, tmp_path: Path) -> None:
    path, file = models.path("half_plus_two"), tmp_path / "models.config"
    file.write_text(config_text({"a": path}))
    options = {"model_config_file": str(file), "model_config_file_poll_wait_seconds": 1}
    with tfs_notebook.serve(**options, **ANY) as server:
        file.write_text("nothing at all")  # told, so that it is known when the next text is read
        until(lambda: server.problems)
        file.write_text("# nothing but a comment")
        until(lambda: server.problems == [])
        assert asked(server, "a") == 2.5
        file.write_text(config_text({"b": path}))
        until(lambda: (asked(server, "a"), asked(server, "b")) == (404, 2.5))


def test_without_a_poll_of_the_disk_a_reload_still_finds_new_models(models: Models) -> None:
    """In TensorFlow Serving it waits for ever."""
    path = models.path("half_plus_two")
    options = {"file_system_poll_wait_seconds": 0, **ANY}
    with (
        tfs_notebook.serve(config=config_text({"m": path}), **options) as server,
        grpc.insecure_channel(server.grpc_target) as channel,
    ):
        reload_config(channel, config_text({"m": path, "n": path}))
        assert [asked(server, name) for name in ("m", "n")] == [2.5, 2.5]
        reload_config(channel, config_text({"n": path}))
        assert [asked(server, name) for name in ("m", "n")] == [404, 2.5]


def test_labels_move_in_the_documented_order(models: Models, tmp_path: Path) -> None:
    """Add a version, then move the label, then drop the old version."""
    for version in (1, 2):
        saved_models.half_plus_two(tmp_path / str(version), scale=0, offset=version)

    def config(versions: str, stable: int) -> str:
        policy = f"model_version_policy {{ specific {{ {versions} }} }}"
        return config_text({"m": tmp_path}, {"m": policy + label("stable", stable)})

    with (
        tfs_notebook.serve(config=config("versions: 1", 1), **ANY) as server,
        grpc.insecure_channel(server.grpc_target) as channel,
    ):
        for versions, stable in (("versions: 1 versions: 2", 1), ("versions: 1 versions: 2", 2), ("versions: 2", 2)):
            reload_config(channel, config(versions, stable))
            assert asked(server, "m/labels/stable") == stable
        until(lambda: asked(server, "m/versions/1") == 404)
        shutil.rmtree(tmp_path / "1")
        assert asked(server, "m/labels/stable") == 2


def test_a_file_that_was_refused_for_a_label_is_applied_when_its_version_has_come(
    models: Models, tmp_path: Path
) -> None:
    path, file = models.copy("half_plus_two", tmp_path / "m", 1).parent, tmp_path / "models.config"
    file.write_text(config_text({"m": path}, {"m": label("stable", 1)}))
    options = {"model_config_file": str(file), "model_config_file_poll_wait_seconds": 1}
    with tfs_notebook.serve(**options, **ANY) as server:
        file.write_text(config_text({"m": path}, {"m": ALL + label("stable", 1) + label("canary", 2)}))
        until(lambda: server.problems)
        assert [asked(server, f"m/labels/{name}") for name in ("stable", "canary")] == [2.5, 400]
        models.copy("half_plus_two", path, 2)
        until(lambda: asked(server, "m/labels/canary") == 2.5)
        assert server.problems == []
