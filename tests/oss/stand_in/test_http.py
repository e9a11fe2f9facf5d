"""What the OSS server of the tests sends, byte by byte where clients depend on it."""

from __future__ import annotations

import base64
import re
import time
import xml.etree.ElementTree as ET
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import pytest

from tests.oss.clients import ask, connect, signed_headers, target
from tests.oss.stand_in.server import BUCKET

if TYPE_CHECKING:
    from tests.oss.stand_in.server import OssServer
    from tests.support.serving import Reply

CONTENT = bytes(range(100))


def error(text: bytes) -> dict[str, str]:
    """The elements of an error's XML."""
    root = ET.fromstring(text)
    assert root.tag == "Error"
    return {element.tag: element.text or "" for element in root}


def test_an_object_comes_with_what_describes_it(oss: OssServer) -> None:
    oss.put("a/1", b"123456789")
    reply = ask(oss, "GET", "a/1")
    assert (reply.status, reply.body) == (200, b"123456789")
    assert {name: reply.headers[name] for name in ("ETag", "Content-MD5", "Content-Length", "Accept-Ranges")} == {
        "ETag": '"25F9E794323B453885F5181F1B624D0B"',
        "Content-MD5": "JfnnlDI7RTiF9RgfG2JNCw==",
        "Content-Length": "9",
        "Accept-Ranges": "bytes",
    }
    assert reply.headers["x-oss-hash-crc64ecma"] == "11051210869376104954"
    assert reply.headers["x-oss-object-type"] == "Normal"
    assert reply.headers["x-oss-storage-class"] == "Standard"
    assert re.fullmatch("[0-9A-F]{24}", reply.headers["x-oss-request-id"])
    assert abs(parsedate_to_datetime(reply.headers["Date"]).timestamp() - time.time()) < 100
    assert "Content-Encoding" not in reply.headers


def test_a_head_is_a_get_without_its_body(oss: OssServer) -> None:
    oss.put("a", CONTENT)
    got, head = ask(oss, "GET", "a"), ask(oss, "HEAD", "a")
    assert head.body == b""
    changing = {"Date", "x-oss-request-id"}
    assert [item for item in head.headers.items() if item[0] not in changing] == [
        item for item in got.headers.items() if item[0] not in changing
    ]


def test_a_connection_serves_many_requests(oss: OssServer) -> None:
    oss.put("a", CONTENT)
    connection = connect(oss)
    for key, status in [("a", 200), ("b", 404), ("a", 200)]:
        for method in ("GET", "HEAD"):
            connection.request(method, target(key), headers=signed_headers(oss, method, key))
            response = connection.getresponse()
            assert response.status == status
            response.read()
            assert connection.sock is not None
    connection.close()


def test_a_connection_is_closed_on_demand(oss: OssServer) -> None:
    oss.put("a", CONTENT)
    reply = ask(oss, "GET", "a", headers={"Connection": "close"})
    assert (reply.headers["Connection"], reply.body) == ("close", CONTENT)


@pytest.mark.parametrize("standard", [True, False], ids=["standard", "classic"])
@pytest.mark.parametrize(
    ("asked", "content_range"),
    [
        ("0-0", "0-0"),
        ("10-19", "10-19"),
        ("90-", "90-99"),
        ("-10", "90-99"),
        ("0-99", "0-99"),
    ],
)
def test_a_range_inside_the_object(oss: OssServer, asked: str, content_range: str, *, standard: bool) -> None:
    oss.put("a", CONTENT)
    reply = ranged(oss, asked, standard=standard)
    first, last = map(int, content_range.split("-"))
    assert (reply.status, reply.body) == (206, CONTENT[first : last + 1])
    assert reply.headers["Content-Range"] == f"bytes {content_range}/100"
    assert reply.headers["Content-Length"] == str(last + 1 - first)


def ranged(oss: OssServer, asked: str, *, standard: bool) -> Reply:
    headers = {"Range": f"bytes={asked}"} | ({"x-oss-range-behavior": "standard"} if standard else {})
    return ask(oss, "GET", "a", headers=headers)


@pytest.mark.parametrize(
    ("asked", "standard_answer"),
    [("50-200", (206, "bytes 50-99/100")), ("-200", (206, "bytes 0-99/100")), ("100-", (416, None)),
     ("100-200", (416, None)), ("-0", (416, None))],
)  # fmt: skip
def test_a_range_beyond_the_end_is_the_whole_object_unless_standard_behaviour_is_asked_for(
    oss: OssServer, asked: str, standard_answer: tuple[int, str | None]
) -> None:
    oss.put("a", CONTENT)
    classic, standard = ranged(oss, asked, standard=False), ranged(oss, asked, standard=True)
    assert (classic.status, classic.body, classic.headers["Content-Range"]) == (200, CONTENT, None)
    assert (standard.status, standard.headers["Content-Range"]) == standard_answer
    if standard.status == 416:
        assert error(standard.body)["Code"] == "InvalidRange"


