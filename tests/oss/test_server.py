"""The OSS server of the tests satisfies Alibaba Cloud's own client, unmodified, and answers raw HTTP as OSS does."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import oss2
import pytest

from tests.oss.server import BUCKET, OssServer, oss_server

if TYPE_CHECKING:
    from pathlib import Path


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


@pytest.fixture
def bucket(oss: OssServer) -> oss2.Bucket:
    return client(oss)


def test_what_was_put_is_read_again(oss: OssServer, bucket: oss2.Bucket) -> None:
    put = bucket.put_object("models/modelA/1/saved_model.pb", b"123456789")
    assert (put.etag, put.crc) == ("25F9E794323B453885F5181F1B624D0B", 0x995DC9BBDF1939FA)
    got = bucket.get_object("models/modelA/1/saved_model.pb")
    assert got.read() == b"123456789"
    assert (got.etag, got.server_crc, got.client_crc) == (put.etag, put.crc, put.crc)
    assert oss.objects["models/modelA/1/saved_model.pb"].content == b"123456789"


def test_a_head_tells_size_etag_type_and_class(oss: OssServer, bucket: oss2.Bucket) -> None:
    oss.put("a/b", b"12345", storage_class="IA", content_encoding="gzip")
    head = bucket.head_object("a/b")
    assert (head.content_length, head.etag, head.object_type) == (5, "827CCB0EEA8A706C4C34A16891F84E7B", "Normal")
    assert head.headers["x-oss-storage-class"] == "IA"
    assert head.headers["Content-Encoding"] == "gzip"
    assert abs(head.last_modified - time.time()) < 100
    assert bucket.object_exists("a/b")
    assert not bucket.object_exists("a/c")


def test_a_deleted_object_is_gone(oss: OssServer, bucket: oss2.Bucket) -> None:
    oss.put("a", b"")
    assert bucket.delete_object("a").status == 204
    assert bucket.delete_object("a").status == 204
    with pytest.raises(oss2.exceptions.NoSuchKey):
        bucket.get_object("a")


def test_requests_are_told(oss: OssServer, bucket: oss2.Bucket) -> None:
    oss.put("a/1", b"1")
    bucket.get_object("a/1").read()
    list(oss2.ObjectIteratorV2(bucket, prefix="a/", max_keys=1000))
    with pytest.raises(oss2.exceptions.NoSuchKey):
        bucket.head_object("a/2")
    told = [(r.operation, r.method, r.bucket, r.key, r.status) for r in oss.requests]
    assert told == [
        ("GET", "GET", BUCKET, "a/1", 200),
        ("LIST", "GET", BUCKET, "", 200),
        ("HEAD", "HEAD", BUCKET, "a/2", 404),
    ]
    assert oss.requests[1].query["max-keys"] == "1000"


NAMES = ["a b/ü+%20.txt", "a/\x07", "a/1", "a/2/x", "a/2/y", "a/3", "b/1", "b/2/", "ﬀ", "😀"]


@pytest.mark.parametrize("max_keys", [1, 3, 1000])
def test_a_listing_of_all_pages_is_whole_and_in_order(oss: OssServer, bucket: oss2.Bucket, max_keys: int) -> None:
    for number, name in enumerate(reversed(NAMES)):
        oss.put(name, b"x" * number)
    found = list(oss2.ObjectIteratorV2(bucket, max_keys=max_keys))
    assert [entry.key for entry in found] == NAMES
    assert [entry.size for entry in found] == list(reversed(range(len(NAMES))))
    assert {entry.etag for entry in found} == {entry.etag for entry in oss.objects.values()}
    below = oss2.ObjectIteratorV2(bucket, prefix="a/", delimiter="/", max_keys=max_keys)
    assert [(entry.key, entry.is_prefix()) for entry in below] == [
        ("a/\x07", False), ("a/1", False), ("a/2/", True), ("a/3", False),
    ]  # fmt: skip
    after = oss2.ObjectIteratorV2(bucket, start_after="a/2/x", max_keys=max_keys)
    assert [entry.key for entry in after] == NAMES[4:]


def test_the_server_ends_with_its_connections(tmp_path: Path) -> None:
    with oss_server() as server:
        server.put("a", b"1" * 100)
        kept = client(server)
        kept.get_object("a").read()
    with pytest.raises(oss2.exceptions.RequestError):
        kept.get_object("a")
