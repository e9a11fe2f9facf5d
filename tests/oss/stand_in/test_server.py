"""The OSS server of the tests satisfies Alibaba Cloud's own client, unmodified, and answers raw HTTP as OSS does."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import oss2
import pytest

from tests.oss.clients import client, refusal
from tests.oss.stand_in.server import BUCKET, OssServer, oss_server


def test_what_was_put_is_read_again(oss: OssServer, bucket: oss2.Bucket) -> None:
    put = bucket.put_object("models/modelA/1/saved_model.pb", b"123456789")
    assert (put.etag, put.crc) == ("25F9E794323B453885F5181F1B624D0B", 0x995DC9BBDF1939FA)
    got = bucket.get_object("models/modelA/1/saved_model.pb")
    assert got.read() == b"123456789"
    assert (got.etag, got.server_crc, got.client_crc) == (put.etag, put.crc, put.crc)
    assert oss.objects["models/modelA/1/saved_model.pb"].content == b"123456789"


def test_an_empty_object(oss: OssServer, bucket: oss2.Bucket) -> None:
    bucket.put_object("a", b"")
    assert oss.objects["a"].content == bucket.get_object("a").read() == b""


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
    assert [entry.key for entry in oss2.ObjectIteratorV2(bucket, prefix="a b/ü+", max_keys=max_keys)] == NAMES[:1]
    after = oss2.ObjectIteratorV2(bucket, start_after="a/2/x", max_keys=max_keys)
    assert [entry.key for entry in after] == NAMES[4:]


def test_a_range_is_read(oss: OssServer, bucket: oss2.Bucket) -> None:
    oss.put("a", bytes(range(100)))
    got = bucket.get_object("a", byte_range=(10, 19), headers={"x-oss-range-behavior": "standard"})
    assert (got.status, got.read(), got.headers["Content-Range"]) == (206, bytes(range(10, 20)), "bytes 10-19/100")
    assert bucket.get_object("a", byte_range=(90, 200)).read() == bytes(range(100))


def test_a_large_file_is_read_and_uploaded(oss: OssServer, bucket: oss2.Bucket, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"0123456789abcdef" * (1 << 17))
    oss.put("large", tmp_path / "large")
    bucket.get_object_to_file("large", str(tmp_path / "read"))  # checks the checksum
    assert (tmp_path / "read").read_bytes() == (tmp_path / "large").read_bytes()
    bucket.put_object_from_file("copy", str(tmp_path / "large"))
    assert oss.objects["copy"].content == (tmp_path / "large").read_bytes()
    assert oss.objects["copy"].etag == oss.objects["large"].etag
    assert oss.requests[0].sent == 2 << 20


def test_conditions(oss: OssServer, bucket: oss2.Bucket) -> None:
    etag = oss.put("a", b"1").etag
    assert bucket.get_object("a", headers={"If-Match": f'"{etag}"'}).read() == b"1"
    with pytest.raises(oss2.exceptions.NotModified):
        bucket.get_object("a", headers={"If-None-Match": f'"{etag}"'})
    oss.put("a", b"2")
    for ask in (bucket.get_object, bucket.head_object):
        with pytest.raises(oss2.exceptions.PreconditionFailed):
            ask("a", headers={"If-Match": f'"{etag}"'})


def test_nothing_is_overwritten_when_that_is_forbidden(oss: OssServer, bucket: oss2.Bucket) -> None:
    oss.put("a", b"1")
    with pytest.raises(oss2.exceptions.ServerError) as refused:
        bucket.put_object("a", b"2", headers={"x-oss-forbid-overwrite": "true"})
    assert (refused.value.status, refused.value.code) == (409, "FileAlreadyExists")


def test_an_archived_object_must_be_restored_first(oss: OssServer, bucket: oss2.Bucket) -> None:
    oss.put("a", b"1", storage_class="Archive")
    assert bucket.head_object("a").headers["x-oss-storage-class"] == "Archive"
    with pytest.raises(oss2.exceptions.ServerError) as refused:
        bucket.get_object("a")
    assert (refused.value.status, refused.value.code) == (403, "InvalidObjectState")


def test_a_bucket_that_does_not_exist(oss: OssServer) -> None:
    assert refusal(client(oss, "other-bucket")) == (404, "NoSuchBucket")
    with pytest.raises(oss2.exceptions.NoSuchBucket):
        client(oss, "other-bucket").list_objects_v2()


def test_an_anonymous_client_reads_a_public_bucket(oss: OssServer) -> None:
    oss.add_bucket("public-bucket", public=True)
    oss.put("a", b"1", bucket="public-bucket")
    bucket = oss2.Bucket(oss2.AnonymousAuth(), oss.endpoint, "public-bucket")
    assert bucket.get_object("a").read() == b"1"
    assert [entry.key for entry in oss2.ObjectIteratorV2(bucket)] == ["a"]


def test_a_tree_is_put_and_deleted(oss: OssServer, tmp_path: Path) -> None:
    for name in ("1/saved_model.pb", "1/variables/variables.index", "2/saved_model.pb"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    oss.put_tree("models/modelA", tmp_path)
    assert list(oss.objects) == [
        "models/modelA/1/saved_model.pb",
        "models/modelA/1/variables/variables.index",
        "models/modelA/2/saved_model.pb",
    ]
    oss.delete("models/modelA/1/")
    assert list(oss.objects) == ["models/modelA/2/saved_model.pb"]


def test_a_bucket_in_a_directory(oss: OssServer, tmp_path: Path) -> None:
    oss.add_bucket("directory", directory=tmp_path)
    bucket = client(oss, "directory")
    (tmp_path / "a").write_bytes(b"1")
    assert bucket.get_object("a").read() == b"1"
    bucket.put_object("b/c", b"2")
    assert (tmp_path / "b/c").read_bytes() == b"2"
    (tmp_path / "a").write_bytes(b"12")
    assert [(entry.key, entry.size) for entry in oss2.ObjectIteratorV2(bucket)] == [("a", 2), ("b/c", 1)]
    (tmp_path / "a").unlink()
    bucket.delete_object("b/c")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert list(oss2.ObjectIteratorV2(bucket)) == []
    with pytest.raises(oss2.exceptions.ServerError) as refused:
        bucket.put_object("../d", b"")
    assert refused.value.code == "InvalidObjectName"


def test_a_server_in_a_process_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    (tmp_path / "a").write_bytes(b"1")
    command = [
        sys.executable,
        "-m",
        "tests.oss.stand_in.server",
        "--directory",
        str(tmp_path),
        "--bucket",
        "other-bucket",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3]) as process:
        assert process.stdout is not None
        endpoint = process.stdout.readline().strip()
        auth = oss2.ProviderAuthV4(oss2.credentials.StaticCredentialsProvider(OssServer.key_id, OssServer.key_secret))
        bucket = oss2.Bucket(auth, endpoint, "other-bucket", region=OssServer.region)
        assert bucket.get_object("a").read() == b"1"
        process.terminate()
        assert f"export OSS_ENDPOINT={endpoint}\n" in process.stdout.read()
    assert process.returncode == 0


def test_the_server_ends_with_its_connections(tmp_path: Path) -> None:
    with oss_server() as server:
        server.put("a", b"1" * 100)
        kept = client(server)
        kept.get_object("a").read()
    with pytest.raises(oss2.exceptions.RequestError):
        kept.get_object("a")
