"""What is wrong with a source, and when it is tried again."""

from __future__ import annotations

import errno
import time
from pathlib import Path

import pytest

from tfs_notebook.errors import Code, ServingError
from tfs_notebook.oss.address import OssAddress
from tfs_notebook.oss.client.store import Fault, StoreError
from tfs_notebook.oss.sync.backoff import Backoff, RetryState

ROOT = OssAddress.parse("oss://examplebucket/models/")


def retry_state() -> RetryState:
    return RetryState(ROOT, Path("/copies"), poll=30.0)


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
    now = retry_state()
    assert not now.must_wait
    now.record(StoreError(fault, "whatever"))
    assert now.must_wait
    assert not now.is_permanent
    assert now.is_transient
    assert 2.5 <= now.retry_at - time.monotonic() + 0.5 <= 5.5
    for _ in range(3):
        now.record(StoreError(fault, "whatever"))
    assert not now.is_transient
    now.clear()
    assert not now.must_wait
    assert now.problem is None
    assert now.is_transient


def test_what_is_forbidden_is_asked_again_every_five_minutes_and_sooner_only_when_somebody_asks() -> None:
    now = retry_state()
    for _ in range(5):
        now.record(StoreError(Fault.FORBIDDEN, "no"))
        assert now.is_permanent
        assert now.must_wait
        assert not now.is_transient
        assert 300.0 <= now.retry_at - time.monotonic() + 0.5 <= 331.0
    now.retry_now()
    assert not now.must_wait
    assert now.problem is not None
    now.clear()
    assert not now.is_permanent
    assert now.is_transient


@pytest.mark.parametrize("fault", list(Fault))
def test_other_keys_may_help_against_a_refusal(fault: Fault) -> None:
    now = retry_state()
    now.record(StoreError(fault, "whatever"))
    assert now.is_about_credentials == (fault in (Fault.FORBIDDEN, Fault.EXPIRED))
    now.clear()
    assert not now.is_about_credentials


def test_errors_of_the_disk_and_of_this_program_are_told_as_such() -> None:
    now = retry_state()
    now.record(OSError(errno.EROFS, "Read-only file system", "/copies/x"))
    assert now.problem is not None
    assert (now.problem.code, now.problem.message) == (
        Code.UNAVAILABLE, "/copies/x cannot be used (Read-only file system)"
    )  # fmt: skip
    for number in (errno.ENOSPC, errno.EDQUOT):
        now.record(OSError(number, "it is full", "/copies/x"))
        assert (now.problem.code, now.problem.message) == (
            Code.RESOURCE_EXHAUSTED, "the disk of /copies takes no more (it is full)"
        )  # fmt: skip
        assert "--oss_cache_dir" in now.problem.hint
    now.record(OSError("a text"))
    assert now.problem.message == "/copies cannot be used (a text)"
    now.record(KeyError("x"))
    assert now.problem.code is Code.INTERNAL
    now.record(ServingError(Code.INVALID_ARGUMENT, "no region"), is_permanent=True)
    assert now.is_permanent
