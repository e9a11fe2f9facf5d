"""A server in this process: started, changed and stopped, from Python as from a notebook."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

import tfs_notebook
from tests.support import saved_models
from tests.support.ports import free_port
from tests.support.serving import ALL, PATIENCE, ask, config_text, label, serving_threads, until
from tfs_notebook import Code, ServingError
from tfs_notebook.engine import config_file
from tfs_notebook.engine.config import parse_config
from tfs_notebook.server import start
from tfs_notebook.server.server import Server
from tfs_notebook.settings import deployment
from tfs_notebook.settings.ports import PortTakenError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import Models

ANY: dict[str, Any] = {"rest_api_port": 0, "port": 0}


@pytest.fixture(autouse=True)
def _nothing_left_running() -> Iterator[None]:
    before = serving_threads()
    yield

    def left() -> int:
        threads = serving_threads()
        # The pools of a server that other tests share may have grown meanwhile
        return threads.count("tfs-serving") if "tfs-serving" in before else len(threads)

    allowed = before.count("tfs-serving") or len(before)
    until(lambda: left() <= allowed, f"left running: {serving_threads()}")


def predictions(server: Server, model: str = "model", tail: str = "") -> Any:
    reply = ask(server, "POST", f"/v1/models/{model}{tail}:predict", {"instances": [1.0]})
    return reply.json.get("predictions", reply.json)


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield other.getsockname()[1]


# The guide's clients


@pytest.fixture(scope="module")
def guide(tmp_path_factory: pytest.TempPathFactory, models: Models) -> Path:
    """The guide's directory: modelA, modelB, modelC and the config file, unchanged, for a mount at /models."""
    root = tmp_path_factory.mktemp("tf_serving")
    models.copy("cnn", root / "modelA")
    for model, versions in {"modelB": (1, 2), "modelC": (1, 2, 3)}.items():
        for version in versions:
            saved_models.half_plus_two(root / model / str(version), scale=0, offset=version)
    (root / "model_config.pbtxt").write_text(
        """
        model_config_list {
          config {
            name: 'modelA'
            base_path: '/models/modelA/'
            model_platform: 'tensorflow'
            model_version_policy { all {} }
          }
          config {
            name: 'modelB'
            base_path: '/models/modelB/'
            model_platform: 'tensorflow'
            model_version_policy { specific { versions: 1 versions: 2 } }
            version_labels { key: 'stable' value: 1 }
            version_labels { key: 'canary' value: 2 }
          }
          config {
            name: 'modelC'
            base_path: '/models/modelC/'
            model_platform: 'tensorflow'
            model_version_policy { latest { num_versions: 2 } }
          }
        }
        """
    )
    return root


@pytest.fixture(scope="module")
def guided(guide: Path) -> Iterator[Server]:
    with tfs_notebook.serve(
        str(guide),
        mount="/models",
        model_config_file="/models/model_config.pbtxt",
        model_config_file_poll_wait_seconds=30,
        allow_version_labels_for_unavailable_models=True,
        token="the service's token",
        **ANY,
    ) as server:
        assert server.problems == []
        yield server


class TestTheGuidesClients:
    @pytest.fixture(autouse=True)
    def _nothing_left_running(self) -> None:
        """The server is shared."""

    def test_urllib(self, guided: Server) -> None:
        request = urllib.request.Request(
            f"{guided.rest_url}/v1/models/modelA/versions/1:predict",
            headers={"authorization": "the service's token"},
            data=json.dumps({"signature_name": "serving_default", "instances": [[[[1.0]] * 28] * 28]}).encode("utf-8"),
        )
        response = urllib.request.urlopen(request)
        (probabilities,) = json.loads(response.read())["predictions"]
        assert len(probabilities) == 10
        assert sum(probabilities) == pytest.approx(1)

    def test_grpc(self, guided: Server) -> None:
        request = predict_pb2.PredictRequest()
        request.model_spec.name = "modelA"
        request.model_spec.signature_name = "serving_default"
        request.model_spec.version.value = 1
        test_data = np.array([[[[1.0]] * 28] * 28], dtype=np.float32)
        request.inputs["keras_tensor"].CopyFrom(tf.make_tensor_proto(test_data))
        with grpc.insecure_channel(guided.grpc_target) as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            response = stub.Predict(request, metadata=(("authorization", "the service's token"),))
        probabilities = response.outputs["output_0"].float_val
        assert len(probabilities) == 10
        assert sum(probabilities) == pytest.approx(1)

    @pytest.mark.parametrize(
        ("path", "version"),
        [
            ("modelB/labels/stable", 1),
            ("modelB/labels/canary", 2),
            ("modelB/versions/1", 1),
            ("modelB", 2),
            ("modelC", 3),
            ("modelC/versions/2", 2),
        ],
    )
    def test_versions_and_labels(self, guided: Server, path: str, version: int) -> None:
        headers = {"authorization": "Bearer the service's token"}
        reply = ask(guided, "POST", f"/v1/models/{path}:predict", {"instances": [0]}, headers)
        assert reply.json == {"predictions": [version]}

    def test_the_latest_two_of_three_are_served(self, guided: Server) -> None:
        def available() -> list[int]:
            (model,) = [model for model in guided.status().models if model.name == "modelC"]
            return [version.number for version in model.versions if version.state.name == "AVAILABLE"]

        until(lambda: available() == [3, 2])

    def test_the_local_call(self, guided: Server) -> None:
        prediction = guided.predict("modelA", [[[[1.0]] * 28] * 28])
        assert prediction.array.shape == prediction["output_0"].shape == (1, 10)
        assert (prediction.model, prediction.version, prediction.signature_name) == ("modelA", 1, "serving_default")


