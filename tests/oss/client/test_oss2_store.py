"""A bucket over real HTTP: what is there, what is read, and what every refusal and fault becomes."""

from __future__ import annotations

import gzip
import json
import logging
import os
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPResponse
from typing import TYPE_CHECKING

import pytest

from tests.oss.canned import canned
from tests.support.serving import PATIENCE, until
from tfs_notebook.oss.client.endpoint import StoreOptions
from tfs_notebook.oss.client.oss2_store import Oss2Store, open_store
from tfs_notebook.oss.client.store import Fault, StoreError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.oss.stand_in.server import OssServer

KEY = "models/modelA/1/saved_model.pb"
CONTENT = bytes(range(256)) * 4096


@pytest.fixture
def store(oss: OssServer) -> Oss2Store:
    oss.put(KEY, CONTENT)
    return open_store("examplebucket", StoreOptions(), timeouts=(5, 5))


def read(store: Oss2Store, key: str = KEY, *, etag: str = "", start: int = 0, end: int | None = None) -> bytes:
    with store.read(key, etag=etag, start=start, end=end) as body:
        return b"".join(map(bytes, body))


def test_a_listing_has_all_pages_in_order_and_the_service_s_time(oss: OssServer, store: Oss2Store) -> None:
    for number in range(2345):
        oss.put(f"many/{number:05}", b"x")
    oss.clock_offset = 500
    listing = store.list("many/")
    assert [found.key for found in listing.objects] == [f"many/{number:05}" for number in range(2345)]
    assert sum(request.query.get("list-type") == "2" for request in oss.requests) == 3
    assert listing.time == pytest.approx(oss.service.now(), abs=60)


NAMES = ["a b+c%20&d=1?#e", "模型/权重", "\x01\x1f\x7f", "<&>]]>", "a//b", " ", "%2F", "ü" * 200]


@pytest.mark.parametrize("name", NAMES)
def test_keys_survive_whatever_they_are(oss: OssServer, store: Oss2Store, name: str) -> None:
    oss.put(f"odd/{name}", b"content")
    (found,) = store.list("odd/").objects
    assert (found.key, found.size) == (f"odd/{name}", 7)
    assert read(store, found.key) == b"content"
    assert store.head(found.key).etag == found.etag


def test_an_object_has_size_etag_time_class_and_checksum(oss: OssServer, store: Oss2Store) -> None:
    oss.put("cold", b"123456789", storage_class="IA")
    cold = store.head("cold")
    assert (cold.key, cold.size, cold.storage_class, cold.encoding) == ("cold", 9, "IA", "")
    assert cold.crc64 == 0x995DC9BBDF1939FA
    assert cold.etag == "25F9E794323B453885F5181F1B624D0B"
    assert cold.modified == pytest.approx(oss.service.now(), abs=60)
    assert [found.storage_class for found in store.list("cold").objects] == ["IA"]


def test_what_is_read_is_what_is_stored(store: Oss2Store) -> None:
    assert read(store) == CONTENT
    assert read(store, etag=store.head(KEY).etag) == CONTENT


def test_an_empty_object_is_read_too(oss: OssServer, store: Oss2Store) -> None:
    oss.put("empty", b"")
    assert read(store, "empty") == b""


@pytest.mark.parametrize(("start", "end"), [(0, 1), (0, 1000), (7, 70_000), (len(CONTENT) - 1, None), (5, 1 << 40)])
def test_a_range_is_read(store: Oss2Store, start: int, end: int | None) -> None:
    with store.read(KEY, start=start, end=end) as body:
        assert b"".join(map(bytes, body)) == CONTENT[start:end]
        assert body.stored == store.head(KEY)


def test_a_small_object_is_read_again_only_when_it_changed(oss: OssServer, store: Oss2Store) -> None:
    oss.put("models.config", b"first")
    content, etag = store.read_if_changed("models.config", "") or (b"", "")
    assert content == b"first"
    assert store.read_if_changed("models.config", etag) is None
    oss.put("models.config", b"second")
    content, etag = store.read_if_changed("models.config", etag) or (b"", "")
    assert (content, etag) == (b"second", store.head("models.config").etag)


def test_a_body_that_is_cut_is_never_taken_for_the_object(oss: OssServer, store: Oss2Store) -> None:
    oss.fail("cut", at=1000)
    with pytest.raises(StoreError, match="ended after 1000 of 1048576 bytes") as refused:
        read(store)
    assert refused.value.fault is Fault.UNREACHABLE


