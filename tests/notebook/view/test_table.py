from __future__ import annotations

import time
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tfs_notebook.engine.batching.status import BatchingStatus
from tfs_notebook.engine.config import AllVersions, Latest, ModelConfig, Specific
from tfs_notebook.engine.events import State
from tfs_notebook.engine.lifecycle.version import VersionStatus
from tfs_notebook.engine.metrics.stats import CallStats
from tfs_notebook.engine.status import ModelStatus
from tfs_notebook.errors import Code, ServingError
from tfs_notebook.notebook.view.table import HEADER, as_html, as_text, headline, rows
from tfs_notebook.server.status import ServerStatus

if TYPE_CHECKING:
    from tfs_notebook.engine.config import VersionPolicy

LATEST = Latest()
BROKEN = ServingError(Code.DATA_LOSS, "/models/a/1: Wire format was corrupt", hint="Copy it <again>.")


def version(number: int, state: State = State.AVAILABLE, error: ServingError | None = None, **more: Any) -> Any:
    known = {"wanted": True, "attempts": 1, "calls": {}, **more}
    return VersionStatus(number, state, error, path=Path("/m"), since=0.0, load_seconds=0.1, **known)


def model(name: str, *versions: Any, policy: VersionPolicy | None = LATEST, **more: Any) -> ModelStatus:
    config = ModelConfig(name, "/m", policy=policy) if policy is not None else None
    known: dict[str, Any] = {"labels": {}, "waiting": {}, "problem": None, "label_problem": None, **more}
    return ModelStatus(name, config, versions, **known)


def status(*models: ModelStatus, running: bool = True, **more: Any) -> ServerStatus:
    return ServerStatus(running, "http://localhost:8501", "localhost:8500", ("CPU:0",), models, **more)


