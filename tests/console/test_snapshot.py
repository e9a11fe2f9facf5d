"""The state as JSON: what is in it, that it fits its schema, and what a change holds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from tests.support.serving import ALL, config_text, label, until
from tfs_notebook.console.rates import Rates
from tfs_notebook.console.schema import schema
from tfs_notebook.console.snapshot import Model, Moment, Problem, Snapshot, Version, _version, change, take
from tfs_notebook.engine.events import State
from tfs_notebook.engine.lifecycle.version import VersionStatus
from tfs_notebook.engine.metrics.stats import CallStats
from tfs_notebook.engine.status import ModelStatus
from tfs_notebook.errors import Code

if TYPE_CHECKING:
    from tests.conftest import Models


def fits(value: Any, wanted: dict[str, Any], definitions: dict[str, Any]) -> bool:
    """Whether a JSON value fits a schema of the kind that `schema` makes."""
    if "$ref" in wanted:
        return fits(value, definitions[wanted["$ref"].rpartition("/")[2]], definitions)
    if "anyOf" in wanted:
        return any(fits(value, each, definitions) for each in wanted["anyOf"])
    kind = wanted.get("type")
    if kind == "array":
        return isinstance(value, list) and all(fits(each, wanted["items"], definitions) for each in value)
    if kind == "object":
        same = isinstance(value, dict) and value.keys() == set(wanted["required"])
        return same and all(fits(value[name], of, definitions) for name, of in wanted["properties"].items())
    types = {"string": str, "integer": int, "number": (int, float), "boolean": bool, "null": type(None)}
    return isinstance(value, types[kind]) and (kind == "boolean" or not isinstance(value, bool))


def test_a_server_as_json(models: Models, tmp_path: Path) -> None:
    import tfs_notebook

    good, bad = tmp_path / "good", tmp_path / "<img src=x onerror=alert(1)>"
    for place in (good, bad):
        place.mkdir()
    models.copy("half_plus_two", good, 1)
    models.copy("half_plus_two", good, 2)
    (bad / "7").mkdir()
    (bad / "7" / "saved_model.pb").write_bytes(b"no model")
    text = config_text({"good": good, "<b>": bad}, {"good": ALL + label("canary", 2)})
    with tfs_notebook.serve(config=text, port=0, rest_api_port=0) as server:
        until(lambda: server.predict("good", [1.0]).array.tolist() == [2.5])
        snapshot = take(server)
        plain = orjson.loads(orjson.dumps(snapshot))
        described = schema(Snapshot)
        assert fits(plain, described, described["$defs"])
        assert not fits(plain | {"time": "now"}, described, described["$defs"])
    assert plain["protocol"] == 1
    assert plain["state"] == "serving"
    assert [address["protocol"] for address in plain["addresses"]] == ["REST", "gRPC"]
    assert plain["memory"] > 10_000_000
    broken, served = plain["models"]
    assert (served["name"], served["policy"], served["place"]) == ("good", "all", str(good))
    assert [(each["number"], each["state"], each["labels"]) for each in served["versions"]] == [
        (2, "AVAILABLE", ["canary"]),
        (1, "AVAILABLE", []),
    ]
    assert [each["requests"] for each in served["versions"]] == [1, 0]
    assert broken["name"] == "<b>"
    assert broken["versions"][0]["problem"]["code"]
    assert broken["problems"][0]["message"] == broken["versions"][0]["problem"]["message"]
    assert {"version", "labels", "server"} <= {event["kind"] for event in plain["events"]}
    assert take(server).state == "stopped"


SNAPSHOT = Snapshot(
    protocol=1,
    engine="1",
    time=1.0,
    state="serving",
    models=tuple(Model(name, True, f"/{name}", "all", (Version(1, "AVAILABLE"),)) for name in "ab"),
    events=(Moment(1.0, "server", message="started"),),
)


def test_a_change_holds_what_changed_and_nothing_else() -> None:
    assert change(SNAPSHOT, SNAPSHOT) == {}
    assert change(SNAPSHOT, replace(SNAPSHOT, time=2.0)) == {"time": 2.0}
    a, b = SNAPSHOT.models
    busy = replace(b, versions=(Version(1, "AVAILABLE", requests=3),), problems=(Problem("UNKNOWN", "why"),))
    assert change(SNAPSHOT, replace(SNAPSHOT, models=(a, busy))) == {"models": [busy], "gone": []}
    assert change(SNAPSHOT, replace(SNAPSHOT, models=(a,))) == {"models": [], "gone": ["b"]}
    later = Moment(2.0, "config")
    assert change(SNAPSHOT, replace(SNAPSHOT, events=(*SNAPSHOT.events, later))) == {"events": (later,)}


class Counted:
    """A model status as far as rates look at it."""

    def __init__(self, stats: CallStats) -> None:
        self.name = "model"
        self.versions = [self]
        self.number = 1
        self.stats = stats

    @property
    def calls(self) -> dict[str, Any]:
        return {"serving_default": self.stats.summary()}


def test_rates_are_those_between_two_looks() -> None:
    stats, rates = CallStats(), Rates()
    model: Any = Counted(stats)
    for _ in range(1000):
        stats.record(1.0, 1.0)  # before anybody looked
    assert rates.look([model], 0.0) == {}
    for _ in range(20):
        stats.record(0.001, 0.001)
    assert rates.look([model], 2.0) == {("model", 1): 10.0}
    assert rates.look([model], 2.1) == {("model", 1): 10.0}, "too soon for another"
    for _ in range(5):
        stats.record_error(Code.INTERNAL)
    assert rates.look([model], 3.0) == {("model", 1): 5.0}
    assert rates.look([model], 4.0) == {("model", 1): 0.0}
    model.stats = CallStats()  # loaded again
    model.stats.record(0.001, 0.001)
    assert rates.look([model], 70.0) == {("model", 1): 0.0}
    model.stats.record(0.001, 0.001)
    assert rates.look([model], 71.0) == {("model", 1): 1.0}
    assert rates.look([], 72.0) == {}


def test_latencies_are_those_of_whole_requests_in_the_last_minute() -> None:
    stats = CallStats()
    for _ in range(99):
        stats.record(0.001, 0.0001)
    known: Any = {"calls": {"": stats.summary()}, "recent_calls": {"": stats.last_minute()}}
    status = VersionStatus(1, State.AVAILABLE, None, True, Path("/m/1"), 0.0, 1, 0.1, **known)
    shown = _version(ModelStatus("m", None, (status,), {}, {}, None, None), status, {("m", 1): 2.0})
    assert (shown.requests, shown.rate, shown.p50_us, shown.p99_us) == (99, 2.0, 1000.0, 1000.0)
    idle = replace(status, recent_calls={})
    assert _version(ModelStatus("m", None, (idle,), {}, {}, None, None), idle, {}).p50_us is None
