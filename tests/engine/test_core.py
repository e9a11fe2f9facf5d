# ruff: noqa: ASYNC240 — nothing else runs on a test's loop that its files could hold up
"""Configurations, directories and labels, with real SavedModels: what requests are answered and people are told."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests import trees
from tests.engine.parts import Recorder, until
from tests.support import saved_models
from tests.support.serving import PATIENCE
from tfs_notebook.engine.config import parse_config
from tfs_notebook.engine.core import CoreOptions, ServerCore
from tfs_notebook.engine.events import EventStream, Kind
from tfs_notebook.engine.lifecycle.manager import Manager, RetryPolicy
from tfs_notebook.engine.saved_model.loader import load_saved_model
from tfs_notebook.engine.storage.remote import LocalDirectories
from tfs_notebook.errors import Code, ServingError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping
    from pathlib import Path

    from tfs_notebook.engine.config import ModelConfig
    from tfs_notebook.engine.lifecycle.registry import Registry
    from tfs_notebook.engine.models.servable import Servable

ALL = "all {}"
NO_RETRY = RetryPolicy(0)
UNAVAILABLE = "Request to assign label to version {} of model m, which is not currently available for inference"


@dataclass(frozen=True)
class Versions:
    """SavedModels of y = x / 2 + offset, each exported once a session."""

    root: Path

    def put(self, base: Path, number: int, offset: int | None = None) -> Path:
        """Put one at `base`/`number` in one rename; its offset is the number unless said otherwise."""
        offset = number if offset is None else offset
        source = self.root / str(offset)
        if not source.exists():
            saved_models.half_plus_two(source, offset=offset)
        copying = base / f".{number}.copying"
        shutil.copytree(source, copying)
        return copying.rename(base / str(number))

    def put_over(self, version: Path, offset: int) -> None:
        """Write another one over the files of `version`, one after the other, as `cp -r` does."""
        shutil.copytree(self.root / str(offset), version, dirs_exist_ok=True)


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Versions:
    versions = Versions(tmp_path_factory.mktemp("versions"))
    for offset in (1, 2, 3):
        saved_models.half_plus_two(versions.root / str(offset), offset=offset)
    return versions


@pytest.fixture
def base(tmp_path: Path) -> Path:
    base = tmp_path / "m"
    base.mkdir()
    return base


@contextlib.asynccontextmanager
async def serving(
    events: EventStream,
    *,
    load: Callable[[Path], Servable] = load_saved_model,
    retry_policy: RetryPolicy = NO_RETRY,
    poll_seconds: float = 0.02,
    settle_seconds: float = 0.0,
    allow: bool = False,
    resolve: Callable[[str], str] = str,
) -> AsyncIterator[ServerCore]:
    manager = Manager(load, events, retry_policy=retry_policy)
    core = ServerCore(manager, events, CoreOptions(poll_seconds, settle_seconds, allow), resolve=resolve)
    try:
        yield core
    finally:
        await core.close()


def entry(base: Path | str, policy: str = "", labels: Mapping[str, int] | None = None, name: str = "m") -> str:
    given = " ".join(f"version_labels {{ key: '{key}' value: {value} }}" for key, value in (labels or {}).items())
    return (
        f"config {{ name: '{name}' base_path: '{base}' model_platform: 'tensorflow' "
        f"model_version_policy {{ {policy} }} {given} }}"
    )


def config(*entries: str) -> Any:
    return parse_config(f"model_config_list {{ {' '.join(entries)} }}")


def ask(registry: Registry, model: str = "m", **spec: Any) -> float:
    """What x = 0 is answered: the offset of the version that answers."""
    loaded = registry.pin(model, **spec)
    try:
        signature = loaded.servable.signatures["serving_default"]
        (answer,) = loaded.servable.run(signature, {"x": np.zeros(1, np.float32)}, ["y"], 10.0)["y"].tolist()
        return float(answer)
    finally:
        loaded.release()


def offset(core: ServerCore, model: str = "m", **spec: Any) -> float | None:
    """The same, or None when nothing answers."""
    try:
        return ask(core.manager.registry, model, **spec)
    except ServingError:
        return None


def states(core: ServerCore, model: str = "m") -> dict[int, str]:
    return {version.number: version.state.name for version in core.manager.versions(model)}


async def refusal(applying: Any) -> ServingError:
    with pytest.raises(ServingError) as error:
        await applying
    return error.value


# Applying a configuration


async def test_models_are_served_when_apply_returns(versions: Versions, base: Path, events: EventStream) -> None:
    for number in (1, 2, 3):
        versions.put(base, number)
    async with serving(events) as core:
        await core.apply(config(entry(base), entry(base, "latest { num_versions: 2 }", name="two")))
        assert (offset(core), states(core)) == (3, {3: "AVAILABLE"})
        await until(lambda: states(core, "two") == {3: "AVAILABLE", 2: "AVAILABLE"})
        assert offset(core, "two", version=2) == 2
        assert [model.problems for model in core.status()] == [[], []]


@pytest.mark.parametrize(
    ("policy", "numbers"), [("", [3]), ("latest { num_versions: 2 }", [3, 2]), (ALL, [3, 2, 1]),
                            ("specific { versions: 1 versions: 3 }", [3, 1])],
)  # fmt: skip
async def test_policies(versions: Versions, base: Path, events: EventStream, policy: str, numbers: list[int]) -> None:
    for number in (1, 2, 3):
        versions.put(base, number)
    async with serving(events) as core:
        await core.apply(config(entry(base, policy)), patient=False)
        assert states(core) == dict.fromkeys(numbers, "AVAILABLE")


async def test_a_model_that_is_missing_unloads_a_new_one_loads_and_the_others_are_not_touched(
    versions: Versions, tmp_path: Path, events: EventStream
) -> None:
    for name in "abc":
        (tmp_path / name).mkdir()
        versions.put(tmp_path / name, 1)
    async with serving(events) as core:
        await core.apply(config(*(entry(tmp_path / name, name=name) for name in "ab")))
        before = core.manager.registry.serving["b"][1]
        await core.apply(config(*(entry(tmp_path / name, name=name) for name in "bc")))
        assert core.manager.registry.serving["b"][1] is before
        assert (offset(core, "b"), offset(core, "c")) == (1, 1)
        await until(lambda: states(core, "a") == {1: "END"})
        assert offset(core, "a") is None
        await core.apply(config())
        await until(lambda: core.manager.registry.serving == {})
        assert [(model.name, model.config, model.problems) for model in core.status()] == [
            (name, None, []) for name in "abc"
        ]
        await core.apply(config(entry(tmp_path / "a", name="a")))
        assert offset(core, "a") == 1


async def test_an_invalid_configuration_changes_nothing(
    versions: Versions, base: Path, events: EventStream, recorder: Recorder
) -> None:
    versions.put(base, 1)
    async with serving(events) as core:
        await core.apply(config(entry(base)))
        before = core.manager.registry.serving["m"][1]
        error = await refusal(core.apply(config(entry("relative", name="n"))))
        assert (error.code, list(core.configs)) == (Code.INVALID_ARGUMENT, ["m"])
        assert core.manager.registry.serving["m"][1] is before
        assert [event.error for event in recorder.of(Kind.CONFIG)] == [None, error]


async def test_an_empty_configuration_is_nothing_to_do(versions: Versions, base: Path, events: EventStream) -> None:
    versions.put(base, 1)
    async with serving(events) as core:
        await core.apply(parse_config(""))
        await core.apply(config(entry(base)))
        await core.apply(parse_config("# all of it commented out"))
        assert offset(core) == 1


@pytest.mark.parametrize("policy", ["specific {}", "specific { versions: 7 }"])
async def test_a_change_that_leaves_a_served_model_without_a_version_is_not_waited_for(
    versions: Versions, base: Path, events: EventStream, policy: str
) -> None:
    versions.put(base, 1)
    async with serving(events) as core:
        await core.apply(config(entry(base)))
        await core.apply(config(entry(base, policy)), timeout=PATIENCE)
        await until(lambda: states(core) == {1: "END"})
        assert core.model_status("m").problems


async def test_the_policy_of_a_served_model_changes(versions: Versions, base: Path, events: EventStream) -> None:
    for number in (1, 2):
        versions.put(base, number)
    async with serving(events) as core:
        await core.apply(config(entry(base)))
        await core.apply(config(entry(base, ALL)), patient=False)
        assert states(core) == {2: "AVAILABLE", 1: "AVAILABLE"}
        await core.apply(config(entry(base, "specific { versions: 1 }")))
        await until(lambda: states(core) == {2: "END", 1: "AVAILABLE"})
        assert offset(core) == 1


async def test_a_base_path_is_found_where_it_is_mounted(versions: Versions, base: Path, events: EventStream) -> None:
    versions.put(base, 1)
    async with serving(events, resolve=lambda path: path.replace("/models", str(base.parent))) as core:
        await core.apply(config(entry("/models/m/")))
        assert offset(core) == 1


async def test_another_base_path_under_the_same_number_is_loaded_only_afresh(
    versions: Versions, tmp_path: Path, events: EventStream
) -> None:
    for name, content in (("old", 1), ("new", 2)):
        (tmp_path / name).mkdir()
        versions.put(tmp_path / name, 1, content)
    async with serving(events) as core:
        await core.apply(config(entry(tmp_path / "old")))
        await core.apply(config(entry(tmp_path / "new")))
        assert offset(core) == 1
        await core.apply(config(entry(tmp_path / "new")), patient=False, afresh=True)
        assert offset(core) == 2


async def test_a_corrected_base_path_serves_at_once_what_failed_elsewhere(
    versions: Versions, tmp_path: Path, events: EventStream
) -> None:
    for name in ("wrong", "right"):
        (tmp_path / name).mkdir()
        versions.put(tmp_path / name, 1)
    saved_models.truncated_pb(tmp_path / "wrong" / "1")
    for retry_policy in (RetryPolicy(0), RetryPolicy(5, 3600)):
        async with serving(events, retry_policy=retry_policy) as core:
            await refusal(core.apply(config(entry(tmp_path / "wrong")), patient=False))
            await core.apply(config(entry(tmp_path / "right")))
            await until(lambda core=core: offset(core) == 1)


async def test_concurrent_configurations_end_with_the_last(
    versions: Versions, tmp_path: Path, events: EventStream
) -> None:
    names = "abcdef"
    for name in names:
        (tmp_path / name).mkdir()
        versions.put(tmp_path / name, 1)
    async with serving(events) as core:
        await asyncio.gather(*(core.apply(config(entry(tmp_path / name, name=name))) for name in names))
        assert list(core.configs) == ["f"]
        await until(lambda: list(core.manager.registry.serving) == ["f"])
        assert offset(core, "f") == 1


async def test_a_configuration_that_waits_does_not_hold_back_the_next(
    versions: Versions, base: Path, events: EventStream
) -> None:
    versions.put(base, 1)
    async with serving(events) as core:
        waiting = asyncio.ensure_future(core.apply(config(entry(base.parent / "missing", name="n"), entry(base))))
        await until(lambda: offset(core) == 1)
        await core.apply(config(entry(base)))
        assert not waiting.cancelled()
        await waiting  # what it waited for is no longer configured
        assert list(core.configs) == ["m"]


# What does not come up


async def test_a_model_that_fails_is_told_in_tensorflow_servings_words_and_the_others_serve(
    versions: Versions, tmp_path: Path, events: EventStream
) -> None:
    for name in "gb":
        (tmp_path / name).mkdir()
        versions.put(tmp_path / name, 7, 1)
    saved_models.truncated_pb(tmp_path / "b" / "7")
    async with serving(events) as core:
        error = await refusal(core.apply(config(*(entry(tmp_path / name, name=name) for name in "gb"))))
        assert error.code is Code.UNKNOWN
        start = "1 model(s) did not become available: {{{name: b version: 7} due to error: DATA_LOSS: "
        assert error.message.startswith(start)
        assert error.message.endswith(", }")
        assert offset(core, "g") == 1
        assert states(core, "b") == {7: "END"}
        assert [problem.code for problem in core.model_status("b").problems] == [Code.DATA_LOSS]


async def test_several_models_that_fail_are_all_told(tmp_path: Path, events: EventStream) -> None:
    async with serving(events) as core:
        error = await refusal(core.apply(config(*(entry(tmp_path / name, name=name) for name in "ba")), patient=False))
    missing = "NOT_FOUND: Could not find base path {0}/{1} for servable {1} with error No such file or directory"
    assert error.message == (
        "2 model(s) did not become available: "
        f"{{{{{{name: a}} due to error: {missing.format(tmp_path, 'a')}}}, "
        f"{{{{name: b}} due to error: {missing.format(tmp_path, 'b')}}}, }}"
    )


async def test_a_model_is_judged_by_its_highest_settled_version(
    versions: Versions, base: Path, events: EventStream
) -> None:
    for number in (1, 2):
        versions.put(base, number)
    saved_models.truncated_pb(base / "2")
    async with serving(events, retry_policy=RetryPolicy(5, 3600)) as core:
        await core.apply(config(entry(base, ALL)))  # 2 is still being tried
        assert offset(core) == 1
        assert core.why_unavailable("m") == ""
        await until(lambda: core.model_status("m").problems)
    async with serving(events) as core:
        with contextlib.suppress(ServingError):
            await core.apply(config(entry(base, ALL)))
        await until(lambda: states(core) == {2: "END", 1: "AVAILABLE"})
        assert "{name: m version: 2} due to error: DATA_LOSS" in core.why_unavailable("m")
        assert offset(core) == 1


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (saved_models.without_shard, "version 1: variables/variables.data-00000-of-00001 is missing"),
        (shutil.rmtree, "NOT_FOUND: No versions of servable m found under base path"),
        (lambda version: shutil.rmtree(version.parent), "NOT_FOUND: Could not find base path"),
    ],
    ids=["incomplete", "empty", "missing"],
)
async def test_a_model_without_a_version_is_waited_for_until_the_deadline(
    versions: Versions, base: Path, events: EventStream, damage: Callable[[Path], object], reason: str
) -> None:
    damage(versions.put(base, 1))
    async with serving(events) as core:
        error = await refusal(core.apply(config(entry(base)), timeout=0.15))
        assert reason in error.message
        assert list(core.configs) == ["m"]
        await core.apply(config(entry(base, ALL)))  # it is not new any more
        assert offset(core) is None
        waited = asyncio.ensure_future(core.apply(config(entry(base, ALL), entry(base, name="n"))))
        await asyncio.sleep(0.05)
        assert not waited.done()
        shutil.rmtree(base, ignore_errors=True)
        base.mkdir()
        versions.put(base, 1)
        await waited
        assert offset(core, "n") == 1
        await until(lambda: offset(core) == 1)


async def test_without_patience_an_empty_base_path_is_told_at_once(base: Path, events: EventStream) -> None:
    async with serving(events) as core:
        error = await refusal(core.apply(config(entry(base)), timeout=None, patient=False))
        assert "Did you forget to name your leaf directory as a number" in error.message


async def test_without_patience_the_first_failure_is_told_and_the_retries_go_on(
    versions: Versions, base: Path, events: EventStream
) -> None:
    fail = True

    def load(path: Path) -> Servable:
        if fail:
            raise MemoryError
        return load_saved_model(path)

    versions.put(base, 1)
    async with serving(events, load=load, retry_policy=RetryPolicy(1000, 0.01)) as core:
        error = await refusal(core.apply(config(entry(base)), timeout=None, patient=False))
        assert "{name: m version: 1} due to error: RESOURCE_EXHAUSTED" in error.message
        fail = False
        await until(lambda: offset(core) == 1)
        assert core.model_status("m").problems == []


async def test_a_load_that_takes_longer_than_the_caller_waits_goes_on(
    versions: Versions, base: Path, events: EventStream
) -> None:
    finish = threading.Event()

    def load(path: Path) -> Servable:
        assert finish.wait(PATIENCE)
        return load_saved_model(path)

    versions.put(base, 1)
    async with serving(events, load=load) as core:
        error = await refusal(core.apply(config(entry(base)), timeout=0.05))
        assert "{name: m} due to error: DEADLINE_EXCEEDED: still loading" in error.message
        finish.set()
        await until(lambda: offset(core) == 1)


@pytest.mark.parametrize("base_path", ["/no such/place", "/tmp/\\000", "gs://bucket/m"])
async def test_a_base_path_that_cannot_be_read_does_not_stop_the_others(
    versions: Versions, base: Path, events: EventStream, base_path: str
) -> None:
    async with serving(events) as core:
        await refusal(core.apply(config(entry(base_path, name="a"), entry(base)), patient=False))
        versions.put(base, 1)
        await until(lambda: offset(core) == 1)
        versions.put(base, 2)
        await until(lambda: offset(core) == 2)
        (problem,) = core.model_status("a").problems
        assert problem.code is Code.NOT_FOUND


# Load errors, in TensorFlow Serving's words


async def test_a_saved_model_that_disappears_before_it_is_loaded(
    versions: Versions, base: Path, events: EventStream
) -> None:
    def load(path: Path) -> Servable:
        (path / "saved_model.pb").unlink()
        return load_saved_model(path)

    version = versions.put(base, 1)
    async with serving(events, load=load) as core:
        error = await refusal(core.apply(config(entry(base))))
    assert error.message == (
        "1 model(s) did not become available: {{{name: m version: 1} due to error: NOT_FOUND: Specified file path "
        "does not appear to contain a SavedModel bundle (should have a file called `saved_model.pb`)\n"
        f"Specified file path: {version}}}, }}"
    )


# The disk changes


async def test_a_new_version_takes_over_and_a_deleted_one_gives_back(
    versions: Versions, base: Path, events: EventStream, recorder: Recorder
) -> None:
    versions.put(base, 1)
    async with serving(events) as core:
        await core.apply(config(entry(base)))
        versions.put(base, 2)
        await until(lambda: states(core) == {2: "AVAILABLE", 1: "END"})
        assert offset(core) == 2
        shutil.rmtree(base / "2")
        await until(lambda: states(core) == {2: "END", 1: "AVAILABLE"})
        assert offset(core) == 1
        ends = [(event.version, event.state.name) for event in recorder.of(Kind.VERSION, "m") if event.state]
        assert ends.index((2, "UNLOADING")) > len(ends) - 1 - ends[::-1].index((1, "AVAILABLE"))


async def test_a_renamed_version_is_pulled_and_a_renamed_back_one_returns(
    versions: Versions, base: Path, events: EventStream
) -> None:
    version = versions.put(base, 5, 1)
    async with serving(events) as core:
        await core.apply(config(entry(base)))
        version.rename(base / "5.denied")
        await until(lambda: states(core) == {5: "END"})
        assert core.model_status("m").problem is not None
        (base / "5.denied").rename(version)
        await until(lambda: offset(core) == 1)
        assert core.model_status("m").problem is None


async def test_an_emptied_base_path_unloads_everything_and_a_missing_one_nothing(
    versions: Versions, base: Path, events: EventStream
) -> None:
    for number in (1, 2):
        versions.put(base, number)
    async with serving(events) as core:
        await core.apply(config(entry(base, ALL)), patient=False)
        base.rename(base.with_name("away"))
        await until(lambda: core.model_status("m").problem)
        assert states(core) == {2: "AVAILABLE", 1: "AVAILABLE"}
        base.mkdir()
        await until(lambda: states(core) == {2: "END", 1: "END"})
        shutil.rmtree(base)
        base.with_name("away").rename(base)
        await until(lambda: states(core) == {2: "AVAILABLE", 1: "AVAILABLE"})


async def test_files_replaced_under_a_served_number_are_left_until_they_are_wanted_afresh(
    versions: Versions, base: Path, events: EventStream
) -> None:
    version = versions.put(base, 1)
    async with serving(events) as core:
        await core.apply(config(entry(base)))
        before = core.manager.registry.serving["m"][1]
        versions.put_over(version, 2)
        for _ in range(3):
            await core.poll()
        assert core.manager.registry.serving["m"][1] is before
        await afresh(core, config(entry(base)))
        assert offset(core) == 2
        await afresh(core, config(entry(base)))  # nothing changed since
        assert [call.attempts for call in core.manager.versions("m")] == [2]


async def test_a_half_copied_version_is_waited_for_while_the_old_one_serves(
    versions: Versions, base: Path, events: EventStream, recorder: Recorder
) -> None:
    versions.put(base, 1)
    async with serving(events) as core:
        await core.apply(config(entry(base)))
        for name in ("saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"):
            assert core.model_status("m").waiting == {} or offset(core) == 1
            (base / "2" / name).parent.mkdir(parents=True, exist_ok=True)
            if name == "saved_model.pb":
                await until(lambda: core.model_status("m").waiting == {2: "saved_model.pb is missing"})
            shutil.copy(versions.root / "2" / name, base / "2" / name)
            await core.poll()
        await until(lambda: offset(core) == 2)
        assert recorder.states("m", 2) == ["START", "LOADING", "AVAILABLE"]
        assert core.model_status("m").waiting == {}


@pytest.mark.parametrize("apply", [{}, {"patient": False, "afresh": True}], ids=["reload", "afresh"])
async def test_what_serves_stays_until_a_version_of_another_base_path_does(
    versions: Versions, tmp_path: Path, events: EventStream, apply: dict[str, bool]
) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    for directory in (old, new):
        directory.mkdir()
    versions.put(old, 1)
    half = new / "2"
    half.mkdir()
    async with serving(events, settle_seconds=0.3) as core:
        await core.apply(config(entry(old)))
        with contextlib.suppress(ServingError):
            await core.apply(config(entry(new)), **apply)
        assert offset(core) == 1
        assert [problem.message for problem in core.model_status("m").problems] == [
            "Version 2 of model m is not taken up yet: saved_model.pb is missing",
            f"Model m answers as before, by version 1 ({old / '1'}), until one in {new} serves",
        ]
        versions.put_over(half, 2)
        while (answer := offset(core)) != 2:
            assert answer == 1
            await asyncio.sleep(0.001)
        await until(lambda: core.model_status("m").problems == [] and states(core)[1] == "END")


async def test_files_must_have_been_left_alone_for_a_while(
    versions: Versions, base: Path, events: EventStream, recorder: Recorder
) -> None:
    loop = asyncio.get_running_loop()
    async with serving(events, settle_seconds=0.3, poll_seconds=3600) as core:
        versions.put(base, 1)
        started = loop.time()
        await core.apply(config(entry(base)), patient=False)  # not even without patience is it told as a failure
        assert 0.25 < loop.time() - started < 20
        assert offset(core) == 1


async def test_without_a_poll_period_the_disk_is_looked_at_only_with_a_configuration(
    versions: Versions, base: Path, events: EventStream
) -> None:
    versions.put(base, 1)
    async with serving(events, poll_seconds=0) as core:
        await core.apply(config(entry(base)))
        versions.put(base, 2)
        await asyncio.sleep(0.1)
        assert states(core) == {1: "AVAILABLE"}
        await core.apply(config(entry(base)))
        await until(lambda: offset(core) == 2)


@pytest.mark.parametrize("retry_policy", [RetryPolicy(0), RetryPolicy(5, 3600)], ids=["ended", "pausing"])
async def test_a_broken_version_leaves_the_old_one_and_is_taken_up_when_it_is_repaired(
    versions: Versions, base: Path, events: EventStream, retry_policy: RetryPolicy
) -> None:
    versions.put(base, 1)
    async with serving(events, retry_policy=retry_policy) as core:
        await core.apply(config(entry(base)))
        version = versions.put(base, 2)
        good = (version / "saved_model.pb").read_bytes()
        shutil.rmtree(version)
        broken = versions.put(base.parent, 2)
        saved_models.truncated_pb(broken)
        broken.rename(version)
        await until(lambda: core.manager.failed("m"))
        assert offset(core) == 1
        for _ in range(3):
            await core.poll()
        assert core.manager.versions("m")[0].attempts == 1
        (version / "saved_model.pb").write_bytes(good)
        await until(lambda: offset(core) == 2)
        await until(lambda: states(core) == {2: "AVAILABLE", 1: "END"})
        assert core.model_status("m").problems == []


async def test_a_failed_version_is_not_tried_again_while_its_files_are_being_replaced(
    versions: Versions, base: Path, events: EventStream
) -> None:
    attempts = []

    def load(path: Path) -> Servable:
        attempts.append(sorted(file.name for file in trees.files(path)))
        return load_saved_model(path)

    version = versions.put(base, 1)
    saved_models.truncated_pb(version)
    async with serving(events, load=load) as core:
        await refusal(core.apply(config(entry(base))))
        shutil.rmtree(version / "variables")
        (version / "saved_model.pb").unlink()
        shutil.copy(versions.root / "1" / "saved_model.pb", version)
        await until(lambda: core.model_status("m").waiting)
        assert len(attempts) == 1
        shutil.copytree(versions.root / "1" / "variables", version / "variables.new")
        (version / "variables.new").rename(version / "variables")
        await until(lambda: offset(core) == 1)
        assert len(attempts) == 2


async def test_a_disk_that_does_not_answer_holds_back_only_its_own_model(
    versions: Versions, base: Path, events: EventStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tfs_notebook.engine.storage import scan

    answer, names_in = threading.Event(), scan.names_in
    monkeypatch.setattr(scan, "names_in", lambda at: ("hung" not in str(at) or answer.wait(PATIENCE)) and names_in(at))
    versions.put(base, 1)
    loop = asyncio.get_running_loop()
    async with serving(events) as core:
        started = loop.time()
        error = await refusal(core.apply(config(entry(base), entry(base.parent / "hung", name="h")), timeout=0.3))
        assert f"{{name: h}} due to error: DEADLINE_EXCEEDED: {base.parent}/hung has not answered yet" in error.message
        assert offset(core) == 1
        versions.put(base, 2)
        await until(lambda: offset(core) == 2)
        for _ in range(40):  # however often it is asked for, a look that hangs takes one thread
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(core.poll(), 0.001)
        await core.apply(config(entry(base, ALL)), patient=False)
        assert states(core) == {2: "AVAILABLE", 1: "AVAILABLE"}
        assert loop.time() - started < 25
        answer.set()


async def test_a_retrying_load_delays_no_other_model_and_no_other_version(
    versions: Versions, tmp_path: Path, events: EventStream
) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
    saved_models.truncated_pb(versions.put(tmp_path / "a", 2))
    async with serving(events, retry_policy=RetryPolicy(5, 3600)) as core:
        both = config(entry(tmp_path / "a", ALL, name="a"), entry(tmp_path / "b", name="b"))
        applied = asyncio.ensure_future(core.apply(both))
        await until(lambda: core.manager.failed("a"))
        versions.put(tmp_path / "a", 1)
        versions.put(tmp_path / "b", 1)
        await applied
        assert (offset(core, "a"), offset(core, "b")) == (1, 1)
        assert states(core, "a") == {2: "LOADING", 1: "AVAILABLE"}


async def test_a_look_at_the_disk_that_goes_wrong_is_told_and_not_the_last(
    versions: Versions, base: Path, events: EventStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tfs_notebook.engine.storage import scan

    broken, names_in = False, scan.names_in

    def look(path: Path | str) -> frozenset[str]:
        if broken and str(path) == str(base):
            raise RuntimeError("unheard of")
        return names_in(path)

    monkeypatch.setattr(scan, "names_in", look)
    versions.put(base, 1)
    async with serving(events) as core:
        await core.apply(config(entry(base)))
        broken = True
        await until(lambda: core.model_status("m").problem)
        assert "unheard of" in core.model_status("m").problems[0].message
        assert offset(core) == 1
        broken = False
        versions.put(base, 2)
        await until(lambda: offset(core) == 2)
        assert core.model_status("m").problems == []


async def test_what_stands_in_a_base_path_is_told_when_it_changes_and_only_then(
    versions: Versions, base: Path, events: EventStream, recorder: Recorder
) -> None:
    def told() -> list[Code | None]:
        return [event.error and event.error.code for event in recorder.of(Kind.STORAGE, "m")]

    async with serving(events) as core:
        await refusal(core.apply(config(entry(base)), patient=False))
        for _ in range(5):
            await core.poll()
        assert told() == [Code.NOT_FOUND]
        versions.put(base, 1)
        await until(lambda: offset(core) == 1)
        for _ in range(5):
            await core.poll()
        assert told() == [Code.NOT_FOUND, None]


# Afresh


async def afresh(core: ServerCore, config: Any) -> None:
    """What running `%tfs_serve` again does; what cannot be done is in the status."""
    with contextlib.suppress(ServingError):
        await core.apply(config, patient=False, afresh=True)


async def test_a_version_is_exchanged_without_an_unanswered_request(
    versions: Versions, base: Path, events: EventStream, recorder: Recorder
) -> None:
    version = versions.put(base, 1)
    stop = threading.Event()
    answers: list[set[float]] = [set(), set()]
    failures: list[BaseException] = []

    async with serving(events) as core:
        await core.apply(config(entry(base)))

        def requests(answers: set[float]) -> None:
            while not stop.is_set():
                try:
                    answers.add(ask(core.manager.registry))
                except BaseException as error:
                    failures.append(error)
                    return

        threads = [threading.Thread(target=requests, args=(seen,)) for seen in answers]
        for thread in threads:
            thread.start()
        for offset_ in (2, 3, 1, 2):
            versions.put_over(version, offset_)
            await afresh(core, config(entry(base)))
            assert offset(core) == offset_
        stop.set()
        for thread in threads:
            thread.join()
    assert failures == []
    assert all(seen <= {1.0, 2.0, 3.0} for seen in answers)
    assert len(recorder.of(Kind.REPLACED, "m")) == 4
    assert recorder.states("m", 1) == ["START", "LOADING", "AVAILABLE", "UNLOADING", "END"]


@pytest.mark.parametrize(
    ("damage", "code", "reason"),
    [
        (saved_models.truncated_pb, Code.DATA_LOSS, "saved_model.pb"),
        (saved_models.without_index, Code.UNAVAILABLE, "variables/variables.index is missing"),
    ],
)
async def test_broken_files_under_a_served_number_keep_what_serves_and_are_told_until_they_are_mended(
    versions: Versions, base: Path, events: EventStream, damage: Callable[[Path], object], code: Code, reason: str
) -> None:
    other = base.parent / "other"
    other.mkdir()
    version = versions.put(base, 1)
    good = versions.put(other, 1)
    both = config(entry(base), entry(other, name="other"))
    async with serving(events) as core:
        await core.apply(both)
        damage(version)
        versions.put_over(good, 2)
        for _ in range(2):
            await afresh(core, both)
            (problem,) = core.model_status("m").problems
            assert problem.code is code
            assert problem.message.startswith(f"Version 1 of model m is still the copy loaded from {version}; ")
            assert reason in problem.message
        assert (offset(core), offset(core, "other")) == (1, 2)
        versions.put_over(version, 3)
        await afresh(core, both)
        assert offset(core) == 3
        assert core.model_status("m").problems == []


async def test_another_way_to_load_exchanges_everything(
    versions: Versions, base: Path, events: EventStream, recorder: Recorder
) -> None:
    versions.put(base, 1)
    async with serving(events) as core:
        await core.apply(config(entry(base)))
        core.manager.load = lambda path: load_saved_model(path)  # noqa: PLW0108 - another one
        await afresh(core, config(entry(base)))
        assert len(recorder.of(Kind.REPLACED, "m")) == 1


async def test_failed_versions_are_tried_again_and_awaited(versions: Versions, base: Path, events: EventStream) -> None:
    attempts, fail = [], True

    def load(path: Path) -> Servable:
        attempts.append(path)
        if fail:
            raise MemoryError
        return load_saved_model(path)

    versions.put(base, 1)
    async with serving(events, load=load) as core:
        await afresh(core, config(entry(base)))
        assert len(attempts) == 1, "what fails now is not tried again at once"
        assert [problem.code for problem in core.model_status("m").problems] == [Code.RESOURCE_EXHAUSTED]
        fail = False
        await afresh(core, config(entry(base)))
        assert offset(core) == 1
        assert core.model_status("m").problems == []


async def test_another_mount_is_a_change_that_is_awaited(versions: Versions, base: Path, events: EventStream) -> None:
    versions.put(base, 1)
    async with serving(events, resolve=lambda path: path.replace("/models", "/nowhere")) as core:
        served = config(entry("/models/m", labels={"stable": 1}))
        await refusal(core.apply(served, patient=False))
        core.resolve = lambda path: path.replace("/models", str(base.parent))
        await core.apply(served, patient=False)
        assert offset(core, label="stable") == 1
        assert core.model_status("m").problems == []


async def test_a_version_that_is_exchanged_while_it_is_loaded_is_loaded_again(
    versions: Versions, base: Path, events: EventStream
) -> None:
    """What was read before and after may be of two versions."""
    loaded: list[Servable] = []

    def load(path: Path) -> Servable:
        loaded.append(load_saved_model(path))
        if len(loaded) == 1:
            shutil.rmtree(path)
            versions.put(base, 1, 2)
        return loaded[-1]

    versions.put(base, 1)
    async with serving(events, load=load) as core:
        await core.apply(config(entry(base)))
        assert (offset(core), len(loaded)) == (2, 2)


async def test_a_version_whose_files_never_rest_is_not_served(
    versions: Versions, base: Path, events: EventStream
) -> None:
    def load(path: Path) -> Servable:
        (path / "assets.extra").mkdir(exist_ok=True)
        (path / "assets.extra" / str(len(list((path / "assets.extra").iterdir())))).touch()
        return load_saved_model(path)

    versions.put(base, 1)
    async with serving(events, load=load) as core:
        error = await refusal(core.apply(config(entry(base))))
        assert "changed while they were loaded" in error.message


# Labels


async def test_labels_given_with_their_versions_are_in_force_when_apply_returns(
    versions: Versions, base: Path, events: EventStream, recorder: Recorder
) -> None:
    for number in (1, 2):
        versions.put(base, number)
    async with serving(events) as core:
        await core.apply(config(entry(base, ALL, {"stable": 1, "canary": 2})))
        assert (offset(core, label="stable"), offset(core, label="canary")) == (1, 2)
        assert core.model_status("m").labels == {"stable": 1, "canary": 2}
        assert len(recorder.of(Kind.LABELS, "m")) == 2


async def test_a_label_of_a_version_that_is_not_there_is_refused_alone_and_comes_into_force_with_it(
    versions: Versions, base: Path, events: EventStream
) -> None:
    versions.put(base, 1)
    async with serving(events) as core:
        error = await refusal(core.apply(config(entry(base, ALL, {"stable": 1, "canary": 2}))))
        assert (error.code, error.message) == (Code.FAILED_PRECONDITION, UNAVAILABLE.format(2))
        assert offset(core) == 1
        assert core.model_status("m").labels == {"stable": 1}
        assert [problem.message for problem in core.model_status("m").problems] == [error.message]
        versions.put(base, 2)
        await until(lambda: offset(core, label="canary") == 2)
        assert offset(core, label="stable") == 1
        assert core.model_status("m").problems == []


async def test_a_configuration_that_is_refused_because_of_a_label_changes_nothing(
    versions: Versions, base: Path, events: EventStream, recorder: Recorder
) -> None:
    for number in (1, 2):
        versions.put(base, number)
    async with serving(events) as core:
        policy = "specific { versions: 1 }"
        await core.apply(config(entry(base, policy, {"x": 1}), entry(base, policy, {"y": 1}, name="n")))
        serving_before, labels = dict(core.manager.registry.serving), core.manager.registry.labels
        configs, begun = core.configs, len(recorder.events)
        refused = config(entry(base, ALL, {"x": 2, "z": 7}), entry(base, name="new"))
        for _ in range(2):
            assert (await refusal(core.apply(refused))).message == UNAVAILABLE.format(7)
        await core.poll()
        assert (core.configs, core.manager.registry.labels) == (configs, labels)
        assert dict(core.manager.registry.serving) == serving_before
        assert [event.kind for event in recorder.events[begun:]] == [Kind.CONFIG] * 2, "nothing was loaded or unloaded"
        assert core.config_problem is not None
        await core.apply(config(entry(base, ALL, {"x": 2}), entry(base, name="new")))
        assert (offset(core, label="x"), offset(core, "new"), core.config_problem) == (2, 2, None)


async def test_what_was_loaded_for_labels_that_are_refused_goes_and_all_else_stays(
    versions: Versions, base: Path, events: EventStream, recorder: Recorder
) -> None:
    for number in (1, 2, 3):
        versions.put(base, number)
    saved_models.truncated_pb(base / "3")
    async with serving(events) as core:
        only = "specific { versions: 1 }"
        await core.apply(config(entry(base, only, {"x": 1}), entry(base, only, name="n")))
        again = config(entry(base, "specific { versions: 2 versions: 3 }", {"x": 2, "z": 3}))
        assert (await refusal(core.apply(again))).message == UNAVAILABLE.format(3)
        await until(lambda: states(core) == {3: "END", 2: "END", 1: "AVAILABLE"})
        assert core.manager.registry.labels == {"m": {"x": 1}}
        assert recorder.states("m", 1) == recorder.states("n", 1) == ["START", "LOADING", "AVAILABLE"]


async def test_until_the_versions_of_labels_serve_the_configuration_before_is_in_force(
    versions: Versions, base: Path, events: EventStream
) -> None:
    finish = threading.Event()

    def load(path: Path) -> Servable:
        assert path.name != "2" or finish.wait(PATIENCE)
        return load_saved_model(path)

    versions.put(base, 1)
    versions.put(base, 2)
    only = "specific {{ versions: {} }}"
    async with serving(events, load=load) as core:
        await core.apply(config(entry(base, only.format(1), {"x": 1}), entry(base, only.format(1), name="n")))
        error = await refusal(core.apply(config(entry(base, only.format(2), {"x": 2})), timeout=0.1))
        assert error.code is Code.DEADLINE_EXCEEDED
        assert (offset(core, label="x"), offset(core, "n"), list(core.configs)) == (1, 1, ["m", "n"])
        finish.set()
        await until(lambda: offset(core, label="x") == 2)
        await until(lambda: (states(core), states(core, "n")) == ({2: "AVAILABLE", 1: "END"}, {1: "END"}))
        assert core.config_problem is None


@pytest.mark.parametrize("is_broken", [False, True])
@pytest.mark.parametrize(("policy", "meanwhile"), [("specific { versions: 1 }", None), (ALL, 2)])
async def test_what_is_loaded_for_labels_answers_nobody_before_the_configuration_is_in_force(
    versions: Versions, base: Path, events: EventStream, policy: str, meanwhile: int | None, is_broken: bool
) -> None:
    finish = threading.Event()

    def load(path: Path) -> Servable:
        assert path.name != "3" or finish.wait(PATIENCE)
        return load_saved_model(path)

    versions.put(base, 1)
    async with serving(events, load=load) as core:
        await core.apply(config(entry(base, policy, {"x": 1})))
        for number in (2, 3):
            versions.put(base, number)
        if is_broken:
            saved_models.truncated_pb(base / "3")
        applying = asyncio.ensure_future(core.apply(config(entry(base, ALL, {"x": 2, "z": 3}))))
        await until(lambda: core.manager.waiting("m") == {2} or offset(core, version=2) == 2)
        assert (offset(core, version=2), offset(core)) == (meanwhile, meanwhile or 1), "only what is in force counts"
        assert offset(core, label="x") == 1
        assert states(core)[3] == "LOADING"
        finish.set()
        if is_broken:
            assert (await refusal(applying)).message == UNAVAILABLE.format(3)
            await until(lambda: states(core)[2] == ("AVAILABLE" if meanwhile else "END"))
            assert (offset(core, version=2), offset(core, label="x")) == (meanwhile, 1)
        else:
            await applying
            assert (offset(core, version=2), offset(core), offset(core, label="x")) == (2, 3, 2)


async def test_versions_on_trial_answer_nobody_when_another_configuration_comes(
    versions: Versions, base: Path, events: EventStream
) -> None:
    """Those of the one that was given up go, also beside those of the next."""
    finish = threading.Event()

    def load(path: Path) -> Servable:
        assert path.name not in {"3", "4"} or finish.wait(PATIENCE)
        return load_saved_model(path)

    for number in (1, 2, 3, 4):
        versions.put(base, number)
    async with serving(events, load=load) as core:
        await core.apply(config(entry(base, "specific { versions: 1 }")))
        waiting = asyncio.ensure_future(core.apply(config(entry(base, ALL, {"x": 2, "z": 3}))))
        await until(lambda: core.manager.waiting("m") == {2})
        last = "specific { versions: 1 versions: 4 }"
        applying = asyncio.ensure_future(core.apply(config(entry(base, last, {"x": 4}))))
        assert (await refusal(waiting)).code is Code.ABORTED
        await until(lambda: states(core)[2] == "END")
        assert (offset(core, version=2), offset(core)) == (None, 1)
        finish.set()
        await applying
        assert (offset(core, version=2), offset(core)) == (None, 4)


class Failing(LocalDirectories):
    """A fetcher with a fault that nobody has thought of."""

    fails = False

    def want(self, models: Iterable[ModelConfig]) -> None:
        if self.fails:
            self.fails = False
            raise RuntimeError("a fault")


async def test_whoever_waits_for_labels_is_answered_though_something_unforeseen_goes_wrong(
    versions: Versions, base: Path, events: EventStream, caplog: pytest.LogCaptureFixture
) -> None:
    fetcher, finish = Failing(), threading.Event()

    def load(path: Path) -> Servable:
        assert path.name != "2" or finish.wait(PATIENCE)
        return load_saved_model(path)

    for number in (1, 2):
        versions.put(base, number)
    async with serving(events, load=load) as core:
        core.fetcher = fetcher
        before = config(entry(base, "specific { versions: 1 }", {"x": 1}))
        await core.apply(before)
        configs = core.configs
        applying = asyncio.ensure_future(core.apply(config(entry(base, ALL, {"x": 2})), timeout=None))
        await until(lambda: states(core) == {2: "LOADING", 1: "AVAILABLE"})
        fetcher.fails = True
        finish.set()
        error = await refusal(applying)
        assert (error.code, error.message) == (
            Code.INTERNAL,
            "The configuration could not be applied: RuntimeError('a fault')",
        )
        assert "Traceback" in caplog.text
        await until(lambda: states(core) == {2: "END", 1: "AVAILABLE"})
        assert (core.configs, core.config_problem, offset(core, label="x")) == (configs, error, 1)

        waiting = asyncio.ensure_future(core.apply(config(entry(base, ALL, {"x": 7})), timeout=None))
        await asyncio.sleep(0)  # it has begun
        fetcher.fails = True
        with pytest.raises(RuntimeError):
            await core.apply(before)
        assert (await refusal(waiting)).code is Code.ABORTED
        await core.apply(config(entry(base, ALL, {"x": 2})))
        assert offset(core, label="x") == 2


@pytest.mark.parametrize("later", ["of-labels-that-wait-too", "that-comes-into-force-at-once"])
async def test_a_configuration_that_waits_for_its_labels_is_given_up_for_a_later_one(
    versions: Versions, base: Path, events: EventStream, later: str
) -> None:
    finish = threading.Event()

    def load(path: Path) -> Servable:
        assert path.name == "1" or finish.wait(PATIENCE)
        return load_saved_model(path)

    for number in (1, 2, 3):
        versions.put(base, number)
    async with serving(events, load=load) as core:
        await core.apply(config(entry(base, "specific { versions: 1 }", {"x": 1})))
        waiting = asyncio.ensure_future(core.apply(config(entry(base, ALL, {"x": 2}), entry(base, name="n"))))
        await until(lambda: states(core) == {2: "LOADING", 1: "AVAILABLE"})
        waits_too = later.startswith("of")
        fields = {"x": 3} if waits_too else {"x": 1}
        last = config(entry(base, "specific { versions: 1 versions: 3 }", fields))
        applying = asyncio.ensure_future(core.apply(last))
        assert (await refusal(waiting)).code is Code.ABORTED
        finish.set()
        await applying
        assert (offset(core, label="x"), offset(core, "n")) == (3 if waits_too else 1, None)
        await until(lambda: states(core) == {3: "AVAILABLE", 2: "END", 1: "AVAILABLE"})


async def test_labels_missing_from_a_new_configuration_vanish(
    versions: Versions, base: Path, events: EventStream
) -> None:
    versions.put(base, 1)
    async with serving(events) as core:
        await core.apply(config(entry(base, labels={"x": 1, "y": 1}), entry(base, labels={"x": 1}, name="n")))
        await core.apply(config(entry(base, labels={"x": 1}), entry(base, name="n")))
        assert core.manager.registry.labels == {"m": {"x": 1}}
        await core.apply(config(entry(base, name="n")))
        assert core.manager.registry.labels == {}


async def test_a_label_moves_before_its_old_version_goes(versions: Versions, base: Path, events: EventStream) -> None:
    """Requests by label are answered all the time while latest moves on and the label with it."""
    versions.put(base, 1)
    stop, failures, answers = threading.Event(), [], set()
    async with serving(events) as core:
        await core.apply(config(entry(base, labels={"stable": 1})))

        def requests() -> None:
            while not stop.is_set():
                try:
                    answers.add(ask(core.manager.registry, label="stable"))
                except BaseException as error:
                    failures.append(error)

        thread = threading.Thread(target=requests)
        thread.start()
        for number in (2, 3):
            versions.put(base, number)
            await core.apply(config(entry(base, labels={"stable": number})))
            await until(lambda number=number: states(core)[number - 1] == "END")
        await until(lambda: 3.0 in answers)
        stop.set()
        thread.join()
    assert failures == []
    assert {1.0, 3.0} <= answers


@pytest.mark.parametrize("slow", [2, 3])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            ("versions: 1 versions: 2", {"stable": 1, "canary": 2}),
            ("versions: 2 versions: 3", {"stable": 2, "canary": 3}),
        ),
        (("versions: 1", {"stable": 1}), ("versions: 2 versions: 3", {"stable": 2})),
        (("versions: 1", {"stable": 1, "canary": 1}), ("versions: 2 versions: 3", {"stable": 2, "canary": 3})),
    ],
    ids=["promotion", "two-new", "both-move"],
)
async def test_no_request_by_label_is_lost_while_labels_and_versions_move_together(
    versions: Versions, base: Path, events: EventStream, before: Any, after: Any, slow: int
) -> None:
    finish = threading.Event()

    def load(path: Path) -> Servable:
        if path.name == str(slow) and begun:
            assert finish.wait(PATIENCE)
        return load_saved_model(path)

    for number in (1, 2, 3):
        versions.put(base, number)
    begun = False
    async with serving(events, load=load) as core:
        await core.apply(config(entry(base, f"specific {{ {before[0]} }}", before[1])))
        await until(lambda: all(offset(core, label=label) == number for label, number in before[1].items()))
        begun = True
        stop, failures = threading.Event(), []

        def requests() -> None:
            while not stop.is_set():
                for label in before[1]:
                    try:
                        ask(core.manager.registry, label=label)
                    except BaseException as error:
                        failures.append(error)

        thread = threading.Thread(target=requests)
        thread.start()
        applying = asyncio.ensure_future(core.apply(config(entry(base, f"specific {{ {after[0]} }}", after[1]))))
        await asyncio.sleep(0.2)  # time for what must not happen
        finish.set()
        await applying
        assert core.model_status("m").labels == after[1]
        await until(lambda: states(core)[1] == "END")
        stop.set()
        thread.join()
    assert failures == []


async def test_a_label_stays_where_it_is_when_its_new_version_is_broken(
    versions: Versions, base: Path, events: EventStream
) -> None:
    for number in (1, 2, 3):
        versions.put(base, number)
    saved_models.truncated_pb(base / "3")
    async with serving(events) as core:
        policy = "specific {{ versions: {} versions: {} }}"
        await core.apply(config(entry(base, policy.format(1, 2), {"stable": 1, "canary": 2})))
        error = await refusal(core.apply(config(entry(base, policy.format(2, 3), {"stable": 3, "canary": 2}))))
        assert error.message == UNAVAILABLE.format(3)
        for _ in range(3):
            await core.poll()
        assert (offset(core, label="stable"), offset(core, label="canary")) == (1, 2)
        await core.apply(config(entry(base, policy.format(2, 3), {"canary": 2})))
        await until(lambda: states(core)[1] == "END")


async def test_a_label_set_with_a_version_that_is_still_settling_waits_for_it(
    versions: Versions, base: Path, events: EventStream
) -> None:
    versions.put(base, 1)
    async with serving(events, settle_seconds=0.3) as core:
        await core.apply(config(entry(base, ALL)))
        versions.put(base, 2)
        await core.apply(config(entry(base, ALL, {"canary": 2})))
        assert offset(core, label="canary") == 2


async def test_labels_move_though_the_caller_gave_up_waiting_for_another_model(
    versions: Versions, base: Path, events: EventStream
) -> None:
    for number in (1, 2):
        versions.put(base, number)
    async with serving(events) as core:
        await core.apply(config(entry(base, ALL, {"stable": 1})))
        moved = config(entry(base, ALL, {"stable": 2}), entry(base.parent / "missing", name="n"))
        applying = asyncio.ensure_future(core.apply(moved))
        await until(lambda: offset(core, label="stable") == 2)
        applying.cancel()


async def test_a_label_outlives_its_version(versions: Versions, base: Path, events: EventStream) -> None:
    versions.put(base, 1)
    async with serving(events) as core:
        await core.apply(config(entry(base, labels={"stable": 1})))
        versions.put(base, 2)
        await until(lambda: states(core) == {2: "AVAILABLE", 1: "END"})
        with pytest.raises(ServingError) as error:
            core.manager.registry.pin("m", label="stable")
        assert error.value.message == "Servable not found for request: Specific(m, 1)"


async def test_with_the_flag_new_labels_may_name_versions_that_are_not_there(
    versions: Versions, base: Path, events: EventStream
) -> None:
    for number in (1, 2):
        versions.put(base, number)
    async with serving(events, allow=True) as core:
        await core.apply(config(entry(base, labels={"future": 9})))
        assert core.model_status("m").labels == {"future": 9}
        await core.apply(config(entry(base, labels={"future": 9, "now": 2})))
        assert core.model_status("m").labels == {"future": 9, "now": 2}
        error = await refusal(core.apply(config(entry(base, labels={"future": 8, "now": 2}))))
        assert error.message == UNAVAILABLE.format(8)
        assert core.model_status("m").labels == {"future": 9, "now": 2}
        await core.apply(config(entry(base, labels={"future": 2, "now": 2})))
        assert offset(core, label="future") == 2


async def test_with_the_flag_a_label_is_in_force_while_its_version_is_still_awaited(
    base: Path, events: EventStream
) -> None:
    async with serving(events, allow=True) as core:
        applying = asyncio.ensure_future(core.apply(config(entry(base, labels={"stable": 1}))))
        await until(lambda: core.model_status("m").labels == {"stable": 1})
        assert not applying.done()
        with pytest.raises(ServingError, match=r"Specific\(m, 1\)"):
            core.manager.registry.pin("m", label="stable")
        applying.cancel()


# The end


async def test_close_while_models_load_and_configurations_wait(
    versions: Versions, base: Path, events: EventStream
) -> None:
    finish, begun = threading.Event(), threading.Event()

    def load(path: Path) -> Servable:
        begun.set()
        assert finish.wait(PATIENCE)
        return load_saved_model(path)

    versions.put(base, 1)
    async with serving(events, load=load) as core:
        applying = asyncio.ensure_future(core.apply(config(entry(base), entry(base.parent / "no", name="n"))))
        await until(begun.is_set)
        closing = asyncio.ensure_future(core.close())
        await asyncio.sleep(0.01)
        assert not closing.done()
        finish.set()
        await closing
        await refusal(asyncio.wait_for(applying, 5))
        assert states(core) == {1: "END"}
        assert core.manager.registry.serving == {}


async def test_a_configuration_that_waits_for_its_labels_hears_of_the_end(
    versions: Versions, base: Path, events: EventStream
) -> None:
    finish = threading.Event()

    def load(path: Path) -> Servable:
        assert path.name == "1" or finish.wait(PATIENCE)
        return load_saved_model(path)

    for number in (1, 2):
        versions.put(base, number)
    async with serving(events, load=load) as core:
        await core.apply(config(entry(base, "specific { versions: 1 }")))
        waiting = asyncio.ensure_future(core.apply(config(entry(base, ALL, {"x": 2}))))
        await until(lambda: states(core) == {2: "LOADING", 1: "AVAILABLE"})
        closing = asyncio.ensure_future(core.close())
        assert (await refusal(waiting)).message == "The server has been stopped"
        finish.set()
        await closing
        assert states(core) == {2: "END", 1: "END"}


async def test_after_close_nothing_is_polled(versions: Versions, base: Path, events: EventStream) -> None:
    versions.put(base, 1)
    async with serving(events) as core:
        await core.apply(config(entry(base)))
        await core.close()
        versions.put(base, 2)
        await asyncio.sleep(0.1)
        assert states(core) == {1: "END"}
