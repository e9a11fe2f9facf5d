from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.engine.parts import without_privileges
from tests.support import saved_models
from tests.support.serving import until
from tfs_notebook.engine.config import AllVersions, Latest, Specific, VersionPolicy
from tfs_notebook.engine.storage import scan as storage
from tfs_notebook.engine.storage.scan import Fingerprint, Scan, Storage, list_versions, parse_version
from tfs_notebook.errors import Code

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Models


def scan(base: Path, policy: VersionPolicy | None = None, **options: Any) -> Scan:
    return Storage(0).scan("m", str(base), policy or Latest(), **options)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    base = tmp_path / "m"
    base.mkdir()
    return base


def put(base: Path, *names: str) -> None:
    """Version directories with SavedModels that need no other file."""
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    saved_model = SavedModel(saved_model_schema_version=1)
    saved_model.meta_graphs.add()
    for name in names:
        (base / name).mkdir(parents=True)
        (base / name / "saved_model.pb").write_bytes(saved_model.SerializeToString())


# Names


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("1", 1), ("00000123", 123), ("0", 0), ("-1", -1), ("+7", 7), ("-0", 0), (" 5", 5), ("5 ", 5), ("\t5\n", 5),
        ("20170111173521", 20170111173521),
        ("9223372036854775807", 2**63 - 1), ("9223372036854775808", None),
        ("-9223372036854775808", -(2**63)), ("-9223372036854775809", None), ("0" * 40 + "1", 1),
        ("", None), (" ", None), ("-", None), ("+-1", None), ("- 1", None), ("1.0", None), ("1e3", None),
        ("0x10", None), ("1_000", None), ("2.denied", None), ("1_backup", None), ("tmp", None), ("1 2", None),
        ("١", None), ("1\u00a0", None), ("\ufeff1", None), ("².", None),
    ],
)  # fmt: skip
def test_a_version_is_a_name_that_is_an_int64(name: str, number: int | None) -> None:
    assert parse_version(name) == number


def test_of_several_spellings_the_last_in_byte_order_counts(base: Path) -> None:
    for name in ("+1", "001", "01", "1", "02", "002", "3", "x", "4.denied"):
        (base / name).mkdir()
    assert list_versions(base) == {1: base / "1", 2: base / "02", 3: base / "3"}


# Policies


@pytest.mark.parametrize(
    ("policy", "numbers"),
    [
        (Latest(), [10]),
        (Latest(0), [10]),
        (Latest(2), [10, 9]),
        (Latest(100), [10, 9, 2, -1]),
        (AllVersions(), [10, 9, 2, -1]),
        (Specific((2, 10)), [10, 2]),
        (Specific((-1,)), [-1]),
        (Specific((9, 7)), [9]),
        (Specific(()), []),
    ],
    ids=str,
)
def test_policies_select_by_number_not_by_name(base: Path, policy: VersionPolicy, numbers: list[int]) -> None:
    put(base, "10", "9", "002", "-1")
    paths = {10: base / "10", 9: base / "9", 2: base / "002", -1: base / "-1"}
    assert scan(base, policy).aspired == {number: paths[number] for number in numbers}


def test_a_listed_version_that_is_not_there_is_told_beside_the_others(base: Path) -> None:
    put(base, "1")
    assert scan(base, Specific((1, 7))).waiting == {7: f"{base} does not hold it"}


@pytest.mark.parametrize("policy", [Specific((7,)), Specific(())], ids=str)
def test_a_policy_that_selects_nothing_is_a_problem(base: Path, policy: VersionPolicy) -> None:
    put(base, "1")
    problem = scan(base, policy).problem
    assert problem is not None
    assert str(policy) in problem.message
    assert problem.hint == f"{base} holds 1/."