# Start


def test_a_path_is_served_as_model(models: Models) -> None:
    with tfs_notebook.serve(str(models.path("half_plus_two")), **ANY) as server:
        assert predictions(server) == [2.5]
        status = server.status()
        assert status.running
        assert status.rest_url == server.rest_url == f"http://localhost:{server.rest_url.rpartition(':')[2]}"
        assert status.grpc_target == server.grpc_target
        assert [model.name for model in status.models] == ["model"]
        assert status.devices
    assert not server.status().running
    assert server.rest_url is server.grpc_target is None


def test_a_path_object(models: Models) -> None:
    with tfs_notebook.serve(models.path("half_plus_two"), **ANY) as server:
        assert server.predict("model", [1.0]).array.tolist() == [2.5]


def test_what_is_no_path_and_no_version(models: Models) -> None:
    with pytest.raises(ServingError, match=r"model is a \w*Variable: what can be served is a Keras model"):
        tfs_notebook.serve(tf.Variable(1.0))
    with tfs_notebook.serve(models.path("half_plus_two"), **ANY) as server:
        with pytest.raises(ServingError, match="A version is a whole number, not '1' of type str"):
            server.predict("model", [1.0], version="1")  # type: ignore[arg-type]
        assert server.predict("model", [1.0], version=np.int64(1)).version == 1  # type: ignore[arg-type]


