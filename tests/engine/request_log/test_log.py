"""The request log without a server: what is picked, what waits, what is written, and what a broken disk does to it."""

from __future__ import annotations

import resource
import threading
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
import tensorflow as tf

from tests.support.serving import PATIENCE, until
from tests.support.threads import no_more_threads
from tfs_notebook.engine.request_log.config import LoggingConfig
from tfs_notebook.engine.request_log.log import RequestLog, log_counter
from tfs_notebook.errors import Code, ServingError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SECONDS = PATIENCE


class Told:
    """What was told of models: a problem each, or that there is none any more."""

    def __init__(self) -> None:
        self.of: list[tuple[str, ServingError | None]] = []

    def __call__(self, model: str, problem: ServingError | None) -> None:
        self.of.append((model, problem))


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def make_log(told: Told) -> Iterator[Callable[..., RequestLog]]:
    made: list[RequestLog] = []

    def make(**options: Any) -> RequestLog:
        made.append(RequestLog(told, **options))
        return made[-1]

    yield make
    for log in made:
        log.close(SECONDS)


def to(directory: Path, rate: float = 1.0) -> dict[str, LoggingConfig]:
    """The logging of a model `m` to `directory`."""
    return {"m": LoggingConfig(f"{directory}/", rate)}


def records(directory: Path, name: str = "*") -> list[bytes]:
    """All records in `directory`, in order, as TensorFlow reads them."""
    paths = sorted(map(str, directory.glob(f"{name}.tfrecord")))
    return [record.numpy() for record in tf.data.TFRecordDataset(paths)] if paths else []


class Gate:
    """A record that is made only once it may be; `begun` tells that the writer waits for it."""

    def __init__(self) -> None:
        self.begun, self.open = threading.Event(), threading.Event()

    def __call__(self) -> bytes:
        self.begun.set()
        assert self.open.wait(SECONDS)
        return b"gate"


# What is picked


@pytest.mark.parametrize(("rate", "least", "most"), [(1.0, 1000, 1000), (0.5, 400, 600), (1e-9, 0, 1)])
def test_each_request_is_picked_with_the_probability_of_the_rate(
    make_log: Callable[..., RequestLog], tmp_path: Path, rate: float, least: int, most: int
) -> None:
    log = make_log(random=Random(7)).update(to(tmp_path, rate))["m"]
    assert least <= sum(log.picks() for _ in range(1000)) <= most


def test_a_rate_of_0_costs_nothing(make_log: Callable[..., RequestLog], tmp_path: Path) -> None:
    before = set(threading.enumerate())
    assert make_log().update(to(tmp_path / "logs", 0.0)) == {}
    assert set(threading.enumerate()) <= before
    assert not (tmp_path / "logs").exists()


# What is written


def test_everything_accepted_is_written_before_it_closes(make_log: Callable[..., RequestLog], tmp_path: Path) -> None:
    log = make_log()
    model, gate = log.update(to(tmp_path))["m"], Gate()
    model.submit(gate, 4)
    for number in range(500):
        model.submit(str(number).encode, 3)
    closing = threading.Thread(target=log.close, args=(SECONDS,))
    closing.start()
    gate.open.set()
    closing.join()
    assert records(tmp_path) == [b"gate", *(str(number).encode() for number in range(500))]


def test_it_can_be_read_at_once(make_log: Callable[..., RequestLog], tmp_path: Path) -> None:
    model = make_log().update(to(tmp_path))["m"]
    for number in (1, 2, 3):
        model.submit(lambda: b"record", 6)
        until(lambda number=number: len(records(tmp_path)) == number)


def test_files_are_as_large_as_asked(make_log: Callable[..., RequestLog], tmp_path: Path) -> None:
    log = make_log(max_file_bytes=300)
    model = log.update(to(tmp_path))["m"]
    for _ in range(7):
        model.submit(lambda: b"x" * 84, 84)
    log.close(SECONDS)
    sizes = [path.stat().st_size for path in sorted(tmp_path.iterdir())]
    assert sizes == [300, 300, 100]


