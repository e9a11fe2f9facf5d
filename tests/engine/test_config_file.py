# ruff: noqa: ASYNC240 — nothing else runs on a test's loop that its files could hold up
from __future__ import annotations

import asyncio
import contextlib
import os
import re
import threading
from typing import TYPE_CHECKING

import pytest

from tests.engine.parts import Recorder, until
from tfs_notebook.engine import config_file
from tfs_notebook.engine.config_file import ConfigFile
from tfs_notebook.engine.events import EventStream, Kind
from tfs_notebook.errors import Code, ServingError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig


def naming(*names: str) -> str:
    entries = " ".join(f"config {{ name: '{name}' base_path: '/m' model_platform: 'tensorflow' }}" for name in names)
    return f"model_config_list {{ {entries} }}"


def names(config: ModelServerConfig | None) -> list[str] | None:
    return None if config is None else [model.name for model in config.model_config_list.config]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "models.config"
    path.write_text(naming("a"))
    return path


def test_it_is_read_again_only_when_its_content_changed(path: Path) -> None:
    file = ConfigFile(str(path))
    assert names(file.read()) == ["a"]
    assert file.read_if_changed() is None
    path.write_text(naming("a"))  # touched
    assert file.read_if_changed() is None
    path.write_text(naming("a", "b"))
    assert names(file.read_if_changed()) == ["a", "b"]
    assert file.read_if_changed() is None
    assert names(file.read()) == ["a", "b"]


def test_a_bad_content_is_told_until_a_good_one_is_read(path: Path) -> None:
    file = ConfigFile(str(path))
    file.read()
    path.write_text("model_config_list {\n  oops: 1 }")
    for _ in range(2):
        with pytest.raises(ServingError, match="2:3") as error:
            file.read_if_changed()
        assert error.value.where == f"{path}:2:3"
    path.write_text(naming("a"))
    assert names(file.read_if_changed()) == ["a"]


def test_names_are_utf_8_whatever_the_locale(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "C")
    path.write_bytes(naming("größe").encode())
    assert names(ConfigFile(str(path)).read()) == ["größe"]


def test_what_is_no_utf_8(path: Path) -> None:
    path.write_bytes("# Modelle\nname: 'größe'".encode("latin-1"))
    with pytest.raises(ServingError) as error:
        ConfigFile(str(path)).read()
    told = f"Invalid protobuf file: '{path}' (line 2 is not UTF-8 text)"
    assert (error.value.code, error.value.message) == (Code.INVALID_ARGUMENT, told)


@pytest.mark.parametrize("kind", ["missing", "directory"])
def test_what_cannot_be_read(path: Path, kind: str) -> None:
    path.unlink()
    if kind == "directory":
        path.mkdir()
    reason = {"missing": "No such file or directory", "directory": "Is a directory"}
    with pytest.raises(ServingError) as error:
        ConfigFile(str(path)).read()
    assert (error.value.code, error.value.message) == (Code.NOT_FOUND, f"{path}; {reason[kind]}")


def put(path: Path, text: str) -> None:
    """Give `path` a content in one step, as an editor does."""
    path.with_suffix(".new").write_text(text)
    path.with_suffix(".new").replace(path)


class CountingFile(ConfigFile):
    """Counts how often it was looked at."""

    looks = 0

    def read_if_changed(self) -> ModelServerConfig | None:
        try:
            return super().read_if_changed()
        finally:
            self.looks += 1


class Watched:
    """A file that is watched, and the configurations that were applied."""

    def __init__(self, path: Path, events: EventStream) -> None:
        self.applied: list[list[str] | None] = []
        self.refuse: Exception | None = None
        self._file, self._events = CountingFile(str(path)), events

    async def apply(self, config: ModelServerConfig) -> None:
        self.applied.append(names(config))
        if self.refuse is not None:
            raise self.refuse

    async def looked(self) -> None:
        """Return when it was looked at a few times more."""
        seen = self._file.looks
        await until(lambda: self._file.looks > seen + 3)

    @contextlib.asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        self._file.read()
        task = asyncio.get_running_loop().create_task(self._file.watch(0.005, self.apply, self._events))
        yield
        assert not task.done()
        task.cancel()
        await asyncio.wait([task])


