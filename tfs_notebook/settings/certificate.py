"""Whose a certificate is, and until when: read by hand, as Python's ssl only tells of one it has verified."""

from __future__ import annotations

import datetime as dt
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_COMMON_NAME = bytes.fromhex("550403")
_VERSION, _UTC_TIME, _WIDE = 0xA0, 0x17, 0x1E
"""Tags: the optional first field, a time whose year has two digits, a text of two bytes a character."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """`name` is its subject's common name, "" without one."""

    name: str
    until: dt.datetime

    def __str__(self) -> str:
        """Like `server, until 2027-01-31`; what is over says so."""
        ended = self.until < dt.datetime.now(dt.timezone.utc)
        return ", ".join(filter(None, (self.name, f"{'EXPIRED on' if ended else 'until'} {self.until:%Y-%m-%d}")))


def read_certificate(pem: str) -> Certificate | None:
    """The first certificate in `pem`, None for one that is put together in a way of its own."""
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    try:
        der = ssl.PEM_cert_to_DER_cert(begin + pem.partition(begin)[2].partition(end)[0] + end)
        whole = next(_elements(der))[1]
        fields = [field for field in _elements(next(_elements(whole))[1]) if field[0] != _VERSION]
        _serial, _algorithm, _issuer, (_, validity), (_, subject), *_ = fields
        _, until = _elements(validity)
        return Certificate(_common_name(subject), _time(*until))
    except (ValueError, IndexError, StopIteration):
        return None


def _elements(der: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and content of each element of `der`."""
    start = 0
    while start < len(der):
        tag, length, start = der[start], der[start + 1], start + 2
        if length & 0x80:  # of so many bytes
            size = length & 0x7F
            length, start = int.from_bytes(der[start : start + size], "big"), start + size
        yield tag, der[start : start + length]
        start += length


def _common_name(subject: bytes) -> str:
    for _, names in _elements(subject):
        for _, pair in _elements(names):
            (_, kind), (tag, name) = _elements(pair)
            if kind == _COMMON_NAME:
                return name.decode("utf-16-be" if tag == _WIDE else "utf-8", "replace")
    return ""


def _time(tag: int, text: bytes) -> dt.datetime:
    digits = text.decode().removesuffix("Z")
    if tag == _UTC_TIME:  # RFC 5280: the years from 1950 to 2049
        digits = ("19" if digits[:2] >= "50" else "20") + digits
    return dt.datetime.strptime(digits, "%Y%m%d%H%M%S").replace(tzinfo=dt.timezone.utc)
