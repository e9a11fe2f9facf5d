"""Base64 as absl::Base64Unescape takes it: standard alphabet, padding optional, white space ignored."""

from __future__ import annotations

import binascii

from tfs_notebook.errors import invalid_argument

_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_BLANKS = b" \t\n\v\f\r"
_PADS = b"=."


def decode_base64(encoded: bytes) -> bytes:
    """The bytes behind `encoded`; INVALID_ARGUMENT when it is no base64."""
    foreign = encoded.translate(None, _ALPHABET)
    if foreign:
        encoded = encoded.translate(None, _BLANKS)
        digits = encoded.rstrip(_PADS)
        padding = len(encoded) - len(digits)
        if digits.translate(None, _ALPHABET) or padding not in (0, -len(digits) % 4):
            raise _broken()
        encoded = digits
    if len(encoded) % 4 == 1:
        raise _broken()
    return binascii.a2b_base64(encoded + b"=" * (-len(encoded) % 4))


def _broken() -> Exception:
    return invalid_argument("Unable to base64 decode")
