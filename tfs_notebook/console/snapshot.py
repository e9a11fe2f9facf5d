"""A moment of a server as plain JSON: the one thing that every view of the console is drawn from.

The dataclasses are the contract: `schema` makes a JSON schema of them, and the front end's types are checked against
that. `PROTOCOL` rises when a page that was made for the number before would show something wrong.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, fields
from functools import cache
from importlib import metadata
from typing import TYPE_CHECKING, Any

import psutil

from tfs_notebook.api.auth import is_loopback
from tfs_notebook.engine.events import State
from tfs_notebook.engine.metrics.latencies import Latencies

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tfs_notebook.console.rates import Rates
    from tfs_notebook.engine.events import Event
    from tfs_notebook.engine.lifecycle.version import VersionStatus
    from tfs_notebook.engine.status import ModelStatus
    from tfs_notebook.errors import ServingError
    from tfs_notebook.server.server import Server

PROTOCOL = 1
_ENDED_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Problem:
    """Why something is not as it was asked for: a canonical status code by name, what went over the wire, where the
    offending value stood, and what to do about it ("" where that is not known).
    """

    code: str
    message: str
    where: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Address:
    """Where programs on this machine reach a `protocol` (REST or gRPC): a URL, or what gRPC calls a target."""

    protocol: str
    target: str


@dataclass(frozen=True, slots=True)
class Version:
    """A version of a model.

    `state` is a state of GetModelStatus, WAITING for one on disk that is not taken up yet (`note` says why), or MISSING
    for one that only a label names. `since` is seconds since the epoch, `load_seconds` None until it has loaded.
    `requests` and `errors` count since it was loaded; `rate` is requests a second, None until somebody has looked for a
    second. The latencies are those of the last minute in microseconds, from a request's receipt to its reply, None
    without requests.
    """

    number: int
    state: str
    labels: tuple[str, ...] = ()
    problem: Problem | None = None
    note: str = ""
    path: str = ""
    since: float = 0.0
    attempts: int = 0
    load_seconds: float | None = None
    requests: int = 0
    errors: int = 0
    rate: float | None = None
    p50_us: float | None = None
    p99_us: float | None = None


@dataclass(frozen=True, slots=True)
class Model:
    """A model with its versions, newest first; `configured` is false for one that only serves on until it is unloaded.

    `place` is where its versions are looked for, `policy` which of them are served, in the configuration's words.
    """

    name: str
    configured: bool
    place: str
    policy: str
    versions: tuple[Version, ...]
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class Moment:
    """One event at `time`, seconds since the epoch; what does not apply to its kind is None or ""."""

    time: float
    kind: str
    model: str = ""
    version: int | None = None
    state: str = ""
    message: str = ""
    problem: Problem | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A moment of a server. `time` is seconds since the epoch, `memory` bytes of the whole process.

    `host` is the interface it listens on, `local` whether that keeps other machines out. `problems` are those that no
    model has; `events` are the latest, oldest first.
    """

    protocol: int
    engine: str
    time: float
    state: str
    addresses: tuple[Address, ...] = ()
    host: str = ""
    local: bool = True
    needs_token: bool = False
    security: str = ""
    devices: tuple[str, ...] = ()
    memory: int = 0
    models: tuple[Model, ...] = ()
    problems: tuple[Problem, ...] = ()
    events: tuple[Moment, ...] = ()


def take(server: Server, rates: Rates | None = None) -> Snapshot:
    """The state of `server` now, with what `rates` make of its counters. Any thread may ask."""
    status = server.status()
    rate_of = rates.look(status.models, time.monotonic()) if rates is not None else {}
    addresses = [("REST", status.rest_url), ("gRPC", status.grpc_target), ("gRPC", status.grpc_socket_target)]
    of_models = {problem.message for model in status.models for problem in model.problems}
    ordered = sorted(status.models, key=lambda model: (model.config is None, model.name))
    models = (_model(model, rate_of) for model in ordered)
    return Snapshot(
        protocol=PROTOCOL,
        engine=_engine(),
        time=time.time(),
        state="serving" if status.running else "stopped",
        addresses=tuple(Address(protocol, target) for protocol, target in addresses if target),
        host=status.host,
        local=is_loopback(status.host),
        needs_token=status.needs_token,
        security=status.security,
        devices=status.devices,
        memory=psutil.Process().memory_info().rss,
        models=tuple(model for model in models if model.configured or model.versions),
        problems=tuple(_problem(problem) for problem in status.problems if problem.message not in of_models),
        events=tuple(_moment(event) for event in server.events.recent),
    )


