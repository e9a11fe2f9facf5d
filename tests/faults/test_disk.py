"""Whatever happens to directories of versions and to the config file: what serves goes on, and the fault is told."""

from __future__ import annotations

import shutil
import threading
from typing import TYPE_CHECKING, Any

import pytest

import tfs_notebook
from tests.faults.parts import ANY, assert_answers
from tests.server.test_nothing_lost import CONSTANTS, under_load
from tests.support import saved_models
from tests.support.serving import ask, config_text, until
from tfs_notebook.settings import deployment

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Models
    from tfs_notebook.server.server import Server


@pytest.fixture
def put(tmp_path: Path) -> Callable[[int], Path]:
    """Puts a version of the model at tmp_path/m by a rename, also in the place of an empty directory."""

    def put(version: int) -> Path:
        scale, offset = CONSTANTS[version]
        exported = saved_models.half_plus_two(tmp_path / f"exporting-{version}", scale=scale, offset=offset)
        (tmp_path / "m").mkdir(exist_ok=True)
        return exported.rename(tmp_path / "m" / str(version))

    return put


def the_model(server: Server) -> Any:
    (model,) = server.status().models
    return model


def told(server: Server, text: str) -> None:
    """Wait until one of the server's problems says `text`."""
    until(lambda: any(text in problem.told for problem in server.problems), f"{text!r} is not in {server.problems}")


# Version directories


def test_versions_are_created_emptied_renamed_and_replaced(put: Callable[[int], Path], tmp_path: Path) -> None:
    put(1)
    second = tmp_path / "m" / "2"
    aside = tmp_path / "m" / "2.aside"
    with (
        tfs_notebook.serve(config=config_text({"m": tmp_path / "m"}), **ANY) as server,
        under_load(server) as load,
    ):
        second.mkdir()
        until(lambda: 2 in the_model(server).waiting)
        load.until_newest(1)

        put(2)
        load.until_newest(2)

        for child in second.iterdir():  # the files of what is in memory already are nobody's business
            shutil.rmtree(child) if child.is_dir() else child.unlink()
        load.until_answered(50)
        assert load.newest(2)

        second.rename(aside)
        load.until_newest(1)
        aside.rename(second)  # empty as it is now
        until(lambda: 2 in the_model(server).waiting)
        load.until_answered(20)
        assert load.newest(1)

        second.rmdir()
        second.write_text("no directory")
        load.until_answered(50)
        assert load.newest(1)

        second.unlink()
        put(2)
        load.until_newest(2)
        until(lambda: server.problems == [])


def states(server: Server) -> dict[str, Any]:
    """What REST tells of each version of `m`."""
    return {state["version"]: state for state in ask(server, "GET", "/v1/models/m").json["model_version_status"]}


def test_a_version_that_is_cut_off_is_told_and_the_one_before_serves(
    put: Callable[[int], Path], tmp_path: Path
) -> None:
    put(1)
    with (
        tfs_notebook.serve(config=config_text({"m": tmp_path / "m"}), load_retry_interval_micros=1000, **ANY) as server,
        under_load(server) as load,
    ):
        saved_models.truncated_pb(saved_models.half_plus_two(tmp_path / "broken")).parent.rename(tmp_path / "m" / "2")
        told(server, str(tmp_path / "m" / "2"))
        load.until_answered(20)
        assert load.newest(1)
        until(lambda: states(server)["2"]["state"] == "END")  # the attempts are used up
        assert states(server)["1"]["state"] == "AVAILABLE"
        assert states(server)["2"]["status"]["error_code"] != "OK"
        assert states(server)["2"]["status"]["error_message"]

        shutil.rmtree(tmp_path / "m" / "2")
        until(lambda: server.problems == [])
        put(2)
        load.until_newest(2)


