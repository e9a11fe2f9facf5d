"""Multipart uploads of the OSS server of the tests, and how what was uploaded becomes an object."""

from __future__ import annotations

import hashlib
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING
from uuid import uuid4

from tests.oss.stand_in.errors import RefusalError
from tests.oss.stand_in.listing import document
from tests.oss.stand_in.storage import Content, OssObject, Part, Upload

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.oss.stand_in.storage import Bucket

SMALLEST_PART = 100 << 10
"""Bytes that every part but the last must have."""


def store(
    bucket: Bucket, key: str, body: Content, etag: str, headers: Mapping[str, str], now: float, kind: str = "Normal"
) -> OssObject:
    """Make an object of what was uploaded, as the upload's headers ask for."""
    stored = OssObject(
        body,
        etag,
        now,
        headers.get("x-oss-storage-class", "Standard"),
        headers.get("content-encoding", ""),
        headers.get("content-type", "application/octet-stream"),
        kind,
    )
    bucket.put(key, stored, overwrite=headers.get("x-oss-forbid-overwrite", "").lower() != "true")
    return stored


def start(bucket: Bucket, key: str, headers: Mapping[str, str], now: float) -> bytes:
    """Begin an upload; the XML tells its id. Refuses to begin one that may not overwrite what is there."""
    if headers.get("x-oss-forbid-overwrite", "").lower() == "true" and key in bucket.objects():
        raise RefusalError("FileAlreadyExists", Key=key)
    upload_id = uuid4().hex.upper()
    with bucket.lock:
        bucket.uploads[upload_id] = Upload(key, now, dict(headers))
    return document("InitiateMultipartUploadResult", Bucket=bucket.name, Key=key, UploadId=upload_id)


def find(bucket: Bucket, key: str, query: Mapping[str, str]) -> tuple[str, Upload]:
    """The upload that a request's `uploadId` names, for its key."""
    upload_id = query.get("uploadId", "")
    with bucket.lock:
        upload = bucket.uploads.get(upload_id)
    if upload is None or upload.key != key:
        raise RefusalError("NoSuchUpload", UploadId=upload_id)
    return upload_id, upload


def put_part(bucket: Bucket, key: str, query: Mapping[str, str], body: Content, now: float) -> Part:
    """Keep a part, in place of an earlier one of its number."""
    _, upload = find(bucket, key, query)
    number = query["partNumber"]
    if not number.isdecimal() or not 1 <= int(number) <= 10000:
        raise RefusalError("InvalidArgument", ArgumentName="partNumber", ArgumentValue=number)
    with bucket.lock:
        part = upload.parts[int(number)] = Part(body, now)
    return part


def abort(bucket: Bucket, key: str, query: Mapping[str, str]) -> None:
    """Forget an upload and its parts."""
    upload_id, _ = find(bucket, key, query)
    with bucket.lock:
        bucket.uploads.pop(upload_id, None)


def complete(
    bucket: Bucket, key: str, query: Mapping[str, str], body: Content, headers: Mapping[str, str], now: float, to: Path
) -> OssObject:
    """Join the parts that the request names, in the file `to`, and make them an object."""
    upload_id, upload = find(bucket, key, query)
    parts = [_part(upload, number, etag) for number, etag in _named(body)]
    if any(part.body.size < SMALLEST_PART for part in parts[:-1]):
        raise RefusalError("EntityTooSmall", MinSizeAllowed=SMALLEST_PART)
    with to.open("wb") as file:
        for part in parts:
            file.writelines(part.body.pieces())
    etag = f"{hashlib.md5(b''.join(part.body.md5 for part in parts)).hexdigest().upper()}-{len(parts)}"
    described = {**upload.headers, **{name: headers[name] for name in headers if name.startswith("x-oss-")}}
    stored = store(bucket, key, Content.of(to), etag, described, now, "Multipart")
    with bucket.lock:
        bucket.uploads.pop(upload_id, None)
    return stored


def _named(body: Content) -> list[tuple[int, str]]:
    """The numbers and ETags of CompleteMultipartUpload."""
    try:
        root = ET.fromstring(b"".join(body.pieces()))
        named = [(int(part.findtext("PartNumber", "")), part.findtext("ETag", "")) for part in root.iter("Part")]
    except (ET.ParseError, ValueError):
        raise RefusalError("MalformedXML") from None
    if not named:
        raise RefusalError("MalformedXML")
    numbers = [number for number, _ in named]
    if numbers != sorted(set(numbers)):
        raise RefusalError("InvalidPartOrder")
    return named


def _part(upload: Upload, number: int, etag: str) -> Part:
    part = upload.parts.get(number)
    if part is None or part.etag != etag.strip('"').upper():
        raise RefusalError("InvalidPart", PartNumber=number, ETag=etag)
    return part
