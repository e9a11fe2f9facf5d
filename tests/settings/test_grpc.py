"""gRPC over TLS, on a Unix socket and with arguments of its own; and all of that changed while it serves."""

from __future__ import annotations

import datetime as dt
import socket
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

import tfs_notebook
from tests.support.certificates import Authority, ssl_config
from tests.support.serving import PATIENCE, ask, config_text, serving_threads, until
from tfs_notebook import ServingError
from tfs_notebook.server import start
from tfs_notebook.settings.ports import PortTakenError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Models

ANY: dict[str, Any] = {"rest_api_port": 0, "port": 0}
AUTHORITY, STRANGER = Authority(), Authority("stranger")
KEY, CERTIFICATE = AUTHORITY.issue("server")


@pytest.fixture(autouse=True)
def _nothing_left_running() -> Iterator[None]:
    before = serving_threads()
    yield
    until(lambda: len(serving_threads()) <= len(before), f"left running: {serving_threads()}")


@pytest.fixture
def path(models: Models) -> str:
    return str(models.path("half_plus_two"))


@pytest.fixture
def tls(tmp_path: Path) -> str:
    """A file with an SSLConfig that demands nothing of clients."""
    return ssl_config(tmp_path / "ssl", server_key=KEY, server_cert=CERTIFICATE)


@pytest.fixture
def mutual(tmp_path: Path) -> str:
    """A file with an SSLConfig that demands certificates of clients."""
    return ssl_config(
        tmp_path / "mutual",
        server_key=KEY,
        server_cert=CERTIFICATE,
        custom_ca=AUTHORITY.certificate,
        client_verify=True,
    )


def predict(channel: grpc.Channel, model: str = "model", token: str = "", timeout: float = 20) -> Any:
    request = predict_pb2.PredictRequest(model_spec={"name": model})
    request.inputs["x"].CopyFrom(tf.make_tensor_proto([1.0], tf.float32))
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    metadata = [("authorization", token)] if token else []
    return list(stub.Predict(request, timeout=timeout, metadata=metadata).outputs["y"].float_val)


def plainly(target: str | None, token: str = "") -> Any:
    """What a client without TLS is answered."""
    with grpc.insecure_channel(target or "") as channel:
        return predict(channel, token=token)


def securely(target: str | None, authority: Authority = AUTHORITY, client: tuple[str, str] | None = None) -> Any:
    """What a client is answered that trusts an authority, and may have a key and a certificate."""
    key, certificate = (text.encode() for text in client) if client else (None, None)
    credentials = grpc.ssl_channel_credentials(authority.certificate.encode(), key, certificate)
    named = [("grpc.ssl_target_name_override", "localhost")]  # a socket has a path where a port has a host
    with grpc.secure_channel(target or "", credentials, named) as channel:
        return predict(channel)


def refused(ask_once: Any, *args: Any) -> grpc.StatusCode:
    with pytest.raises(grpc.RpcError) as caught:
        ask_once(*args)
    return caught.value.code()


# TLS


def test_tls(path: str, tls: str) -> None:
    with tfs_notebook.serve(path, ssl_config_file=tls, **ANY) as server:
        assert securely(server.grpc_target) == [2.5]
        assert refused(securely, server.grpc_target, STRANGER) == grpc.StatusCode.UNAVAILABLE
        assert refused(plainly, server.grpc_target) == grpc.StatusCode.UNAVAILABLE
        assert ask(server, "POST", "/v1/models/model:predict", {"instances": [1]}).json == {"predictions": [2.5]}


def test_tls_that_verifies_clients(path: str, mutual: str) -> None:
    with tfs_notebook.serve(path, ssl_config_file=mutual, **ANY) as server:
        assert securely(server.grpc_target, AUTHORITY, AUTHORITY.issue("client")) == [2.5]
        assert refused(securely, server.grpc_target, AUTHORITY, STRANGER.issue("client")) == grpc.StatusCode.UNAVAILABLE
        assert refused(securely, server.grpc_target) == grpc.StatusCode.UNAVAILABLE
        assert refused(plainly, server.grpc_target) == grpc.StatusCode.UNAVAILABLE