@pytest.mark.parametrize("kind", ["nowhere", "loop", "file"])
def test_a_base_path_that_breaks(
    put: Callable[[int], Path], tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    put(1)
    base, new = tmp_path / "base", tmp_path / "new"
    base.symlink_to(tmp_path / "m")
    with (
        tfs_notebook.serve(config=config_text({"m": base}), **ANY) as server,
        under_load(server) as load,
    ):
        if kind == "file":
            new.write_text("no directory")
        else:
            new.symlink_to(base if kind == "loop" else tmp_path / "nowhere")
        new.replace(base)
        told(server, str(base))
        until(lambda: any(str(base) in record.getMessage() for record in caplog.records))
        load.until_answered(20)
        assert load.newest(1)

        new.symlink_to(tmp_path / "m")
        new.replace(base)
        until(lambda: server.problems == [])
        put(2)
        load.until_newest(2)


def test_a_thousand_versions_in_a_directory(models: Models, tmp_path: Path) -> None:
    """The newest serves, and when it goes the next one does."""
    base = tmp_path / "m"
    base.mkdir()
    for version in range(1, 1001):
        (base / str(version)).symlink_to(models.path("half_plus_two") / "1")
    with tfs_notebook.serve(config=config_text({"m": base}), **ANY) as server:
        assert list(versions_of(server)) == [1000]
        for version in (1000, 999):
            (base / str(version)).unlink()
            until(lambda version=version: list(versions_of(server)) == [version - 1])
            assert_answers(server, "m")


def versions_of(server: Server) -> Any:
    return server._core.manager.registry.serving["m"]


def test_two_hundred_models_in_one_configuration(models: Models) -> None:
    """While they load, what was served before goes on answering; then each of them does."""
    path = models.path("half_plus_two")
    names = [f"m{number}" for number in range(200)]
    with tfs_notebook.serve(config=config_text({"m0": path}), **ANY) as server:
        config = deployment.parse_config(config_text(dict.fromkeys(names, path)))
        loading = threading.Thread(target=server.reload, args=(config,), kwargs={"timeout": 120})
        loading.start()
        answered = 0
        while loading.is_alive():
            assert_answers(server, "m0")
            answered += 1
        loading.join()
        assert answered > 10
        for name in names:
            assert_answers(server, name)
        assert server.problems == []


# The config file


def test_a_config_file_that_breaks_in_every_way_and_is_mended(put: Callable[[int], Path], tmp_path: Path) -> None:
    put(1)
    file, new = tmp_path / "models.config", tmp_path / "new"

    def write(content: bytes) -> None:
        new.write_bytes(content)
        new.replace(file)

    def link_to(target: Path) -> None:
        new.symlink_to(target)
        new.replace(file)

    good = config_text({"m": tmp_path / "m"}).encode()
    ways: list[tuple[Callable[[], object], str]] = [
        (lambda: write(b"\x00\xff\xfe garbage"), "line 1 is not UTF-8 text"),
        (lambda: write(b"model_config_list { config { name: "), "Error parsing text-format"),
        (lambda: write(good[: len(good) // 2]), "Error parsing text-format"),
        (file.unlink, "No such file or directory"),
        (lambda: link_to(file), "Too many levels of symbolic links"),
        (lambda: link_to(tmp_path), "Is a directory"),
    ]
    write(good)
    options = {"model_config_file": str(file), "model_config_file_poll_wait_seconds": 1, **ANY}
    with tfs_notebook.serve(**options) as server, under_load(server) as load:
        for number, (damage, reason) in enumerate(ways):
            damage()
            told(server, reason)
            load.until_answered(5)
            if number % 2:
                write(good)
                until(lambda: server.problems == [])
        write(b"")  # is nothing to do, as in TensorFlow Serving
        until(lambda: server.problems == [])
        load.until_answered(50)
        put(2)
        load.until_newest(2)

        more = config_text({"m": tmp_path / "m", "n": tmp_path / "m"}).encode()
        write(more)
        until(lambda: ask(server, "GET", "/v1/models/n").status == 200)
        until(lambda: server.problems == [])
