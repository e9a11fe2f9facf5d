"""A bucket over real HTTP: what is there, what is read, and what every refusal and fault becomes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tfs_notebook.oss.endpoint import StoreOptions
from tfs_notebook.oss.oss2_store import Oss2Store, open_store
from tfs_notebook.oss.store import Fault, StoreError

if TYPE_CHECKING:
    from tests.oss.server import OssServer

KEY = "models/modelA/1/saved_model.pb"
CONTENT = bytes(range(256)) * 4096


@pytest.fixture
def store(oss: OssServer) -> Oss2Store:
    oss.put(KEY, CONTENT)
    return open_store("examplebucket", StoreOptions(), timeouts=(5, 5))


def read(store: Oss2Store, key: str = KEY, *, etag: str = "", start: int = 0, end: int | None = None) -> bytes:
    with store.read(key, etag=etag, start=start, end=end) as body:
        return b"".join(body)


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
        assert b"".join(body) == CONTENT[start:end]
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
    with pytest.raises(StoreError, match="1000 bytes read") as refused:
        read(store)
    assert refused.value.fault is Fault.UNREACHABLE


def test_a_wrong_secret_is_told_without_what_was_signed(oss: OssServer, store: Oss2Store) -> None:
    os.environ["OSS_ACCESS_KEY_SECRET"] = "never-show-this"
    with pytest.raises(StoreError, match=r"oss://examplebucket/models/ is refused.*SignatureDoesNotMatch") as refused:
        store.list("models/")
    assert refused.value.fault is Fault.FORBIDDEN
    assert "OSS_ACCESS_KEY_SECRET" in refused.value.hint