def test_another_name_and_a_relative_path(models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(models.path("half_plus_two").parent)
    with tfs_notebook.serve("half_plus_two", model_name="hpt", **ANY) as server:
        assert predictions(server, "hpt") == [2.5]


def test_only_what_is_switched_on_listens(models: Models) -> None:
    options = deployment.notebook_options({**ANY, "model_base_path": str(models.path("half_plus_two"))})
    for off in ("port", "rest_api_port"):
        plan = deployment.deployment(deployment.replace(options, **{off: 0}))
        with Server(plan.options) as server:
            server.start(plan.config)
            assert (server.grpc_target is None, server.rest_url is None) == (off == "port", off == "rest_api_port")


def no_such_path(models: Models, tmp_path: Path) -> Path:
    (tmp_path / "modelA").mkdir()
    return tmp_path / "modela"


def no_version(models: Models, tmp_path: Path) -> Path:
    (tmp_path / "v1").mkdir()
    (tmp_path / "readme.txt").write_text("")
    return tmp_path


def itself_a_model(models: Models, tmp_path: Path) -> Path:
    return models.copy("half_plus_two", tmp_path).rename(tmp_path / "saved")


def itself_a_version(models: Models, tmp_path: Path) -> Path:
    return models.copy("half_plus_two", tmp_path)


@pytest.mark.parametrize(
    ("prepare", "message", "hint"),
    [
        (no_such_path, "Could not find base path {path} for servable model", "exists and holds modelA/"),
        (no_version, "Did you forget to name your leaf directory as a number", "v1 is no number: rename it"),
        (itself_a_model, "No versions of servable model found under base path {path}", "is itself a SavedModel"),
        (itself_a_version, "No versions of servable model found under base path {path}", "is version 1 itself"),
    ],
)
def test_paths_with_nothing_to_serve(
    prepare: Callable[[Models, Path], Path], message: str, hint: str, models: Models, tmp_path: Path
) -> None:
    path = prepare(models, tmp_path)
    with pytest.raises(ServingError) as caught:
        tfs_notebook.serve(str(path), **ANY)
    assert caught.value.code is Code.NOT_FOUND
    assert message.format(path=path) in caught.value.message
    assert hint.format(path=path) in caught.value.hint


def test_the_line_for_a_saved_models_own_directory_serves_it(models: Models, tmp_path: Path) -> None:
    path = itself_a_model(models, tmp_path)
    with pytest.raises(ServingError) as caught:
        tfs_notebook.serve(str(path), **ANY)
    line, _, base = caught.value.hint.partition("a number: ")[2].partition(", then serve ")
    subprocess.run(line, shell=True, check=True)
    with tfs_notebook.serve(base, **ANY) as server:
        assert predictions(server) == [2.5]


def test_what_cannot_be_served_is_told_and_the_others_serve(models: Models, tmp_path: Path) -> None:
    for name in ("half_copied", "corrupt", "no_number"):
        models.copy("half_plus_two", tmp_path / name)
    saved_models.without_shard(tmp_path / "half_copied" / "1")
    saved_models.truncated_pb(tmp_path / "corrupt" / "1")
    (tmp_path / "no_number" / "1").rename(tmp_path / "no_number" / "one")
    names = ("half_copied", "corrupt", "no_number", "missing")
    text = config_text({"good": models.path("half_plus_two"), **{name: tmp_path / name for name in names}})
    with tfs_notebook.serve(config=text, **ANY) as server:
        assert predictions(server, "good") == [2.5]
        told = {model.name: " ".join(p.message for p in model.problems) for model in server.status().models}
        assert told["good"] == ""
        assert "variables/variables.data-00000-of-00001 is missing" in told["half_copied"]
        assert f"{tmp_path}/corrupt/1" in told["corrupt"]
        assert "Did you forget to name your leaf directory as a number" in told["no_number"]
        assert f"Could not find base path {tmp_path}/missing for servable missing" in told["missing"]
        assert len(server.problems) == 4
        for name in names:
            assert ask(server, "POST", f"/v1/models/{name}:predict", {"instances": [1]}).status == 404
        # What was half copied is served when the rest has arrived
        shutil.copy(models.path("half_plus_two") / "1/variables/variables.data-00000-of-00001",
                    tmp_path / "half_copied/1/variables")  # fmt: skip
        until(lambda: predictions(server, "half_copied") == [2.5])


@pytest.mark.parametrize("flag", ["rest_api_port", "port"])
def test_a_taken_port(flag: str, taken: int, models: Models) -> None:
    with pytest.raises(PortTakenError) as caught:
        tfs_notebook.serve(str(models.path("half_plus_two")), **{**ANY, flag: taken})
    assert f"--{flag}={taken}: cannot listen on 127.0.0.1:{taken} (Address already in use)" in str(caught.value)
    assert f"This process listens there; stop that, or let --{flag}=-1 pick a free one." in str(caught.value)


@pytest.mark.parametrize("flag", ["rest_api_port", "port"])
def test_a_number_that_is_no_port(flag: str, models: Models) -> None:
    with pytest.raises(ServingError, match=f"--{flag}=70000 is not a TCP port"):
        tfs_notebook.serve(str(models.path("half_plus_two")), **{**ANY, flag: 70000})


def test_a_config_that_is_none() -> None:
    with pytest.raises(ServingError) as caught:
        tfs_notebook.serve(config="model_config_list {\n  config { nme: 'm' }\n}", **ANY)
    assert caught.value.code is Code.INVALID_ARGUMENT
    assert "2:12: " in caught.value.message
    assert caught.value.hint == "  config { nme: 'm' }\n           ^\nDid you mean name?"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rest_api_prt": 1}, "There is no option 'rest_api_prt'; did you mean 'rest_api_port'?"),
        ({"zzz": 1}, "There is no option 'zzz'"),
        ({"port": "8500"}, "Option port is of type int, not '8500'"),
        ({"port": True}, "Option port is of type int, not True"),
        ({"token": 1}, "Option token is of type str, not 1"),
        ({"allow_without_token": 1}, "Option allow_without_token is of type bool, not 1"),
    ],
)
def test_options_that_are_none(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ServingError) as caught:
        tfs_notebook.serve(**options)
    assert (caught.value.code, caught.value.message) == (Code.INVALID_ARGUMENT, message)


