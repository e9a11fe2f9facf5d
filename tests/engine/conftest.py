"""Runs `async def` tests, each on an event loop of its own, and gives every test a manager's parts."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING

import pytest

from tests.engine.parts import Recorder
from tests.support.serving import PATIENCE
from tfs_notebook.engine.events import EventStream

if TYPE_CHECKING:
    from collections.abc import Iterator

SECONDS = PATIENCE


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    test = pyfuncitem.obj
    if not inspect.iscoroutinefunction(test):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in inspect.signature(test).parameters}

    async def within_the_time() -> None:
        await asyncio.wait_for(test(**arguments), SECONDS)

    asyncio.run(within_the_time())
    return True


@pytest.fixture
def events() -> EventStream:
    return EventStream()


@pytest.fixture
def recorder(events: EventStream) -> Iterator[Recorder]:
    """What was published on `events` so far."""
    recorder = Recorder()
    end = events.listen(recorder)
    yield recorder
    end()
