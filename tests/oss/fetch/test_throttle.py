"""A process that downloads gives way to the one it downloads for: by its threads' priority, and by what it takes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from tests.oss.fetch.test_download import BIG, KEY, children, started
from tests.support.serving import PATIENCE, until
from tests.support.threads import no_more_threads
from tfs_notebook.oss.client.body import PIECE
from tfs_notebook.oss.client.endpoint import StoreOptions
from tfs_notebook.oss.client.oss2_store import open_store
from tfs_notebook.oss.fetch.throttle import NICENESS, Throttle

if TYPE_CHECKING:
    from pathlib import Path

    from tests.oss.stand_in.server import OssServer

WORKS = """
import os, time
from tfs_notebook.oss.fetch import throttle
throttle.SHARE = 0.1 / os.cpu_count()
given = throttle.Throttle(os.getppid())
def work(seconds):
    began, used = time.monotonic(), time.process_time()
    while time.monotonic() < began + seconds:
        sum(range(1000))
        given.pause()
    return (time.process_time() - used) / (time.monotonic() - began)
work(1)
print(work(2))
"""
"""Works as hard as it may, for somebody who may have a tenth of one processor taken; then tells what it took of one."""


@pytest.fixture
def working() -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", WORKS], stdout=subprocess.PIPE, text=True)


def test_while_the_other_process_works_its_share_is_kept(working: subprocess.Popen[str]) -> None:
    while working.poll() is None:
        sum(range(1000))
    assert 0 < float(working.communicate()[0]) < 0.15


def test_while_the_other_process_rests_it_takes_what_there_is(working: subprocess.Popen[str]) -> None:
    greedy = subprocess.Popen(
        [sys.executable, "-c", WORKS.replace("given.pause()", "pass")], stdout=subprocess.PIPE, text=True
    )
    taken, there_is = (float(process.communicate(timeout=PATIENCE)[0]) for process in (working, greedy))
    assert taken > there_is / 3


def test_the_other_process_may_be_gone() -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as other:
        given = Throttle(other.pid)
        other.kill()
    began = time.monotonic()
    while time.monotonic() < began + 0.5:
        assert given.pause() == PIECE


PRIORITY = """
import os, time
from tfs_notebook.oss.fetch import throttle
throttle.IDLE_SHARE = {room}
given = throttle.Throttle(os.getppid())
time.sleep(1)
given.run(lambda: print(os.sched_getscheduler(0) == os.SCHED_IDLE))
given.run(lambda: 1 / 0)
"""
"""Tells whether a part is brought where nobody else wants the processor, given what must be left over for that."""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such priority")
@pytest.mark.parametrize(("room", "works", "expected"), [(-1, True, "True"), (-1, False, "False"), (2, True, "False")])
def test_a_part_gives_way_while_the_other_process_works_and_somebody_has_time(
    room: int, works: bool, expected: str
) -> None:
    command = [sys.executable, "-c", PRIORITY.format(room=room)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while works and process.poll() is None:
        sum(range(1000))
    printed, error = process.communicate(timeout=PATIENCE)
    assert printed.strip() == expected
    assert error.strip().endswith("ZeroDivisionError: division by zero")  # what goes wrong there is told


def test_a_process_that_downloads_is_after_all_others_of_the_session(oss: OssServer, tmp_path: Path) -> None:
    oss.put(KEY, BIG)
    oss.fail("stall", at=1000, times=None)
    download, ended = started(oss, open_store("examplebucket", StoreOptions()), tmp_path)
    (process,) = until(children)
    until(lambda: process.nice() == min(os.nice(0) + NICENESS, 19))
    if sys.version_info >= (3, 11):
        assert os.getsid(process.pid) == os.getsid(0)  # the system minds priorities within a session only
    download.cancel()
    assert ended.wait(PATIENCE)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such priority")
def test_a_part_is_brought_where_no_thread_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tfs_notebook.oss.fetch.throttle._BUSY_LOAD", -1.0)
    monkeypatch.setattr("tfs_notebook.oss.fetch.throttle.IDLE_SHARE", -1.0)
    given = Throttle(os.getpid())
    ran: list[str] = []
    given.run(lambda: ran.append(threading.current_thread().name))
    with no_more_threads():
        given.run(lambda: ran.append(threading.current_thread().name))
    assert ran == ["tfs-oss-idle_0", threading.current_thread().name]
