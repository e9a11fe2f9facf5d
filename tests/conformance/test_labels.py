"""Section 5: version labels."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import grpc
import pytest

import tfs_notebook
from tests.conformance.calls import ANY, asked, refused, reload_config
from tests.support import saved_models
from tests.support.serving import ALL, ask, config_text, label, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Models
    from tfs_notebook.server.server import Server

UNAVAILABLE = "Request to assign label to version {} of model m, which is not currently available for inference"


@pytest.fixture(scope="module")
def base_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose version n gives n for whatever it is asked: 1, 2 and 3."""
    base_path = tmp_path_factory.mktemp("m")
    for version in (1, 2, 3):
        saved_models.half_plus_two(base_path / str(version), scale=0, offset=version)
    return base_path


@contextmanager
def serving(base_path: Path, policy: str, **options: Any) -> Iterator[Server]:
    """A server of `m` with a policy and labels."""
    with tfs_notebook.serve(config=config_text({"m": base_path}, {"m": policy}), **options, **ANY) as server:
        yield server


def reload(server: Server, base_path: Path, fields: str) -> tuple[str, str]:
    """Reload over gRPC; how it was refused, or OK."""
    with grpc.insecure_channel(server.grpc_target) as channel:
        try:
            reload_config(channel, config_text({"m": base_path}, {"m": fields}))
        except grpc.RpcError as error:
            return error.code().name, error.details()
    return "OK", ""


def versions(*numbers: int) -> str:
    return f"model_version_policy {{ specific {{ {' '.join(f'versions: {number}' for number in numbers)} }} }}"


# Unlike TensorFlow Serving's, labels count in the configuration that loads their versions


def test_labels_in_the_configuration_of_the_start_and_of_new_versions(base_path: Path) -> None:
    with serving(base_path, versions(1) + label("stable", 1)) as server:
        assert server.problems == []
        assert asked(server, "m/labels/stable") == 1
        assert reload(server, base_path, versions(1, 2) + label("stable", 1) + label("canary", 2)) == ("OK", "")
        assert (asked(server, "m/labels/stable"), asked(server, "m/labels/canary")) == (1, 2)


@pytest.mark.parametrize(
    ("flag", "old", "new", "answers"),
    [
        # of an available version: always
        (False, "", label("a", 2), {"a": 2}),
        (False, label("a", 1), label("a", 2), {"a": 2}),
        (False, label("a", 1), label("b", 1) + label("c", 1), {"b": 1, "c": 1}),
        # labels that the new configuration leaves out are gone
        (False, label("a", 1) + label("b", 2), label("b", 2), {"b": 2}),
        (False, label("a", 1), "", {}),
        # a new label of a version that is not there, with the flag
        (True, "", label("a", 1) + label("z", 7), {"a": 1, "z": None}),
        (True, label("z", 7), label("z", 7), {"z": None}),
        (True, label("z", 7), label("z", 2), {"z": 2}),
        # labels have no meaning of their own, and any character but / and :
        (False, "", label("stable", 2) + label("canary", 1), {"stable": 2, "canary": 1}),
        (False, "", label("a b", 1), {"a%20b": 1}),
    ],
)
def test_labels_that_are_assigned(base_path: Path, flag: bool, old: str, new: str, answers: dict[str, Any]) -> None:
    available = versions(1, 2)
    with serving(base_path, available + old, allow_version_labels_for_unavailable_models=flag) as server:
        assert reload(server, base_path, available + new) == ("OK", "")
        for name in {"a", "b", "c", *answers}:
            path = f"/labels/{name}"
            if name not in answers:
                expected = 400, f"Unrecognized servable version label: {name}"
            elif answers[name] is None:
                expected = 404, "Servable not found for request: Specific(m, 7)"
            else:
                assert asked(server, f"m{path}") == answers[name]
                continue
            assert refused(server, "POST", f"/v1/models/m{path}:predict", {"instances": [0.0]}) == expected


