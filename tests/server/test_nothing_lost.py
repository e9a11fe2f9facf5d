"""Under load, while versions, configurations and ports change, no request fails and each is answered by one version."""

from __future__ import annotations

import http.client
import itertools
import shutil
import threading
import time
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import grpc
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

import tfs_notebook
from tests.support import saved_models
from tests.support.ports import free_port
from tests.support.serving import PATIENCE, Reply, ask, ask_on, config_text, connect, until
from tfs_notebook.server import start
from tfs_notebook.settings import deployment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tfs_notebook.server.server import Server

ANY: dict[str, Any] = {"rest_api_port": 0, "port": 0}
QUESTION = [1.0, 2.0, 3.0, 4.0]
CONSTANTS = {1: (0.5, 2.0), 2: (3.0, 0.0), 3: (-1.0, 100.0)}
"""Scale and offset of each version."""
ANSWERS = {tuple(x * scale + offset for x in QUESTION): version for version, (scale, offset) in CONSTANTS.items()}


@pytest.fixture
def versions(tmp_path: Path) -> Callable[[int], None]:
    """Puts a version of the model at tmp_path/m by a rename."""
    (tmp_path / "m").mkdir()

    def put(version: int) -> None:
        scale, offset = CONSTANTS[version]
        exported = saved_models.half_plus_two(tmp_path / f"exporting-{version}", scale=scale, offset=offset)
        exported.rename(tmp_path / "m" / str(version))

    return put


class Load:
    """Clients that ask without a pause, and what they were answered."""

    def __init__(self) -> None:
        self.failures: list[str] = []
        self.answered: dict[str, list[int]] = {}
        self.over = threading.Event()

    def run(self, name: str, ask_once: Callable[[], Any]) -> None:
        answers = self.answered[name] = []
        while not self.over.is_set():
            try:
                outputs = tuple(ask_once())
                if outputs in ANSWERS:
                    answers.append(ANSWERS[outputs])
                else:
                    self.failures.append(f"{name}: no version answers {outputs}")
            except Exception as error:
                self.failures.append(f"{name}: {error!r}")

    def newest(self, version: int) -> bool:
        """Whether every client was last answered by `version`."""
        return all(answers and answers[-1] == version for answers in self.answered.values())

    def until_newest(self, version: int) -> None:
        """Wait until every client is answered by `version`, and then for twenty more answers to each."""
        until(lambda: self.failures or self.newest(version))
        self.until_answered(20)

    def until_answered(self, times: int) -> None:
        """Wait until every client has been answered so many times more."""
        enough = {name: len(answers) + times for name, answers in self.answered.items()}
        until(lambda: self.failures or all(len(self.answered[name]) >= count for name, count in enough.items()))


class RestClient:
    """Asks on one connection that is kept; when it `may_reconnect`, on a new one when the server closed the old."""

    def __init__(self, server: Server, *, may_reconnect: bool) -> None:
        self._server = server
        self._may_reconnect = may_reconnect
        self._connection = connect(server)

    def __call__(self) -> Any:
        kept = self._connection.sock is not None
        try:
            reply = self._ask()
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
            # A kept connection that was closed while it was idle: every HTTP client asks again on a new one
            if not (self._may_reconnect and kept):
                raise
            self._reconnect()
            reply = self._ask()
        if reply.headers["Connection"] == "close":
            assert self._may_reconnect
            self._reconnect()
        assert reply.status == 200, reply.body
        return reply.json["predictions"]

    def _ask(self) -> Reply:
        return ask_on(self._connection, "POST", "/v1/models/m:predict", {"instances": QUESTION})

    def _reconnect(self) -> None:
        self._connection.close()
        self._connection = connect(self._server)

    def close(self) -> None:
        self._connection.close()


def grpc_client(channel: grpc.Channel) -> Callable[[], Any]:
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    request = predict_pb2.PredictRequest(model_spec={"name": "m"})
    request.inputs["x"].CopyFrom(tf.make_tensor_proto(QUESTION, tf.float32))
    return lambda: stub.Predict(request, timeout=PATIENCE).outputs["y"].float_val


def ask_locally(server: Server) -> Any:
    time.sleep(0.001)  # else nobody else gets a turn
    return server.predict("m", QUESTION).array.tolist()


@contextmanager
def under_load(server: Server, *, may_reconnect: bool = False, with_grpc: bool = True) -> Iterator[Load]:
    """Three REST clients, two gRPC clients and one that calls locally, for as long as the body takes."""
    load = Load()
    with ExitStack() as stack:
        channel = stack.enter_context(grpc.insecure_channel(server.grpc_target))
        clients: dict[str, Callable[[], Any]] = {
            f"rest {i}": stack.enter_context(closing(RestClient(server, may_reconnect=may_reconnect))) for i in range(3)
        }
        clients["local"] = partial(ask_locally, server)
        if with_grpc:
            clients |= {f"grpc {i}": grpc_client(channel) for i in range(2)}
        threads = [threading.Thread(target=load.run, args=client) for client in clients.items()]
        for thread in threads:
            thread.start()
        try:
            until(lambda: load.failures or len(load.answered) == len(clients))
            load.until_answered(10)
            yield load
        finally:
            load.over.set()
            for thread in threads:
                thread.join()
    assert load.failures == []


