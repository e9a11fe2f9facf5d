"""What is wrong with a source, and when it is tried again."""

from __future__ import annotations

import errno
import time
from pathlib import Path

import pytest

from tfs_notebook.errors import Code, ServingError
from tfs_notebook.oss.address import OssAddress
from tfs_notebook.oss.client.store import Fault, StoreError
from tfs_notebook.oss.sync.backoff import Backoff, Trouble

ROOT = OssAddress.parse("oss://examplebucket/models/")


def trouble() -> Trouble:
    return Trouble(ROOT, Path("/copies"), poll=30.0)


def test_pauses_double_up_to_five_minutes_and_no_two_are_quite_the_same() -> None:
    backoff = Backoff(30.0)
    pauses = [backoff.next() for _ in range(50)]
    for pause, longest in zip(pauses, (5, 10, 20, 40, 80, 160, 300, 300), strict=False):
        assert longest / 2 <= pause <= longest
    assert max(pauses) <= 300
    assert len(set(pauses)) == len(pauses)
    assert Backoff(0.05).next() <= 0.05


@pytest.mark.parametrize("fault", [fault for fault in Fault if fault is not Fault.FORBIDDEN])
def test_whatever_may_pass_is_tried_again_and_is_hoped_to_at_first(fault: Fault) -> None:
    now = trouble()
    assert not now.forbids
    now.take(StoreError(fault, "whatever"))
    assert now.forbids
    assert not now.stops
    assert now.is_passing
    assert 2.5 <= now.until - time.monotonic() + 0.5 <= 5.5
    for _ in range(3):
        now.take(StoreError(fault, "whatever"))
    assert not now.is_passing
    now.is_over()
    assert not now.forbids
    assert now.problem is None
    assert now.is_passing


def test_what_is_forbidden_is_asked_again_every_five_minutes_and_sooner_only_when_somebody_asks() -> None:
    now = trouble()
    for _ in range(5):
        now.take(StoreError(Fault.FORBIDDEN, "no"))
        assert now.stops
        assert now.forbids
        assert not now.is_passing
        assert 300.0 <= now.until - time.monotonic() + 0.5 <= 331.0
    now.retry()
    assert not now.forbids
    assert now.problem is not None
    now.is_over()
    assert not now.stops
    assert now.is_passing


@pytest.mark.parametrize("fault", list(Fault))
def test_other_keys_may_help_against_a_refusal(fault: Fault) -> None:
    now = trouble()
    now.take(StoreError(fault, "whatever"))
    assert now.is_about_keys == (fault in (Fault.FORBIDDEN, Fault.EXPIRED))
    now.is_over()
    assert not now.is_about_keys


def test_errors_of_the_disk_and_of_this_program_are_told_as_such() -> None:
    now = trouble()
    now.take(OSError(errno.EROFS, "Read-only file system", "/copies/x"))
    assert now.problem is not None
    assert (now.problem.code, now.problem.message) == (
        Code.UNAVAILABLE, "/copies/x cannot be used (Read-only file system)"
    )  # fmt: skip
    for number in (errno.ENOSPC, errno.EDQUOT):
        now.take(OSError(number, "it is full", "/copies/x"))
        assert (now.problem.code, now.problem.message) == (
            Code.RESOURCE_EXHAUSTED, "the disk of /copies takes no more (it is full)"
        )  # fmt: skip
        assert "--oss_cache_dir" in now.problem.hint
    now.take(OSError("a text"))
    assert now.problem.message == "/copies cannot be used (a text)"
    now.take(KeyError("x"))
    assert now.problem.code is Code.INTERNAL
    now.take(ServingError(Code.INVALID_ARGUMENT, "no region"), stops=True)
    assert now.stops
