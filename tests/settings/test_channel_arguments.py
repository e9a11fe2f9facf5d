from __future__ import annotations

import pytest

from tfs_notebook.errors import Code, ServingError
from tfs_notebook.settings.channel_arguments import parse_channel_arguments


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("", ()),
        ("grpc.max_concurrent_streams=100", (("grpc.max_concurrent_streams", 100),)),
        ("a=1,b=two", (("a", 1), ("b", "two"))),
        ("a=-7,b=+7, c= 7 ", (("a", -7), ("b", 7), (" c", 7))),
        ("a=2147483647,b=2147483648", (("a", 2147483647), ("b", "2147483648"))),
        ("a=-2147483648,b=-2147483649", (("a", -2147483648), ("b", "-2147483649"))),
        ("a=0007,b=1.5,c=0x10", (("a", 7), ("b", "1.5"), ("c", "0x10"))),
        ("a=" + "9" * 5000, (("a", "9" * 5000),)),
        ("a=", (("a", ""),)),
        ("a=b=c", (("a", "b"),)),  # TensorFlow Serving, too, loses what follows a second =
    ],
)
def test_arguments(text: str, arguments: tuple[tuple[str, int | str], ...]) -> None:
    assert parse_channel_arguments(text) == arguments


@pytest.mark.parametrize(("text", "item"), [("a", "a"), ("a=1,", ""), ("a=1,,b=2", ""), ("=1", "=1"), (" ", " ")])
def test_items_that_are_no_argument(text: str, item: str) -> None:
    with pytest.raises(ServingError) as caught:
        parse_channel_arguments(text)
    assert caught.value.code is Code.INVALID_ARGUMENT
    assert caught.value.message == (
        f"--grpc_channel_arguments={text}: {item!r} is no key=value, like grpc.max_concurrent_streams=100"
    )
