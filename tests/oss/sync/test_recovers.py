"""A source that is in trouble goes on by itself when the cause has gone, and is not asked too often until then."""

from __future__ import annotations

import errno
import os
import shutil
import time
from typing import TYPE_CHECKING

import pytest

from tests.oss.syncing import POLL, Watched, listings, upload, watched
from tests.support.serving import until
from tfs_notebook.oss.client.credentials import Keys

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Models
    from tests.oss.stand_in.server import OssServer


def forbid(method: str) -> Callable[[OssServer], object]:
    return lambda oss: oss.fail("error", status=403, code="AccessDenied", method=method, times=None)


def forbid_account(oss: OssServer) -> None:
    oss.revoke(oss.key_id)


def change_secret(oss: OssServer) -> None:
    oss.grant(oss.key_id, "another-secret")


def grant(oss: OssServer) -> None:
    oss.heal()
    oss.grant(oss.key_id, oss.key_secret)


def stopped(seen: Watched) -> bool:
    return seen.status.state == "stopped"


@pytest.mark.parametrize(
    ("refuse", "code"),
    [
        (forbid("LIST"), "AccessDenied"),
        (forbid("GET"), "AccessDenied"),
        (forbid_account, "InvalidAccessKeyId"),
        (change_secret, "SignatureDoesNotMatch"),
    ],
)
def test_a_refusal_stops_nothing_that_is_served_and_ends_by_itself(
    oss: OssServer, models: Models, tmp_path: Path, refuse: Callable[[OssServer], object], code: str
) -> None:
    upload(oss, models, "modelA/1")
    with watched(tmp_path, refused_seconds=0.5) as seen:
        until(lambda: seen.versions() == ["1"])
        refuse(oss)
        upload(oss, models, "modelA/2")
        until(lambda: stopped(seen))
        assert code in seen.problem
        assert time.time() - 1 < (seen.status.next_listing or 0.0) < time.time() + 1
        assert seen.versions() == ["1"]
        assert not seen.fetch_status().expects_more
        grant(oss)
        until(lambda: seen.versions() == ["1", "2"])
        until(lambda: seen.status.state == "in step" and not seen.problem)


def test_a_bucket_that_is_not_there_is_waited_for(oss: OssServer, models: Models, tmp_path: Path) -> None:
    bucket = oss.service.buckets.pop("examplebucket")
    with watched(tmp_path) as seen:
        until(lambda: "NoSuchBucket" in seen.problem)
        oss.service.buckets["examplebucket"] = bucket
        upload(oss, models, "modelA/1")
        until(lambda: seen.versions() == ["1"])


def test_while_it_refuses_it_is_left_alone(oss: OssServer, tmp_path: Path) -> None:
    forbid_account(oss)
    with watched(tmp_path, refused_seconds=1.0) as seen:
        until(lambda: stopped(seen))
        begun, before = time.monotonic(), len(oss.requests)
        until(lambda: len(oss.requests) >= before + 2)
        assert time.monotonic() - begun >= 2 * 1.0 - POLL


# Other keys


def fresh(oss: OssServer) -> Keys:
    """An account that is not refused."""
    oss.grant("LTAI5tFreshKey", "fresh-secret")
    return Keys("LTAI5tFreshKey", "fresh-secret")


def test_other_keys_in_the_environment_are_tried_at_once(oss: OssServer, models: Models, tmp_path: Path) -> None:
    upload(oss, models, "modelA/1")
    forbid_account(oss)
    with watched(tmp_path) as seen:
        until(lambda: stopped(seen))
        keys = fresh(oss)
        os.environ |= {"OSS_ACCESS_KEY_ID": keys.key_id, "OSS_ACCESS_KEY_SECRET": keys.key_secret}
        until(lambda: seen.versions() == ["1"])


def test_keys_that_were_missing_are_used_as_soon_as_they_are_there(
    oss: OssServer, models: Models, tmp_path: Path
) -> None:
    upload(oss, models, "modelA/1")
    with watched(tmp_path) as seen:
        until(lambda: seen.versions() == ["1"])
        del os.environ["OSS_ACCESS_KEY_SECRET"]
        until(lambda: stopped(seen))
        assert "OSS_ACCESS_KEY_SECRET is not" in seen.problem
        upload(oss, models, "modelA/2")
        os.environ["OSS_ACCESS_KEY_SECRET"] = oss.key_secret
        until(lambda: seen.versions() == ["1", "2"])


def test_a_fresh_token_does_not_wait_for_the_next_attempt(oss: OssServer, models: Models, tmp_path: Path) -> None:
    upload(oss, models, "modelA/1")
    oss.grant(oss.key_id, oss.key_secret, token="old", expires=time.time() - 1)
    os.environ["OSS_SESSION_TOKEN"] = "old"
    with watched(tmp_path) as seen:
        attempt = until(lambda: (listing := seen.status.next_listing or 0.0) > time.time() + 3.0 and listing)
        oss.grant(oss.key_id, oss.key_secret, token="fresh")
        os.environ["OSS_SESSION_TOKEN"] = "fresh"
        until(lambda: seen.versions() == ["1"])
        assert time.time() < attempt


class Provider:
    """Gives `keys`, and counts how often it is asked."""

    def __init__(self, keys: Keys) -> None:
        self.keys = keys
        self.asked = 0

    def get_credentials(self) -> Keys:
        self.asked += 1
        return self.keys


class Restless(Provider):
    """Gives another token each time."""

    def get_credentials(self) -> Keys:
        super().get_credentials()
        return Keys(self.keys.key_id, self.keys.key_secret, f"token-{self.asked}")


def test_other_keys_of_a_provider_are_tried_at_once(oss: OssServer, models: Models, tmp_path: Path) -> None:
    upload(oss, models, "modelA/1")
    provider = Provider(Keys("LTAI5tUnknown", "secret"))
    with watched(tmp_path, provider=provider) as seen:
        until(lambda: stopped(seen))
        provider.keys = fresh(oss)
        until(lambda: seen.versions() == ["1"])


def test_a_provider_that_never_gives_the_same_twice_is_no_reason_to_ask(oss: OssServer, tmp_path: Path) -> None:
    provider = Restless(Keys("LTAI5tUnknown", "secret"))
    with watched(tmp_path, provider=provider) as seen:
        until(lambda: stopped(seen))
        before, requests = provider.asked, len(oss.requests)
        until(lambda: provider.asked > before + 10)
        assert len(oss.requests) == requests


# Trouble after the listing


def test_what_fails_after_each_listing_is_tried_less_and_less_often_as_well(
    oss: OssServer, models: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(oss, models, "modelA/1")

    def stale(path: Path) -> None:
        raise OSError(errno.ESTALE, "Stale file handle", str(path))

    monkeypatch.setattr(shutil, "disk_usage", stale)
    with watched(tmp_path) as seen:
        until(lambda: "Stale file handle" in seen.problem and (seen.status.next_listing or 0.0) > time.time() + 1.0)
        assert listings(oss) < 12
        assert not seen.fetch_status().expects_more
        monkeypatch.undo()
        until(lambda: seen.versions() == ["1"])
        until(lambda: not seen.problem)
