"""The XML of listings: ListObjectsV2, multipart uploads, and the parts of one."""

from __future__ import annotations

import base64
import binascii
import time
from typing import TYPE_CHECKING
from urllib.parse import quote
from xml.sax.saxutils import escape

from tests.oss.stand_in.errors import RefusalError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from tests.oss.stand_in.storage import Bucket, OssObject, Upload

_HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'
_OWNER = "<Owner><ID>1234567890</ID><DisplayName>1234567890</DisplayName></Owner>"


def moment(seconds: float) -> str:
    """A time in XML."""
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(seconds))


def count(query: Mapping[str, str], name: str, default: int) -> int:
    """A parameter that limits a page to 1 to 1000 entries."""
    text = query.get(name, "") or str(default)
    if not text.isdecimal() or not 1 <= int(text) <= 1000:
        raise RefusalError(
            "InvalidArgument",
            f"Argument {name} must be an integer between 1 and 1000.",
            ArgumentName=name,
            ArgumentValue=text,
        )
    return int(text)


def encoder(query: Mapping[str, str]) -> Callable[[str], str]:
    """How keys are written into XML: url-encoded when asked for, else only escaped."""
    kind = query.get("encoding-type", "")
    if kind not in ("", "url"):
        raise RefusalError("InvalidArgument", ArgumentName="encoding-type", ArgumentValue=kind)
    return (lambda text: quote(text, safe="")) if kind else escape


def _page(
    objects: Mapping[str, OssObject], prefix: str, delimiter: str, after: tuple[str, bool], most: int
) -> tuple[dict[str, OssObject | None], bool]:
    """Up to `most` keys, and common prefixes (None) in their place; and whether there are more.

    `after` is where to go on, and whether that is a common prefix, below which nothing is wanted any more.
    """
    page: dict[str, OssObject | None] = {}
    last, whole = after
    for key, stored in objects.items():
        if not key.startswith(prefix) or key.encode() <= last.encode() or (whole and key.startswith(last)):
            continue
        head, found, _ = key[len(prefix) :].partition(delimiter) if delimiter else (key, "", "")
        name = f"{prefix}{head}{found}" if found else key
        if name in page:
            continue
        if len(page) == most:
            return page, True
        page[name] = None if found else stored
    return page, False


def _token(name: str, *, is_prefix: bool) -> str:
    return base64.urlsafe_b64encode(f"{'p' if is_prefix else 'k'}{name}".encode()).decode()