@pytest.mark.parametrize("asked", ["20-10", "a-b", "-", "0-1,3-4"])
def test_what_is_no_range_is_ignored(oss: OssServer, asked: str) -> None:
    oss.put("a", CONTENT)
    for standard in (True, False):
        assert ranged(oss, asked, standard=standard).status == 200


def test_a_range_of_an_empty_object(oss: OssServer) -> None:
    oss.put("a", b"")
    assert ranged(oss, "0-", standard=False).status == 200
    assert ranged(oss, "0-", standard=True).status == 416


def test_an_etag_that_must_match(oss: OssServer) -> None:
    etag = oss.put("a", CONTENT).etag
    for given in (etag, f'"{etag}"', "*"):
        assert ask(oss, "GET", "a", headers={"If-Match": given}).status == 200
    refused = ask(oss, "GET", "a", headers={"If-Match": '"0"'})
    assert (refused.status, error(refused.body)["Code"]) == (412, "PreconditionFailed")


def test_an_etag_that_must_not_match(oss: OssServer) -> None:
    etag = oss.put("a", CONTENT).etag
    for method in ("GET", "HEAD"):
        assert ask(oss, method, "a", headers={"If-None-Match": '"0"'}).status == 200
        unchanged = ask(oss, method, "a", headers={"If-None-Match": f'"{etag}"'})
        assert (unchanged.status, unchanged.body, unchanged.headers["ETag"]) == (304, b"", f'"{etag}"')


def test_errors_are_xml_and_in_a_header_for_head(oss: OssServer) -> None:
    got, head = ask(oss, "GET", "a&b"), ask(oss, "HEAD", "a&b")
    assert (got.status, head.status, head.body) == (404, 404, b"")
    for reply, text in ((got, got.body), (head, base64.b64decode(head.headers["x-oss-err"]))):
        told = error(text)
        assert told["Code"] == "NoSuchKey"
        assert told["Key"] == "a&b"
        assert told["Message"] == "The specified key does not exist."
        assert told["RequestId"] == reply.headers["x-oss-request-id"]


LISTING = r"""<\?xml version="1\.0" encoding="UTF-8"\?>
<ListBucketResult>
<Name>examplebucket</Name>
<Prefix>a%2F</Prefix>
<MaxKeys>2</MaxKeys>
<Delimiter>%2F</Delimiter>
<EncodingType>url</EncodingType>
<IsTruncated>true</IsTruncated>
<NextContinuationToken>[A-Za-z0-9_%-]+</NextContinuationToken>
<Contents><Key>a%2F%C3%BC%201</Key><LastModified>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.000Z</LastModified>\
<ETag>"827CCB0EEA8A706C4C34A16891F84E7B"</ETag><Type>Normal</Type><Size>5</Size>\
<StorageClass>IA</StorageClass></Contents>
<CommonPrefixes><Prefix>a%2Fb%2F</Prefix></CommonPrefixes>
<KeyCount>2</KeyCount>
</ListBucketResult>
""".replace("\\\n", "")


def test_a_listing_is_spelt_as_oss_spells_it(oss: OssServer) -> None:
    oss.put("a/ü 1", b"12345", storage_class="IA")
    oss.put("a/b/1", b"")
    oss.put("a/😀", b"")
    reply = ask(oss, "GET", query="list-type=2&prefix=a%2F&delimiter=%2F&max-keys=2&encoding-type=url")
    assert reply.headers["Content-Type"] == "application/xml"
    assert re.fullmatch(LISTING, reply.body.decode()), reply.body.decode()


def test_an_unencoded_listing_tells_owners_on_demand(oss: OssServer) -> None:
    oss.put("a&b", b"")
    root = ET.fromstring(ask(oss, "GET", query="list-type=2&fetch-owner=true").body)
    assert root.find("EncodingType") is None
    assert (root.findtext("Contents/Key"), root.findtext("Contents/Owner/ID")) == ("a&b", "1234567890")
    assert root.findtext("MaxKeys") == "100"


@pytest.mark.parametrize("query", ["max-keys=0", "max-keys=1001", "max-keys=x", "encoding-type=xml",
                                   "continuation-token=~"])  # fmt: skip
