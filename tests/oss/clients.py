"""Clients of the OSS server of the tests: oss2, and HTTP by hand, which shows what oss2 hides."""

from __future__ import annotations

import http.client
import time
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

import oss2
import pytest

from tests.oss.stand_in.server import BUCKET
from tests.oss.stand_in.signature import SignedRequest, authorization
from tests.support.serving import PATIENCE, Reply

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.oss.stand_in.server import OssServer


def client(server: OssServer, bucket: str = BUCKET, *, key_id: str = "", secret: str = "", token: str = "",
           region: str = "", crc: bool = True) -> oss2.Bucket:  # fmt: skip
    """oss2 as its documentation has one use it."""
    provider = oss2.credentials.StaticCredentialsProvider(
        key_id or server.key_id, secret or server.key_secret, token or None
    )
    auth = oss2.ProviderAuthV4(provider)
    made = oss2.Bucket(
        auth, server.endpoint, bucket, region=region or server.region, enable_crc=crc, connect_timeout=20
    )
    made.session.session.auth = lambda request: request  # a default entry in ~/.netrc would replace the signature
    return made


def refusal(bucket: oss2.Bucket) -> tuple[int, str]:
    """How OSS refuses to read the object `a`."""
    with pytest.raises(oss2.exceptions.ServerError) as refused:
        bucket.get_object("a")
    return refused.value.status, refused.value.code


def signed_headers(
    server: OssServer, method: str, key: str, query: str = "", headers: Mapping[str, str] | None = None,
    *, bucket: str = BUCKET, at: float | None = None,
) -> dict[str, str]:  # fmt: skip
    """The headers with a signature by the server's account, made at the time `at` (epoch seconds; now)."""
    moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(at))
    described = {"x-oss-date": moment, "x-oss-content-sha256": "UNSIGNED-PAYLOAD"}
    described |= {name.lower(): value for name, value in (headers or {}).items()}
    request = SignedRequest(method, bucket, key, query, described)
    return described | {"authorization": authorization(request, server.key_id, server.key_secret, server.region)}


def connect(server: OssServer) -> http.client.HTTPConnection:
    """A connection that gives up after 100 seconds."""
    address = urlsplit(server.endpoint)
    return http.client.HTTPConnection(address.hostname or "", address.port, timeout=PATIENCE)


def target(key: str, query: str = "", bucket: str = BUCKET) -> str:
    """The path and query of a request, path style."""
    return f"/{bucket}/{quote(key, safe='/')}{'?' if query else ''}{query}"


def ask(
    server: OssServer, method: str, key: str = "", query: str = "", headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
) -> Reply:  # fmt: skip
    """One signed request on a connection of its own."""
    connection = connect(server)
    try:
        connection.request(method, target(key, query), body, signed_headers(server, method, key, query, headers))
        response = connection.getresponse()
        return Reply(response.status, response.headers, response.read())
    finally:
        connection.close()