def test_tls_that_cannot_be_used_starts_nothing(path: str, tmp_path: Path) -> None:
    file = ssl_config(tmp_path / "ssl", server_key=STRANGER.issue("server")[0], server_cert=CERTIFICATE)
    with pytest.raises(ServingError, match="server_key is not the key of the"):
        tfs_notebook.serve(path, ssl_config_file=file, **ANY)


def test_an_ssl_config_below_a_mount(path: str, tls: str) -> None:
    file = f"/models/{Path(tls).name}"
    config = config_text({"model": Path(path)})
    root = str(Path(tls).parent)
    with tfs_notebook.serve(root, config=config, mount="/models", ssl_config_file=file, **ANY) as server:
        assert securely(server.grpc_target) == [2.5]


def test_tls_comes_changes_and_goes_on_the_same_port(path: str, tls: str) -> None:
    with tfs_notebook.serve(path, **ANY) as server:
        target = server.grpc_target
        start.change(server, path, "", {"ssl_config_file": tls})
        assert (server.grpc_target, securely(target)) == (target, [2.5])
        start.change(server, path, "", {})  # stays, as all that tells where it listens
        assert (server.grpc_target, securely(target)) == (target, [2.5])
        key, certificate = STRANGER.issue("server")
        ssl_config(Path(tls), server_key=key, server_cert=certificate)
        start.change(server, path, "", {})  # the file is read anew
        assert (server.grpc_target, securely(target, STRANGER)) == (target, [2.5])
        start.change(server, path, "", {"ssl_config_file": ""})
        assert (server.grpc_target, plainly(target)) == (target, [2.5])


def test_a_request_under_way_outlasts_a_change_of_tls(models: Models, tls: str) -> None:
    config = config_text({"slow": models.path("slow"), "model": models.path("half_plus_two")})
    with tfs_notebook.serve(config=config, **ANY) as server, grpc.insecure_channel(server.grpc_target) as channel:
        request = predict_pb2.PredictRequest(model_spec={"name": "slow"})
        request.inputs["seconds"].CopyFrom(tf.make_tensor_proto(2.0))
        under_way = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict.future(request, timeout=PATIENCE)
        until(lambda: server._core.manager.registry.serving["slow"][1]._pins, "its request has not begun")
        start.change(server, "", config, {"ssl_config_file": tls})
        assert securely(server.grpc_target) == [2.5]
        assert next(iter(under_way.result().outputs["elapsed"].float_val)) >= 2.0


def test_a_change_to_tls_that_cannot_be_used_changes_nothing(path: str, tls: str, tmp_path: Path) -> None:
    with tfs_notebook.serve(path, ssl_config_file=tls, **ANY) as server:
        before = server.options, server.rest_url, server.grpc_target
        file = ssl_config(tmp_path / "bad", server_key=KEY, server_cert="")
        with pytest.raises(ServingError, match="server_cert holds no certificate: it is empty"):
            start.change(server, path, "", {"ssl_config_file": file})
        assert (server.options, server.rest_url, server.grpc_target) == before
        assert securely(server.grpc_target) == [2.5]


def test_the_status_names_the_socket_and_whose_certificate_it_is(path: str, tls: str, tmp_path: Path) -> None:
    with tfs_notebook.serve(path, grpc_socket_path=str(tmp_path / "grpc"), ssl_config_file=tls, **ANY) as server:
        until = dt.datetime.now(dt.timezone.utc) + dt.timedelta(days=1)
        security = f"TLS: server, until {until:%Y-%m-%d}"
        targets = f"{server.grpc_target} and unix:{tmp_path}/grpc"
        assert server.status().addresses == [f"REST {server.rest_url}", f"gRPC {targets} ({security})"]
        assert repr(server) == f"<tfs_notebook.Server REST {server.rest_url}, gRPC {targets} ({security}): model>"
        start.change(server, path, "", {"grpc_socket_path": "", "ssl_config_file": ""})
        assert repr(server) == f"<tfs_notebook.Server REST {server.rest_url}, gRPC {server.grpc_target}: model>"
    assert server.status().addresses == []


# The socket


