"""JSON as RapidJSON reads it: what is refused, with which words and where, and what is let through."""

from __future__ import annotations

import math

import pytest

from tfs_notebook.api.json.reader import JsonObject, parse_json
from tfs_notebook.api.json.text import number_text, reprint, to_bytes
from tfs_notebook.errors import Code, ServingError

REFUSED = [
    (b"   ", "The document is empty. at offset: 3"),
    (b"\0", "The document is empty. at offset: 0"),
    (b"]", "The document is empty. at offset: 0"),
    (b"{", "Missing a name for object member. at offset: 1"),
    (b"[", "Invalid value. at offset: 1"),
    (b"tru", "Invalid value. at offset: 3"),
    (b"instances = [1, 2]", "Invalid value. at offset: 0"),
    (b'{"v":1,}', "Missing a name for object member. at offset: 7"),
    (b'{"v":[1,]}', "Invalid value. at offset: 8"),
    (b'{"v" 1}', "Missing a colon after a name of object member. at offset: 5"),
    (b"{v:1}", "Missing a name for object member. at offset: 1"),
    (b'{"v":1 "w":2}', "Missing a comma or '}' after an object member. at offset: 7"),
    (b'{"v":1]', "Missing a comma or '}' after an object member. at offset: 6"),
    (b'{"v":[1 2]}', "Missing a comma or ']' after an array element. at offset: 8"),
    (b'{"v":[1', "Missing a comma or ']' after an array element. at offset: 7"),
    (b'{"v":[[]}', "Missing a comma or ']' after an array element. at offset: 8"),
    (b'{"v":nan}', "Invalid value. at offset: 6"),
    (b'{"v":NaM}', "Invalid value. at offset: 7"),
    (b'{"v":Infinit}', "Invalid value. at offset: 12"),
    (b'{"v":-}', "Invalid value. at offset: 6"),
    (b'{"v":01}', "Missing a comma or '}' after an object member. at offset: 6"),
    (b'{"v":1.}', "Miss fraction part in number. at offset: 7"),
    (b'{"v":1e}', "Miss exponent in number. at offset: 7"),
    (b'{"v":1.5e+}', "Miss exponent in number. at offset: 10"),
    (b'{"v":+1}', "Invalid value. at offset: 5"),
    (b'{"v":.5}', "Invalid value. at offset: 5"),
    (b'{"v":1e400}', "Number too big to be stored in double. at offset: 5"),
    (b'{"v":0e400}', "Number too big to be stored in double. at offset: 5"),
    (b'{"v":' + b"9" * 400 + b"}", "Number too big to be stored in double. at offset: 5"),
    (b'{"v":"a', "Missing a closing quotation mark in string. at offset: 7"),
    (b'{"v":"a\0"}', "Missing a closing quotation mark in string. at offset: 7"),
    (b'{"v":"\\x"}', "Invalid escape character in string. at offset: 6"),
    (b'{"v":"\x01"}', "Invalid escape character in string. at offset: 6"),
    (b'{"v":"\\u00zz"}', "Incorrect hex digit after \\u escape in string. at offset: 6"),
    (b'{"v":"\\ud800"}', "The surrogate pair in string is invalid. at offset: 6"),
    (b'{"v":"\\ud800\\u0041"}', "The surrogate pair in string is invalid. at offset: 6"),
    (b"{'v':1}", "Missing a name for object member. at offset: 1"),
    (b'{"v":1/*c*/}', "Missing a comma or '}' after an object member. at offset: 6"),
]

ACCEPTED = [
    (b"1 garbage", 1),
    (b"[1]]", [1]),
    (b"\xef\xbb\xbf 5", 5),
    (b"\xbb5", 5),
    (b"[NaN, -NaN, Inf, -Inf, Infinity, -Infinity]", [math.nan, math.nan, math.inf, -math.inf, math.inf, -math.inf]),
    (b"[1.5, NaN, 2]", [1.5, math.nan, 2]),
    (b"[-0, -0.0]", [0, -0.0]),
    (b"[9223372036854775807, 18446744073709551615, -9223372036854775808]", [2**63 - 1, 2**64 - 1, -(2**63)]),
    (b"[18446744073709551616, -9223372036854775809]", [2.0**64, -(2.0**63)]),
    (b"[10e308, 1e-400, 0e308]", [math.inf, 0.0, 0.0]),
    (b'"\\ud83d\\ude00\\n\\/\\u0041"', "😀\n/A".encode()),
    (b'"\xff\xfe\x7f"', b"\xff\xfe\x7f"),
    (b"[true,false , null]", [True, False, None]),
    (b"[ ]", []),
]

