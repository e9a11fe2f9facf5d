"""CRC-64/XZ as OSS computes it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tfs_notebook.oss.client.checksum import Crc64, combine


def checksum(data: bytes) -> int:
    crc = Crc64()
    crc.update(data)
    return crc.value


def test_the_check_value_of_the_algorithm() -> None:
    assert checksum(b"123456789") == 0x995DC9BBDF1939FA


def test_nothing_has_the_checksum_zero() -> None:
    assert checksum(b"") == 0


@given(st.lists(st.binary(max_size=50), max_size=8))
def test_pieces_give_the_checksum_of_the_whole(pieces: list[bytes]) -> None:
    crc = Crc64()
    for piece in pieces:
        crc.update(piece)
    assert crc.value == checksum(b"".join(pieces))


@given(st.binary(max_size=500), st.binary(max_size=500))
def test_parts_that_were_fetched_apart_combine(first: bytes, second: bytes) -> None:
    assert combine(checksum(first), checksum(second), len(second)) == checksum(first + second)


def test_large_parts_combine() -> None:
    first, second = b"weights" * 100_000, bytes(5 * 1024 * 1024 + 3)
    assert combine(checksum(first), checksum(second), len(second)) == checksum(first + second)
