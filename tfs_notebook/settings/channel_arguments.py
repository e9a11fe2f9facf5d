"""The text of --grpc_channel_arguments."""

from __future__ import annotations

import re

from tfs_notebook.errors import invalid_argument

ChannelArguments = tuple[tuple[str, int | str], ...]

_INTEGER = re.compile(r"\s*[+-]?0*[0-9]{1,10}\s*", re.ASCII)


def parse_channel_arguments(text: str) -> ChannelArguments:
    """The arguments in a comma-separated list of key=value; "" has none.

    As in TensorFlow Serving a value is a number when it reads as one of 32 bits, else a string, and ends before a
    second `=`. Raises ServingError INVALID_ARGUMENT for an item that is no key=value, over which it crashes.
    """
    return tuple(_argument(item, text) for item in text.split(",")) if text else ()


def _argument(item: str, text: str) -> tuple[str, int | str]:
    key, equals, value = item.partition("=")
    if not (key and equals):
        raise invalid_argument(
            f"--grpc_channel_arguments={text}: {item!r} is no key=value, like grpc.max_concurrent_streams=100"
        )
    value = value.partition("=")[0]
    number = int(value) if _INTEGER.fullmatch(value) else None
    return key, value if number is None or not -(2**31) <= number < 2**31 else number
