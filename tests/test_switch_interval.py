"""Python's switch interval while a server is asked, and while nobody asks."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest
from tensorflow_serving.apis import prediction_service_pb2_grpc

import tfs_notebook
from tests.conformance.calls import predict_request
from tests.support.serving import ask, until
from tfs_notebook.server import start

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import Models
    from tfs_notebook.server.server import Server

ANY: dict[str, Any] = {"rest_api_port": 0, "port": 0}
USUAL = 0.005


@pytest.fixture(autouse=True)
def _usual() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(USUAL)
    yield
    sys.setswitchinterval(before)


def interval_is(seconds: float) -> bool:
    return sys.getswitchinterval() == pytest.approx(seconds)


def ask_by_rest(server: Server) -> None:
    assert ask(server, "POST", "/v1/models/model:predict", {"instances": [1.0]}).status == 200


def ask_by_grpc(server: Server) -> None:
    with grpc.insecure_channel(server.grpc_target) as channel:
        prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(predict_request("model", {"x": [1.0]}), 60)


@contextlib.contextmanager
def asking(server: Server, ask_it: Callable[[Server], None] = ask_by_rest) -> Iterator[None]:
    """Requests one after the other until the end of the `with`."""
    enough = threading.Event()

    def go_on() -> None:
        while not enough.is_set():
            ask_it(server)

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield
    finally:
        enough.set()
        thread.join()


@pytest.mark.parametrize("ask_it", [ask_by_rest, ask_by_grpc])
def test_it_is_a_millisecond_while_requests_come_and_back_after_the_last(
    models: Models, ask_it: Callable[[Server], None]
) -> None:
    with tfs_notebook.serve(str(models.path("half_plus_two")), **ANY) as server:
        assert interval_is(USUAL)
        for _ in range(2):
            with asking(server, ask_it):
                until(lambda: interval_is(0.001))
            until(lambda: interval_is(USUAL))


def test_it_stays_low_as_long_as_requests_come(models: Models) -> None:
    with tfs_notebook.serve(str(models.path("half_plus_two")), **ANY) as server:
        ask_by_rest(server)
        seen, began = set(), time.monotonic()
        while time.monotonic() < began + 1.5:
            asked = time.monotonic()
            ask_by_rest(server)
            interval = round(sys.getswitchinterval(), 6)
            if time.monotonic() < asked + 0.4:  # else it may be over already
                seen.add(interval)
        assert seen <= {0.001}


def test_the_cells_own_calls_and_questions_change_nothing(models: Models) -> None:
    with tfs_notebook.serve(str(models.path("half_plus_two")), **ANY) as server:
        for _ in range(100):
            server.predict("model", np.ones(1, np.float32))
            assert ask(server, "GET", "/v1/models/model").status == 200
            assert interval_is(USUAL)


def test_it_is_as_low_as_asked_and_restored_by_a_change_and_by_stop(models: Models) -> None:
    path = str(models.path("half_plus_two"))
    with tfs_notebook.serve(path, switch_interval_micros=500, **ANY) as server:
        with asking(server):
            until(lambda: interval_is(500e-6))
            start.change(server, path, "", {**ANY, "switch_interval_micros": 250})
            until(lambda: interval_is(250e-6))
            start.change(server, path, "", {**ANY, "switch_interval_micros": 0})
            ask_by_rest(server)
            assert interval_is(USUAL)
            start.change(server, path, "", ANY)
            until(lambda: interval_is(0.001))
        ask_by_rest(server)
    assert interval_is(USUAL)


def test_what_somebody_else_sets_meanwhile_stays(models: Models) -> None:
    with tfs_notebook.serve(str(models.path("half_plus_two")), **ANY) as server:
        with asking(server):
            until(lambda: interval_is(0.001))
            sys.setswitchinterval(0.02)
        until(lambda: interval_is(0.02))
        ask_by_rest(server)
    assert interval_is(0.02)


def test_an_interval_that_is_lower_already_is_left_alone(models: Models) -> None:
    sys.setswitchinterval(0.0002)
    with tfs_notebook.serve(str(models.path("half_plus_two")), **ANY) as server:
        for _ in range(100):
            ask_by_rest(server)
            assert interval_is(0.0002)
    assert interval_is(0.0002)


def test_two_servers_restore_what_was_there_before_either(models: Models) -> None:
    path = str(models.path("half_plus_two"))
    with tfs_notebook.serve(path, **ANY) as first:
        with tfs_notebook.serve(path, switch_interval_micros=500, **ANY) as second:
            with asking(first):
                until(lambda: interval_is(0.001))
                with asking(second):
                    until(lambda: interval_is(500e-6))
                until(lambda: interval_is(0.001))
            until(lambda: interval_is(USUAL))
            ask_by_rest(second)
        until(lambda: interval_is(USUAL))