def test_a_socket_beside_the_port(path: str, tmp_path: Path) -> None:
    with tfs_notebook.serve(path, grpc_socket_path=str(tmp_path / "grpc"), **ANY) as server:
        assert server.grpc_socket_target == f"unix:{tmp_path}/grpc"
        assert plainly(server.grpc_socket_target) == [2.5]
        assert plainly(server.grpc_target) == [2.5]
        with grpc.insecure_channel(server.grpc_socket_target) as channel:
            states: list[grpc.ChannelConnectivity] = []
            assert predict(channel) == [2.5]
            channel.subscribe(states.append)
            start.change(server, path, "", {"host": "localhost"})
            assert predict(channel) == [2.5]
            assert set(states) <= {grpc.ChannelConnectivity.IDLE, grpc.ChannelConnectivity.READY}
    assert server.grpc_socket_target is None
    assert not (tmp_path / "grpc").exists()


@pytest.mark.parametrize("name", ["a b", "50%41", "a#b?c", "söckel"])
def test_a_path_with_characters_that_addresses_do_not_have(path: str, tmp_path: Path, name: str) -> None:
    with tfs_notebook.serve(path, grpc_socket_path=str(tmp_path / name), **ANY) as server:
        assert [item.name for item in tmp_path.iterdir()] == [name]
        assert plainly(server.grpc_socket_target) == [2.5]