PRINTED = [
    (b"1.0", "1.0"),
    (b"1e21", "1e21"),
    (b"1e20", "100000000000000000000.0"),
    (b"-0.0", "-0.0"),
    (b"0.000001", "0.000001"),
    (b"0.00000015", "1.5e-7"),
    (b"[1, 2.5, [3], true, null, {}]", "[1, 2.5, [3], true, null, {}]"),
    (b'{"a": 1, "b": {"c": [1,2]}}', '{\n    "a": 1,\n    "b": {\n        "c": [1, 2]\n    }\n}'),
    (b'"\\u001f\\t\\"/\\\\"', '"\\u001F\\t\\"/\\\\"'),
    (b"[1, NaN, 2]", "[1, "),
    (b"NaN", ""),
    (b'["' + b"a" * 300 + b'", 2]', '["' + "a" * 300 + '"'),
    (b"[" + b"1," * 200 + b"1]", "[" + "1, " * 84 + "1, 1"),
]


def refusal(body: bytes) -> str:
    with pytest.raises(ServingError) as caught:
        parse_json(body)
    assert caught.value.code is Code.INVALID_ARGUMENT
    return caught.value.message


@pytest.mark.parametrize(("body", "message"), REFUSED)
def test_syntax_errors_have_the_phrase_and_the_offset(body: bytes, message: str) -> None:
    assert refusal(body) == f"JSON Parse error: {message}"


def test_an_empty_body_has_its_own_text() -> None:
    assert refusal(b"") == "JSON Parse error: The document is empty"


@pytest.mark.parametrize(("body", "value"), ACCEPTED)
def test_accepted(body: bytes, value: object) -> None:
    assert repr(parse_json(body)) == repr(value)


@pytest.mark.parametrize("between", [b"", b"a", "é".encode(), b"\xff"], ids=["nothing", "text", "UTF-8", "no UTF-8"])
@pytest.mark.parametrize(
    ("escape", "value"),
    [
        (rb"\n", b"\n"),
        (rb"\\", b"\\"),
        (rb"\"", b'"'),
        (rb"\u00e9", "é".encode()),
        (rb"\n\ud83d\ude00", "\n\U0001f600".encode()),
        (rb"\udc80", b"\xed\xb2\x80"),
    ],
)
def test_thousands_of_escapes_in_one_string(between: bytes, escape: bytes, value: bytes) -> None:
    body = b'["' + (escape + between) * 2500 + b'"]'
    assert parse_json(body) == [(value + between) * 2500]
    assert (
        refusal(body[:-2] + rb'\x"]')
        == f"JSON Parse error: Invalid escape character in string. at offset: {len(body) - 2}"
    )


def test_an_object_keeps_order_and_duplicates_and_finds_the_first() -> None:
    document = parse_json(b'{"b": 1, "a": 2, "b": 3}')
    assert isinstance(document, JsonObject)
    assert document.members == [(b"b", 1), (b"a", 2), (b"b", 3)]
    assert document.first_members() == {b"a": 2, b"b": 1}


@pytest.mark.parametrize("unit", [b"[", b'{"a":', b"[1,", b'[{"a":'])
def test_depth_is_no_limit(unit: bytes) -> None:
    assert "Invalid value." in refusal(unit * 200_000)


def test_deep_values_close_again() -> None:
    value = parse_json(b"[" * 200_000 + b"]" * 200_000)
    depth = 0
    while value:
        assert isinstance(value, list)
        value, depth = value[0], depth + 1
    assert depth == 199_999


@pytest.mark.parametrize(("body", "text"), PRINTED)
def test_values_are_printed_like_rapidjson_and_cut_off(body: bytes, text: str) -> None:
    assert reprint(parse_json(body)) == text


def test_invalid_utf8_survives_being_printed() -> None:
    assert to_bytes(reprint(parse_json(b'["\xff"]'))) == b'["\xff"]'


@pytest.mark.parametrize("value", [1.0, 0.1, 1e21, 1.5e-7, 123456.789, 5e-324, 1.7976931348623157e308, -2.5])
def test_printed_numbers_give_the_value_back(value: float) -> None:
    assert float(number_text(value)) == value
