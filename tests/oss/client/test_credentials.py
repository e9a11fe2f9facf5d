"""Who asks OSS: from the environment at the moment of each request, from a role, from a provider, or nobody."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING

import pytest

from tests.oss.canned import canned
from tfs_notebook.oss.client import credentials
from tfs_notebook.oss.client.credentials import EnvironmentProvider, Keys, keys_of
from tfs_notebook.oss.client.endpoint import StoreOptions
from tfs_notebook.oss.client.oss2_store import open_store
from tfs_notebook.oss.client.store import Fault, StoreError

if TYPE_CHECKING:
    from tests.oss.stand_in.server import OssServer

NAMES = ("OSS_ACCESS_KEY_ID", "OSS_ACCESS_KEY_SECRET", "OSS_SESSION_TOKEN")


def role_keys(**changes: str) -> bytes:
    """What the metadata service of an ECS instance, or of PAI-DSW, answers."""
    ends = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
    keys = {"AccessKeyId": "STS.role", "AccessKeySecret": "role-secret", "SecurityToken": "role-token"}
    return json.dumps({"Code": "Success", "Expiration": ends, **keys, **changes}).encode()


def test_the_environment_is_read_for_every_request(oss: OssServer) -> None:
    store = open_store("examplebucket", StoreOptions())
    store.list("")
    oss.revoke(oss.key_id)
    oss.grant("STS.fresh", "fresh-secret", token="fresh-token")
    with pytest.raises(StoreError, match="InvalidAccessKeyId"):
        store.list("")
    os.environ.update(zip(NAMES, ("STS.fresh", " fresh-secret\n", "fresh-token"), strict=True))
    store.list("")


def test_a_token_that_ends_is_told(oss: OssServer) -> None:
    oss.grant("STS.fresh", "fresh-secret", token="fresh-token", expires=time.time() - 1)
    os.environ.update(zip(NAMES, ("STS.fresh", "fresh-secret", "fresh-token"), strict=True))
    with pytest.raises(StoreError, match="has expired") as refused:
        open_store("examplebucket", StoreOptions()).list("")
    assert refused.value.fault is Fault.EXPIRED
    assert "fresh-token" not in refused.value.told


@pytest.mark.parametrize(
    ("environment", "problem"),
    [
        ({}, "there are no credentials for OSS"),
        ({"OSS_ACCESS_KEY_ID": "  "}, "there are no credentials for OSS"),
        ({"OSS_ACCESS_KEY_ID": "id"}, "OSS_ACCESS_KEY_ID is set, but OSS_ACCESS_KEY_SECRET is not"),
        ({"OSS_ACCESS_KEY_SECRET": "secret"}, "OSS_ACCESS_KEY_SECRET is set, but OSS_ACCESS_KEY_ID is not"),
        ({"OSS_ANONYMOUS": "false"}, "there are no credentials for OSS"),
    ],
)
def test_missing_credentials_name_the_variables(environment: dict[str, str], problem: str) -> None:
    with pytest.raises(StoreError, match=problem) as refused:
        keys_of(EnvironmentProvider(environment))
    assert refused.value.fault is Fault.FORBIDDEN
    for name in (*NAMES, "ALIBABA_CLOUD_ECS_METADATA", "OSS_ANONYMOUS=true"):
        assert name in refused.value.hint


def test_a_public_bucket_is_read_without_credentials_when_told_so(oss: OssServer) -> None:
    oss.add_bucket("publicbucket", public=True)
    oss.put("model", b"content", bucket="publicbucket")
    for name in NAMES:
        os.environ.pop(name, None)
    store = open_store("publicbucket", StoreOptions())
    with pytest.raises(StoreError, match="there are no credentials"):
        store.head("model")
    os.environ["OSS_ANONYMOUS"] = "true"
    assert store.head("model").size == 7
    assert "authorization" not in oss.requests[-1].headers


@pytest.mark.parametrize("told_by", ["ALIBABA_CLOUD_CREDENTIALS_URI", "ALIBABA_CLOUD_ECS_METADATA"])
def test_the_keys_of_a_role_are_fetched(oss: OssServer, monkeypatch: pytest.MonkeyPatch, told_by: str) -> None:
    oss.grant("STS.role", "role-secret", token="role-token")
    for name in NAMES:
        os.environ.pop(name, None)
    with canned(200, role_keys()) as metadata:
        monkeypatch.setattr(credentials, "_METADATA", f"{metadata}/")
        monkeypatch.setenv(told_by, metadata if told_by.endswith("URI") else "ModelReader")
        store = open_store("examplebucket", StoreOptions())
        store.list("")
    store.list("")  # the keys are kept until they end


@pytest.mark.parametrize(("status", "body"), [(404, b"no role"), (200, role_keys(Code="Failed")), (200, b"<html>")])
def test_a_role_that_has_no_keys_is_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, status: int, body: bytes
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with canned(status, body) as metadata:
        monkeypatch.setattr(credentials, "_METADATA", f"{metadata}/")
        with pytest.raises(StoreError, match="RAM role 'ModelReader' cannot be fetched") as refused:
            keys_of(EnvironmentProvider({"ALIBABA_CLOUD_ECS_METADATA": "ModelReader"}))
    assert refused.value.fault is Fault.UNREACHABLE
    assert "role-secret" not in refused.value.told + caplog.text


class Provider:
    """A user's own."""

    def __init__(self, keys: object) -> None:
        self.keys = keys

    def get_credentials(self) -> object:
        if isinstance(self.keys, Exception):
            raise self.keys
        return self.keys