def test_a_relative_path_is_where_the_server_was_started(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with tfs_notebook.serve(path, grpc_socket_path="grpc", **ANY) as server:
        monkeypatch.chdir("/")
        start.change(server, path, "", {})
        assert server.grpc_socket_target == f"unix:{tmp_path}/grpc"
        assert plainly(server.grpc_socket_target) == [2.5]


def test_the_token_holds_on_the_socket(path: str, tmp_path: Path) -> None:
    with tfs_notebook.serve(path, grpc_socket_path=str(tmp_path / "grpc"), token="secret", **ANY) as server:
        assert refused(plainly, server.grpc_socket_target) == grpc.StatusCode.UNAUTHENTICATED
        assert plainly(server.grpc_socket_target, "secret") == [2.5]


def test_tls_on_the_socket(path: str, tls: str, tmp_path: Path) -> None:
    with tfs_notebook.serve(path, grpc_socket_path=str(tmp_path / "grpc"), ssl_config_file=tls, **ANY) as server:
        assert securely(server.grpc_socket_target) == [2.5]
        assert refused(plainly, server.grpc_socket_target) == grpc.StatusCode.UNAVAILABLE


def test_a_socket_comes_moves_and_goes(path: str, tls: str, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    with tfs_notebook.serve(path, **ANY) as server:
        before = server.grpc_target
        start.change(server, path, "", {"grpc_socket_path": str(one)})
        assert plainly(f"unix:{one}") == [2.5]
        start.change(server, path, "", {"grpc_socket_path": str(two)})
        assert plainly(f"unix:{two}") == [2.5]
        assert not one.exists()
        start.change(server, path, "", {"ssl_config_file": tls})
        assert securely(f"unix:{two}") == [2.5]
        start.change(server, path, "", {"grpc_socket_path": "", "ssl_config_file": ""})
        assert not two.exists()
        assert (server.grpc_socket_target, server.grpc_target) == (None, before)
        assert plainly(before) == [2.5]


def test_a_change_of_the_socket_leaves_the_port_alone(path: str, tmp_path: Path) -> None:
    with tfs_notebook.serve(path, **ANY) as server, grpc.insecure_channel(server.grpc_target) as channel:
        states: list[grpc.ChannelConnectivity] = []
        assert predict(channel) == [2.5]
        channel.subscribe(states.append)
        for name in ("one", "two", ""):
            start.change(server, path, "", {"grpc_socket_path": name and str(tmp_path / name)})
            assert predict(channel) == [2.5]
        assert set(states) <= {grpc.ChannelConnectivity.IDLE, grpc.ChannelConnectivity.READY}


def test_a_socket_that_somebody_left(path: str, tmp_path: Path) -> None:
    left = tmp_path / "grpc"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(left))
    with tfs_notebook.serve(path, grpc_socket_path=str(left), **ANY) as server:
        assert plainly(server.grpc_socket_target) == [2.5]


def test_a_socket_is_taken_over_and_not_taken_away_by_who_had_it(path: str, tmp_path: Path) -> None:
    """As with gRPC, who comes last answers; unlike with gRPC it goes on when those before it end."""
    given = {"grpc_socket_path": str(tmp_path / "grpc"), **ANY}
    with tfs_notebook.serve(path, **given) as newer:
        with tfs_notebook.serve(path, token="older", **given) as older:
            assert refused(plainly, older.grpc_socket_target) == grpc.StatusCode.UNAUTHENTICATED
            assert newer.grpc_socket_target is None
            start.change(newer, path, "", {})
            assert older.grpc_socket_target is None
            assert plainly(newer.grpc_socket_target) == [2.5]
        assert plainly(newer.grpc_socket_target) == [2.5]
    assert list(tmp_path.iterdir()) == []


def test_clients_find_a_socket_at_every_moment_of_a_change(path: str, tls: str, tmp_path: Path) -> None:
    used, missed, ended = tmp_path / "grpc", [], threading.Event()
    with tfs_notebook.serve(path, grpc_socket_path=str(used), **ANY) as server:

        def connect() -> None:
            while not ended.is_set():
                with socket.socket(socket.AF_UNIX) as client:
                    try:
                        client.connect(str(used))
                    except OSError as error:
                        missed.append(error)

        connecting = threading.Thread(target=connect)
        connecting.start()
        try:
            for file in (tls, "", tls):
                start.change(server, path, "", {"ssl_config_file": file})
        finally:
            ended.set()
            connecting.join()
    assert missed == []


@pytest.mark.parametrize("length", [107, 100])
def test_the_longest_paths(path: str, length: int) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        deep = Path(directory, "d" * (length - len(directory) - 3))
        deep.mkdir()
        with tfs_notebook.serve(path, grpc_socket_path=str(deep / "s"), **ANY) as server:
            assert len(str(deep / "s")) == length
            assert plainly(server.grpc_socket_target) == [2.5]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("file", "is there already and is no socket. Remove it, or choose another path"),
        ("no directory/grpc", "there is no directory .*/no directory to make the socket in"),
        ("file/grpc", "there is no directory .*/file to make the socket in"),
        ("x" * 100, "a socket's path has 107 bytes at most, not [0-9]+"),
    ],
)
def test_paths_that_cannot_be_a_socket(path: str, tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises((PortTakenError, ServingError), match=f"--grpc_socket_path={tmp_path}/{name}.*{message}"):
        tfs_notebook.serve(path, grpc_socket_path=str(tmp_path / name), **ANY)


def test_a_change_to_a_socket_that_cannot_be_had_changes_nothing(path: str, tls: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with tfs_notebook.serve(path, grpc_socket_path=str(tmp_path / "grpc"), **ANY) as server:
        before = server.options, server.rest_url, server.grpc_target, server.grpc_socket_target
        given = {"grpc_socket_path": str(tmp_path / "file"), "ssl_config_file": tls}
        with pytest.raises(PortTakenError, match="is there already and is no socket"):
            start.change(server, path, "", given)
        assert (server.options, server.rest_url, server.grpc_target, server.grpc_socket_target) == before
        assert plainly(server.grpc_target) == plainly(server.grpc_socket_target) == [2.5]


# Arguments


def test_channel_arguments(path: str) -> None:
    arguments = "grpc.max_receive_message_length=20,grpc.primary_user_agent=x"
    with tfs_notebook.serve(path, grpc_channel_arguments=arguments, **ANY) as server:
        target = server.grpc_target
        assert refused(plainly, target) == grpc.StatusCode.RESOURCE_EXHAUSTED
        start.change(server, path, "", {"grpc_channel_arguments": ""})
        assert (server.grpc_target, plainly(target)) == (target, [2.5])


def test_channel_arguments_that_are_none(path: str) -> None:
    with pytest.raises(ServingError, match="--grpc_channel_arguments=a=1,b: 'b' is no key=value"):
        tfs_notebook.serve(path, grpc_channel_arguments="a=1,b", **ANY)
