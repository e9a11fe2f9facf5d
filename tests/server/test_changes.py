"""Changes of a running server: one after the other, whole or not at all, and what is said about them is true."""

from __future__ import annotations

import signal
import socket
import threading
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

import tfs_notebook
from tests.support import saved_models
from tests.support.ports import free_port
from tests.support.serving import ALL, PATIENCE, ask, config_text, label, until
from tfs_notebook.errors import ServingError
from tfs_notebook.server import endpoints, start
from tfs_notebook.server.changes import InterruptedChangeError
from tfs_notebook.settings import deployment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.conftest import Models
    from tfs_notebook.server.server import Server

ANY: dict[str, Any] = {"rest_api_port": 0, "port": 0}


class Held:
    """Lets the openings of ports wait where their files have been read, from `begin` until `go_on`."""

    def __init__(self, read: Callable[..., Any]) -> None:
        self.reached, self._gate, self._read = threading.Event(), threading.Event(), read
        self._gate.set()

    def begin(self) -> None:
        self.reached.clear()
        self._gate.clear()

    def go_on(self) -> None:
        self._gate.set()

    def __call__(self, *arguments: Any) -> Any:
        read = self._read(*arguments)
        self.reached.set()
        assert self._gate.wait(PATIENCE)
        return read


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[Held]:
    held = Held(endpoints.read_transport)
    monkeypatch.setattr(endpoints, "read_transport", held)
    yield held
    held.go_on()


@contextmanager
def aside(call: Callable[[], Any]) -> Iterator[list[BaseException]]:
    """`call` on another thread until the end of the block; gives what it raised."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            call()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield raised
    finally:
        thread.join(PATIENCE)
        assert not thread.is_alive()


@contextmanager
def control_c(when: Callable[[], Any]) -> Iterator[None]:
    """Ctrl-C for the block as soon as `when` holds."""

    def press() -> None:
        until(when, timeout=PATIENCE)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    thread = threading.Thread(target=press)
    thread.start()
    try:
        yield
    finally:
        thread.join()
        signal.signal(signal.SIGINT, before)


def change(server: Server, models: Models, name: str) -> None:
    start.change(server, "", config_text({name: models.path("half_plus_two")}), ANY)


def served(server: Server) -> list[str]:
    return [model.name for model in server.status().models if model.config is not None]


def listens(port: int) -> bool:
    with socket.socket() as client:
        client.settimeout(5)
        return client.connect_ex(("127.0.0.1", port)) == 0


def test_a_change_that_was_interrupted_before_it_began_does_not_happen(models: Models, held: Held) -> None:
    with tfs_notebook.serve(str(models.path("half_plus_two")), **ANY) as server:
        held.begin()
        with aside(lambda: change(server, models, "first")) as raised:
            assert held.reached.wait(PATIENCE)
            waits = server._changes._tasks
            with control_c(lambda: len(waits) == 2), pytest.raises(InterruptedChangeError) as interrupt:
                change(server, models, "second")
            assert (str(interrupt.value), served(server)) == ("nothing has changed", ["model"])
            held.go_on()
        assert raised == []
        until(lambda: not waits)
        assert served(server) == ["first"]


def test_a_change_that_was_interrupted_after_it_began_happens_before_any_later_one(models: Models, held: Held) -> None:
    with tfs_notebook.serve(str(models.path("half_plus_two")), **ANY) as server:
        held.begin()
        with control_c(held.reached.is_set), pytest.raises(InterruptedChangeError) as interrupt:
            change(server, models, "first")
        assert (str(interrupt.value), served(server)) == ("what was asked for goes on", ["model"])
        later = deployment.single_model("later", str(models.path("half_plus_two")))
        with aside(lambda: server.reload(later)) as raised:
            held.go_on()
        assert (raised, served(server)) == ([], ["later"])
        assert ask(server, "GET", "/v1/models/later").status == 200


def test_nothing_listens_after_a_stop_in_the_middle_of_a_change(models: Models, held: Held) -> None:
    ports = [free_port() for _ in range(4)]
    path = str(models.path("half_plus_two"))
    server = tfs_notebook.serve(path, rest_api_port=ports[0], port=ports[1])
    held.begin()
    with aside(lambda: start.change(server, path, "", {"rest_api_port": ports[2], "port": ports[3]})) as raised:
        assert held.reached.wait(PATIENCE)
        with aside(server.stop):
            until(lambda: not server.running)
            held.go_on()
    assert [listens(port) for port in ports] == [False] * 4
    assert [str(error) for error in raised] == ["UNAVAILABLE: The server has been stopped"]


@pytest.mark.parametrize("seed", range(4))
def test_nothing_listens_after_a_stop_at_any_moment_of_a_change(models: Models, seed: int) -> None:
    ports = [free_port() for _ in range(4)]
    path = str(models.path("half_plus_two"))
    server = tfs_notebook.serve(path, rest_api_port=ports[0], port=ports[1])
    with aside(lambda: start.change(server, path, "", {"rest_api_port": ports[2], "port": ports[3]})):
        until(lambda: seed == 0 or any(map(listens, ports[2:])) or not listens(ports[1]))
        threading.Event().wait(0.002 * seed)
        server.stop()
    assert [listens(port) for port in ports] == [False] * 4


def test_a_change_that_is_refused_because_of_a_label_changes_nothing(models: Models, tmp_path: Path) -> None:
    for version in (1, 2):
        saved_models.half_plus_two(tmp_path / str(version), scale=0, offset=version)
    text = config_text({"m": tmp_path, "n": tmp_path}, {"m": ALL + label("stable", 1)})
    with tfs_notebook.serve(config=text, **ANY) as server:
        before, url, config = server.options, server.rest_url, server.status().models
        moved = {"rest_api_port": free_port(), "batching_parameters_file": "", "request_log_file_mb": 7}
        with pytest.raises(ServingError, match="Request to assign label to version 9 of model m"):
            start.change(server, "", config_text({"m": tmp_path}, {"m": label("stable", 9)}), moved)
        assert (replace(server.options, port=before.port, rest_api_port=before.rest_api_port), server.rest_url) == (
            before, url,
        )  # fmt: skip
        assert [(model.name, model.config, model.labels) for model in server.status().models] == [
            (model.name, model.config, model.labels) for model in config
        ]
        assert not listens(moved["rest_api_port"])
        assert [server.predict(name, [0.0]).outputs["y"].tolist() for name in ("m", "n")] == [[2.0], [2.0]]


def test_nothing_is_available_once_it_has_stopped(models: Models, tmp_path: Path) -> None:
    """Also what was kept for a label that was to move on and could not."""
    for version in (1, 2):
        models.copy("half_plus_two", tmp_path, version)
    only = "model_version_policy {{ specific {{ versions: {} }} }}"
    text = config_text({"m": tmp_path}, {"m": only.format(1) + label("a", 1)})
    with tfs_notebook.serve(config=text, **ANY) as server:
        saved_models.truncated_pb(tmp_path / "2")
        with pytest.raises(ServingError):
            start.change(server, "", config_text({"m": tmp_path}, {"m": only.format(2) + label("a", 2)}), ANY)
    (model,) = server.status().models
    assert {version.state.name for version in model.versions} == {"END"}