class Page(HTMLParser):
    """The text of an HTML table as a reader sees it: headline, rows of cells, and what follows."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.headline, self.latency, self.notes, self.rows = "", "", list[str](), list[list[str]]()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in {"td", "th"}:
            self.rows[-1].append("")
        elif tag == "div":
            self.tags[-1] = dict(attrs).get("class", "")
            self.notes.append("")

    def handle_data(self, data: str) -> None:
        if self.tags[-1] in {"td", "th"}:
            self.rows[-1][-1] += data
        elif self.tags[-1] == "tfs-headline":
            self.headline += data
        elif self.tags[-1] == "tfs-batching":
            self.batching = data
        elif self.tags[-1] == "tfs-latency":
            self.latency += data
        elif self.tags[-1] == "tfs-problem":
            self.notes[-1] += data


def calls(*seconds: float, errors: int = 0) -> CallStats:
    stats = CallStats()
    for duration in seconds:
        stats.record(duration, duration / 2)
    for _ in range(errors):
        stats.record_error(Code.INTERNAL)
    return stats


def asked(stats: CallStats) -> dict[str, Any]:
    """What a version tells of the calls of its only signature."""
    return {
        "calls": {"serving_default": stats.summary()},
        "recent_calls": {"serving_default": stats.last_minute()},
    }


EVERYTHING = status(
    model("labelled", version(2), version(1), policy=AllVersions(), labels={"stable": 1, "canary": 2, "new": 2}),
    model("retrying", version(1, State.LOADING, BROKEN, attempts=3)),
    model("failed", version(2, State.END, BROKEN), version(1)),
    model("arriving", waiting={7: "saved_model.pb is missing"}, policy=Specific((6, 7))),
    model("missing", problem=ServingError(Code.NOT_FOUND, "Could not find base path /m", hint="/ holds nothing.")),
    model("a removed one", version(5, State.UNLOADING), version(4, State.END), policy=None),
    model("removed", version(4, State.END, BROKEN), version(3, State.END), policy=None),
    model("asked", version(1, **asked(calls(*[0.0005] * 98, 0.5, 0.5, errors=2)))),
    model("changing", version(3, State.START), version(2, State.UNLOADING), version(1, State.LOADING)),
)


def cells(name: str) -> list[tuple[str, ...]]:
    return [row.cells for row in rows(EVERYTHING) if row.cells[0] == name]


def test_every_state_is_spelt_out() -> None:
    assert cells("labelled") == [
        ("labelled", "2", "● AVAILABLE", "canary, new", "0", "0", "", "", "all"),
        ("labelled", "1", "● AVAILABLE", "stable", "0", "0", "", "", "all"),
    ]
    assert [row[2] for row in cells("retrying")] == ["✗ FAILED, being tried again"]
    assert [row[1:3] for row in cells("failed")] == [("2", "✗ FAILED; version 1 keeps answering"), ("1", "● AVAILABLE")]
    assert cells("arriving") == [
        ("arriving", "7", "… WAITING: saved_model.pb is missing", "", "", "", "", "", "specific 6, 7")
    ]
    assert cells("missing") == [("missing", "–", "○ NOT FOUND", "", "", "", "", "", "latest 1")]
    assert [(row[1], row[-1]) for row in cells("a removed one")] == [("5", "removed")]
    assert [row[2] for row in cells("changing")] == ["◌ START", "◑ UNLOADING", "◔ LOADING"]


def test_calls_are_counted_with_their_times() -> None:
    ((*_, count, errors, p50, p99, _),) = cells("asked")
    assert (count, errors) == ("102", "2")
    assert p50 == "500 µs (250 µs)"
    whole, unit, model, _ = p99.replace("(", "").split()
    assert (float(whole), unit, float(model)) == (pytest.approx(500, rel=0.16), "ms", pytest.approx(250, rel=0.16))
    told = "p50 and p99: last minute, from a request's receipt to its reply (in the model)"
    assert told in as_text(EVERYTHING).splitlines()
    assert told in Page(as_html(EVERYTHING)).latency


def test_times_are_of_the_last_minute() -> None:
    stats = CallStats(0.0)
    stats.record(0.5, 0.5, 10.0)
    long_ago = {"calls": {"": stats.summary(100.0)}, "recent_calls": {"": stats.last_minute(100.0)}}
    shown = status(model("m", version(1, **long_ago)))
    assert rows(shown)[0].cells[4:8] == ("1", "0", "", "")
    assert "p50 and p99" not in as_text(shown) + as_html(shown)


def test_one_row_a_version_and_one_for_each_label_without_one() -> None:
    gone = model(
        "m", version(3), version(2, State.END), labels={"canary": 2, "future": 9}, waiting={2: "/m does not hold it"}
    )
    assert [row.cells[1:4] for row in rows(status(gone))] == [
        ("9", "○ NOT AVAILABLE", "future"),
        ("3", "● AVAILABLE", ""),
        ("2", "… WAITING: /m does not hold it", "canary"),
    ]


def test_a_version_that_failed_says_when_it_is_tried_again_and_what_answers() -> None:
    retrying = version(3, State.LOADING, BROKEN, retry_at=time.time() + 57.5)
    (row, _) = rows(status(model("m", retrying, version(2))))
    assert row.cells[2] == "✗ FAILED, retry in 58 s; version 2 keeps answering"


def test_a_new_version_waits_in_its_row_neutral_and_after_ten_seconds_red() -> None:
    why = {2: "its files are still changing"}
    for seconds, tone in ((0.5, ""), (10.5, "failed")):
        now = status(model("m", version(1), waiting=why, waits_since={2: time.time() - seconds}))
        shown = rows(now)
        assert shown[0].cells[1:3] == ("2", "… WAITING: its files are still changing")
        assert shown[0].tone == tone
        assert len(as_text(now).splitlines()) == 4, "no line comes and goes below the table"
        assert 'tfs-problem">' not in as_html(now)
    fetched = model("m", waiting=why, waits_since={2: 0.0}, place="oss://examplebucket/m/")
    assert rows(status(fetched))[0].tone == "", "the table of places tells how far that is"


def test_a_long_reason_is_cut_in_its_row_and_stands_in_full_below() -> None:
    reason = f"variables/{'x' * 100} is missing"
    shown = as_text(status(model("m", waiting={2: reason}))).splitlines()
    assert f"… WAITING: {reason[:79]}…" in shown[2]
    assert shown[3] == f"UNAVAILABLE: Version 2 of model m is not taken up yet: {reason}"


def test_why_a_version_still_serves_that_the_policy_leaves_out() -> None:
    moving = model("m", version(3), version(2, wanted=False), labels={"stable": 2})
    assert [row.cells[-1] for row in rows(status(moving))] == ["latest 1", "until its label moves"]
    loading = model("m", version(3, State.LOADING), version(2, wanted=False))
    assert [row.cells[-1] for row in rows(status(loading))] == ["latest 1", "latest 1; until a newer one serves"]


def test_a_hint_that_helps_against_several_problems_is_told_once() -> None:
    hint = "There is no /models on this machine."
    missing = [
        model(name, problem=ServingError(Code.NOT_FOUND, f"Could not find base path /models/{name}", hint=hint))
        for name in ("a", "b", "c")
    ]
    assert as_text(status(*missing)).splitlines()[5:] == [
        "NOT_FOUND: Could not find base path /models/a",
        "NOT_FOUND: Could not find base path /models/b",
        "NOT_FOUND: Could not find base path /models/c",
        hint,
    ]


def test_a_refused_configuration_is_told_with_its_place() -> None:
    refused = ServingError(Code.INVALID_ARGUMENT, "no such field", where="models.config:2:3", hint="  oops: 1\n  ^")
    shown = as_text(status(config_problem=refused)).splitlines()[2:]
    assert shown == [
        "The running configuration stays, the new one was refused: INVALID_ARGUMENT: no such field",
        "at models.config:2:3", "  oops: 1", "  ^",
    ]  # fmt: skip


def test_models_that_are_gone_come_last_and_old_versions_do_not_pile_up() -> None:
    assert rows(EVERYTHING)[-1].cells[0] == "a removed one"
    ended = model("long", version(99), *(version(number, State.END) for number in range(98, 0, -1)))
    assert [row.cells[1] for row in rows(status(ended))] == ["99", "98", "97", "96"]


def test_text_and_html_show_the_same() -> None:
    page = Page(as_html(EVERYTHING))
    first, head, *lines = as_text(EVERYTHING).splitlines()
    assert page.headline == first == headline(EVERYTHING)
    assert page.rows[0] == list(HEADER) == head.split()
    assert page.rows[1:] == [list(row.cells) for row in rows(EVERYTHING)]
    for row, line in zip(page.rows[1:], lines, strict=False):
        assert [cell for cell in " ".join(row).split() if cell] == line.split()
    notes = "\n".join([page.latency, *filter(None, page.notes)])
    assert notes == "\n".join(lines[len(page.rows) - 1 :])
    assert "Copy it <again>." in notes
    assert "/ holds nothing." in notes


def test_columns_of_the_text_line_up() -> None:
    busy = asked(calls(*[0.001] * 10))
    models = model("a", version(10, **busy)), model("much longer", version(9))
    _, head, *lines = as_text(status(*models)).splitlines()
    assert head.index("State") == lines[0].index("●") == lines[1].index("●")
    assert head.index("Requests") + len("Requests") == lines[0].index(" 10 ", 20) + 3 == lines[1].index(" 0 ") + 2


def test_names_cannot_be_markup() -> None:
    name, label = "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>'
    html = as_html(status(model(name, version(1), labels={label: 1}), model("&amp;", problem=BROKEN)))
    page = Page(html)
    assert not {"script", "img", "again"} & set(page.tags)
    assert [row[0] for row in page.rows[1:]] == ["&amp;", name]
    assert page.rows[2][3] == label


def test_the_headline_says_where_to_ask() -> None:
    assert headline(EVERYTHING) == (
        "TensorFlow Serving in this kernel · REST http://localhost:8501 · gRPC localhost:8500 · CPU:0"
    )
    assert headline(status(running=False)) == "TensorFlow Serving in this kernel: stopped"
    without_rest = ServerStatus(True, None, "localhost:8500", ("GPU:0", "GPU:1"), ())
    assert headline(without_rest) == "TensorFlow Serving in this kernel · gRPC localhost:8500 · GPU:0, GPU:1"
    assert headline(status(host="0.0.0.0", needs_token=True)) == (
        "TensorFlow Serving in this kernel · REST http://localhost:8501 · gRPC localhost:8500 · on 0.0.0.0 · "
        "token needed: server.token (server = %tfs_status) · CPU:0"
    )


def test_the_headline_names_the_socket_and_the_certificate() -> None:
    start = "TensorFlow Serving in this kernel · REST http://localhost:8501 · gRPC "
    socket = {"grpc_socket_target": "unix:/tmp/x"}
    tls = {"security": "TLS: server, until 2027-01-31"}
    assert headline(status(**socket)) == f"{start}localhost:8500 and unix:/tmp/x · CPU:0"
    assert headline(status(**tls)) == f"{start}localhost:8500 (TLS: server, until 2027-01-31) · CPU:0"
    without_port = ServerStatus(True, None, None, ("CPU:0",), (), **socket, **tls)
    assert headline(without_port) == (
        "TensorFlow Serving in this kernel · gRPC unix:/tmp/x (TLS: server, until 2027-01-31) · CPU:0"
    )


def test_a_line_for_what_is_batched() -> None:
    b = model("b", version(2, batching=BatchingStatus(3, 10, waiting=4)), version(1, batching=BatchingStatus()))
    a = model("<a>", version(1, batching=BatchingStatus(1, 8)))
    told = "Batching · <a> 1: 8.0 rows a batch · b 2: 3.3 rows a batch, 4 waiting"
    assert as_text(status(b, a, model("alone", version(1)))).splitlines()[-1] == told
    assert Page(as_html(status(b, a))).batching == told
    first = model("a", version(1, batching=BatchingStatus(waiting=1)))
    assert as_text(status(first)).splitlines()[-1] == "Batching · a 1: 0.0 rows a batch, 1 waiting"
    idle = model("a", version(1, batching=BatchingStatus()), problem=BROKEN)
    assert as_text(status(idle)).splitlines()[-3] == "Batching · no request yet"
    assert "Batching" not in as_text(EVERYTHING) + as_html(EVERYTHING)


def test_a_place_that_was_lost_is_told_first() -> None:
    lost = ServingError(Code.UNAVAILABLE, "Nothing answers there", hint="The next change tries it again.")
    shown = as_text(status(listening_problems=(lost,), config_problem=BROKEN)).splitlines()[2:]
    assert shown[:2] == ["UNAVAILABLE: Nothing answers there", "The next change tries it again."]
    assert status(listening_problems=(lost,)).problems == [lost]


def test_a_server_without_models_is_a_table_without_rows() -> None:
    assert as_text(status()).splitlines()[1].split() == list(HEADER)
    assert len(Page(as_html(status())).rows) == 1