@pytest.mark.parametrize(
    ("flag", "old", "new", "version"),
    [
        (False, "", label("z", 7), 7),
        (False, label("a", 1), label("a", 7), 7),
        (False, label("a", 1), label("a", 1) + label("b", 3), 3),  # on disk, but not configured
        (True, label("a", 1), label("a", 7), 7),
    ],
)
def test_labels_that_are_refused(base_path: Path, flag: bool, old: str, new: str, version: int) -> None:
    available = versions(1, 2)
    with serving(base_path, available + old, allow_version_labels_for_unavailable_models=flag) as server:
        for _ in range(2):  # asking again does not help
            refusal = "FAILED_PRECONDITION", UNAVAILABLE.format(version)
            assert reload(server, base_path, available + new) == refusal
        assert asked(server, "m/labels/a") == (1 if old else 400)  # as it was
        assert [asked(server, f"m/labels/{name}") for name in ("b", "z")] == [400, 400]


def test_refused_because_of_a_label_means_that_nothing_has_changed(base_path: Path, models: Models) -> None:
    with serving(base_path, versions(1, 2) + label("a", 1)) as server:
        listed = {"new": models.path("half_plus_two"), "m": base_path}
        text = config_text(listed, {"m": versions(2, 3) + label("b", 3) + label("c", 9)})
        with grpc.insecure_channel(server.grpc_target) as channel, pytest.raises(grpc.RpcError) as caught:
            reload_config(channel, text)
        assert caught.value.details() == UNAVAILABLE.format(9)
        names = ("m", "m/versions/1", "m/labels/a", "m/versions/3", "new")
        assert [asked(server, name) for name in names] == [2, 1, 1, 404, 404]
        assert [problem.message for problem in server.problems] == [UNAVAILABLE.format(9)]


@pytest.mark.parametrize("flag", [False, True])
def test_a_label_stays_when_its_version_goes_and_only_the_flag_lets_it_be_given_again(
    base_path: Path, flag: bool
) -> None:
    without_it = versions(2) + label("a", 1)
    path, body = "/v1/models/m/labels/a:predict", {"instances": [0.0]}
    gone = 404, "Servable not found for request: Specific(m, 1)"
    again = ("OK", "") if flag else ("FAILED_PRECONDITION", UNAVAILABLE.format(1))
    allowed = {"allow_version_labels_for_unavailable_models": flag}
    with serving(base_path, versions(1, 2) + label("a", 1), **allowed) as server:
        assert reload(server, base_path, without_it) == ("OK", "")  # it is available at that moment
        until(lambda: ask(server, "POST", path, body).status == 404)
        for _ in range(2):
            assert reload(server, base_path, without_it) == again
            assert refused(server, "POST", path, body) == gone
        assert [problem.message for problem in server.problems] == ([] if flag else [UNAVAILABLE.format(1)])
        assert reload(server, base_path, versions(2) + label("a", 2)) == ("OK", "")
        assert asked(server, "m/labels/a") == 2
        assert server.problems == []


def test_a_label_of_a_version_that_left_the_disk_is_refused_until_it_is_back(models: Models, tmp_path: Path) -> None:
    for version in (1, 2):
        models.copy("half_plus_two", tmp_path, version)
    fields = ALL + label("a", 1)
    with serving(tmp_path, fields) as server:
        away = (tmp_path / "1").rename(tmp_path / "1.away")
        path, body = "/v1/models/m/labels/a:predict", {"instances": [0.0]}
        until(lambda: ask(server, "POST", path, body).status == 404)
        assert server.problems == []  # nobody asked for anything new
        assert reload(server, tmp_path, fields) == ("FAILED_PRECONDITION", UNAVAILABLE.format(1))
        away.rename(tmp_path / "1")
        until(lambda: ask(server, "POST", path, body).status == 200)
        assert reload(server, tmp_path, fields) == ("OK", "")
        assert server.problems == []


def test_status_ignores_labels_and_metadata_does_not(base_path: Path) -> None:
    with serving(base_path, ALL + label("old", 1)) as server:
        whole = ask(server, "GET", "/v1/models/m").json
        assert [item["version"] for item in whole["model_version_status"]] == ["3", "2", "1"]
        for name in ("old", "nobody"):
            assert ask(server, "GET", f"/v1/models/m/labels/{name}").json == whole
        metadata = ask(server, "GET", "/v1/models/m/labels/old/metadata").json
        assert metadata["model_spec"]["version"] == "1"
        assert refused(server, "GET", "/v1/models/m/labels/nobody/metadata") == (
            400, "Unrecognized servable version label: nobody",
        )  # fmt: skip
