"""Section 3: version discovery on disk."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import grpc
import pytest
from tensorflow_serving.apis import prediction_service_pb2_grpc

import tfs_notebook
from tests.conformance.calls import ANY, asked, predict_request
from tests.support import saved_models
from tests.support.serving import ALL, ask, config_text, until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.conftest import Models
    from tfs_notebook.server.server import Server


def latest(count: int) -> str:
    return f"model_version_policy {{ latest {{ num_versions: {count} }} }}"


def specific(*numbers: int) -> str:
    return f"model_version_policy {{ specific {{ {' '.join(f'versions: {number}' for number in numbers)} }} }}"


def states(server: Server, model: str) -> dict[int, str]:
    """The states of a model's versions, in the order of the reply."""
    reply = ask(server, "GET", f"/v1/models/{model}")
    return {int(item["version"]): item["state"] for item in reply.json.get("model_version_status", ())}


def available(server: Server, model: str) -> list[int]:
    return [version for version, state in states(server, model).items() if state == "AVAILABLE"]


# 3.1 What counts as a version, and 3.2 policies

TABLE: dict[str, tuple[list[str], str, list[int]]] = {
    # model: (children of the base path, policy, versions that are served)
    "unset": (["1", "2", "10"], "", [10]),
    "latest": (["1", "2", "10"], "model_version_policy { latest {} }", [10]),
    "latest0": (["1", "2", "10"], latest(0), [10]),
    "latest2": (["1", "2", "10"], latest(2), [10, 2]),
    "latest9": (["1", "2", "10"], latest(9), [10, 2, 1]),
    "all": (["1", "2", "10"], ALL, [10, 2, 1]),
    "specific": (["1", "2", "10"], specific(2, 10), [10, 2]),
    "specific_missing": (["1", "2", "10"], specific(1, 7), [1]),
    "specific_padded": (["0001", "2"], specific(1, 2), [2, 1]),
    "zeros": (["00000123"], "", [123]),
    "signs": (["-1", "+7"], ALL, [7, -1]),
    "blanks": ([" 8 ", "9"], ALL, [9, 8]),
    "timestamp": (["20170111173521"], "", [20170111173521]),
    "largest": (["9223372036854775807"], "", [2**63 - 1]),
    "others": (["2.denied", "tmp", "3_backup", "4.0", "0x5", "9223372036854775808", "１", "1"], ALL, [1]),
    "spelled": (["01", "1", "001"], ALL, [1]),
}