def test_an_interrupted_start_leaves_nothing(models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Server, "_open", interrupted)
    port = free_port()
    with pytest.raises(KeyboardInterrupt):
        tfs_notebook.serve(str(models.path("half_plus_two")), rest_api_port=port, port=0)
    with socket.create_server(("127.0.0.1", port)):
        pass


# Who may ask


def test_a_token_is_made_up_where_others_can_reach(models: Models) -> None:
    path = str(models.path("half_plus_two"))
    with tfs_notebook.serve(path, host="0.0.0.0", **ANY) as server:
        token = server.options.token
        assert len(token) >= 32
        assert token not in repr(server.options)
        assert ask(server, "GET", "/v1/models/model").status == 401
        assert ask(server, "GET", "/v1/models/model", headers={"Authorization": token}).status == 200
    with tfs_notebook.serve(path, host="0.0.0.0", allow_without_token=True, **ANY) as server:
        assert ask(server, "GET", "/v1/models/model", headers={"Host": "my.lab"}).status == 200


def test_the_environments_token(models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFS_NOTEBOOK_TOKEN", "from outside")
    with tfs_notebook.serve(str(models.path("half_plus_two")), **ANY) as server:
        assert ask(server, "GET", "/v1/models/model").status == 401
        assert ask(server, "GET", "/v1/models/model", headers={"Authorization": "from outside"}).status == 200


# Change


def test_change_of_models_keeps_the_ports(models: Models) -> None:
    with tfs_notebook.serve(str(models.path("half_plus_two")), **ANY) as server:
        before = server.rest_url, server.grpc_target
        start.change(server, "", config_text({"other": models.path("half_plus_two")}), ANY)
        assert predictions(server, "other") == [2.5]
        assert ask(server, "POST", "/v1/models/model:predict", {"instances": [1]}).status == 404
        assert (server.rest_url, server.grpc_target) == before


def test_change_of_ports(models: Models) -> None:
    path = str(models.path("half_plus_two"))
    old = {"rest_api_port": free_port(), "port": free_port()}
    with tfs_notebook.serve(path, **old) as server:
        rest_port, grpc_port = free_port(), free_port()
        start.change(server, path, "", {"rest_api_port": rest_port, "port": grpc_port})
        assert (server.rest_url, server.grpc_target) == (f"http://localhost:{rest_port}", f"localhost:{grpc_port}")
        assert predictions(server) == [2.5]
        for port in old.values():
            with socket.create_server(("127.0.0.1", port)):
                pass


def test_change_of_the_interface_under_the_same_ports(models: Models) -> None:
    path = str(models.path("half_plus_two"))
    ports = {"rest_api_port": free_port(), "port": free_port()}
    with tfs_notebook.serve(path, **ports) as server:
        start.change(server, path, "", {**ports, "host": "0.0.0.0", "token": "t"})
        assert ask(server, "GET", "/v1/models/model", headers={"Authorization": "t"}).status == 200
        assert grpc_answers(server, "t")
        start.change(server, path, "", {**ports, "host": "127.0.0.1", "token": ""})
        assert predictions(server) == [2.5]
        assert grpc_answers(server)


def grpc_answers(server: Server, token: str = "") -> bool:
    request = predict_pb2.PredictRequest(model_spec={"name": "model"})
    request.inputs["x"].CopyFrom(tf.make_tensor_proto(np.array([1], np.float32)))
    with grpc.insecure_channel(server.grpc_target) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        metadata = [("authorization", token)] if token else []
        answer = stub.Predict(request, metadata=metadata, timeout=PATIENCE, wait_for_ready=True)
    return list(answer.outputs["y"].float_val) == [2.5]


@pytest.mark.parametrize("flag", ["rest_api_port", "port"])
@pytest.mark.parametrize("same_ports", [True, False])
def test_change_to_a_taken_port_changes_nothing(models: Models, taken: int, flag: str, same_ports: bool) -> None:
    path = str(models.path("half_plus_two"))
    ports = {"rest_api_port": free_port(), "port": free_port()}
    with tfs_notebook.serve(path, **ports) as server:
        before = server.options, server.rest_url, server.grpc_target
        wanted = {**(ports if same_ports else ANY), flag: taken, "host": "127.0.0.1" if not same_ports else "localhost"}
        with pytest.raises(PortTakenError, match=f"--{flag}={taken}: "):
            start.change(server, path, "", wanted)
        assert (server.options, server.rest_url, server.grpc_target) == before
        assert predictions(server) == [2.5]
        assert grpc_answers(server)


def test_change_of_the_token(models: Models) -> None:
    path = str(models.path("half_plus_two"))
    with tfs_notebook.serve(path, token="old", **ANY) as server:
        url = server.rest_url
        start.change(server, path, "", {**ANY, "token": "new"})
        assert server.rest_url == url
        assert ask(server, "GET", "/v1/models/model", headers={"Authorization": "old"}).status == 401
        assert ask(server, "GET", "/v1/models/model", headers={"Authorization": "new"}).status == 200


def test_where_it_listens_and_who_may_ask_stay_unless_something_else_is_said(models: Models) -> None:
    path = str(models.path("half_plus_two"))
    with tfs_notebook.serve(path, token="secret", allowed_hosts="my.lab", **ANY) as server:
        before = server.rest_url, server.grpc_target
        start.change(server, path, "", {"model_name": "renamed"})
        assert (server.rest_url, server.grpc_target) == before
        headers = {"Host": "my.lab", "Authorization": "secret"}
        assert ask(server, "GET", "/v1/models/renamed").status == 401
        assert ask(server, "GET", "/v1/models/renamed", headers=headers).status == 200
        start.change(server, path, "", {"token": ""})
        assert ask(server, "GET", "/v1/models/model").status == 200


def test_a_made_up_token_stays_for_the_servers_life(models: Models) -> None:
    path = str(models.path("half_plus_two"))
    with tfs_notebook.serve(path, host="0.0.0.0", **ANY) as server:
        token = server.token
        assert server.status().needs_token
        for given in ({}, {"host": "0.0.0.0"}, {"host": "127.0.0.1"}, {"host": "0.0.0.0"}):
            start.change(server, path, "", given)
            assert server.token == ("" if given == {"host": "127.0.0.1"} else token)


def test_a_refused_change_leaves_the_token_as_it_was(models: Models, taken: int) -> None:
    path = str(models.path("half_plus_two"))
    with tfs_notebook.serve(path, token="old", **ANY) as server:
        with pytest.raises(PortTakenError):
            start.change(server, path, "", {"token": "new", "port": taken})
        assert server.token == "old"
        for token, status in (("old", 200), ("new", 401)):
            assert ask(server, "GET", "/v1/models/model", headers={"Authorization": token}).status == status


@pytest.mark.parametrize(
    "text", ["model_config_list { config { nme: 'm' } }", "model_config_list { config { name: 'm' base_path: 'm' } }"]
)
def test_change_to_a_bad_config_changes_nothing(models: Models, text: str) -> None:
    with tfs_notebook.serve(str(models.path("half_plus_two")), **ANY) as server:
        with pytest.raises(ServingError):
            start.change(server, "", text, ANY)
        assert predictions(server) == [2.5]


def test_what_is_exported_again_under_its_number_is_served_after_a_change(models: Models, tmp_path: Path) -> None:
    saved_models.half_plus_two(tmp_path / "1")
    with tfs_notebook.serve(str(tmp_path), **ANY) as server:
        assert predictions(server) == [2.5]
        shutil.rmtree(tmp_path / "1")
        saved_models.half_plus_two(tmp_path / "1", scale=10, offset=0)
        start.change(server, str(tmp_path), "", ANY)
        assert predictions(server) == [10.0]


def test_a_failed_version_is_tried_again_by_a_change(models: Models, tmp_path: Path) -> None:
    saved_models.truncated_pb(models.copy("half_plus_two", tmp_path))
    with tfs_notebook.serve(str(tmp_path), file_system_poll_wait_seconds=0, **ANY) as server:
        assert server.problems
        shutil.rmtree(tmp_path / "1")
        models.copy("half_plus_two", tmp_path)
        start.change(server, str(tmp_path), "", {**ANY, "file_system_poll_wait_seconds": 0})
        until(lambda: predictions(server) == [2.5])
        assert server.problems == []


@pytest.mark.parametrize("damage", [saved_models.truncated_pb, saved_models.without_shard])
def test_what_is_exported_again_but_broken_is_told_and_the_old_copy_serves(
    models: Models, tmp_path: Path, damage: Callable[[Path], object]
) -> None:
    saved_models.half_plus_two(tmp_path / "1")
    with tfs_notebook.serve(str(tmp_path), **ANY) as server:
        damage(tmp_path / "1")
        start.change(server, str(tmp_path), "", ANY)
        assert predictions(server) == [2.5]
        (problem,) = server.problems
        assert f"Version 1 of model model is still the copy loaded from {tmp_path}/1; " in problem.message


def test_other_tags_and_threads_are_taken_up_by_what_is_served(models: Models) -> None:
    path = str(models.path("half_plus_two"))
    with tfs_notebook.serve(path, **ANY) as server:
        start.change(server, path, "", {"saved_model_tags": "gpu"})
        (problem,) = server.problems
        assert "Could not find meta graph def matching supplied tags: { gpu }" in problem.message
        loaded = server.status().models[0].versions[0].attempts
        start.change(server, path, "", {"tensorflow_intra_op_parallelism": 1})
        assert server.problems == []
        assert server.status().models[0].versions[0].attempts == loaded + 1
        start.change(server, path, "", {"tensorflow_intra_op_parallelism": 1})
        assert server.status().models[0].versions[0].attempts == loaded + 1


def test_change_returns_when_what_had_failed_serves(models: Models, tmp_path: Path) -> None:
    models.copy("half_plus_two", tmp_path / "m")
    text = config_text({"m": Path("/models/m")}, {"m": label("stable", 1)})
    with tfs_notebook.serve(str(tmp_path / "typo"), config=text, mount="/models", **ANY) as server:
        assert server.problems
        start.change(server, str(tmp_path), text, {"mount": "/models"})
        assert server.problems == []
        assert predictions(server, "m", "/labels/stable") == [2.5]


def interrupt_soon() -> None:
    """Ctrl-C in half a second."""
    timer = threading.Timer(0.5, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT))
    timer.start()