def test_a_listing_that_makes_no_sense(oss: OssServer, query: str) -> None:
    reply = ask(oss, "GET", query=f"list-type=2&{query}")
    assert (reply.status, error(reply.body)["Code"]) == (400, "InvalidArgument")


@pytest.mark.parametrize("query", ["list-type=1", "prefix=a", "list-type=2&colour=red", "acl"])
def test_what_is_not_offered_is_not_silently_done(oss: OssServer, query: str) -> None:
    reply = ask(oss, "GET", query=query)
    assert (reply.status, error(reply.body)["Code"]) == (501, "NotImplemented")
    for method in ("GET", "PUT", "POST"):
        oss.put("a", b"")
        assert ask(oss, method, "a", "acl").status == 501


def test_a_public_bucket_is_read_without_a_signature_but_not_written(oss: OssServer) -> None:
    oss.add_bucket("public-bucket", public=True)
    oss.put("a", CONTENT, bucket="public-bucket")
    connection = connect(oss)
    answers = []
    for method, bucket, key in [("GET", "public-bucket", "a"), ("HEAD", "public-bucket", "a"),
                                ("GET", "public-bucket", "?list-type=2"), ("PUT", "public-bucket", "b"),
                                ("DELETE", "public-bucket", "a"), ("GET", BUCKET, "a")]:  # fmt: skip
        connection.request(method, f"/{bucket}/{key}")
        response = connection.getresponse()
        answers.append((response.status, b"AccessDenied" in response.read()))
    assert answers == [(200, False)] * 3 + [(403, True)] * 3
    connection.close()


def test_a_signature_of_version_1_is_refused(oss: OssServer) -> None:
    oss.put("a", CONTENT)
    connection = connect(oss)
    connection.request("GET", target("a"), headers={"Authorization": f"OSS {oss.key_id}:vjbyPxybdZaNmGa="})
    response = connection.getresponse()
    assert (response.status, response.headers["x-oss-ec"]) == (403, "0002-00000080")
    assert error(response.read())["Code"] == "AccessDenied"
    connection.close()


def test_a_signature_older_than_fifteen_minutes(oss: OssServer) -> None:
    oss.put("a", CONTENT)
    connection = connect(oss)
    connection.request("GET", target("a"), headers=signed_headers(oss, "GET", "a", at=time.time() - 1000))
    response = connection.getresponse()
    told = error(response.read())
    assert (response.status, told["Code"]) == (403, "RequestTimeTooSkewed")
    assert told["MaxAllowedSkewMilliseconds"] == "900000"
    connection.close()


def test_an_upload_that_breaks_off_leaves_nothing(oss: OssServer) -> None:
    connection = connect(oss)
    connection.putrequest("PUT", target("a"))
    for name, value in signed_headers(oss, "PUT", "a").items():
        connection.putheader(name, value)
    connection.putheader("Content-Length", "100")
    connection.endheaders(b"1234567890")
    connection.close()
    oss.close()
    assert oss.objects == {}


def test_an_upload_in_chunks(oss: OssServer) -> None:
    connection = connect(oss)
    for chunks in ([], [b"1", b"2" * 3000, b"3"]):
        connection.request("PUT", target("a"), iter(chunks), signed_headers(oss, "PUT", "a"), encode_chunked=True)
        response = connection.getresponse()
        assert (response.status, response.read()) == (200, b"")
        assert oss.objects["a"].content == b"".join(chunks)
    connection.close()


def test_an_upload_with_a_wrong_md5(oss: OssServer) -> None:
    wrong = base64.b64encode(bytes(16)).decode()
    assert error(ask(oss, "PUT", "a", headers={"Content-MD5": wrong}, body=b"1").body)["Code"] == "InvalidDigest"
    assert oss.objects == {}


def test_an_object_is_not_overwritten_when_that_is_forbidden(oss: OssServer) -> None:
    forbid = {"x-oss-forbid-overwrite": "true"}
    assert ask(oss, "PUT", "a", headers=forbid, body=b"1").status == 200
    refused = ask(oss, "PUT", "a", headers=forbid, body=b"2")
    assert (refused.status, error(refused.body)["Code"]) == (409, "FileAlreadyExists")
    assert ask(oss, "POST", "a", "uploads", headers=forbid).status == 409
    assert oss.objects["a"].content == b"1"
    assert ask(oss, "PUT", "a", body=b"3").status == 200
    assert oss.objects["a"].content == b"3"