@pytest.fixture(scope="module")
def server(models: Models, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serves the models of the TABLE, each with `version` x/2 + 2."""
    root = tmp_path_factory.mktemp("models")
    one = models.path("half_plus_two") / "1"
    for model, (children, _, _) in TABLE.items():
        for child in children:
            shutil.copytree(one, root / model / child)
    shutil.rmtree(root / "spelled" / "1")
    saved_models.half_plus_two(root / "spelled" / "1", scale=0, offset=1)
    config = config_text({name: root / name for name in TABLE}, {name: row[1] for name, row in TABLE.items()})
    with tfs_notebook.serve(config=config, **ANY) as server:
        yield server


@pytest.mark.parametrize("model", TABLE)
def test_the_versions_that_are_served(server: Server, model: str) -> None:
    expected = TABLE[model][2]
    until(lambda: available(server, model) == expected, f"{states(server, model)}")
    assert list(states(server, model)) == sorted(states(server, model), reverse=True)


def test_of_several_spellings_the_last_in_byte_order_wins(server: Server) -> None:
    assert ask(server, "POST", "/v1/models/spelled:predict", {"instances": [5.0]}).json == {"predictions": [1.0]}


def test_negative_versions_have_no_url_but_grpc(server: Server) -> None:
    until(lambda: -1 in available(server, "signs"))
    reply = ask(server, "POST", "/v1/models/signs/versions/-1:predict", {"instances": [1.0]})
    assert (reply.status, reply.error) == (400, "Malformed request: POST /v1/models/signs/versions/-1:predict")
    with grpc.insecure_channel(server.grpc_target) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        reply = stub.Predict(predict_request("signs", {"x": [1.0]}, version=-1))
    assert (reply.model_spec.version.value, list(reply.outputs["y"].float_val)) == (-1, [2.5])


# 3.3 Poll outcomes


@pytest.fixture
def changing(models: Models, tmp_path: Path) -> Iterator[tuple[Server, Mapping[str, Path]]]:
    """Serves versions 1 and 2 of six models, whose base paths come with it; 1 gives x/2 + 2, 2 gives 2."""
    rows = {"gone": "", "fall_back": "", "one_of_all": ALL, "denied": specific(1, 2), "emptied": ALL, "replaced": ALL}
    two = saved_models.half_plus_two(tmp_path / "two", scale=0, offset=2)
    base_paths = {name: tmp_path / name for name in rows}
    for base_path in base_paths.values():
        models.copy("half_plus_two", base_path, 1)
        shutil.copytree(two, base_path / "2")
    with tfs_notebook.serve(config=config_text(base_paths, rows), **ANY) as server:
        for name in rows:
            until(lambda name=name: 2 in available(server, name))
        yield server, base_paths


def test_what_happens_on_disk_happens_to_the_versions(
    changing: tuple[Server, Mapping[str, Path]], models: Models
) -> None:
    server, base_paths = changing
    shutil.rmtree(base_paths["gone"])  # a missing base path: loaded versions keep serving, here without the others
    shutil.rmtree(base_paths["fall_back"] / "2")
    shutil.rmtree(base_paths["one_of_all"] / "1")
    (base_paths["denied"] / "2").rename(base_paths["denied"] / "2.denied")
    for version in ("1", "2"):
        shutil.rmtree(base_paths["emptied"] / version)
    for path in (base_paths["replaced"] / "2").iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.copytree(models.path("half_plus_two") / "1", base_paths["replaced"] / "2", dirs_exist_ok=True)
    for name, versions in (("fall_back", [1]), ("one_of_all", [2]), ("denied", [1]), ("emptied", [])):
        until(lambda name=name, versions=versions: available(server, name) == versions, name)
    gone = f"Could not find base path {base_paths['gone']} for servable gone"
    until(lambda: any(problem.message.startswith(gone) for problem in server.problems))
    assert available(server, "gone") == [2]
    until(lambda: states(server, "emptied") == {2: "END", 1: "END"})  # told for ever
    models.copy("half_plus_two", base_paths["emptied"], 2)  # seen gone, then created again: a fresh load
    until(lambda: available(server, "emptied") == [2])
    assert asked(server, "emptied") == 2.5
    assert available(server, "gone") == [2]  # several looks later
    assert available(server, "replaced") == [2, 1]
    assert asked(server, "replaced") == 2.0  # the bytes that were loaded, not those that are there now


def test_a_file_named_by_a_number_holds_up_nothing(models: Models, tmp_path: Path) -> None:
    """TensorFlow Serving takes it for version 5 and fails to load it."""
    models.copy("half_plus_two", tmp_path, 1)
    (tmp_path / "5").write_text("no directory")
    with tfs_notebook.serve(str(tmp_path), **ANY) as server:
        assert asked(server, "model") == 2.5


# 3.4 Poll period


@pytest.mark.parametrize("period", [0, -1])
def test_without_a_period_there_is_one_look(models: Models, tmp_path: Path, period: int) -> None:
    """Below 0 TensorFlow Serving does not look even once, and waits for ever."""
    models.copy("half_plus_two", tmp_path / "still", 1)
    models.copy("half_plus_two", tmp_path / "moving", 1)
    still = config_text({"still": tmp_path / "still"})
    moving = config_text({"moving": tmp_path / "moving"})
    with (
        tfs_notebook.serve(config=still, file_system_poll_wait_seconds=period, **ANY) as one,
        tfs_notebook.serve(config=moving, **ANY) as other,
    ):
        for name in ("still", "moving"):
            models.copy("half_plus_two", tmp_path / name, 2)
        until(lambda: available(other, "moving") == [2])  # by then, a poll would have seen it
        assert available(one, "still") == [1]