def test_control_c_during_a_change_ends_the_wait_but_not_the_change(models: Models, tmp_path: Path) -> None:
    path, file = models.path("half_plus_two"), tmp_path / "models.config"
    (tmp_path / "empty").mkdir()
    file.write_text(config_text({"a": path, "slow": models.path("slow")}))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    loading = threading.Event()
    try:
        with tfs_notebook.serve(str(path), **ANY) as server:
            server._core.arrivals.bring_up_afresh = hanging(loading)  # type: ignore[method-assign]
            rest_port, grpc_port = free_port(), free_port()
            options = {"rest_api_port": rest_port, "port": grpc_port}
            interrupt_soon()
            with pytest.raises(KeyboardInterrupt):
                start.change(
                    server,
                    "",
                    "",
                    {**options, "model_config_file": str(file), "model_config_file_poll_wait_seconds": 1},
                )
            assert loading.is_set()
            assert (server.options.rest_api_port, server.options.port) == (rest_port, grpc_port)
            until(lambda: predictions(server, "a") == [2.5])
            file.write_text(config_text({"b": path}))
            until(lambda: predictions(server, "b") == [2.5])
        for port in (rest_port, grpc_port):
            with socket.create_server(("127.0.0.1", port)):
                pass
    finally:
        signal.signal(signal.SIGINT, before)