def test_a_thousand_versions_take_no_time(base: Path) -> None:
    put(base, *map(str, range(1000)))
    storage = Storage(0)
    assert len(storage.scan("m", str(base), AllVersions()).aspired) == 1000
    started = time.process_time()
    for _ in range(5):
        assert len(storage.scan("m", str(base), AllVersions(), known=set(range(1000))).aspired) == 1000
        assert list(storage.scan("m", str(base), Latest(2)).aspired) == [999, 998]
    assert (time.process_time() - started) / 5 < 1.0


# Base paths


def test_a_missing_base_path_says_what_there_is_instead(tmp_path: Path) -> None:
    (tmp_path / "modelA").mkdir()
    (tmp_path / "notes.txt").touch()
    found = scan(tmp_path / "model_a" / "deeper")
    assert not found.readable
    assert found.aspired == {}
    assert found.problem is not None
    assert found.problem.code is Code.NOT_FOUND
    assert found.problem.message == (
        f"Could not find base path {tmp_path}/model_a/deeper for servable m with error No such file or directory"
    )
    assert found.problem.hint == f"Did you mean {tmp_path}/modelA? {tmp_path} exists and holds modelA/, notes.txt"


def test_a_long_listing_is_cut(tmp_path: Path) -> None:
    for name in "abcdefghijk":
        (tmp_path / name).mkdir()
    problem = scan(tmp_path / "m").problem
    assert problem is not None
    assert problem.hint.endswith("holds a/, b/, c/, d/, e/, f/, g/, h/ and 3 more")