def _start(query: Mapping[str, str]) -> tuple[str, bool]:
    token = query.get("continuation-token", "")
    if not token:
        return query.get("start-after", ""), False
    try:
        text = base64.b64decode(token, altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise RefusalError("InvalidArgument", ArgumentName="continuation-token", ArgumentValue=token) from None
    return text[1:], text.startswith("p")


def objects_v2(bucket: Bucket, query: Mapping[str, str], *, empty: bool = False) -> bytes:
    """A page of ListObjectsV2; `empty` leaves out every object, as a listing at a bad moment may."""
    encode, most = encoder(query), count(query, "max-keys", 100)
    prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
    objects = {} if empty else bucket.objects()
    page, truncated = _page(objects, prefix, delimiter, _start(query), most)
    fields: list[tuple[str, object]] = [("Name", bucket.name), ("Prefix", encode(prefix))]
    fields += [("StartAfter", encode(query["start-after"]))] if query.get("start-after") else []
    fields += [("MaxKeys", most), ("Delimiter", encode(delimiter))]
    fields += [("EncodingType", "url")] if query.get("encoding-type") else []
    fields += [("IsTruncated", str(truncated).lower())]
    if truncated:
        last = list(page)[-1]
        fields += [("NextContinuationToken", encode(_token(last, is_prefix=page[last] is None)))]
    owner = _OWNER if query.get("fetch-owner") == "true" else ""
    contents = (_contents(encode(key), stored, owner) for key, stored in page.items() if stored is not None)
    prefixes = (
        f"<CommonPrefixes><Prefix>{encode(name)}</Prefix></CommonPrefixes>\n" for name in page if not page[name]
    )
    return _document("ListBucketResult", fields, [*contents, *prefixes, f"<KeyCount>{len(page)}</KeyCount>\n"])


def _contents(key: str, stored: OssObject, owner: str) -> str:
    return (
        f"<Contents><Key>{key}</Key><LastModified>{moment(stored.modified)}</LastModified>"
        f'<ETag>"{stored.etag}"</ETag><Type>{stored.kind}</Type><Size>{stored.size}</Size>'
        f"<StorageClass>{stored.storage_class}</StorageClass>{owner}</Contents>\n"
    )


def uploads(bucket: Bucket, query: Mapping[str, str]) -> bytes:
    """A page of ListMultipartUploads, in the order of keys and then upload ids."""
    encode, most = encoder(query), count(query, "max-uploads", 1000)
    after = (query.get("key-marker", ""), query.get("upload-id-marker", "") or "\uffff")
    with bucket.lock:
        found = sorted((upload.key, upload_id, upload.started) for upload_id, upload in bucket.uploads.items())
    found = [entry for entry in found if entry[0].startswith(query.get("prefix", "")) and entry[:2] > after]
    page, truncated = found[:most], len(found) > most
    next_key, next_id = page[-1][:2] if truncated else ("", "")
    fields = [("Bucket", bucket.name), ("KeyMarker", encode(query.get("key-marker", "")))]
    fields += [("UploadIdMarker", query.get("upload-id-marker", ""))]
    fields += [("EncodingType", "url")] if query.get("encoding-type") else []
    fields += [("NextKeyMarker", encode(next_key)), ("NextUploadIdMarker", next_id)]
    fields += [("Prefix", encode(query.get("prefix", ""))), ("MaxUploads", str(most))]
    fields += [("IsTruncated", str(truncated).lower())]
    entries = [
        f"<Upload><Key>{encode(key)}</Key><UploadId>{upload_id}</UploadId>"
        f"<StorageClass>Standard</StorageClass><Initiated>{moment(started)}</Initiated></Upload>\n"
        for key, upload_id, started in page
    ]
    return _document("ListMultipartUploadsResult", fields, entries)


def parts(bucket: Bucket, upload_id: str, upload: Upload, query: Mapping[str, str]) -> bytes:
    """A page of ListParts."""
    encode, most = encoder(query), count(query, "max-parts", 1000)
    after = int(query.get("part-number-marker", "") or 0)
    with bucket.lock:
        found = [(number, part) for number, part in sorted(upload.parts.items()) if number > after]
    page, truncated = found[:most], len(found) > most
    fields = [("Bucket", bucket.name), ("Key", encode(upload.key)), ("UploadId", upload_id)]
    fields += [("EncodingType", "url")] if query.get("encoding-type") else []
    fields += [("StorageClass", "Standard"), ("PartNumberMarker", str(after))]
    fields += [("NextPartNumberMarker", str(page[-1][0] if page else 0)), ("MaxParts", str(most))]
    fields += [("IsTruncated", str(truncated).lower())]
    entries = [
        f"<Part><PartNumber>{number}</PartNumber><LastModified>{moment(part.modified)}</LastModified>"
        f'<ETag>"{part.etag}"</ETag><HashCrc64ecma>{part.body.crc64}</HashCrc64ecma>'
        f"<Size>{part.body.size}</Size></Part>\n"
        for number, part in page
    ]
    return _document("ListPartsResult", fields, entries)


def _document(root: str, fields: Iterable[tuple[str, object]], entries: Iterable[str]) -> bytes:
    heading = "".join(f"<{name}>{value}</{name}>\n" for name, value in fields)
    return f"{_HEAD}<{root}>\n{heading}{''.join(entries)}</{root}>\n".encode()


def document(root: str, **fields: object) -> bytes:
    """A small XML answer; values are escaped."""
    return _document(root, [(name, escape(str(value))) for name, value in fields.items()], ())
