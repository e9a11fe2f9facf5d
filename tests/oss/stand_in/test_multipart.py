"""Uploads in parts by oss2."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import oss2
import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.oss.stand_in.server import OssServer

PART = 100 << 10


def test_an_upload_in_parts(oss: OssServer, bucket: oss2.Bucket) -> None:
    upload = bucket.init_multipart_upload("a b", headers={"Content-Type": "text/plain"}).upload_id
    content = [b"1" * PART, b"2" * PART, b"3"]
    parts = []
    for number, piece in enumerate(content, 1):
        put = bucket.upload_part("a b", upload, number, piece)
        parts.append(oss2.models.PartInfo(number, put.etag, size=len(piece), part_crc=put.crc))
    assert "a b" not in oss.objects
    listed = [entry for page in ("", "2") for entry in bucket.list_parts("a b", upload, page, 2).parts]
    assert [(part.part_number, part.size, part.etag) for part in listed] == [
        (part.part_number, part.size, part.etag) for part in parts
    ]
    assert [(entry.key, entry.upload_id) for entry in bucket.list_multipart_uploads().upload_list] == [("a b", upload)]
    done = bucket.complete_multipart_upload("a b", upload, parts)  # compares checksums
    assert oss.objects["a b"].content == b"".join(content)
    assert done.etag == oss.objects["a b"].etag
    assert re.fullmatch("[0-9A-F]{32}-3", done.etag)
    head = bucket.head_object("a b")
    assert (head.object_type, head.content_type) == ("Multipart", "text/plain")
    assert "Content-MD5" not in head.headers
    assert bucket.list_multipart_uploads().upload_list == []


def test_a_resumable_upload(oss: OssServer, bucket: oss2.Bucket, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"0123456789" * (PART // 4))
    store = oss2.ResumableStore(root=str(tmp_path))
    oss2.resumable_upload(
        bucket, "a", str(tmp_path / "file"), store=store, multipart_threshold=PART, part_size=PART, num_threads=2
    )
    assert oss.objects["a"].content == (tmp_path / "file").read_bytes()


def test_an_aborted_upload_is_forgotten(oss: OssServer, bucket: oss2.Bucket) -> None:
    upload = bucket.init_multipart_upload("a").upload_id
    bucket.abort_multipart_upload("a", upload)
    for ask in (bucket.list_parts, bucket.abort_multipart_upload):
        with pytest.raises(oss2.exceptions.NoSuchUpload):
            ask("a", upload)


def test_parts_that_do_not_fit(bucket: oss2.Bucket) -> None:
    upload = bucket.init_multipart_upload("a").upload_id
    one, two = (
        oss2.models.PartInfo(number, bucket.upload_part("a", upload, number, bytes([number])).etag) for number in (1, 2)
    )
    for parts, code in [
        ([one, two], "EntityTooSmall"),
        ([oss2.models.PartInfo(1, two.etag)], "InvalidPart"),
        ([oss2.models.PartInfo(3, one.etag)], "InvalidPart"),
        ([], "MalformedXML"),
    ]:
        with pytest.raises(oss2.exceptions.ServerError) as refused:
            bucket.complete_multipart_upload("a", upload, parts)
        assert (refused.value.status, refused.value.code) == (400, code)


def test_many_uploads_are_listed_by_pages(bucket: oss2.Bucket) -> None:
    begun = [(key, bucket.init_multipart_upload(key).upload_id) for key in ("a/1", "a/2", "a/2", "b")]
    listed = oss2.MultipartUploadIterator(bucket, prefix="a/", max_uploads=1)
    assert [(entry.key, entry.upload_id) for entry in listed] == sorted(begun[:3])