def test_a_base_path_that_is_a_file_or_a_loop_or_no_path_at_all(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    reasons = {"file": "Not a directory", "loop": "symbolic links", "\0": "embedded null", "x" * 300: "name too long"}
    for name, reason in reasons.items():
        found = scan(tmp_path / name)
        assert not found.readable
        assert found.problem is not None
        assert reason in found.problem.message


def test_a_uri_is_told_to_be_copied() -> None:
    problem = Storage(0).scan("m", "gs://bucket/m", Latest()).problem
    assert problem is not None
    assert "gs://bucket/m" in problem.message
    assert "copy or mount" in problem.hint


def test_what_is_closed_is_told(base: Path) -> None:
    put(base, "1", "2")
    with without_privileges(base):
        (base / "2").chmod(0)
        try:
            found = scan(base)
            assert list(found.aspired) == [1]
            assert "Permission denied" in found.waiting[2]
            base.chmod(0)
            problem = scan(base).problem
            assert problem is not None
            assert "Permission denied" in problem.message
            assert not scan(base / "1").readable
        finally:
            base.chmod(0o755)
            (base / "2").chmod(0o755)


def test_no_versions(base: Path) -> None:
    (base / "tmp").mkdir()
    found = scan(base)
    assert (found.readable, found.aspired, found.waiting) == (True, {}, {})
    assert found.problem is not None
    assert found.problem.message == (
        f"No versions of servable m found under base path {base}. "
        "Did you forget to name your leaf directory as a number (eg. '/1/')?"
    )
    assert found.problem.hint == f"{base} holds tmp/."


# Versions on their way


@pytest.mark.parametrize(
    ("name", "damage", "reason"),
    [
        ("half_plus_two", saved_models.without_index, "variables/variables.index is missing"),
        ("half_plus_two", saved_models.without_shard, "variables/variables.data-00000-of-00001 is missing"),
        ("vocabulary", saved_models.without_asset, "assets/vocabulary.txt is missing"),
        ("half_plus_two", lambda version: (version / "saved_model.pb").unlink(), "saved_model.pb is missing"),
    ],
)
def test_an_incomplete_version_waits_and_the_next_complete_one_is_taken(
    models: Models, base: Path, name: str, damage: Callable[[Path], object], reason: str
) -> None:
    for number in (1, 2, 3):
        models.copy(name, base, number)
    damage(base / "3")
    assert scan(base) == Scan({2: base / "2"}, {3: reason})
    assert scan(base, Latest(2)) == Scan({2: base / "2", 1: base / "1"}, {3: reason})
    assert scan(base, AllVersions()) == Scan({2: base / "2", 1: base / "1"}, {3: reason})
    assert scan(base, Specific((3,))) == Scan({}, {3: reason})


def test_a_file_named_by_a_number_waits(base: Path) -> None:
    put(base, "4")
    (base / "5").write_text("not a version")
    assert scan(base) == Scan({4: base / "4"}, {5: "5 is not a directory"})


def test_a_corrupt_saved_model_is_taken_up_so_that_its_load_error_is_told(models: Models, base: Path) -> None:
    saved_models.truncated_pb(models.copy("half_plus_two", base, 2))
    models.copy("half_plus_two", base, 1)
    assert scan(base).aspired == {2: base / "2"}


def test_a_known_number_stays_whatever_happens_in_it_until_it_is_gone(models: Models, base: Path) -> None:
    version = models.copy("half_plus_two", base, 2)
    models.copy("half_plus_two", base, 1)
    saved_models.without_index(version)
    assert scan(base, known={2}).aspired == {2: version}
    version.rename(base / "2.denied")
    assert scan(base, known={2}).aspired == {1: base / "1"}


def test_one_look_after_another_sees_a_version_become_complete_and_incomplete(models: Models, base: Path) -> None:
    version = models.copy("half_plus_two", base)
    storage = Storage(0)
    index = version / "variables" / "variables.index"
    content = index.read_bytes()
    for _ in range(2):
        assert list(storage.scan("m", str(base), Latest()).aspired) == [1]
        index.unlink()
        assert storage.scan("m", str(base), Latest()).waiting == {1: "variables/variables.index is missing"}
        index.write_bytes(content)


def test_a_saved_model_is_parsed_once_as_long_as_its_files_stay(
    models: Models, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved_models.without_index(models.copy("half_plus_two", base))
    storage = Storage(0)
    storage.scan("m", str(base), Latest())
    reads: list[Path] = []
    read_bytes = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: reads.append(path) or read_bytes(path))
    for _ in range(3):
        assert storage.scan("m", str(base), Latest()).waiting
    assert reads == []
    (base / "1" / "new").touch()
    assert storage.scan("m", str(base), Latest()).waiting
    assert reads == [base / "1" / "saved_model.pb"]


# Settling


SETTLE = 0.2
CLOCK = 0.02
"""By how much the times that a file system writes down lag behind at most."""


def taken_up(storage: Storage, base: Path) -> bool:
    return storage.scan("m", str(base), Latest()) == Scan({1: base / "1"})


def test_a_version_is_taken_up_when_nothing_has_changed_for_a_while(base: Path) -> None:
    put(base, "1")
    first = Storage(60).scan("m", str(base), Latest())
    assert first.waiting == {1: "its files are still changing"}
    assert first.problem is None
    assert first.settles_in is not None
    assert 0 < first.settles_in < 60.1
    storage, changed = Storage(SETTLE), Fingerprint.of(base / "1").changed
    until(lambda: taken_up(storage, base))
    assert time.time() >= changed + SETTLE


def test_a_growing_file_is_waited_for(base: Path) -> None:
    put(base, "1")
    storage, began = Storage(SETTLE), time.time()
    with (base / "1" / "weights").open("ab", buffering=0) as file:
        while time.time() < began + 4 * SETTLE:
            written = time.time()
            file.write(b"x")
            if taken_up(storage, base):  # only when somebody kept this test waiting
                assert time.time() >= written + SETTLE - CLOCK
    until(lambda: taken_up(storage, base))
    assert time.time() >= written + SETTLE - CLOCK


def test_a_copy_that_keeps_modification_times_cannot_hide_that_it_is_new(base: Path) -> None:
    put(base, "1")
    for path in (base / "1", base / "1" / "saved_model.pb"):
        os.utime(path, (1, 1))
    assert Storage(60).scan("m", str(base), Latest()).waiting == {1: "its files are still changing"}


def test_a_file_servers_clock_ahead_of_ours_does_not_hold_a_version_back(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(base, "1")
    now = time.time() - 3600
    monkeypatch.setattr(time, "time", lambda: now)
    storage = Storage(0.1)
    first = storage.scan("m", str(base), Latest())
    assert first.settles_in is not None
    assert first.settles_in < 0.2
    until(lambda: taken_up(storage, base))


def test_an_incomplete_version_is_looked_at_again_while_it_is_new_and_left_to_the_poll_later(base: Path) -> None:
    (base / "1").mkdir()
    first = Storage(60).scan("m", str(base), Latest())
    assert first.waiting == {1: "saved_model.pb is missing"}
    assert first.settles_in is not None
    storage = Storage(SETTLE)
    until(lambda: storage.scan("m", str(base), Latest()) == Scan({}, {1: "saved_model.pb is missing"}))


# Fingerprints


def test_fingerprints_change_with_the_files_and_only_with_them(base: Path) -> None:
    put(base, "1", "2")
    version = base / "1"
    seen = [Fingerprint.of(version)]
    assert seen == [Fingerprint.of(version)]
    (version / "assets").mkdir()
    seen.append(Fingerprint.of(version))
    (version / "assets" / "words").write_text("a")
    seen.append(Fingerprint.of(version))
    (version / "assets" / "words").write_text("ab")
    seen.append(Fingerprint.of(version))
    (version / "assets" / "words").rename(version / "assets" / "terms")
    seen.append(Fingerprint.of(version))
    assert len(set(seen)) == 5
    assert Fingerprint.of(base / "2") != Fingerprint.of(version)


def test_the_fingerprint_of_what_is_not_there(tmp_path: Path) -> None:
    assert Fingerprint.of(tmp_path / "gone") == Fingerprint(frozenset(), 0.0)


def test_repaired_is_complete_and_settled_and_other_than_what_failed(models: Models, base: Path) -> None:
    version = models.copy("half_plus_two", base)
    failed = Fingerprint.of(version)

    def repaired(failed: Fingerprint | None, settle_seconds: float = 0) -> bool:
        found = Storage(settle_seconds).scan("m", str(base), Latest(), known={1}, failed={1: failed})
        return 1 in found.repaired

    assert not repaired(failed)
    assert repaired(None)
    index = version / "variables" / "variables.index"
    content = index.read_bytes()
    index.unlink()
    assert not repaired(failed)
    index.write_bytes(content)
    assert repaired(failed)
    assert not repaired(failed, settle_seconds=60)


def test_what_failed_is_parsed_again_only_when_it_changes(
    models: Models, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = models.copy("half_plus_two", base)
    parsed, missing_part = [], storage.missing_part
    monkeypatch.setattr(storage, "missing_part", lambda path, **how: parsed.append(path) or missing_part(path, **how))
    looking, failed = Storage(0), Fingerprint.of(version)
    for _ in range(5):
        looking.scan("m", str(base), Latest(), known={1}, failed={1: failed})
    assert len(parsed) == 1


def test_a_directory_without_a_saved_model_is_not_walked(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (base / "2024" / "images").mkdir(parents=True)
    monkeypatch.setattr(storage, "_walk", lambda path: pytest.fail(f"walked {path}"))
    assert scan(base).waiting == {2024: "saved_model.pb is missing"}


def test_a_link_back_to_a_directory_above_is_not_followed(models: Models, base: Path) -> None:
    version = models.copy("half_plus_two", base)
    (version / "here").symlink_to(version)
    (version / "there").symlink_to(base)
    assert list(scan(base).aspired) == [1]


def test_a_base_path_that_can_be_listed_but_not_entered_is_told(base: Path) -> None:
    (base / "notes").mkdir()
    (base / "1").mkdir()
    with without_privileges(base):
        base.chmod(0o644)
        try:
            found = scan(base)
        finally:
            base.chmod(0o755)
    assert found.aspired == {}
    assert "Permission denied" in found.waiting[1]