def hanging(begun: threading.Event) -> Any:
    """A wait for a model that does not come to an end."""

    async def bring_up(lookout: Any, _failed: object) -> None:
        begun.set()
        await lookout.look()
        await asyncio.sleep(60)

    return bring_up


def test_change_moves_the_mount(models: Models, tmp_path: Path) -> None:
    for name, offset in (("a", 1), ("b", 2)):
        saved_models.half_plus_two(tmp_path / name / "m" / "1", scale=0, offset=offset)
    text = config_text({"m": Path("/models/m")})
    with tfs_notebook.serve(str(tmp_path / "a"), config=text, mount="/models", **ANY) as server:
        assert predictions(server, "m") == [1]
        start.change(server, str(tmp_path / "b"), text, {**ANY, "mount": "/models"})
        assert predictions(server, "m") == [2]


def test_a_mount_without_a_config_serves_the_models_directory_in_it(models: Models, tmp_path: Path) -> None:
    models.copy("half_plus_two", tmp_path / "model")
    with tfs_notebook.serve(str(tmp_path), mount="/models", **ANY) as server:
        assert predictions(server) == [2.5]


def test_a_path_beside_a_config_needs_a_mount(models: Models, tmp_path: Path) -> None:
    with pytest.raises(ServingError, match="With --mount=/models, base paths below /models are looked up"):
        tfs_notebook.serve(str(tmp_path), config=config_text({"m": tmp_path}), **ANY)


# The config file


