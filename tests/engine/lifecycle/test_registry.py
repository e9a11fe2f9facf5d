from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from tests.engine.parts import Part
from tests.support.serving import PATIENCE
from tfs_notebook.engine.lifecycle.registry import Registry
from tfs_notebook.engine.models.servable import Loaded
from tfs_notebook.errors import Code, ServingError


def loaded(model: str, version: int) -> Loaded:
    return Loaded(model, version, Part(Path(f"/{model}/{version}")))


def serving(*versions: tuple[str, int]) -> Registry:
    registry = Registry()
    for model, version in versions:
        registry.publish(loaded(model, version))
    return registry


def test_without_a_version_the_highest_number_answers() -> None:
    registry = serving(("m", 9), ("m", 10), ("m", -1), ("n", 99))
    assert registry.pin("m").version == 10
    registry.withdraw("m", 10)
    assert registry.pin("m").version == 9
    assert list(registry.serving["m"]) == [9, -1]


def test_a_version_or_a_label_answers_by_itself() -> None:
    registry = serving(("m", 1), ("m", 2))
    registry.set_labels({"m": {"stable": 1, "same": 1, "canary": 2}})
    assert [registry.pin("m", 1).version, registry.pin("m", 2).version] == [1, 2]
    assert [registry.pin("m", label=label).version for label in ("stable", "same", "canary")] == [1, 1, 2]


@pytest.mark.parametrize(
    ("spec", "code", "message"),
    [
        (("",), Code.INVALID_ARGUMENT, "ModelSpec has no name specified."),
        (("",  1), Code.INVALID_ARGUMENT, "ModelSpec has no name specified."),
        (("n",), Code.NOT_FOUND, "Servable not found for request: Latest(n)"),
        (("n", 1), Code.NOT_FOUND, "Servable not found for request: Specific(n, 1)"),
        (("m", 0), Code.NOT_FOUND, "Servable not found for request: Specific(m, 0)"),
        (("m", None, "beta"), Code.INVALID_ARGUMENT, "Unrecognized servable version label: beta"),
        (("n", None, "stable"), Code.INVALID_ARGUMENT, "Unrecognized servable version label: stable"),
        (("m", None, ""), Code.INVALID_ARGUMENT, "Unrecognized servable version label: "),
        (("m", None, "gone"), Code.NOT_FOUND, "Servable not found for request: Specific(m, 5)"),
    ],
)  # fmt: skip
def test_refusals(spec: tuple[str, int | None, str | None], code: Code, message: str) -> None:
    registry = serving(("m", 1))
    registry.set_labels({"m": {"stable": 1, "gone": 5}})
    with pytest.raises(ServingError) as error:
        registry.pin(*spec)
    assert (error.value.code, error.value.message) == (code, message)


def test_the_last_version_takes_its_model_along() -> None:
    registry = serving(("m", 1))
    registry.withdraw("m", 1)
    registry.withdraw("m", 1)
    assert registry.serving == {}


def test_labels_are_replaced_whole_and_belong_to_their_model() -> None:
    registry = serving(("m", 1), ("n", 1))
    registry.set_labels({"m": {"x": 1}, "n": {}})
    assert registry.labels == {"m": {"x": 1}}
    registry.set_labels({"n": {"y": 1}})
    assert registry.labels == {"n": {"y": 1}}
    with pytest.raises(ServingError):
        registry.pin("m", label="x")
    with pytest.raises(ServingError):
        registry.pin("m", label="y")


def test_the_callers_mapping_can_change_afterwards() -> None:
    registry, labels = serving(("m", 1)), {"x": 1}
    registry.set_labels({"m": labels})
    labels["x"] = 2
    assert registry.labels["m"]["x"] == 1


def test_a_look_stays_as_it_was() -> None:
    registry = serving(("m", 1))
    before = registry.serving
    registry.publish(loaded("m", 2))
    assert list(before["m"]) == [1]


def test_publishing_a_number_again_answers_with_the_new_copy() -> None:
    registry, copy = serving(("m", 1)), loaded("m", 1)
    registry.publish(copy)
    assert registry.pin("m") is copy


def test_while_versions_are_exchanged_every_request_gets_one() -> None:
    registry, stop, failures = serving(("m", 1)), threading.Event(), []

    def ask() -> None:
        while not stop.is_set():
            try:
                pinned = registry.pin("m")
                assert not pinned.servable.closed.is_set()
                pinned.release()
            except BaseException as error:
                failures.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    current = registry.serving["m"][1]
    for _ in range(300):
        previous, current = current, loaded("m", 1)
        registry.publish(current)
        idle = threading.Event()
        previous.retire(idle.set)
        assert idle.wait(PATIENCE)
        previous.servable.close()
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_label_that_moves_while_it_is_looked_up_is_followed() -> None:
    registry = serving(("m", 1), ("m", 2))

    class Moving(dict[str, dict[str, int]]):
        """Labels that move, and whose version goes, right after they were read."""

        def get(self, *arguments: Any) -> Any:
            found = super().get(*arguments)
            registry.set_labels({"m": {"x": 2}})
            registry.withdraw("m", 1)
            return found

    registry._labels = Moving({"m": {"x": 1}})
    assert registry.pin("m", label="x").version == 2


def test_a_label_of_a_version_that_is_gone_names_it() -> None:
    registry = serving(("m", 1))
    registry.set_labels({"m": {"x": 7}})
    with pytest.raises(ServingError, match=r"Servable not found for request: Specific\(m, 7\)"):
        registry.pin("m", label="x")
