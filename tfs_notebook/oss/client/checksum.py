"""CRC-64/XZ, the checksum that OSS keeps of every object (`x-oss-hash-crc64ecma`)."""

from __future__ import annotations

from functools import lru_cache

_POLYNOMIAL = 0xC96C5795D7870F42
"""ECMA-182 with its bits reversed, as the checksum is: the highest bit stands for x^0."""

_ONE = 1 << 63
_MASK = (1 << 64) - 1


class Crc64:
    """The checksum of what `update` was given so far."""

    def __init__(self) -> None:
        from fastcrc.crc64 import xz

        self._continue = xz
        self.value = 0

    def update(self, data: bytes | memoryview) -> None:
        """Add `data` (7–11 GB/s, and other threads run meanwhile)."""
        self.value = self._continue(data, self.value)


def combine(first: int, second: int, second_length: int) -> int:
    """The checksum of two parts, one after the other, from their own; `second_length` in bytes."""
    return _product(first, _shift(second_length)) ^ second


@lru_cache(maxsize=64)
def _shift(length: int) -> int:
    """What a checksum is multiplied by when `length` bytes follow: x^(8·length)."""
    result, square = _ONE, _ONE >> 8
    while length:
        if length & 1:
            result = _product(result, square)
        square = _product(square, square)
        length >>= 1
    return result


def _product(left: int, right: int) -> int:
    """The product of two polynomials over GF(2), modulo that of the checksum."""
    result = 0
    while left:
        if left & _ONE:
            result ^= right
        left = left << 1 & _MASK
        right = right >> 1 ^ (_POLYNOMIAL if right & 1 else 0)
    return result