def test_a_wrong_secret_is_told_without_what_was_signed(oss: OssServer, store: Oss2Store) -> None:
    os.environ["OSS_ACCESS_KEY_SECRET"] = "never-show-this"
    with pytest.raises(StoreError, match=r"oss://examplebucket/models/ is refused.*SignatureDoesNotMatch") as refused:
        store.list("models/")
    assert refused.value.fault is Fault.FORBIDDEN
    assert "OSS_ACCESS_KEY_SECRET" in refused.value.hint
    told = f"{refused.value.told} {refused.value!r} {refused.value.__context__!r} {refused.value.__cause__!r}"
    for secret in ("never-show-this", oss.key_id, "OSS4-HMAC", "aliyun_v4_request"):
        assert secret not in told


def test_damage_on_the_way_is_found_by_the_checksum(oss: OssServer, store: Oss2Store) -> None:
    oss.fail("corrupt", at=4711)
    with pytest.raises(StoreError, match="arrived damaged: its CRC-64 is") as refused:
        read(store)
    assert refused.value.fault is Fault.DAMAGED
    oss.fail("checksum")
    with pytest.raises(StoreError, match="arrived damaged"):
        store.read_if_changed(KEY, "")


def test_without_a_checksum_of_the_service_the_size_must_do(oss: OssServer, store: Oss2Store) -> None:
    oss.fail("no_checksum", times=2)
    with store.read(KEY) as body:
        assert body.stored.crc64 is None
        assert b"".join(map(bytes, body)) == CONTENT


def test_another_object_under_the_same_key_does_not_mix_into_a_read(oss: OssServer, store: Oss2Store) -> None:
    etag = store.head(KEY).etag
    oss.fail("swap", content=b"other", at=1000)
    assert read(store, etag=etag) == CONTENT
    with pytest.raises(StoreError, match="has changed") as refused:
        read(store, etag=etag)
    assert refused.value.fault is Fault.CHANGED


@pytest.mark.parametrize(
    ("headers", "fault", "message"),
    [
        ({"ETag": '"B"'}, Fault.CHANGED, "its ETag is B, not A"),
        ({"ETag": '"A"'}, Fault.DAMAGED, "bytes 2-4/10 were asked for, but bytes 0-4/10 came"),
    ],
)
def test_a_cache_on_the_way_that_ignores_what_was_asked_is_found_out(
    oss: OssServer, headers: dict[str, str], fault: Fault, message: str
) -> None:
    with canned(206, b"01234", {**headers, "Content-Range": "bytes 0-4/10"}) as endpoint:
        store = open_store("examplebucket", StoreOptions(endpoint=endpoint))
        with pytest.raises(StoreError, match=message) as refused:
            read(store, etag="A", start=2, end=5)
    assert refused.value.fault is fault


def test_the_whole_object_in_place_of_a_range_is_refused(oss: OssServer) -> None:
    with canned(200, b"0123456789", {"ETag": '"A"'}) as endpoint:
        store = open_store("examplebucket", StoreOptions(endpoint=endpoint))
        with pytest.raises(StoreError, match="but all of it came") as refused:
            read(store, start=2)
    assert refused.value.fault is Fault.DAMAGED


def test_an_object_stored_compressed_is_refused_with_the_remedy(oss: OssServer, store: Oss2Store) -> None:
    oss.put(KEY, gzip.compress(CONTENT), content_encoding="gzip")
    assert store.head(KEY).encoding == "gzip"
    with pytest.raises(StoreError, match="stored with Content-Encoding: gzip") as refused:
        read(store)
    assert refused.value.fault is Fault.REFUSED
    assert "upload it again" in refused.value.hint


@pytest.mark.parametrize(
    ("encoding", "content"),
    [
        ("aws-chunked, gzip", gzip.compress(CONTENT)),
        ("aws-chunked", b"10;chunk-signature=0a\r\n" + CONTENT),
        ("deflate", zlib.compress(CONTENT)),
        ("zstd", b"\x28\xb5\x2f\xfd" + CONTENT),
        ("br", CONTENT),
    ],
)
def test_content_that_an_encoding_changed_is_refused(
    oss: OssServer, store: Oss2Store, encoding: str, content: bytes
) -> None:
    oss.put(KEY, content, content_encoding=encoding)
    with pytest.raises(StoreError, match=f"stored with Content-Encoding: {encoding}: its bytes are not the file's"):
        read(store)