async def test_a_change_is_applied_and_only_a_change(path: Path, events: EventStream) -> None:
    watched = Watched(path, events)
    async with watched.watching():
        path.touch()
        await watched.looked()
        assert watched.applied == []
        put(path, naming("b"))
        await until(lambda: watched.applied)
        put(path, naming("c"))
        await until(lambda: watched.applied[-1] == ["c"])
        await watched.looked()
    assert watched.applied == [["b"], ["c"]]


async def test_what_cannot_be_read_is_told_once_and_what_follows_is_applied(
    path: Path, events: EventStream, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    def told() -> list[str]:
        return [event.error.message for event in recorder.of(Kind.CONFIG) if event.error is not None]

    watched, away = Watched(path, events), path.with_suffix(".away")
    async with watched.watching():
        for _ in range(2):  # it disappears twice: that is told twice, however many looks find it missing
            path.rename(away)
            await watched.looked()
            away.rename(path)
            await watched.looked()
        assert told() == [f"{path}; No such file or directory"] * 2
        put(path, "oops")
        await watched.looked()
        put(path, naming("b"))
        await until(lambda: watched.applied)
    assert watched.applied == [["b"]]
    assert len(told()) == 3
    assert caplog.text.count("Failed to read ModelServerConfig file") == 3


async def test_a_broken_text_stays_broken_until_it_is_mended(
    path: Path, events: EventStream, recorder: Recorder
) -> None:
    watched = Watched(path, events)
    async with watched.watching():
        put(path, "oops")
        await watched.looked()
        assert [event.error is not None for event in recorder.of(Kind.CONFIG)] == [True]
        put(path, naming("a"))
        await until(lambda: watched.applied == [["a"]])
        assert [event.error is not None for event in recorder.of(Kind.CONFIG)] == [True, False]


async def test_a_refused_configuration_that_comes_back_is_refused_again(path: Path, events: EventStream) -> None:
    watched, away = Watched(path, events), path.with_suffix(".away")
    watched.refuse = ServingError(Code.INVALID_ARGUMENT, "not like this")
    async with watched.watching():
        put(path, naming("b"))
        await until(lambda: watched.applied)
        path.rename(away)
        await watched.looked()
        away.rename(path)
        await until(lambda: watched.applied == [["b"], ["b"]])


async def test_a_change_is_applied_though_the_one_before_still_waits(path: Path, events: EventStream) -> None:
    applied, cancelled = [], []

    async def apply(config: ModelServerConfig) -> None:
        applied.append(names(config))
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(names(config))
            raise

    file = ConfigFile(str(path))
    file.read()
    task = asyncio.get_running_loop().create_task(file.watch(0.005, apply, events))
    put(path, naming("b"))
    await until(lambda: applied == [["b"]])
    put(path, naming("c"))
    await until(lambda: applied == [["b"], ["c"]])
    task.cancel()
    await asyncio.wait([task])
    await until(lambda: cancelled == [["b"], ["c"]])


async def test_a_fault_in_applying_is_not_the_end_of_watching(
    path: Path, events: EventStream, caplog: pytest.LogCaptureFixture
) -> None:
    watched = Watched(path, events)
    watched.refuse = RuntimeError("unheard of")
    async with watched.watching():
        put(path, naming("b"))
        await until(lambda: "unheard of" in caplog.text)
        watched.refuse = None
        put(path, naming("c"))
        await until(lambda: watched.applied[-1] == ["c"])


async def test_a_refused_configuration_is_logged_and_the_next_one_is_applied(
    path: Path, events: EventStream, caplog: pytest.LogCaptureFixture
) -> None:
    watched = Watched(path, events)
    watched.refuse = ServingError(Code.INVALID_ARGUMENT, "not like this")
    async with watched.watching():
        put(path, naming("b"))
        await until(lambda: "PollFilesystemAndReloadConfig failed to ReloadConfig" in caplog.text)
        watched.refuse = None
        put(path, naming("c"))
        await until(lambda: watched.applied[-1] == ["c"])
    assert "INVALID_ARGUMENT: not like this" in caplog.text
    assert watched.applied == [["b"], ["c"]]


# A file that does not answer: a pipe that nobody writes to is like one on a network file system that is gone


@pytest.fixture
def hanging(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Path]]:
    """Makes the file one whose reading hangs until somebody writes to the path that it returns."""
    monkeypatch.setattr(config_file, "PATIENCE_SECONDS", 0.05)
    pipe, other_name = path.with_suffix(".pipe"), path.with_suffix(".other")

    def hang() -> Path:
        os.mkfifo(pipe)
        os.link(pipe, other_name)
        pipe.replace(path)
        return other_name

    yield hang
    with contextlib.suppress(OSError):  # nobody reads
        os.close(os.open(other_name, os.O_WRONLY | os.O_NONBLOCK))