def test_a_provider_of_one_s_own_goes_before_the_environment(oss: OssServer) -> None:
    oss.grant("own", "own-secret")
    open_store("examplebucket", StoreOptions(), Provider(Keys("own", "own-secret"))).list("")
    assert "own/" in oss.requests[-1].headers["authorization"]


def test_providers_of_oss2_do(oss: OssServer) -> None:
    from oss2.credentials import EnvironmentVariableCredentialsProvider, StaticCredentialsProvider

    open_store("examplebucket", StoreOptions(), EnvironmentVariableCredentialsProvider()).list("")
    open_store("examplebucket", StoreOptions(), StaticCredentialsProvider(oss.key_id, oss.key_secret)).list("")


@pytest.mark.parametrize("keys", [None, RuntimeError("the vault said s3cret"), "s3cret"])
def test_a_provider_that_fails_is_named_but_not_what_it_says(oss: OssServer, keys: object) -> None:
    with pytest.raises(StoreError, match="the credentials provider Provider failed") as refused:
        open_store("examplebucket", StoreOptions(), Provider(keys)).list("")
    assert refused.value.fault is Fault.FORBIDDEN
    assert "s3cret" not in f"{refused.value.told} {refused.value.__context__!r}"
    assert oss.requests == []


@pytest.mark.parametrize(
    ("keys", "name"),
    [
        (Keys("id\r\nX-Other: 1", "s3cret"), "OSS_ACCESS_KEY_ID"),
        (Keys("id", '"s3cret"'), "OSS_ACCESS_KEY_SECRET"),
        (Keys("id", "s3cret", "tökén"), "OSS_SESSION_TOKEN"),
    ],
)
def test_keys_that_no_header_can_carry_are_refused_without_repeating_them(
    oss: OssServer, keys: Keys, name: str
) -> None:
    with pytest.raises(StoreError, match=f"{name} has characters that no key has") as refused:
        open_store("examplebucket", StoreOptions(), Provider(keys)).list("")
    assert not {"s3cret", "X-Other", "tökén"} & set(refused.value.told.split())
    assert oss.requests == []


def test_keys_do_not_show_themselves() -> None:
    assert repr(Keys("id", "secret", "token")) == "Keys()"
