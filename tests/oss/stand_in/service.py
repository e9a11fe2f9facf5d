"""What the OSS server of the tests does with a request, without sockets: a request goes in, a reply comes out."""

from __future__ import annotations

import base64
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl
from uuid import uuid4

from tests.oss.stand_in import listing, multipart
from tests.oss.stand_in.errors import RefusalError, code_of
from tests.oss.stand_in.reading import Reply, check_conditions, read
from tests.oss.stand_in.signature import Account, SignedRequest, verify
from tests.oss.stand_in.storage import ARCHIVED, Bucket, Content, OssObject, Part, new_object

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tests.oss.stand_in.faults import Fault

_READS = frozenset({"GET", "HEAD", "LIST"})
_LISTING = frozenset(
    {
        "list-type",
        "prefix",
        "delimiter",
        "start-after",
        "continuation-token",
        "max-keys",
        "encoding-type",
        "fetch-owner",
    }
)


@dataclass(frozen=True)
class Asked:
    """A request; `query` as sent, header names in lower case."""

    method: str
    bucket: str
    key: str
    query: str
    headers: Mapping[str, str]
    body: Content = field(default_factory=lambda: Content.of(b""))

    @property
    def parameters(self) -> dict[str, str]:
        """The query's parameters."""
        return dict(parse_qsl(self.query, keep_blank_values=True))

    @property
    def operation(self) -> str:
        """The method, or LIST for listing a bucket's objects."""
        return "LIST" if self.method == "GET" and not self.key and "list-type" in self.parameters else self.method


class Service:
    """Buckets and who may use them."""

    def __init__(self, region: str, scratch: Path) -> None:
        self.region, self.scratch = region, scratch
        self.buckets: dict[str, Bucket] = {}
        self.accounts: dict[str, Account] = {}
        self.clock_offset = 0.0
        """Seconds that the service's clock is ahead."""

    def now(self) -> float:
        """The time by the service's clock."""
        return time.time() + self.clock_offset

    def answer(self, asked: Asked, fault: Fault | None) -> Reply:
        """Do what is asked. Raises RefusalError."""
        bucket = self._authorized(asked, fault)
        if fault is not None:
            _refuse(fault)
            if fault.name == "swap" and fault.at is None:
                self.swap(asked, fault)
        if not asked.key:
            return _of_bucket(bucket, asked, empty=fault is not None and fault.name == "empty")
        return _OBJECT[asked.method](bucket, asked, self.now(), self.scratch)

    def swap(self, asked: Asked, fault: Fault) -> None:
        """Put other content where the request's object is."""
        bucket = self.buckets[asked.bucket]
        old = bucket.objects().get(asked.key)
        bucket.put(
            asked.key, new_object(fault.content, self.now(), storage_class=old.storage_class if old else "Standard")
        )

    def _authorized(self, asked: Asked, fault: Fault | None) -> Bucket:
        bucket = self.buckets.get(asked.bucket)
        if bucket is None:
            raise RefusalError("NoSuchBucket", BucketName=asked.bucket)
        if "authorization" not in asked.headers:
            if not bucket.public or asked.operation not in _READS:
                raise RefusalError("AccessDenied")
            return bucket
        now = self.now() + ((fault.seconds or 0.0) if fault is not None and fault.name == "skew" else 0.0)
        verify(
            SignedRequest(asked.method, asked.bucket, asked.key, asked.query, asked.headers),
            self.accounts,
            self.region,
            now,
        )
        return bucket


def _refuse(fault: Fault) -> None:
    """Raise the refusal that a fault consists of."""
    if fault.name == "error":
        raise RefusalError(fault.code or code_of(fault.status), status=fault.status)
    if fault.name == "expired":
        raise RefusalError("SecurityTokenExpired")
    if fault.name == "archived":
        raise RefusalError("InvalidObjectState")


def _of_bucket(bucket: Bucket, asked: Asked, *, empty: bool) -> Reply:
    query = asked.parameters
    if asked.method == "GET" and query.get("list-type") == "2" and query.keys() <= _LISTING:
        return _xml(listing.objects_v2(bucket, query, empty=empty))
    if asked.method == "GET" and "uploads" in query:
        return _xml(listing.uploads(bucket, query))
    raise RefusalError("NotImplemented", f"{asked.method} of a bucket with {asked.query!r} is not implemented.")


def _xml(text: bytes) -> Reply:
    return Reply(200, {"Content-Type": "application/xml"}, Content.of(text))


def _get(bucket: Bucket, asked: Asked, now: float, scratch: Path) -> Reply:
    query = asked.parameters
    if "uploadId" in query:
        upload_id, upload = multipart.find(bucket, asked.key, query)
        return _xml(listing.parts(bucket, upload_id, upload, query))
    if query.keys() - {"objectMeta"}:
        raise RefusalError("NotImplemented", f"GET of an object with {asked.query!r} is not implemented.")
    stored = bucket.get(asked.key)
    check_conditions(stored, asked.headers)
    if asked.method == "GET" and stored.storage_class in ARCHIVED:
        raise RefusalError("InvalidObjectState", ObjectName=asked.key)
    return read(stored, asked.headers)


def _put(bucket: Bucket, asked: Asked, now: float, scratch: Path) -> Reply:
    digest = asked.headers.get("content-md5")
    if digest is not None and digest != base64.b64encode(asked.body.md5).decode():
        raise RefusalError("InvalidDigest")
    if "partNumber" in asked.parameters:
        part = multipart.put_part(bucket, asked.key, asked.parameters, asked.body, now)
        return Reply(200, _stored_headers(part))
    if asked.query:
        raise RefusalError("NotImplemented", f"PUT of an object with {asked.query!r} is not implemented.")
    etag = asked.body.md5.hex().upper()
    return Reply(200, _stored_headers(multipart.store(bucket, asked.key, asked.body, etag, asked.headers, now)))


def _post(bucket: Bucket, asked: Asked, now: float, scratch: Path) -> Reply:
    query = asked.parameters
    if "uploads" in query:
        return _xml(multipart.start(bucket, asked.key, asked.headers, now))
    if "uploadId" not in query:
        raise RefusalError("NotImplemented", f"POST of an object with {asked.query!r} is not implemented.")
    stored = multipart.complete(bucket, asked.key, query, asked.body, asked.headers, now, scratch / uuid4().hex)
    reply = _xml(
        listing.document("CompleteMultipartUploadResult", Bucket=bucket.name, Key=asked.key, ETag=f'"{stored.etag}"')
    )
    reply.headers.update(_stored_headers(stored))
    return reply


def _stored_headers(stored: OssObject | Part) -> dict[str, str]:
    return {"ETag": f'"{stored.etag}"', "x-oss-hash-crc64ecma": str(stored.body.crc64)}


def _delete(bucket: Bucket, asked: Asked, now: float, scratch: Path) -> Reply:
    if "uploadId" in asked.parameters:
        multipart.abort(bucket, asked.key, asked.parameters)
    else:
        bucket.delete(asked.key)
    return Reply(204)


_OBJECT: Mapping[str, Callable[[Bucket, Asked, float, Path], Reply]] = {
    "GET": _get,
    "HEAD": _get,
    "PUT": _put,
    "POST": _post,
    "DELETE": _delete,
}