def test_every_model_has_files_of_its_own(make_log: Callable[..., RequestLog], tmp_path: Path) -> None:
    config = LoggingConfig(f"{tmp_path}/", 1.0)
    log = make_log()
    for name, model in log.update({"a": config, "b": config}).items():
        model.submit(name.encode, 1)
    log.close(SECONDS)
    assert (records(tmp_path, "a-*"), records(tmp_path, "b-*")) == ([b"a"], [b"b"])


def test_a_record_that_cannot_be_made_stops_no_other(
    make_log: Callable[..., RequestLog], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = make_log()
    model = log.update(to(tmp_path))["m"]
    model.submit(lambda: bytes(1 // 0), 1)
    model.submit(lambda: b"after", 5)
    log.close(SECONDS)
    assert records(tmp_path) == [b"after"]
    assert "a request to model m cannot be written down" in caplog.messages


# What waits


def test_what_finds_no_room_is_left_out_and_told_once(
    make_log: Callable[..., RequestLog], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    logged = log_counter()
    log = make_log(max_waiting=3, logged=logged)
    model, gate = log.update(to(tmp_path))["m"], Gate()
    model.submit(gate, 4)
    assert gate.begun.wait(SECONDS)
    for number in range(10):
        model.submit(str(number).encode, 1)
    assert model.left_out == 7
    gate.open.set()
    log.close(SECONDS)
    assert records(tmp_path) == [b"gate", b"0", b"1", b"2"]
    assert logged.counts() == {("m", "OK"): 4, ("m", "RESOURCE_EXHAUSTED"): 7}
    assert caplog.messages == [
        "Too many requests to model m to write all of them down: some are left out",
        "7 requests to model m were picked but not written down",
    ]


def test_what_waits_is_bounded_in_bytes_but_any_single_record_has_room(
    make_log: Callable[..., RequestLog], tmp_path: Path
) -> None:
    log = make_log(max_waiting_bytes=100)
    model, gate = log.update(to(tmp_path))["m"], Gate()
    model.submit(gate, 4)
    assert gate.begun.wait(SECONDS)
    model.submit(lambda: b"large", 1000)
    model.submit(lambda: b"no room", 1)
    gate.open.set()
    until(lambda: len(records(tmp_path)) == 2)
    model.submit(lambda: b"room again", 1)
    log.close(SECONDS)
    assert records(tmp_path) == [b"gate", b"large", b"room again"]


# Changes


def test_another_rate_goes_on_in_the_same_file(make_log: Callable[..., RequestLog], tmp_path: Path) -> None:
    log = make_log()
    log.update(to(tmp_path))["m"].submit(lambda: b"one", 3)
    model = log.update(to(tmp_path, 0.5))["m"]
    assert model.config.sampling_rate == 0.5
    model.submit(lambda: b"two", 3)
    log.close(SECONDS)
    assert len(list(tmp_path.iterdir())) == 1
    assert records(tmp_path) == [b"one", b"two"]


def test_another_prefix_begins_another_file(make_log: Callable[..., RequestLog], tmp_path: Path) -> None:
    log = make_log()
    before = log.update(to(tmp_path / "a"))["m"]
    before.submit(lambda: b"one", 3)
    after = log.update(to(tmp_path / "b"))["m"]
    before.submit(lambda: b"too late", 8)
    after.submit(lambda: b"two", 3)
    log.close(SECONDS)
    assert (records(tmp_path / "a"), records(tmp_path / "b")) == ([b"one"], [b"two"])
    assert before.left_out == 0


def test_what_is_not_configured_any_more_is_written_and_ends(
    make_log: Callable[..., RequestLog], tmp_path: Path
) -> None:
    log = make_log()
    model = log.update(to(tmp_path))["m"]
    model.submit(lambda: b"one", 3)
    assert log.update({}) == {}
    model.submit(lambda: b"too late", 8)
    until(lambda: records(tmp_path) == [b"one"])
    log.close(SECONDS)
    assert records(tmp_path) == [b"one"]


def test_a_closed_log_takes_nothing(make_log: Callable[..., RequestLog], tmp_path: Path) -> None:
    log = make_log()
    model = log.update(to(tmp_path))["m"]
    log.close(SECONDS)
    model.submit(lambda: b"too late", 8)
    assert log.update(to(tmp_path)) == {}
    assert records(tmp_path) == []


# A broken disk


def test_a_directory_that_cannot_be_is_told_before_the_first_request(
    make_log: Callable[..., RequestLog], tmp_path: Path, told: Told
) -> None:
    (tmp_path / "file").touch()
    log = make_log()
    log.update(to(tmp_path / "file"))
    until(lambda: told.of)
    ((model, problem),) = told.of
    assert problem is not None
    assert model == "m"
    assert problem.code is Code.UNAVAILABLE
    assert problem.message.startswith(f"The requests to model m are not logged to {tmp_path}/file/: ")
    assert "filename_prefix" in problem.hint
    assert log.problems == (problem,)


def test_a_disk_that_breaks_is_told_once_and_logging_goes_on_when_it_is_well(
    make_log: Callable[..., RequestLog], tmp_path: Path, told: Told, caplog: pytest.LogCaptureFixture
) -> None:
    directory, away = tmp_path / "logs", tmp_path / "away"
    log = make_log()
    model = log.update(to(directory))["m"]
    model.submit(lambda: b"one", 3)
    until(lambda: directory.exists() and records(directory) == [b"one"])
    directory.rename(away)
    directory.touch()
    for _ in range(3):
        model.submit(lambda: b"lost", 4)
    until(lambda: told.of)
    directory.unlink()
    directory.mkdir()
    until(lambda: model.submit(lambda: b"two", 3) or told.of[-1] == ("m", None))
    assert [model for model, _ in told.of] == ["m", "m"]
    assert log.problems == ()
    log.close(SECONDS)
    assert records(away) == [b"one"]
    assert set(records(directory)) <= {b"lost", b"two"}
    assert len([message for message in caplog.messages if "not logged" in message]) == 1
    assert "The requests to model m are logged again; those before are lost" in caplog.messages


def test_a_full_disk_is_told_and_what_comes_after_has_a_file_of_its_own(
    make_log: Callable[..., RequestLog], tmp_path: Path, told: Told
) -> None:
    log = make_log()
    model = log.update(to(tmp_path))["m"]
    least, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, most))
    try:
        model.submit(lambda: bytes(20_000), 20_000)
        until(lambda: told.of)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (least, most))
    (problem,) = log.problems
    assert problem.message.startswith(f"The requests to model m are not logged to {tmp_path}/: ")
    model.submit(lambda: b"after", 5)
    log.close(SECONDS)
    assert log.problems == ()
    cut, after = sorted(tmp_path.iterdir())
    assert cut.stat().st_size <= 10_000
    assert [record.numpy() for record in tf.data.TFRecordDataset(str(after))] == [b"after"]


def test_a_problem_goes_with_its_configuration(
    make_log: Callable[..., RequestLog], tmp_path: Path, told: Told, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    log = make_log()
    log.update(to(tmp_path / "file"))
    until(lambda: told.of)
    log.update(to(tmp_path / "logs"))
    assert log.problems == ()
    log.close(SECONDS)
    assert len(told.of) == 1
    assert not any("again" in message for message in caplog.messages)


def test_a_disk_that_hangs_holds_up_the_end_no_longer_than_asked(
    make_log: Callable[..., RequestLog], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log, gate = make_log(), Gate()
    log.update(to(tmp_path))["m"].submit(gate, 4)
    assert gate.begun.wait(SECONDS)
    log.close(0.05)
    assert caplog.messages == ["The disk did not take the last requests to be logged within 0.05 s"]
    gate.open.set()


@pytest.mark.parametrize("again", [True, False], ids=["a thread later", "closed without one"])
def test_what_is_picked_while_no_thread_can_be_started_is_written_later(
    make_log: Callable[..., RequestLog], told: Told, tmp_path: Path, again: bool
) -> None:
    log = make_log()
    with no_more_threads():
        model = log.update(to(tmp_path))["m"]
        model.submit(lambda: b"kept", 4)
    assert "No thread can be started" in str(log.problems[0])
    if again:
        log.update(to(tmp_path))
        until(lambda: records(tmp_path) == [b"kept"])
        until(lambda: log.problems == ())
    else:
        log.close(SECONDS)
        assert records(tmp_path) == [b"kept"]