@cache
def _engine() -> str:
    try:
        return metadata.version("tfs-notebook")
    except metadata.PackageNotFoundError:  # run from a directory, without being installed
        return ""


def _model(model: ModelStatus, rates: Mapping[tuple[str, int], float]) -> Model:
    versions = dict(_numbered(model, rates))
    return Model(
        name=model.name,
        configured=model.config is not None,
        place=model.place,
        policy=str(model.config.policy) if model.config is not None else "",
        versions=tuple(versions[number] for number in sorted(versions, reverse=True)),
        problems=tuple(_problem(problem) for problem in model.problems),
    )


def _numbered(model: ModelStatus, rates: Mapping[tuple[str, int], float]) -> Iterable[tuple[int, Version]]:
    """Versions by number; of several of one number the last says most."""
    for number in set(model.labels.values()):
        yield number, Version(number, "MISSING", _labels(model, number))
    ended = [version for version in model.versions if version.state is State.END]
    if model.config is not None:
        ended = [version for version in ended if version.error is None][_ENDED_SHOWN:]
    for version in model.versions:
        if version not in ended:
            yield version.number, _version(model, version, rates)
    serving = {version.number for version in model.versions if version.state is State.AVAILABLE}
    for number in model.waiting.keys() - serving:  # what serves may be another base path's, of before
        yield number, Version(number, "WAITING", _labels(model, number), note=model.waiting[number])


def _version(model: ModelStatus, version: VersionStatus, rates: Mapping[tuple[str, int], float]) -> Version:
    error = version.error or version.exchange_error
    serves = version.state is State.AVAILABLE
    recent = version.last_minute.whole if serves else Latencies()
    return Version(
        number=version.number,
        state=version.state.name,
        labels=_labels(model, version.number),
        problem=_problem(error) if error is not None else None,
        path=str(version.path),
        since=version.since,
        attempts=version.attempts,
        load_seconds=version.load_seconds,
        requests=sum(calls.count for calls in version.calls.values()),
        errors=sum(calls.errors for calls in version.calls.values()),
        rate=rates.get((model.name, version.number)) if serves else None,
        p50_us=round(recent.quantile_us(0.5), 1) if recent.count else None,
        p99_us=round(recent.quantile_us(0.99), 1) if recent.count else None,
    )


def _labels(model: ModelStatus, number: int) -> tuple[str, ...]:
    return tuple(sorted(label for label, named in model.labels.items() if named == number))


def _problem(error: ServingError) -> Problem:
    return Problem(error.code.name, error.message, error.where, error.hint)


def _moment(event: Event) -> Moment:
    return Moment(
        time=event.time,
        kind=event.kind.value,
        model=event.model,
        version=event.version,
        state=event.state.name if event.state is not None else "",
        message=event.message,
        problem=_problem(event.error) if event.error is not None else None,
    )


def change(before: Snapshot, after: Snapshot) -> dict[str, Any]:
    """What of `after` is not in `before`, by field: of models those that changed (`gone` names the others that went),
    of events the new ones.
    """
    names = (item.name for item in fields(Snapshot))
    changed = {name: new for name in names if (new := getattr(after, name)) != getattr(before, name)}
    if "models" in changed:
        known = {model.name: model for model in before.models}
        changed["models"] = [model for model in after.models if model != known.get(model.name)]
        changed["gone"] = sorted(known.keys() - {model.name for model in after.models})
    if "events" in changed and before.events and before.events[-1] in after.events:
        changed["events"] = after.events[after.events.index(before.events[-1]) + 1 :]
    return changed
