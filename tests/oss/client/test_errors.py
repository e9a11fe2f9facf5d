"""Every way in which OSS and the network refuse, over real HTTP: its fault, what is said, and the remedy."""

from __future__ import annotations

import socket
import ssl
import time
from typing import TYPE_CHECKING

import pytest

from tests.oss.canned import canned, error_xml
from tests.support.certificates import Authority
from tfs_notebook.oss.client.endpoint import StoreOptions
from tfs_notebook.oss.client.oss2_store import Oss2Store, open_store
from tfs_notebook.oss.client.store import Fault, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.oss.stand_in.server import OssServer

KEY = "models/modelA/1/saved_model.pb"


def read(store: Oss2Store, *, etag: str = "", start: int = 0) -> bytes:
    with store.read(KEY, etag=etag, start=start) as body:
        return b"".join(map(bytes, body))


@pytest.fixture
def store(oss: OssServer) -> Oss2Store:
    oss.put(KEY, b"content")
    return open_store("examplebucket", StoreOptions(), timeouts=(5, 5))


def at(endpoint: str) -> Oss2Store:
    return open_store("examplebucket", StoreOptions(endpoint=endpoint, region="cn-hangzhou"), timeouts=(5, 5))


def refused(call: Callable[[], object], fault: Fault, *parts: str) -> StoreError:
    """The StoreError that `call` raises: of that fault, with all `parts` in what a person is told."""
    with pytest.raises(StoreError) as caught:
        call()
    assert caught.value.fault is fault
    assert caught.value.code == fault.value
    for part in parts:
        assert part in caught.value.told
    return caught.value


CODES = [
    ("AccessDenied", 403, Fault.FORBIDDEN, "oss:GetObject"),
    ("InvalidAccessKeyId", 403, Fault.FORBIDDEN, "OSS_ACCESS_KEY_ID"),
    ("SignatureDoesNotMatch", 403, Fault.FORBIDDEN, "check OSS_ACCESS_KEY_SECRET, and that cn-hangzhou"),
    ("UserDisable", 403, Fault.FORBIDDEN, "bills"),
    ("AnyOther", 403, Fault.FORBIDDEN, ""),
    ("PublicEndpointForbidden", 400, Fault.FORBIDDEN, "--oss_cname"),
    ("RequestTimeTooSkewed", 403, Fault.EXPIRED, "this machine's clock is more than 15 minutes wrong"),
    ("InvalidSecurityToken", 403, Fault.EXPIRED, "fresh OSS_SESSION_TOKEN"),
    ("SecurityTokenExpired", 403, Fault.EXPIRED, "fresh OSS_SESSION_TOKEN"),
    ("InvalidObjectState", 403, Fault.ARCHIVED, f"restore first (ossutil restore oss://examplebucket/{KEY})"),
    ("NoSuchBucket", 404, Fault.MISSING, "check the name of the bucket, and that it is in cn-hangzhou"),
    ("NoSuchKey", 404, Fault.MISSING, ""),
    ("PreconditionFailed", 412, Fault.CHANGED, ""),
    ("InvalidRange", 416, Fault.CHANGED, ""),
    ("InvalidArgument", 400, Fault.REFUSED, ""),
    ("RequestTimeout", 400, Fault.UNREACHABLE, ""),
    ("QpsLimitExceeded", 429, Fault.UNREACHABLE, ""),
    ("NotImplemented", 501, Fault.UNREACHABLE, ""),
]


@pytest.mark.parametrize(("code", "status", "fault", "remedy"), CODES, ids=[code for code, *_ in CODES])
def test_each_code_of_the_service_is_one_fault(
    oss: OssServer, store: Oss2Store, code: str, status: int, fault: Fault, remedy: str
) -> None:
    oss.fail("error", method=".*", times=None, status=status, code=code)
    for call in (lambda: read(store), lambda: store.head(KEY), lambda: store.read_if_changed(KEY, "")):
        error = refused(call, fault, f"oss://examplebucket/{KEY} ", f"({code}, request 0", remedy)
        assert "\n" not in error.message
    refused(lambda: store.list("models/"), fault, "oss://examplebucket/models/ ", code)


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_an_error_of_the_service_is_asked_again_before_it_is_told(
    oss: OssServer, store: Oss2Store, status: int
) -> None:
    fault = oss.fail("error", status=status, times=2)
    assert read(store) == b"content"
    assert fault.hits == 2


def test_errors_of_the_service_that_stay_are_told(oss: OssServer, store: Oss2Store) -> None:
    fault = oss.fail("error", times=None, status=503)
    refused(lambda: read(store), Fault.UNREACHABLE, "cannot be had now", "ServiceUnavailable")
    assert fault.hits == 5


def test_a_bucket_and_an_object_that_are_not_there(oss: OssServer, store: Oss2Store) -> None:
    refused(lambda: store.head("nothing"), Fault.MISSING, "oss://examplebucket/nothing is not there", "NoSuchKey")
    other = open_store("otherbucket", StoreOptions())
    refused(lambda: other.list("models/"), Fault.MISSING, "oss://otherbucket/models/ is not there", "NoSuchBucket")
    assert store.list("nothing/").objects == ()


def test_an_object_that_is_another_one_now(oss: OssServer, store: Oss2Store) -> None:
    etag = store.head(KEY).etag
    oss.put(KEY, b"other content")
    refused(lambda: read(store, etag=etag), Fault.CHANGED, "has changed", "PreconditionFailed")
    refused(lambda: read(store, start=100), Fault.CHANGED, "InvalidRange")


