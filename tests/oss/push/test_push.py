"""Pushing a model to a bucket over real HTTP: the order, the number, interruptions, and two pushes at once."""

from __future__ import annotations

import json
import re
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.support.saved_models import half_plus_two, vocabulary, without_index
from tests.support.serving import until
from tfs_notebook.errors import ServingError
from tfs_notebook.oss.address import OssAddress
from tfs_notebook.oss.client.endpoint import StoreOptions
from tfs_notebook.oss.client.oss2_store import open_store
from tfs_notebook.oss.client.store import Fault, ObjectStore, StoreError
from tfs_notebook.oss.push.push import push

if TYPE_CHECKING:
    from pathlib import Path

    from tests.oss.stand_in.server import OssServer

MODEL = OssAddress.parse("oss://examplebucket/models/modelA/")
PART = 200 << 10


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return half_plus_two(tmp_path_factory.mktemp("trained") / "1")


@pytest.fixture
def version(trained: Path, tmp_path: Path) -> Path:
    return shutil.copytree(trained, tmp_path / "modelA" / "1")


@pytest.fixture
def large(version: Path) -> Path:
    """A version whose weights go in five parts and a bit."""
    (version / "variables" / "variables.data-00000-of-00001").write_bytes(bytes(range(256)) * (4 << 10))
    return version


def opener(bucket: str) -> ObjectStore:
    return open_store(bucket, StoreOptions(), timeouts=(5, 5), part_size=PART)


def names(oss: OssServer, prefix: str = "models/modelA/") -> list[str]:
    return sorted(key.removeprefix(prefix) for key in oss.objects if key.startswith(prefix))


def files(directory: Path) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file())


def sent(oss: OssServer) -> list[str]:
    """The keys that were uploaded, in order."""
    return [
        request.key.removeprefix("models/modelA/")
        for request in oss.requests
        if request.method == "PUT" and request.status == 200
    ]


def holds(oss: OssServer, prefix: str, directory: Path) -> bool:
    """Whether everything below `prefix` is what is in `directory`."""
    return {key: b"".join(stored.body.pieces()) for key, stored in oss.objects.items() if key.startswith(prefix)} == {
        f"{prefix}{name}": (directory / name).read_bytes() for name in files(directory)
    }


def test_a_version_arrives_whole_the_graph_last(oss: OssServer, version: Path) -> None:
    pushed = push(opener, version, MODEL)
    assert str(pushed) == "oss://examplebucket/models/modelA/1/"
    assert holds(oss, "models/modelA/", version.parent)
    assert sent(oss)[0] == ".tfs-push/1"
    assert sent(oss)[-1] == "1/saved_model.pb"


def test_assets_go_along(oss: OssServer, tmp_path: Path) -> None:
    version = vocabulary(tmp_path / "1")
    push(opener, version, MODEL)
    assert "1/assets/vocabulary.txt" in names(oss)
    assert holds(oss, "models/modelA/1/", version)


def test_the_newest_version_of_a_model_directory_is_pushed(oss: OssServer, version: Path) -> None:
    newest = shutil.copytree(version, version.parent / "12")
    (newest / "fingerprint.pb").write_bytes(b"newest")
    push(opener, version.parent, MODEL)
    assert holds(oss, "models/modelA/1/", newest)


def test_a_directory_of_any_name_is_pushed(oss: OssServer, version: Path) -> None:
    push(opener, version.rename(version.parent / "exported"), OssAddress.parse("oss://examplebucket/models/modelA"))
    assert "1/saved_model.pb" in names(oss)


def test_a_version_for_tflite_only_is_pushed(oss: OssServer, tmp_path: Path) -> None:
    (tmp_path / "model.tflite").write_bytes(b"TFL3")
    (tmp_path / "zoo.txt").write_bytes(b"")
    push(opener, tmp_path, MODEL)
    assert sent(oss)[1:] == ["1/zoo.txt", "1/model.tflite"]


@pytest.mark.parametrize(
    ("keys", "number"),
    [
        ([], 1),
        (["1/saved_model.pb"], 2),
        (["7/saved_model.pb", "00000012/saved_model.pb", "notes.txt", "13.tmp/saved_model.pb"], 13),
        (["5/variables/variables.index"], 6),
        ([".tfs-push/9"], 10),
    ],
)
def test_the_next_number_is_free_of_everything_that_is_listed(
    oss: OssServer, version: Path, keys: list[str], number: int
) -> None:
    for key in keys:
        oss.put(f"models/modelA/{key}", b"of somebody else")
    assert push(opener, version, MODEL) == MODEL.join(f"{number}/")
    for key in keys:
        assert b"".join(oss.objects[f"models/modelA/{key}"].body.pieces()) == b"of somebody else"


