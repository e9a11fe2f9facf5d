from __future__ import annotations

import re
import time
from typing import Any

import pytest

from tests.notebook.view.test_table import Page, status
from tfs_notebook.engine.storage.remote import SourceStatus, Transfer
from tfs_notebook.errors import Code, ServingError
from tfs_notebook.notebook.view.progress import FetchProgress, fetching_text
from tfs_notebook.notebook.view.source_table import SOURCE_HEADER, size_text
from tfs_notebook.notebook.view.table import as_html, as_text

ROOT = "oss://examplebucket/models/tf_serving/"
LOOKED = time.mktime((2026, 11, 25, 12, 34, 56, 0, 0, -1))
IN_STEP = SourceStatus(ROOT, "/cache/1", "in step", last_listing=LOOKED)
BUSY = SourceStatus(
    ROOT,
    "/cache/1",
    "transferring",
    last_listing=LOOKED,
    transfers=(Transfer("modelA/2", 1, 3, 12_300_000, 40_000_000, 5_000_000.0), Transfer("modelB/2", 0, 2, 0, 0, 0.0)),
    waiting={"modelA/2": "is being brought", "modelC/4": "variables.data-00001-of-00002 is not uploaded yet"},
)
REFUSED = ServingError(Code.PERMISSION_DENIED, f"{ROOT} is refused (AccessDenied)", hint="Ask for oss:ListObjects.")


def lines(*sources: SourceStatus) -> list[str]:
    return as_text(status(sources=sources)).splitlines()[2:]


def test_what_is_on_its_way_and_what_is_waited_for() -> None:
    assert [re.split("   *", line.strip()) for line in lines(BUSY)] == [
        list(SOURCE_HEADER),
        [ROOT, "◔ transferring", "12:34:56"],
        ["modelA/2", "◔ fetching", "1 of 3", "12.3 MB of 40.0 MB", "5.0 MB/s"],
        ["modelB/2", "◔ fetching", "0 of 2", "0 B of 0 B"],
        ["modelC/4", "… variables.data-00001-of-00002 is not uploaded yet"],
    ]


def test_why_a_source_is_stopped_and_what_to_do() -> None:
    odd = ("a//b is no name for a file",)
    stopped = SourceStatus(ROOT, "/cache/1", "stopped", next_listing=LOOKED + 300.0, problem=REFUSED, warnings=odd)
    header, row, *notes = lines(stopped)
    assert header.split() == [word for title in SOURCE_HEADER for word in title.split()]
    assert row.split() == [ROOT, "✗", "stopped", "until", "12:39:56", "never"]
    assert notes == [
        *REFUSED.told.splitlines(),
        f"{ROOT}: a//b is no name for a file",
        f"{ROOT}: it is asked again at 12:39:56, with other credentials or %tfs_sync now at once",
    ]


def test_trouble_that_may_pass_says_when_it_is_looked_again() -> None:
    passing = SourceStatus(
        ROOT, "/cache/1", "waiting", last_listing=LOOKED, next_listing=LOOKED + 60.0, problem=REFUSED
    )
    assert re.split("   *", lines(passing)[1]) == [ROOT, "✗ waiting until 12:35:56", "12:34:56"]


def test_a_long_reason_does_not_widen_the_table() -> None:
    reason = f"{ROOT}modelA/3/saved_model.pb cannot be read: " + "it is archived " * 20
    header, _, row = lines(SourceStatus(ROOT, "/cache/1", "waiting", waiting={"modelA/3": reason}))
    assert row.endswith("…")
    assert reason.startswith(row.partition("… ")[2].removesuffix("…"))
    assert len(header) < 170


def test_a_problem_of_a_source_is_told_once_though_it_is_each_models() -> None:
    told = status(sources=(SourceStatus(ROOT, "", "stopped", problem=REFUSED),), config_problem=None)
    assert told.problems == [REFUSED]


def test_text_and_html_show_the_same() -> None:
    page = Page(as_html(status(sources=(IN_STEP, BUSY))))
    assert page.rows[1] == list(SOURCE_HEADER)
    assert page.rows[2] == [ROOT, "● in step", "", "", "", "12:34:56"]
    assert page.rows[4][:3] == ["  modelA/2", "◔ fetching", "1 of 3"]


def test_without_oss_there_is_nothing_of_it() -> None:
    assert lines() == []
    assert "Source" not in as_html(status())


def test_keys_cannot_be_markup() -> None:
    odd = SourceStatus(ROOT, "", "waiting", waiting={"<b>/1": "<i> is not uploaded yet"}, warnings=("<script>",))
    html = as_html(status(sources=(odd,)))
    assert not any(tag in html for tag in ("<b>", "<i>", "<script>"))


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (5.5e9, "5.5 GB"),
        (7e12, "7000.0 GB"),
    ],
)
def test_sizes(size: float, text: str) -> None:
    assert size_text(size) == text


def test_progress_is_a_bar_for_each_version() -> None:
    first = SourceStatus(ROOT, "", "starting")
    assert fetching_text([first]) == f"{ROOT} is being listed"
    assert fetching_text([IN_STEP]) == ""
    bar, other, waiting = fetching_text([BUSY]).splitlines()
    assert bar == f"modelA/2 {'█' * 9}{'░' * 21}  31% 12.3 MB of 40.0 MB, 5.0 MB/s"
    assert other == f"modelB/2 {'░' * 30}   0% 0 B of 0 B"
    assert waiting == "modelC/4 waits: variables.data-00001-of-00002 is not uploaded yet"


def test_progress_tells_of_trouble_instead_of_a_listing_that_does_not_come() -> None:
    assert fetching_text([SourceStatus(ROOT, "", "starting", problem=REFUSED)]) == REFUSED.message


class Looks:
    """A server of which each look finds one source further on: so many transfers have begun by then."""

    def __init__(self, *begun: int) -> None:
        self._left = list(begun)

    def sources(self) -> tuple[SourceStatus, ...]:
        return (SourceStatus(ROOT, "/cache/1", "in step", begun=self._left.pop(0)),)


@pytest.mark.parametrize(
    ("running", "looks", "told"),
    [
        (False, (1, 1), True),
        (False, (0, 1), True),
        (False, (0, 0), False),
        (True, (3, 3, 3), False),
        (True, (3, 3, 4), True),
    ],
    ids=["before a look", "after the last look", "nothing", "before it was asked for", "of a server that runs"],
)
def test_what_was_fetched_between_two_looks_is_told(
    capsys: pytest.CaptureFixture[str], looks: tuple[int, ...], *, running: bool, told: bool
) -> None:
    server: Any = Looks(*looks)
    with FetchProgress(server if running else None) as progress:
        progress.update(server)
    assert capsys.readouterr().out == (f"Fetched from {ROOT} in 0.0 s\n" if told else "")
