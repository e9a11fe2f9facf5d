"""Models whose directories are filled from elsewhere while the engine serves: what it waits for, and what it tells."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.engine.parts import Loads, Recorder, until
from tests.support.serving import ALL, label
from tfs_notebook.engine.config import parse_config
from tfs_notebook.engine.core import CoreOptions, ServerCore
from tfs_notebook.engine.events import EventStream, Kind
from tfs_notebook.engine.lifecycle.manager import Manager, RetryPolicy
from tfs_notebook.engine.storage.remote import FetchStatus, SourceStatus
from tfs_notebook.errors import Code, ServingError, invalid_argument

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from pathlib import Path

    from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

    from tests.conftest import Models
    from tfs_notebook.engine.config import ModelConfig

DEPOT = "oss://depot"


class Depot:
    """A fetcher whose deliveries a test makes: `oss://depot/NAME` is brought to the directory NAME."""

    def __init__(self, root: Path, source: Path) -> None:
        self.root = root
        self.source = source
        self.wanted: list[ModelConfig] = []
        self.fetch_statuses: dict[str, FetchStatus] = {}
        self.core: ServerCore

    def check(self, base_path: str) -> None:
        if base_path == f"{DEPOT}/":
            raise invalid_argument(f"{base_path} is no place in the depot")

    def directory(self, base_path: str) -> str:
        return base_path.replace(DEPOT, str(self.root)).rstrip("/") if base_path.startswith(DEPOT) else base_path

    def want(self, models: Iterable[ModelConfig]) -> None:
        self.wanted = list(models)

    def fetch_status(self, base_path: str) -> FetchStatus:
        return self.fetch_statuses.get(self.directory(base_path), FetchStatus())

    def status(self) -> tuple[SourceStatus, ...]:
        return ()

    def expect(self, name: str, fetch_status: FetchStatus) -> None:
        """What is known of the model `name` from now on."""
        self.fetch_statuses[str(self.root / name)] = fetch_status
        self.core.look_again(str(self.root / name))

    def deliver(self, name: str, number: int, fetch_status: FetchStatus | None = None) -> Path:
        """Publish a version in one rename, and what is known then."""
        target = self.root / name / str(number)
        copying = self.root / f".{name}.{number}"
        shutil.copytree(self.source, copying)
        target.parent.mkdir(exist_ok=True)
        copying.rename(target)
        self.expect(name, fetch_status or FetchStatus())
        return target


@pytest.fixture
def depot(tmp_path: Path, models: Models) -> Depot:
    return Depot(tmp_path, models.path("half_plus_two") / "1")


@pytest.fixture
def loads() -> Loads:
    return Loads()


@contextlib.asynccontextmanager
async def serving(depot: Depot, events: EventStream, loads: Loads) -> AsyncIterator[ServerCore]:
    """A core that does not look by itself: what is brought must be told."""
    manager = Manager(loads, events, retry_policy=RetryPolicy(0))
    core = depot.core = ServerCore(manager, events, CoreOptions(poll_seconds=0, settle_seconds=0), fetcher=depot)
    yield core
    await core.close()


def models_of(extra: str = "", *names: str) -> ModelServerConfig:
    configs = (
        f"config {{ name: '{name}' base_path: '{DEPOT}/{name}/' model_platform: 'tensorflow' {extra} }}"
        for name in names or ("m",)
    )
    return parse_config(f"model_config_list {{ {' '.join(configs)} }}")


def serves(core: ServerCore, name: str = "m") -> set[int]:
    return set(core.manager.registry.serving.get(name, {}))


async def test_it_is_told_what_is_wanted_by_the_address_that_a_mount_stands_for(
    depot: Depot, events: EventStream, loads: Loads
) -> None:
    async with serving(depot, events, loads) as core:
        core.resolve = lambda path: path.replace("/models", DEPOT)
        config = models_of()
        config.model_config_list.config[0].base_path = "/models/m/"
        depot.fetch_statuses[str(depot.root / "m")] = FetchStatus()
        with contextlib.suppress(ServingError):
            await core.apply(config, patient=False)
        assert depot.wanted == [replace(core.configs["m"], base_path=f"{DEPOT}/m/")]
        await core.apply(parse_config("model_config_list {}"))
        assert depot.wanted == []


async def test_a_configuration_with_what_cannot_be_a_base_path_changes_nothing(
    depot: Depot, events: EventStream, loads: Loads
) -> None:
    async with serving(depot, events, loads) as core:
        depot.deliver("m", 1)
        await core.apply(models_of())
        configs = core.configs
        config = models_of("", "m", "n")
        config.model_config_list.config[1].base_path = f"{DEPOT}/"
        with pytest.raises(ServingError, match="is no place in the depot"):
            await core.apply(config)
        assert core.configs is configs
        assert "is no place in the depot" in str(core.config_problem)
        assert serves(core) == {1}


async def test_what_is_coming_is_waited_for_and_found_at_once(depot: Depot, events: EventStream, loads: Loads) -> None:
    async with serving(depot, events, loads) as core:
        depot.fetch_statuses[str(depot.root / "m")] = FetchStatus(expects_more=True)
        applying = asyncio.ensure_future(core.apply(models_of(), patient=False))
        await until(lambda: core._lookouts and core._lookouts["m"].looked)
        assert not applying.done()
        assert core.model_status("m").problems == []  # nothing is wrong with what is on its way
        depot.deliver("m", 1)
        await applying
        assert serves(core) == {1}


async def test_all_versions_that_are_asked_for_are_waited_for(depot: Depot, events: EventStream, loads: Loads) -> None:
    extra = f"model_version_policy {{ specific {{ versions: 1 versions: 2 }} }} {label('stable', 1)}"
    for patient in (True, False):
        async with serving(depot, events, loads) as core:
            depot.fetch_statuses[str(depot.root / "m")] = FetchStatus(expects_more=True)
            applying = asyncio.ensure_future(core.apply(models_of(extra), patient=patient))
            await until(lambda core=core: core._lookouts)
            depot.deliver("m", 2, FetchStatus(expects_more=True, waiting={1: "4 of 9 MB are here"}))
            await until(lambda core=core: serves(core) == {2})
            assert not applying.done()
            assert core.model_status("m").waiting == {1: "4 of 9 MB are here"}
            depot.deliver("m", 1)
            await applying
            assert serves(core) == {1, 2}
            assert core.manager.registry.labels["m"] == {"stable": 1}
        shutil.rmtree(depot.root / "m")


async def test_a_model_that_serves_is_not_held_up_by_what_is_coming(
    depot: Depot, events: EventStream, loads: Loads
) -> None:
    async with serving(depot, events, loads) as core:
        depot.fetch_statuses[str(depot.root / "m")] = FetchStatus(expects_more=True)
        applying = asyncio.ensure_future(core.apply(models_of(), patient=False))
        await until(lambda: core._lookouts)
        depot.deliver("m", 1, FetchStatus(expects_more=True, waiting={2: "4 of 9 MB are here"}))
        await applying
        assert serves(core) == {1}
        await core.apply(models_of(), patient=False, afresh=True)
        depot.deliver("m", 2)
        await until(lambda: serves(core) == {2})


async def test_what_only_a_person_can_change_is_not_waited_for(
    depot: Depot, events: EventStream, loads: Loads, recorder: Recorder
) -> None:
    async with serving(depot, events, loads) as core:
        reason = "variables/variables.index is not uploaded yet"
        depot.fetch_statuses[str(depot.root / "m")] = FetchStatus(waiting={3: reason})
        with pytest.raises(ServingError, match=f"version 3: {reason}"):
            await core.apply(models_of(), patient=False)
        assert [problem.message for problem in core.model_status("m").problems] == [
            f"Version 3 of model m is not taken up yet: {reason}"
        ]
        refused = ServingError(Code.PERMISSION_DENIED, "oss://depot: AccessDenied", hint="Ask for oss:ListObjects.")
        depot.expect("m", FetchStatus(problem=refused))
        assert core.model_status("m").problems == [refused]
        assert recorder.of(Kind.FETCH, "m")[-1].error is refused
        with pytest.raises(ServingError, match="AccessDenied"):
            await core.apply(models_of(), patient=False, afresh=True)


async def test_trouble_leaves_what_is_served(depot: Depot, events: EventStream, loads: Loads) -> None:
    async with serving(depot, events, loads) as core:
        depot.deliver("m", 1)
        await core.apply(models_of(ALL), patient=False)
        depot.expect("m", FetchStatus(problem=ServingError(Code.UNAVAILABLE, "oss://depot: Connection refused")))
        await core.poll()
        assert serves(core) == {1}
        shutil.rmtree(depot.root / "m")
        await core.poll()
        assert serves(core) == {1}


async def test_messages_name_the_address_not_the_copy(depot: Depot, events: EventStream, loads: Loads) -> None:
    async with serving(depot, events, loads) as core:
        with pytest.raises(ServingError, match=f"No versions of servable m found under base path {DEPOT}/m/"):
            await core.apply(models_of(), patient=False)
        depot.deliver("m", 1)
        asked = "model_version_policy { specific { versions: 5 } }"
        with pytest.raises(ServingError, match=r"oss://depot/m/ that the policy asks for \(specific 5\)"):
            await core.apply(models_of(asked), patient=False)
        status = core.model_status("m")
        assert not any(str(depot.root) in problem.told for problem in status.problems)
        assert status.waiting == {5: f"{DEPOT}/m/ does not hold it"}


async def test_a_version_is_in_use_until_it_is_unloaded(depot: Depot, events: EventStream, loads: Loads) -> None:
    async with serving(depot, events, loads) as core:
        directory = str(depot.root / "m")
        assert not core.in_use(directory, 1)
        path = depot.deliver("m", 1)
        begun = loads.hold(path)
        applying = asyncio.ensure_future(core.apply(models_of(), patient=False))
        await until(lambda: loads.begun)
        assert core.in_use(directory, 1)
        begun()
        await applying
        assert core.in_use(directory, 1)
        assert not core.in_use(directory, 2)
        assert not core.in_use(f"{directory}2", 1)
        await core.apply(parse_config("model_config_list {}"))
        await until(lambda: not core.in_use(directory, 1))


async def test_only_the_models_of_a_directory_are_looked_at(depot: Depot, events: EventStream, loads: Loads) -> None:
    async with serving(depot, events, loads) as core:
        depot.deliver("a", 1)
        depot.deliver("b", 1)
        await core.apply(models_of("", "a", "b"), patient=False)
        depot.deliver("a", 2)
        shutil.copytree(depot.source, depot.root / "b" / "2")  # nobody tells of it
        await until(lambda: serves(core, "a") == {2})
        assert serves(core, "b") == {1}