def test_the_number_can_be_given(oss: OssServer, version: Path) -> None:
    push(opener, version, MODEL, version=20260101)
    push(opener, version, OssAddress.parse("oss://examplebucket/models/modelA/5"))
    assert {name.split("/")[0] for name in names(oss)} == {"20260101", "5"}


@pytest.mark.parametrize(
    ("address", "number", "message"),
    [("models/modelA/5/", 6, "is version 5, but version 6 is asked for"), ("models/modelA/", -1, "-1 is no number")],
)
def test_a_number_that_cannot_be_is_refused(
    oss: OssServer, version: Path, address: str, number: int, message: str
) -> None:
    with pytest.raises(ServingError, match=message):
        push(opener, version, OssAddress("examplebucket", address), version=number)
    assert oss.requests == []


def test_a_number_that_is_there_is_refused_with_what_to_do(oss: OssServer, version: Path) -> None:
    push(opener, version, MODEL, version=4)
    oss.requests.clear()
    with pytest.raises(StoreError, match="oss://examplebucket/models/modelA/4/ is already there") as refused:
        push(opener, version, MODEL, version=4)
    assert refused.value.fault is Fault.EXISTS
    assert "push without a number to make it version 5, or delete" in refused.value.hint
    assert sent(oss) == []


def test_a_number_that_somebody_else_began_is_refused(oss: OssServer, version: Path) -> None:
    oss.put("models/modelA/4/variables/variables.index", b"of somebody else")
    with pytest.raises(StoreError, match="modelA/4/ holds files that are not of a push of these files"):
        push(opener, version, MODEL, version=4)
    oss.delete("models/modelA/4/variables/variables.index")
    oss.put("models/modelA/.tfs-push/4", b"of somebody else")
    with pytest.raises(StoreError, match=r"a push of other files to .*modelA/4/ has begun") as refused:
        push(opener, version, MODEL, version=4)
    assert "delete oss://examplebucket/models/modelA/.tfs-push/4 if it was given up" in refused.value.hint


def test_the_marker_comes_last(oss: OssServer, version: Path) -> None:
    (version / "_SUCCESS").write_bytes(b"of where it was copied from")
    push(opener, version, MODEL, marker="_SUCCESS")
    assert sent(oss)[-2:] == ["1/saved_model.pb", "1/_SUCCESS"]
    assert oss.objects["models/modelA/1/_SUCCESS"].size == 0


def test_a_marker_of_another_name_is_a_manifest(oss: OssServer, version: Path) -> None:
    push(opener, version, MODEL, marker="manifest.json")
    assert sent(oss)[-1] == "1/manifest.json"
    manifest = json.loads(b"".join(oss.objects["models/modelA/1/manifest.json"].body.pieces()))
    assert [entry["path"] for entry in manifest["files"]] == files(version)
    for entry in manifest["files"]:
        stored = oss.objects[f"models/modelA/1/{entry['path']}"]
        assert (stored.size, str(stored.body.crc64)) == (entry["size"], entry["crc64"])


def test_nothing_is_sent_of_a_version_that_is_not_complete(oss: OssServer, version: Path) -> None:
    without_index(version)
    with pytest.raises(ServingError, match=r"1 is not complete: variables/variables.index is missing") as refused:
        push(opener, version.parent, MODEL)
    assert "name the directory of another one" in refused.value.hint
    assert oss.requests == []


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "does not exist"),
        (lambda path: path.mkdir(), "is neither a SavedModel nor a directory of versions"),
        (lambda path: path.write_bytes(b""), "is no directory of a model"),
    ],
)
def test_what_is_no_model_is_refused(oss: OssServer, tmp_path: Path, make: object, message: str) -> None:
    path = tmp_path / "model.keras"
    make(path)  # type: ignore[operator]
    with pytest.raises(ServingError, match=message):
        push(opener, path, MODEL)
    assert oss.requests == []


def test_a_file_whose_name_would_not_come_back_is_refused(oss: OssServer, version: Path) -> None:
    (version / "assets.extra").mkdir()
    (version / "assets.extra" / "a\nb").write_bytes(b"")
    with pytest.raises(ServingError, match=r"'assets.extra/a\\nb' .* cannot be the name of an object"):
        push(opener, version, MODEL)
    assert oss.requests == []


def test_progress_counts_bytes_to_the_end(oss: OssServer, large: Path) -> None:
    told: list[tuple[int, int]] = []
    push(opener, large, MODEL, progress=lambda sent, size: told.append((sent, size)))
    size = sum((large / name).stat().st_size for name in files(large))
    assert told[-1] == (size, size)
    assert [sent for sent, _ in told] == sorted(sent for sent, _ in told)


