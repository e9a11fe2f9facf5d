"""The files that options name: each is read once, so that what can be read once may be given, too."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

import pytest

import tfs_notebook
from tests.settings.test_grpc import securely
from tests.support.certificates import Authority, ssl_config
from tests.support.serving import ask, config_text
from tfs_notebook.errors import Code, ServingError
from tfs_notebook.options import Options
from tfs_notebook.server import start
from tfs_notebook.settings import deployment
from tfs_notebook.settings.files import FILE_OPTIONS, option_file, with_files

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Models

AUTHORITY = Authority()
KEY, CERTIFICATE = AUTHORITY.issue("server")
ANY: dict[str, Any] = {"rest_api_port": 0, "port": 0}


@pytest.fixture
def piped(tmp_path: Path) -> Callable[[str, str], str]:
    """A function that makes a pipe of that name, from which a text can be read once, and returns its path."""

    def make(name: str, text: str) -> str:
        pipe = tmp_path / name
        os.mkfifo(pipe)
        threading.Thread(target=pipe.write_text, args=[text], daemon=True).start()
        return str(pipe)

    return make


def test_a_server_whose_files_can_all_be_read_once_and_a_change_of_it(
    piped: Callable[[str, str], str], models: Models, tmp_path: Path
) -> None:
    config = config_text({"half": models.path("half_plus_two")})
    files = {
        "model_config_file": piped("models", config),
        "ssl_config_file": piped("ssl", open_text(tmp_path, server_key=KEY, server_cert=CERTIFICATE)),
        "monitoring_config_file": piped("monitoring", "prometheus_config { enable: true }"),
        "batching_parameters_file": piped("batching", "max_batch_size { value: 7 }"),
        "tensorflow_session_config_file": piped("session", "allow_soft_placement: true"),
    }
    with tfs_notebook.serve(**files, enable_batching=True, **ANY) as server:
        assert ask(server, "GET", "/monitoring/prometheus/metrics").status == 200
        assert ask(server, "POST", "/v1/models/half:predict", {"instances": [1.0]}).json == {"predictions": [2.5]}
        start.change(server, "", config.replace("'half'", "'model'"), {})  # TLS stays, as all that tells where
        assert securely(server.grpc_target, AUTHORITY) == [2.5]


def open_text(directory: Path, **fields: str) -> str:
    file = directory / "text"
    ssl_config(file, **fields)
    return file.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", FILE_OPTIONS)
def test_a_file_is_read_once_and_read_anew_for_the_next_deployment(name: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("one")
    options = Options(**{name: str(file)})
    read = with_files(options)
    file.write_text("two")
    assert [found.text for found in map(option_file, [read, options], [name, name]) if found] == ["one", "two"]
    assert [item.text for item in with_files(options, kept=read.files).files] == ["two"]


@pytest.mark.parametrize("name", FILE_OPTIONS)
@pytest.mark.parametrize(
    ("content", "reason"), [(None, "No such file or directory"), (b"\xff", "it is not UTF-8 text")]
)
def test_a_file_that_cannot_be_read(name: str, content: bytes | None, reason: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ServingError) as caught:
        with_files(Options(**{name: str(file)}))
    assert (caught.value.code, caught.value.message) == (Code.NOT_FOUND, f"{file}; {reason}")
    assert caught.value.hint.startswith(f"--{name} names a")


def test_a_file_of_another_name(tmp_path: Path) -> None:
    (tmp_path / "ssl.config").touch()
    with pytest.raises(ServingError) as caught:
        with_files(Options(ssl_config_file=str(tmp_path / "ssl.cfg")))
    assert caught.value.hint.endswith(f"Did you mean {tmp_path}/ssl.config? {tmp_path} exists and holds ssl.config")


def test_keys_are_not_shown(tmp_path: Path) -> None:
    file = ssl_config(tmp_path / "ssl", server_key=KEY, server_cert=CERTIFICATE)
    assert "PRIVATE" not in repr(with_files(Options(ssl_config_file=file)))


def test_a_config_file_to_look_at_again_that_can_be_read_once(tmp_path: Path) -> None:
    pipe = str(tmp_path / "models")
    os.mkfifo(pipe)
    message = (
        f"--model_config_file={pipe} is no file that can be read again, as --model_config_file_poll_wait_seconds=3 asks"
    )
    with pytest.raises(ServingError, match=message):
        deployment.deployment(Options(model_config_file=pipe, model_config_file_poll_wait_seconds=3))