def test_the_config_file_is_followed(models: Models, tmp_path: Path) -> None:
    file = tmp_path / "model_config.pbtxt"
    base_path = models.path("half_plus_two")

    def write(text: str) -> None:
        (tmp_path / "new").write_text(text)
        (tmp_path / "new").replace(file)

    def configured() -> set[str]:
        return {model.name for model in server.status().models if model.config is not None}

    write(config_text({"a": base_path}))
    with tfs_notebook.serve(model_config_file=str(file), model_config_file_poll_wait_seconds=1, **ANY) as server:
        assert predictions(server, "a") == [2.5]
        write(config_text({"b": base_path}))
        until(lambda: configured() == {"b"})
        until(lambda: predictions(server, "b") == [2.5])
        for text, said in (
            ("no config", "Error parsing text-format"),
            (config_text({"a": Path("relative")}), "an absolute path"),
            (None, "No such file or directory"),
        ):
            write(text) if text is not None else file.unlink()
            until(lambda said=said: any(said in problem.message for problem in server.problems))
            assert len(server.problems) == 1
            assert configured() == {"b"}
            assert predictions(server, "b") == [2.5]
        write(config_text({"a": base_path, "b": base_path}))
        until(lambda: configured() == {"a", "b"})
        until(lambda: server.problems == [])


def test_a_config_file_that_does_not_answer_is_told_and_holds_up_nothing(
    models: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pipe that nobody writes to is like a file on a network file system that is gone."""
    monkeypatch.setattr(config_file, "PATIENCE_SECONDS", 0.2)
    file, pipe, other_name = (tmp_path / name for name in ("model_config.pbtxt", "pipe", "other"))
    base_path = models.path("half_plus_two")
    file.write_text(config_text({"a": base_path}))
    with tfs_notebook.serve(model_config_file=str(file), model_config_file_poll_wait_seconds=1, **ANY) as server:
        os.mkfifo(pipe)
        os.link(pipe, other_name)
        pipe.replace(file)
        until(lambda: server.problems)
        (problem,) = server.problems
        assert re.fullmatch(rf"{re.escape(str(file))} has not answered for [\d.]+ s", problem.message)
        assert predictions(server, "a") == [2.5]
        server.reload(parse_config(config_text({"b": base_path})))
        assert predictions(server, "b") == [2.5]
    assert not server.running  # nor does stopping wait for it
    os.close(os.open(other_name, os.O_WRONLY | os.O_NONBLOCK))


def test_a_config_file_that_does_not_answer_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deployment, "_FIRST_READ_SECONDS", 0.2)
    pipe = tmp_path / "model_config.pbtxt"
    os.mkfifo(pipe)
    with pytest.raises(ServingError) as caught:
        tfs_notebook.serve(model_config_file=str(pipe), **ANY)
    assert (caught.value.code, caught.value.message) == (Code.UNAVAILABLE, f"{pipe} has not answered for 0.2 s")
    os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))


def test_a_config_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ServingError, match=r"nowhere\.pbtxt; No such file or directory") as caught:
        tfs_notebook.serve(model_config_file=str(tmp_path / "nowhere.pbtxt"), **ANY)
    assert caught.value.code is Code.NOT_FOUND


# New versions


def test_versions_come_and_go(models: Models, tmp_path: Path) -> None:
    saved_models.half_plus_two(tmp_path / "m" / "1", scale=0, offset=1)
    with tfs_notebook.serve(config=config_text({"m": tmp_path / "m"}), **ANY) as server:
        assert predictions(server, "m") == [1]
        saved_models.half_plus_two(tmp_path / "2", scale=0, offset=2).rename(tmp_path / "m" / "2")
        until(lambda: predictions(server, "m") == [2])
        until(lambda: ask(server, "POST", "/v1/models/m/versions/1:predict", {"instances": [1]}).status == 404)
        shutil.rmtree(tmp_path / "m" / "2")
        until(lambda: predictions(server, "m") == [1])


def test_labels_move_with_a_change(models: Models, tmp_path: Path) -> None:
    for version in (1, 2):
        saved_models.half_plus_two(tmp_path / str(version), scale=0, offset=version)
    config = {"m": tmp_path}
    with tfs_notebook.serve(config=config_text(config, {"m": ALL + label("stable", 1)}), **ANY) as server:
        assert predictions(server, "m", "/labels/stable") == [1]
        start.change(server, "", config_text(config, {"m": ALL + label("stable", 2)}), ANY)
        assert predictions(server, "m", "/labels/stable") == [2]


# Stop


def test_stop_twice_and_the_ports_are_free_at_once(models: Models) -> None:
    ports = {"rest_api_port": free_port(), "port": free_port()}
    server = tfs_notebook.serve(str(models.path("half_plus_two")), **ports)
    assert grpc_answers(server)
    server.stop()
    server.stop()
    for port in ports.values():
        with socket.create_server(("127.0.0.1", port)):
            pass
    with tfs_notebook.serve(str(models.path("half_plus_two")), **ports) as again:
        assert predictions(again) == [2.5]


def test_a_process_that_was_forked_off_does_not_keep_the_ports(models: Models) -> None:
    """As multiprocessing's on Linux: it inherits the sockets, and knows nothing of them."""
    ports = {"rest_api_port": free_port(), "port": free_port()}
    with tfs_notebook.serve(models.path("half_plus_two"), **ports):
        child = os.fork()
        if not child:
            signal.pause()
    try:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", ports["rest_api_port"]), 5)
        with tfs_notebook.serve(models.path("half_plus_two"), **ports) as server:
            assert ask(server, "GET", "/v1/models/model").status == 200
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_what_a_stopped_server_says(models: Models) -> None:
    server = tfs_notebook.serve(str(models.path("half_plus_two")), **ANY)
    server.stop()
    for question in (
        lambda: server.predict("model", [1.0]),
        lambda: server.reload(server_config(models)),
        lambda: server.change(server.options, server_config(models)),
    ):
        with pytest.raises(ServingError, match="The server has been stopped"):
            question()
    assert server.status().models[0].versions[0].state.name == "END"


def server_config(models: Models) -> Any:
    return deployment.single_model("model", str(models.path("half_plus_two")))


def test_stop_while_another_thread_starts(models: Models) -> None:
    options = deployment.notebook_options({**ANY})
    server = Server(options)
    failures: list[BaseException] = []

    def start() -> None:
        try:
            server.start(deployment.single_model("m", "/nowhere"), timeout=PATIENCE, strict=True)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=start)
    thread.start()
    until(lambda: server._core.configs)
    server.stop(timeout=2)
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert failures
    assert server.rest_url is None


