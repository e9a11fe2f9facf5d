"""Who is let in: keys, security tokens, rotation and clocks, as oss2 meets them."""

from __future__ import annotations

import os
import time

import oss2
import pytest

from tests.oss.clients import client, refusal
from tests.oss.stand_in.server import BUCKET, OssServer, oss_server


def test_credentials_that_do_not_do(oss: OssServer) -> None:
    oss.put("a", b"1")
    oss.grant("STS.key", "secret", token="token")
    oss.grant("STS.old", "secret", token="token", expires=time.time() - 1)
    assert refusal(client(oss, secret="other")) == (403, "SignatureDoesNotMatch")
    assert refusal(client(oss, key_id="nobody")) == (403, "InvalidAccessKeyId")
    assert refusal(client(oss, key_id="STS.key", secret="secret")) == (403, "InvalidAccessKeyId")
    assert refusal(client(oss, key_id="STS.key", secret="secret", token="x")) == (403, "InvalidSecurityToken")
    assert refusal(client(oss, key_id="STS.old", secret="secret", token="token")) == (403, "SecurityTokenExpired")
    assert refusal(client(oss, region="cn-beijing")) == (400, "InvalidArgument")
    assert refusal(oss2.Bucket(oss2.AnonymousAuth(), oss.endpoint, BUCKET)) == (403, "AccessDenied")
    assert refusal(oss2.Bucket(oss2.Auth(oss.key_id, oss.key_secret), oss.endpoint, BUCKET)) == (403, "AccessDenied")
    assert client(oss, key_id="STS.key", secret="secret", token="token").get_object("a").read() == b"1"


def test_the_environment_leads_to_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OSS_SESSION_TOKEN", raising=False)
    with oss_server(token="token") as oss:
        oss.put("a", b"1")
        auth = oss2.ProviderAuthV4(oss2.credentials.EnvironmentVariableCredentialsProvider())
        bucket = oss2.Bucket(auth, os.environ["OSS_ENDPOINT"], BUCKET, region=os.environ["OSS_REGION"])
        assert bucket.get_object("a").read() == b"1"
        oss.grant(oss.key_id, oss.key_secret, token="token", expires=time.time() - 1)
        assert refusal(bucket) == (403, "SecurityTokenExpired")
    assert "OSS_SESSION_TOKEN" not in os.environ


def test_keys_are_rotated(oss: OssServer, bucket: oss2.Bucket) -> None:
    oss.put("a", b"1")
    oss.grant("new", "secret")
    oss.revoke(oss.key_id)
    assert refusal(bucket) == (403, "InvalidAccessKeyId")
    assert client(oss, key_id="new", secret="secret").get_object("a").read() == b"1"


@pytest.mark.parametrize("offset", [-1000, 1000])
def test_a_clock_that_is_off(oss: OssServer, bucket: oss2.Bucket, offset: float) -> None:
    oss.put("a", b"1")
    oss.clock_offset = offset
    assert refusal(bucket) == (403, "RequestTimeTooSkewed")
    oss.clock_offset = 0
    assert bucket.get_object("a").read() == b"1"
