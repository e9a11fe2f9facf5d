from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from tests.engine.parts import Recorder
from tfs_notebook.engine.events import Event, EventStream, Kind, State

if TYPE_CHECKING:
    import pytest


def test_states_are_numbered_as_in_the_api() -> None:
    assert {state.name: int(state) for state in State} == {
        "START": 10, "LOADING": 20, "AVAILABLE": 30, "UNLOADING": 40, "END": 50,
    }  # fmt: skip


def test_every_listener_hears_every_event_in_order(events: EventStream) -> None:
    heard: list[tuple[str, str]] = []
    events.listen(lambda event: heard.append(("first", event.message)))
    events.listen(lambda event: heard.append(("second", event.message)))
    for message in "ab":
        events.publish(Event(Kind.SERVER, message=message))
    assert heard == [("first", "a"), ("second", "a"), ("first", "b"), ("second", "b")]


def test_a_listener_hears_nothing_after_its_end_and_the_others_still_do(
    events: EventStream, recorder: Recorder
) -> None:
    other = Recorder()
    end = events.listen(other)
    events.publish(Event(Kind.CONFIG))
    end()
    end()
    events.publish(Event(Kind.CONFIG))
    assert (len(other.events), len(recorder.events)) == (1, 2)


def test_a_listener_that_raises_is_logged_and_the_others_still_hear(
    events: EventStream, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(event: Event) -> None:
        raise ValueError("no display")

    after = Recorder()
    events.listen(broken)
    events.listen(after)
    with caplog.at_level(logging.ERROR, logger="tfs_notebook"):
        events.publish(Event(Kind.CONFIG, "m"))
        events.publish(Event(Kind.CONFIG, "m"))
    assert len(after.events) == 2
    assert len(caplog.records) == 2
    assert "no display" in caplog.text


def test_a_listener_may_end_itself_and_others_while_it_is_called(events: EventStream, recorder: Recorder) -> None:
    ends = []

    def once(event: Event) -> None:
        ends[0]()

    ends.append(events.listen(once))
    last = Recorder()
    events.listen(last)
    events.publish(Event(Kind.CONFIG))
    events.publish(Event(Kind.CONFIG))
    assert len(recorder.events) == len(last.events) == 2


def test_any_thread_may_listen(events: EventStream) -> None:
    recorders = [Recorder() for _ in range(200)]
    threads = [threading.Thread(target=events.listen, args=(recorder,)) for recorder in recorders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    events.publish(Event(Kind.CONFIG))
    assert [len(recorder.events) for recorder in recorders] == [1] * 200


def test_an_event_knows_when_it_happened() -> None:
    before = time.time()
    event = Event(Kind.VERSION, "m", 1, State.START)
    assert before <= event.time <= time.time()