def test_an_answer_does_not_change_with_what_was_passed(models: Models) -> None:
    with tfs_notebook.serve(str(models.path("no_input")), **ANY) as server:
        x = np.array([1, 2], np.float32)
        for _ in range(60):  # by every way that a call may take
            answer = server.predict("model", x).array
            x += 1
            assert answer.tolist() == (x - 1).tolist()


def test_prediction_of_several_outputs_is_taken_by_name(models: Models) -> None:
    with tfs_notebook.serve(str(models.path("multi")), **ANY) as server:
        prediction = server.predict("model", {"a": [[1, 2]], "b": [3]})
        assert prediction["doubled"].tolist() == [6]
        with pytest.raises(ValueError, match="serving_default has the outputs doubled, total: take one by its name"):
            _ = prediction.array
        filtered = server.predict("model", {"a": [[1, 2]], "b": [3]}, output_filter=["total"])
        assert filtered.array.tolist() == [3]
        with pytest.raises(ServingError, match='Serving signature key "other" not found'):
            server.predict("model", {}, signature_name="other")


def test_events_are_heard_until_one_stops_listening(models: Models) -> None:
    with tfs_notebook.serve(str(models.path("half_plus_two")), **ANY) as server:
        heard: list[Any] = []
        end = server.listen(heard.append)
        server.reload(deployment.single_model("other", str(models.path("half_plus_two"))))
        until(lambda: {("other", 30), ("model", 50)} <= {(event.model, event.state) for event in heard})
        end()
        count = len(heard)
        server.reload(server_config(models))
        assert len(heard) == count


def test_stop_gives_up_a_request_that_takes_too_long_and_leaves_nothing_when_it_ends(models: Models) -> None:
    server = tfs_notebook.serve(str(models.path("slow")), **ANY)
    statuses: list[object] = []

    def ask_slowly() -> None:
        try:
            statuses.append(ask(server, "POST", "/v1/models/model:predict", {"inputs": 20.0}).status)
        except OSError as error:
            statuses.append(error)

    thread = threading.Thread(target=ask_slowly)
    thread.start()
    loaded = server._core.manager.registry.serving["model"][1]
    until(lambda: loaded._pins == 1)
    started = time.monotonic()
    server.stop(timeout=0.3)
    assert time.monotonic() - started < 15
    thread.join()
    assert statuses != [200]