def test_a_clock_that_is_wrong(oss: OssServer, store: Oss2Store) -> None:
    oss.clock_offset = 3600
    refused(lambda: read(store), Fault.EXPIRED, "this machine's clock")


def test_archived_objects_are_listed_but_must_be_restored_to_be_read(oss: OssServer, store: Oss2Store) -> None:
    oss.put(KEY, b"content", storage_class="ColdArchive")
    assert store.list(KEY).objects[0].storage_class == store.head(KEY).storage_class == "ColdArchive"
    refused(lambda: read(store), Fault.ARCHIVED, "restore first")


def test_a_bucket_of_another_region_names_its_endpoint(oss: OssServer) -> None:
    body = error_xml(
        "AccessDenied",
        "The bucket you are attempting to access must be addressed using the specified endpoint.",
        "<Endpoint>oss-cn-shanghai.aliyuncs.com</Endpoint>",
    )
    with canned(403, body, {"x-oss-request-id": "1"}) as endpoint:
        refused(lambda: at(endpoint).list(""), Fault.FORBIDDEN, "answers at oss-cn-shanghai.aliyuncs.com: set OSS_ENDP")


def test_a_signature_for_another_region_names_the_option(oss: OssServer) -> None:
    store = open_store("examplebucket", StoreOptions(endpoint=oss.endpoint, region="cn-shanghai"))
    refused(lambda: store.list(""), Fault.REFUSED, "cn-shanghai is not the bucket's region", "--oss_region")


@pytest.mark.parametrize(
    ("status", "fault"), [(403, Fault.FORBIDDEN), (404, Fault.MISSING), (407, Fault.REFUSED), (302, Fault.REFUSED)]
)
def test_an_answer_that_is_not_one_of_oss_is_told_so(oss: OssServer, status: int, fault: Fault) -> None:
    with canned(status, b"<html>Please log in") as endpoint:
        error = refused(lambda: at(endpoint).list(""), fault, f"HTTP {status}", "not one of OSS", "proxy")
    assert "<html>" not in error.told


@pytest.mark.parametrize("body", [b"<html>Please log in", b"", b"<ListBucketResult></ListBucketResult>"])
def test_a_listing_that_cannot_be_read_is_no_listing(oss: OssServer, body: bytes) -> None:
    with canned(200, body) as endpoint:
        refused(lambda: at(endpoint).list("models/"), Fault.DAMAGED, "oss://examplebucket/models/", "proxy")


def test_a_listing_whose_pages_repeat_ends(oss: OssServer) -> None:
    page = (
        b"<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>a</NextContinuationToken>"
        b"</ListBucketResult>"
    )
    with canned(200, page) as endpoint:
        refused(lambda: at(endpoint).list("models/"), Fault.DAMAGED, "repeats its pages")


@pytest.mark.parametrize("name", ["cut", "reset"])
def test_a_listing_that_breaks_off_is_no_listing(oss: OssServer, store: Oss2Store, name: str) -> None:
    for number in range(1200):
        oss.put(f"many/{number}", b"")
    oss.fail(name, method="LIST", after=1, at=2000)
    refused(lambda: store.list("many/"), Fault.UNREACHABLE, "oss://examplebucket/many/")
    assert len(store.list("many/").objects) == 1200


def test_a_port_where_nobody_listens(oss: OssServer) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{held.getsockname()[1]}"
        error = refused(
            lambda: at(endpoint).head(KEY), Fault.UNREACHABLE, "refused", f"can this machine reach {endpoint}"
        )
    assert "object at 0x" not in error.told


def test_a_host_that_is_not_known(oss: OssServer, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)  # without asking a real name server
    store = at("http://oss-cn-hangzhou-internal.aliyuncs.com")
    refused(
        lambda: store.head(KEY),
        Fault.UNREACHABLE,
        "Name or service not known",
        "only be reached from inside Alibaba Cloud",
    )


@pytest.mark.parametrize("before", [True, False])
def test_a_server_that_says_nothing_more_is_given_up(oss: OssServer, before: bool) -> None:
    oss.put(KEY, b"content" * 1000)
    store = open_store("examplebucket", StoreOptions(), timeouts=(5, 0.2))
    oss.fail("stall", times=None, at=None if before else 100)
    started = time.monotonic()
    refused(lambda: read(store), Fault.UNREACHABLE, "timed out")
    assert time.monotonic() - started < 60


def test_a_connection_that_was_dropped_while_idle_is_replaced(oss: OssServer, store: Oss2Store) -> None:
    assert read(store) == b"content"
    oss.fail("reset")
    assert read(store) == b"content"


def test_a_password_of_the_proxy_is_not_told(oss: OssServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        for name in ("http_proxy", "HTTP_PROXY"):
            monkeypatch.setenv(name, f"http://user:s3cret@127.0.0.1:{held.getsockname()[1]}")
        error = refused(lambda: at("http://oss-cn-hangzhou.aliyuncs.com").head(KEY), Fault.UNREACHABLE, "refused")
    assert "s3cret" not in error.told


def test_a_certificate_that_is_not_known_is_told(oss: OssServer, tmp_path: Path) -> None:
    key, certificate = Authority().issue("proxy")
    (tmp_path / "pem").write_text(key + certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "pem")
    with canned(200, tls=context) as endpoint:
        refused(lambda: at(endpoint).head(KEY), Fault.UNREACHABLE, "CERTIFICATE_VERIFY_FAILED", "REQUESTS_CA_BUNDLE")