def test_large_files_go_in_parts(oss: OssServer, large: Path) -> None:
    push(opener, large, MODEL)
    weights = oss.objects["models/modelA/1/variables/variables.data-00000-of-00001"]
    assert weights.kind == "Multipart"
    assert holds(oss, "models/modelA/1/", large)
    assert not oss.service.buckets["examplebucket"].uploads


FAULTS = ["reset", "cut", "lost", "error", "checksum"]


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("after", [0, 1, 3])
def test_network_troubles_are_got_over(oss: OssServer, large: Path, fault: str, after: int) -> None:
    injected = oss.fail(fault, method="PUT|POST", key="variables|saved_model.pb", after=after, at=1000)
    told: list[int] = []
    push(opener, large, MODEL, progress=lambda sent, size: told.append(size - sent))
    assert injected.hits == 1
    assert told[-1] == 0
    assert min(told) == 0
    assert holds(oss, "models/modelA/1/", large)


def test_a_lost_answer_to_the_end_of_a_large_file_is_got_over(oss: OssServer, large: Path) -> None:
    oss.fail("lost", method="POST", after=1)
    push(opener, large, MODEL)
    assert holds(oss, "models/modelA/1/", large)


def test_a_push_that_was_interrupted_continues(oss: OssServer, large: Path) -> None:
    def interrupt(sent: int, _: int) -> None:
        if sent > 3.5 * PART:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        push(opener, large, MODEL, progress=interrupt)
    assert "1/saved_model.pb" not in names(oss)
    oss.requests.clear()
    told: list[int] = []
    assert push(opener, large, MODEL, progress=lambda sent, _: told.append(sent)) == MODEL.join("1/")
    assert holds(oss, "models/modelA/1/", large)
    parts = [request for request in oss.requests if "partNumber" in request.query and request.status == 200]
    assert len(parts) == 3
    assert told[-1] == sum((large / name).stat().st_size for name in files(large))


@pytest.mark.parametrize("after", range(8))
def test_wherever_it_stops_it_continues(oss: OssServer, large: Path, after: int) -> None:
    oss.fail("error", method="PUT|POST", after=after, status=403, code="AccessDenied", times=None)
    with pytest.raises(StoreError, match="AccessDenied"):
        push(opener, large, MODEL, marker="_SUCCESS")
    assert "1/_SUCCESS" not in names(oss)
    oss.heal()
    assert push(opener, large, MODEL, marker="_SUCCESS") == MODEL.join("1/")
    (large / "_SUCCESS").write_bytes(b"")
    assert holds(oss, "models/modelA/", large.parent)


def test_between_graph_and_marker_it_continues_by_number_too(oss: OssServer, version: Path) -> None:
    oss.fail("error", method="PUT", key="_SUCCESS", status=403, code="AccessDenied")
    with pytest.raises(StoreError, match="AccessDenied"):
        push(opener, version, MODEL, version=3, marker="_SUCCESS")
    assert "3/saved_model.pb" in names(oss)
    push(opener, version, MODEL, version=3, marker="_SUCCESS")
    assert "3/_SUCCESS" in names(oss)


def test_other_files_do_not_continue_an_interrupted_push(oss: OssServer, version: Path) -> None:
    oss.fail("error", method="PUT", key="saved_model.pb", status=403, code="AccessDenied")
    with pytest.raises(StoreError, match="AccessDenied"):
        push(opener, version, MODEL)
    (version / "fingerprint.pb").write_bytes(b"trained once more")
    assert push(opener, version, MODEL) == MODEL.join("2/")
    assert holds(oss, "models/modelA/2/", version)
    assert "1/saved_model.pb" not in names(oss)


def test_parts_of_another_file_are_not_taken(oss: OssServer, large: Path) -> None:
    oss.fail("error", method="POST", after=1, status=403, code="AccessDenied")
    with pytest.raises(StoreError, match="AccessDenied"):
        push(opener, large, MODEL, version=1)
    oss.delete("models/modelA/")
    weights = large / "variables" / "variables.data-00000-of-00001"
    weights.write_bytes(weights.read_bytes()[::-1])
    push(opener, large, MODEL, version=1)
    assert holds(oss, "models/modelA/1/", large)


def test_without_the_permission_to_list_parts_large_files_are_sent_anew(oss: OssServer, large: Path) -> None:
    oss.fail("error", method="GET", key="^$", times=None, status=403, code="AccessDenied")
    push(opener, large, MODEL)
    assert holds(oss, "models/modelA/1/", large)


def test_without_the_permission_to_delete_the_claim_stays(oss: OssServer, version: Path) -> None:
    oss.fail("error", method="DELETE", times=None, status=403, code="AccessDenied")
    push(opener, version, MODEL)
    assert ".tfs-push/1" in names(oss)
    (version / "fingerprint.pb").write_bytes(b"trained once more")
    assert push(opener, version, MODEL) == MODEL.join("2/")