def test_versions_come_and_go(versions: Callable[[int], None], tmp_path: Path) -> None:
    versions(1)
    with (
        tfs_notebook.serve(config=config_text({"m": tmp_path / "m"}), **ANY) as server,
        under_load(server) as load,
    ):
        assert load.newest(1)
        for version in (2, 3):
            versions(version)
            load.until_newest(version)
        shutil.rmtree(tmp_path / "m" / "3")
        load.until_newest(2)
    for answers in load.answered.values():  # in this order, and never back
        seen = [1, *(b for a, b in itertools.pairwise(answers) if a != b)]
        assert seen == [1, 2, 3, 2]


def test_configurations_are_reloaded(versions: Callable[[int], None], tmp_path: Path) -> None:
    for version in (1, 2, 3):
        versions(version)

    def of(*numbers: int) -> Any:
        chosen = " ".join(f"versions: {number}" for number in numbers)
        policy = f"model_version_policy {{ specific {{ {chosen} }} }}"
        return deployment.parse_config(config_text({"m": tmp_path / "m", "n": tmp_path / "m"}, {"m": policy}))

    with tfs_notebook.serve(config=config_text({"m": tmp_path / "m"}), **ANY) as server, under_load(server) as load:
        for numbers in ((1,), (2, 3), (2,), (3, 1), (1,), (1, 2, 3)):
            server.reload(of(*numbers))
            load.until_newest(max(numbers))


def test_files_are_exchanged_under_one_number(versions: Callable[[int], None], tmp_path: Path) -> None:
    versions(1)
    with tfs_notebook.serve(str(tmp_path / "m"), model_name="m", **ANY) as server, under_load(server) as load:
        for version in (2, 3, 1):
            scale, offset = CONSTANTS[version]
            saved_models.half_plus_two(tmp_path / "m" / "1", scale=scale, offset=offset)
            start.change(server, str(tmp_path / "m"), "", {**ANY, "model_name": "m"})
            load.until_newest(version)


def test_ports_move(versions: Callable[[int], None], tmp_path: Path) -> None:
    """A client of the old port reconnects at the new one, as its answer's `Connection: close` asks it to."""
    versions(1)
    path = str(tmp_path / "m")
    with (
        tfs_notebook.serve(path, model_name="m", **ANY) as server,
        under_load(server, may_reconnect=True, with_grpc=False) as load,
    ):
        for _ in range(5):
            before = server.rest_url
            start.change(server, path, "", {"rest_api_port": free_port(), "port": 0, "model_name": "m"})
            assert server.rest_url != before
            load.until_answered(40)


def test_what_waits_for_a_thread_is_answered_by_a_version_that_is_no_longer_served(tmp_path: Path) -> None:
    saved_models.slow(tmp_path / "1")
    with tfs_notebook.serve(str(tmp_path), rest_api_num_threads=1, **ANY) as server:
        statuses: list[int] = []

        def ask_slowly() -> None:
            statuses.append(ask(server, "POST", "/v1/models/model:predict", {"inputs": 0.7}).status)

        threads = [threading.Thread(target=ask_slowly) for _ in range(3)]
        for thread in threads:
            thread.start()
        loaded = server._core.manager.registry.serving["model"][1]
        until(lambda: loaded._pins == len(threads))
        server.reload(deployment.parse_config("model_config_list {}"))
        assert ask(server, "POST", "/v1/models/model:predict", {"inputs": 0.1}).status == 404
        assert len(statuses) < len(threads)
        for thread in threads:
            thread.join()
    assert statuses == [200, 200, 200]


def test_what_is_under_way_is_answered_when_the_ports_move(tmp_path: Path) -> None:
    saved_models.slow(tmp_path / "1")
    request = predict_pb2.PredictRequest(model_spec={"name": "model"})
    request.inputs["seconds"].CopyFrom(tf.make_tensor_proto(1.5, tf.float32))
    replies: list[Any] = []
    with (
        tfs_notebook.serve(str(tmp_path), **ANY) as server,
        grpc.insecure_channel(server.grpc_target) as channel,
    ):
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        threads = [
            threading.Thread(
                target=lambda: replies.append(ask(server, "POST", "/v1/models/model:predict", {"inputs": 1.5}).status)
            ),
            threading.Thread(
                target=lambda: replies.append(
                    stub.Predict(request, timeout=PATIENCE).outputs["elapsed"].float_val[0] > 1
                )
            ),
        ]
        for thread in threads:
            thread.start()
        loaded = server._core.manager.registry.serving["model"][1]
        until(lambda: loaded._pins >= 2)
        start.change(server, str(tmp_path), "", {"rest_api_port": free_port(), "port": free_port()})
        assert ask(server, "GET", "/v1/models/model").status == 200
        for thread in threads:
            thread.join()
    assert sorted(replies) == [True, 200]
