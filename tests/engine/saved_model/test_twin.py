"""The second session of small versions: only where it helps, only so many, and gone with its version."""

from __future__ import annotations

import os
import shutil
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.support.serving import until
from tfs_notebook.engine.saved_model import loader, twin
from tfs_notebook.engine.saved_model.graph_loader import load_into
from tfs_notebook.engine.saved_model.loader import SessionOptions, load_saved_model

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Models
    from tfs_notebook.engine.saved_model.servable import SavedModel

pytestmark = pytest.mark.skipif(os.cpu_count() == 1, reason="an operation has one thread anyway")


@pytest.fixture
def sessions(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The sessions into which something was loaded, in their order; a twin comes early, however short the calls are."""
    found: list[Any] = []

    def load(session: Any, *arguments: Any) -> Any:
        meta_graph = load_into(session, *arguments)
        found.append(session)
        return meta_graph

    monkeypatch.setattr(loader, "load_into", load)
    monkeypatch.setattr(twin, "LEAST_SECONDS", 0.0)
    monkeypatch.setattr(twin, "CALLS_BEFORE", 32)
    return found


@pytest.fixture
def places(monkeypatch: pytest.MonkeyPatch) -> threading.BoundedSemaphore:
    """Places for two twins."""
    places = threading.BoundedSemaphore(2)
    monkeypatch.setattr(twin, "_places", places)
    return places


def ask(servable: SavedModel, images: int = 1) -> np.ndarray:
    (signature,) = (s for s in servable.signatures.values() if s.name == "serving_default")
    (name,) = signature.inputs
    shape = [images if size is None else size for size in signature.inputs[name].shape or ()]
    (output,) = servable.run(signature, {name: np.ones(shape, np.float32)}, None, None).values()
    return output


def often(servable: SavedModel, images: int = 1) -> None:
    """Ask as often as it takes to begin with a twin."""
    for _ in range(4 * twin.CALLS_BEFORE):
        ask(servable, images)


def is_closed(session: Any) -> bool:
    try:
        session.run([])
    except RuntimeError as error:
        return "closed" in str(error)
    except Exception:  # an open one has no use for an empty run
        return False
    return False


def elsewhere(servable: SavedModel, images: int, calls: int) -> float:
    """How much of the processor's time other threads than the caller's take."""
    here, everywhere = time.thread_time(), time.process_time()
    for _ in range(calls):
        ask(servable, images)
    here, everywhere = time.thread_time() - here, time.process_time() - everywhere
    return (everywhere - here) / everywhere


@pytest.fixture
def asked(models: Models, sessions: list[Any]) -> Iterator[SavedModel]:
    """A small CNN that has been asked until it has its twin."""
    servable = load_saved_model(models.path("cnn") / "1")
    assert len(sessions) == 1
    often(servable)
    until(lambda: len(sessions) == 2)
    until(lambda: not any(thread.name == "tfs-twin-session" for thread in threading.enumerate()))
    yield servable
    servable.close()


def test_short_calls_have_one_thread_and_long_ones_all(asked: SavedModel) -> None:
    assert elsewhere(asked, 1, calls=50) < 0.1
    assert elsewhere(asked, 2048, calls=2) > 0.2


def test_both_sessions_answer_alike(models: Models, asked: SavedModel) -> None:
    other = load_saved_model(models.path("cnn") / "1", SessionOptions(intra_op_threads=2))
    np.testing.assert_allclose(ask(asked), ask(other), rtol=1e-5)
    other.close()


def test_a_version_that_is_seldom_asked_is_loaded_once(models: Models, sessions: list[Any]) -> None:
    servable = load_saved_model(models.path("cnn") / "1")
    for _ in range(twin.CALLS_BEFORE // 2):
        ask(servable)
    assert len(sessions) == 1
    servable.close()


def test_a_number_of_threads_that_somebody_asked_for_stays(models: Models, sessions: list[Any]) -> None:
    servable = load_saved_model(models.path("cnn") / "1", SessionOptions(intra_op_threads=2))
    often(servable)
    servable.close()
    assert len(sessions) == 1


def test_calls_that_are_over_at_once_need_none(
    models: Models, sessions: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(twin, "LEAST_SECONDS", 10.0)
    servable = load_saved_model(models.path("half_plus_two") / "1")
    often(servable)
    servable.close()
    assert len(sessions) == 1


def test_large_versions_have_none(models: Models, sessions: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader, "MAX_BYTES", 1)
    servable = load_saved_model(models.path("cnn") / "1")
    often(servable)
    servable.close()
    assert len(sessions) == 1


def test_only_so_many_have_one_at_a_time_and_a_place_is_free_again(
    models: Models, sessions: list[Any], places: threading.BoundedSemaphore
) -> None:
    loaded = [load_saved_model(models.path("cnn") / "1") for _ in range(4)]
    for servable in loaded:
        often(servable)
    until(lambda: len(sessions) == 6)
    loaded.pop(0).close()
    often(loaded[-1])
    until(lambda: len(sessions) == 7)
    for servable in loaded:
        servable.close()
    until(lambda: all(map(is_closed, sessions)))
    assert [places.acquire(blocking=False) for _ in range(3)] == [True, True, False]


def test_a_version_that_changed_meanwhile_goes_on_without(
    models: Models, sessions: list[Any], places: threading.BoundedSemaphore, tmp_path: Path
) -> None:
    version = tmp_path / "1"
    shutil.copytree(models.path("cnn") / "1", version)
    servable = load_saved_model(version)
    (version / "saved_model.pb").touch()
    often(servable)
    until(lambda: len(sessions) == 2 and is_closed(sessions[1]))
    assert ask(servable).shape == (1, 10)
    servable.close()
    until(lambda: places._value == 2)


def test_a_version_that_is_gone_goes_on_without(
    models: Models, sessions: list[Any], places: threading.BoundedSemaphore, tmp_path: Path
) -> None:
    version = tmp_path / "1"
    shutil.copytree(models.path("cnn") / "1", version)
    servable = load_saved_model(version)
    shutil.rmtree(version)
    often(servable)
    until(lambda: places._value == 2)
    assert ask(servable).shape == (1, 10)
    servable.close()


def test_calls_that_come_while_its_thread_starts_begin_no_second_one(
    models: Models, sessions: list[Any], places: threading.BoundedSemaphore, monkeypatch: pytest.MonkeyPatch
) -> None:
    servable = load_saved_model(models.path("cnn") / "1")
    run_on_daemon_thread = twin.run_on_daemon_thread
    starts: list[str] = []

    def start_late(work: Any, name: str) -> Any:
        starts.append(name)
        often(servable)
        return run_on_daemon_thread(work, name)

    monkeypatch.setattr(twin, "run_on_daemon_thread", start_late)
    often(servable)
    until(lambda: len(sessions) >= 2)
    assert len(starts) == 1
    assert places._value == 1
    servable.close()
    until(lambda: places._value == 2)


def test_unloading_while_the_twin_is_made_closes_it(
    models: Models, sessions: list[Any], places: threading.BoundedSemaphore, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_go_on, begun = threading.Event(), threading.Event()
    load = loader.load_into

    def wait(*arguments: Any) -> Any:
        if sessions:
            begun.set()
            may_go_on.wait()
        return load(*arguments)

    monkeypatch.setattr(loader, "load_into", wait)
    servable = load_saved_model(models.path("cnn") / "1")
    often(servable)
    begun.wait()
    servable.close()
    may_go_on.set()
    until(lambda: len(sessions) == 2 and is_closed(sessions[1]))
    until(lambda: places._value == 2)