def test_an_asset_that_is_compressed_itself_stays_so(oss: OssServer, store: Oss2Store) -> None:
    vocabulary = gzip.compress(b"words")
    oss.put("assets/vocabulary.gz", vocabulary, content_encoding="gzip")
    assert read(store, "assets/vocabulary.gz") == vocabulary


def test_reads_that_are_given_up_leave_no_connection_behind(oss: OssServer, store: Oss2Store) -> None:
    oss.put("large", bytes(8 << 20))
    for _ in range(40):
        with store.read("large") as body:
            assert len(next(iter(body))) <= 512 * 1024
    assert read(store) == CONTENT
    until(lambda: sum(thread.name.startswith("Thread-") for thread in threading.enumerate()) < 10)


def test_several_threads_read_at_once(oss: OssServer, store: Oss2Store) -> None:
    parts = [(start, start + 100_000) for start in range(0, len(CONTENT), 100_000)]
    with ThreadPoolExecutor(8) as pool:
        pieces = list(pool.map(lambda part: read(store, start=part[0], end=part[1]), parts))
    assert b"".join(pieces) == CONTENT


def test_netrc_does_not_replace_the_signature(
    oss: OssServer, store: Oss2Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".netrc").write_text("default login somebody password else\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    assert read(store) == CONTENT


def test_nothing_is_logged_that_tells_keys_tokens_or_signatures(
    oss: OssServer, store: Oss2Store, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    oss.grant("STS.id-of-this-test", "secret-of-this-test", token="token-of-this-test")
    os.environ |= {
        "OSS_ACCESS_KEY_ID": "STS.id-of-this-test",
        "OSS_ACCESS_KEY_SECRET": "secret-of-this-test",
        "OSS_SESSION_TOKEN": "token-of-this-test",
    }
    assert read(store) == CONTENT
    os.environ["OSS_ACCESS_KEY_SECRET"] = "wrong"
    with pytest.raises(StoreError, match="SignatureDoesNotMatch"):
        store.list("")
    assert "of-this-test" not in caplog.text
    assert "OSS4-HMAC" not in caplog.text
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("options", "target"),
    [
        (
            StoreOptions("http://oss-cn-hangzhou.aliyuncs.com"),
            "http://examplebucket.oss-cn-hangzhou.aliyuncs.com/a%2Fb",
        ),
        (StoreOptions("http://models.example.com", "cn-hangzhou", cname=True), "http://models.example.com/a%2Fb"),
    ],
)
def test_the_bucket_is_part_of_the_host_unless_the_host_is_its_own(
    oss: OssServer, monkeypatch: pytest.MonkeyPatch, options: StoreOptions, target: str
) -> None:
    targets: list[str] = []
    with canned(200, targets=targets) as proxy:
        for name in ("http_proxy", "HTTP_PROXY"):
            monkeypatch.setenv(name, proxy)
        open_store("examplebucket", options).head("a/b")
    assert targets == [target]


def test_a_closed_store_ends_what_is_under_way_and_asks_nothing_more(oss: OssServer, store: Oss2Store) -> None:
    fault = oss.fail("stall", at=1000)
    errors: list[StoreError] = []

    def read_it() -> None:
        try:
            read(store)
        except StoreError as error:
            errors.append(error)

    reader = threading.Thread(target=read_it)
    reader.start()
    assert fault.reached.wait(PATIENCE)
    store.close()
    reader.join(4)
    assert not reader.is_alive()
    assert errors
    asked = len(oss.requests)
    with pytest.raises(StoreError, match="cannot be read"):
        store.list("")
    assert len(oss.requests) == asked


def test_a_store_can_be_opened_elsewhere_with_the_keys_of_this_moment(oss: OssServer, store: Oss2Store) -> None:
    told = json.loads(json.dumps(store.portable()))
    os.environ["OSS_ACCESS_KEY_SECRET"] = "not it"
    assert read(Oss2Store.from_portable(told)) == CONTENT


def test_a_piece_that_is_kept_too_long_cannot_be_read_any_more(oss: OssServer, store: Oss2Store) -> None:
    with store.read(KEY) as body:
        pieces = list(body)
    assert len(pieces) > 1
    with pytest.raises(ValueError, match="released memoryview"):
        bytes(pieces[0])


def test_bytes_go_from_the_http_library_to_their_memory_without_a_copy(oss: OssServer, store: Oss2Store) -> None:
    """Fails when urllib3 changes the private name that this rests on; reads then still work, at half the speed."""
    with store.read(KEY) as body:
        assert isinstance(body.raw._fp, HTTPResponse)
