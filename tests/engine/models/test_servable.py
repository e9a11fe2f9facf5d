from __future__ import annotations

import threading
from pathlib import Path

from tests.engine.parts import Part
from tfs_notebook.engine.models.servable import Loaded


def loaded() -> Loaded:
    return Loaded("m", 1, Part(Path("/m/1")))


def test_nobody_uses_it_so_it_is_idle_at_once() -> None:
    idle = []
    loaded().retire(lambda: idle.append("idle"))
    assert idle == ["idle"]


def test_it_is_idle_with_the_last_release_and_only_once() -> None:
    version, idle = loaded(), []
    assert version.try_pin()
    assert version.try_pin()
    version.retire(lambda: idle.append("idle"))
    version.release()
    assert idle == []
    version.release()
    assert idle == ["idle"]


def test_once_retired_it_takes_no_new_request() -> None:
    version = loaded()
    assert version.try_pin()
    version.retire(lambda: None)
    assert not version.try_pin()
    version.release()
    assert not version.try_pin()


def test_requests_that_are_over_leave_no_trace() -> None:
    version, idle = loaded(), []
    for _ in range(3):
        assert version.try_pin()
        version.release()
    assert version.try_pin()
    version.retire(lambda: idle.append("idle"))
    assert idle == []


def test_the_thread_of_the_last_request_tells() -> None:
    version, told = loaded(), []
    assert version.try_pin()
    version.retire(lambda: told.append(threading.current_thread()))
    last = threading.Thread(target=version.release)
    last.start()
    last.join()
    assert told == [last]


def test_many_threads_pin_and_release_while_it_retires() -> None:
    """Whoever was let in keeps it; idle comes after all of them, once."""
    version, idle, start, lock = loaded(), [], threading.Barrier(9), threading.Lock()
    inside = 0

    def use() -> None:
        nonlocal inside
        start.wait()
        while version.try_pin():
            with lock:
                inside += 1
            with lock:
                inside -= 1
            version.release()

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    start.wait()
    version.retire(lambda: idle.append(inside))
    for thread in threads:
        thread.join()
    assert idle == [0]


def test_every_signature_is_counted() -> None:
    part = Part(Path("/m/1"))
    part.signatures = {"a": None, "b": None}
    assert set(Loaded("m", 1, part).stats) == {"a", "b"}