def test_pushes_at_the_same_time_do_not_mix(oss: OssServer, version: Path, tmp_path: Path) -> None:
    sources = []
    for number in range(4):
        source = shutil.copytree(version, tmp_path / "sources" / str(number))
        (source / "assets").mkdir(exist_ok=True)
        (source / "assets" / f"only-{number}").write_bytes(b"")
        (source / "fingerprint.pb").write_bytes(str(number).encode())
        sources.append(source)
    barrier = threading.Barrier(len(sources))

    def go(source: Path) -> OssAddress:
        barrier.wait()
        return push(opener, source, MODEL)

    with ThreadPoolExecutor(len(sources)) as pool:
        pushed = list(pool.map(go, sources))
    assert len(set(pushed)) == len(sources)
    for address, source in zip(pushed, sources, strict=True):
        assert holds(oss, address.key, source)


def test_the_same_push_from_two_places_gives_whole_versions(oss: OssServer, large: Path) -> None:
    oss.fail("error", method="PUT", key="saved_model.pb", status=403, code="AccessDenied")
    with pytest.raises(StoreError, match="AccessDenied"):
        push(opener, large, MODEL)
    with ThreadPoolExecutor(2) as pool:
        pushed = set(pool.map(lambda _: push(opener, large, MODEL), range(2)))
    assert pushed <= {MODEL.join("1/"), MODEL.join("2/")}  # the second is a new push when the first was faster
    for address in pushed:
        assert holds(oss, address.key, large)


def test_what_somebody_else_puts_into_the_version_meanwhile_is_told(oss: OssServer, large: Path) -> None:
    def interfere(sent: int, _: int) -> None:
        oss.put("models/modelA/1/saved_model.pb", b"of somebody else")

    with pytest.raises(StoreError, match=r"1/saved_model.pb is not of this model: somebody else writes") as refused:
        push(opener, large, MODEL, progress=interfere)
    assert refused.value.fault is Fault.EXISTS


def test_a_file_that_changes_while_it_is_pushed_is_told(oss: OssServer, large: Path) -> None:
    weights = large / "variables" / "variables.data-00000-of-00001"

    def change(sent: int, _: int) -> None:
        weights.write_bytes(bytes(weights.stat().st_size))

    with pytest.raises(StoreError, match=r"data-00000-of-00001 changed while it was pushed"):
        push(opener, large, MODEL, progress=change)
    assert "1/saved_model.pb" not in names(oss)


def test_a_file_that_becomes_shorter_while_it_is_pushed_is_told(oss: OssServer, large: Path) -> None:
    weights = large / "variables" / "variables.data-00000-of-00001"

    def shorten(sent: int, _: int) -> None:
        if sent > PART:
            weights.write_bytes(b"")

    with pytest.raises(StoreError, match="became shorter while it was uploaded"):
        push(opener, large, MODEL, progress=shorten)
    assert "1/saved_model.pb" not in names(oss)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (
            ["modelA/1/saved_model.pb", "modelB/2/model.tflite", "x/y"],
            "oss://examplebucket/models/ holds the models modelA",
        ),
        (["modelA/1/saved_model.pb", "modelB/2/model.tflite"], "modelA, modelB: it is no prefix above the versions of"),
        (["saved_model.pb", "variables/variables.index"], "oss://examplebucket/models/ is a version itself"),
    ],
)
def test_a_prefix_of_something_else_is_refused(oss: OssServer, version: Path, keys: list[str], said: str) -> None:
    for key in keys:
        oss.put(f"models/{key}", b"x")
    with pytest.raises(StoreError, match=re.escape(said)) as refused:
        push(opener, version, OssAddress.parse("oss://examplebucket/models/"))
    assert refused.value.hint == "push to a prefix of the model's own, like oss://examplebucket/models/NAME/"
    assert len(oss.objects) == len(keys)
    oss.put("models/1/saved_model.pb", b"x")
    assert str(push(opener, version, OssAddress.parse("oss://examplebucket/models/"))).endswith("/models/2/")


def test_no_connection_stays_open(oss: OssServer, version: Path) -> None:
    push(opener, version, MODEL)
    with pytest.raises(StoreError, match="already there"):
        push(opener, version, MODEL, version=1)
    until(lambda: not oss.connections)


def test_a_bucket_that_is_not_there(oss: OssServer, version: Path) -> None:
    with pytest.raises(StoreError, match="NoSuchBucket") as refused:
        push(opener, version, OssAddress.parse("oss://otherbucket/models/modelA/"))
    assert refused.value.fault is Fault.MISSING