def silences(recorder: Recorder, path: Path) -> list[float]:
    """For how long, in seconds, the file was told not to have answered."""
    told = [event.error for event in recorder.of(Kind.CONFIG) if event.error is not None]
    matches = [re.fullmatch(rf"{re.escape(str(path))} has not answered for ([\d.]+) s", one.message) for one in told]
    return [float(match[1]) for match in matches if match is not None]


async def test_a_file_that_does_not_answer_is_told_ever_more_rarely_until_it_does(
    path: Path, events: EventStream, recorder: Recorder, hanging: Callable[[], Path]
) -> None:
    watched = Watched(path, events)
    async with watched.watching():
        answer = hanging()
        await until(lambda: len(silences(recorder, path)) >= 3)
        assert silences(recorder, path)[:3] == [0.05, 0.1, 0.2]
        error = recorder.of(Kind.CONFIG)[0].error
        assert error is not None
        assert (error.code, "within reach" in error.hint) == (Code.UNAVAILABLE, True)
        assert [thread.name for thread in threading.enumerate()].count("tfs-config-file") == 1
        put(path, naming("b"))
        answer.write_text(naming("b"))
        await until(lambda: watched.applied == [["b"]])
        assert recorder.of(Kind.CONFIG)[-1].error is None  # all is well again
        put(path, naming("c"))
        await until(lambda: watched.applied == [["b"], ["c"]])


async def test_watching_a_file_that_does_not_answer_ends_at_once_and_the_default_executor_is_free(
    path: Path, events: EventStream, recorder: Recorder, hanging: Callable[[], Path]
) -> None:
    watched = Watched(path, events)
    async with watched.watching():
        hanging()
        await until(lambda: silences(recorder, path))
    await asyncio.get_running_loop().shutdown_default_executor()
    (reader,) = (thread for thread in threading.enumerate() if thread.name == "tfs-config-file")
    assert reader.daemon  # the process does not wait for it either


async def test_without_a_period_it_is_looked_at_when_asked(path: Path) -> None:
    file, applied = ConfigFile(str(path)), list[list[str] | None]()
    file.read()

    async def apply(config: ModelServerConfig) -> None:
        await asyncio.sleep(0)
        applied.append(names(config))

    watching = asyncio.ensure_future(file.watch(0, apply, EventStream()))
    try:
        await file.look_now()
        assert applied == []
        path.write_text(naming("b"))
        await asyncio.gather(file.look_now(), file.look_now())
        assert applied == [["b"]]
        path.write_text("oops")
        await file.look_now()
        path.write_text(naming("c"))
        await file.look_now()
        assert applied == [["b"], ["c"]]
    finally:
        watching.cancel()


async def test_who_asked_for_a_look_does_not_wait_for_ever(path: Path) -> None:
    file = ConfigFile(str(path))
    watching = asyncio.ensure_future(file.watch(0, lambda _: asyncio.sleep(3600), EventStream()))
    asking = asyncio.ensure_future(file.look_now())
    await until(lambda: file._content is not None)
    assert not asking.done()
    watching.cancel()
    await asking
