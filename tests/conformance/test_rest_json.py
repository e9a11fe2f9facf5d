"""Section 6.6: JSON syntax accepted."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

import tfs_notebook
from tests.conformance.calls import ANY, refused
from tests.support.serving import ask, config_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Models
    from tfs_notebook.server.server import Server

PREDICT = "/v1/models/m:predict"


@pytest.fixture(scope="module")
def server(models: Models) -> Iterator[Server]:
    """Serves `m` (x/2 + 2) and `dtypes`."""
    paths = {"m": models.path("half_plus_two"), "dtypes": models.path("dtypes")}
    with tfs_notebook.serve(config=config_text(paths), **ANY) as server:
        assert server.problems == []
        yield server


@pytest.mark.parametrize(
    ("body", "phrase"),
    [
        (b"", "The document is empty"),
        (b"   ", "The document is empty. at offset: 3"),
        (b" \n\t\r", "The document is empty. at offset: 4"),
        (b"{", "Missing a name for object member. at offset: 1"),
        (b"[", "Invalid value. at offset: 1"),
        (b"tru", "Invalid value. at offset: 3"),
        (b"instances = [1, 2]", "Invalid value. at offset: 0"),
        (b'{"v":1,}', "Missing a name for object member. at offset: 7"),
        (b'{"v":[1,]}', "Invalid value. at offset: 8"),
        (b'{"v" 1}', "Missing a colon after a name of object member. at offset: 5"),
        (b"{v:1}", "Missing a name for object member. at offset: 1"),
        (b'{"v":1 "w":2}', "Missing a comma or '}' after an object member. at offset: 7"),
        (b'{"v":[1 2]}', "Missing a comma or ']' after an array element. at offset: 8"),
        (b'{"v":[1', "Missing a comma or ']' after an array element. at offset: 7"),
        (b'{"v":nan}', "Invalid value. at offset: 6"),
        (b'{"v":01}', "Missing a comma or '}' after an object member. at offset: 6"),
        (b'{"v":1.}', "Miss fraction part in number. at offset: 7"),
        (b'{"v":1e}', "Miss exponent in number. at offset: 7"),
        (b'{"v":+1}', "Invalid value. at offset: 5"),
        (b'{"v":.5}', "Invalid value. at offset: 5"),
        (b'{"v":1e400}', "Number too big to be stored in double. at offset: 5"),
        (b'{"v":"a', "Missing a closing quotation mark in string. at offset: 7"),
        (b'{"v":"\\x"}', "Invalid escape character in string. at offset: 6"),
        (b'{"v":"\x01"}', "Invalid escape character in string. at offset: 6"),
        (b'{"v":"\\u00zz"}', "Incorrect hex digit after \\u escape in string. at offset: 6"),
        (b'{"v":"\\ud800"}', "The surrogate pair in string is invalid. at offset: 6"),
        (b"{'v':1}", "Missing a name for object member. at offset: 1"),
        (b'{"v":1 /* one */}', "Missing a comma or '}' after an object member. at offset: 7"),
    ],
)
def test_what_is_no_json(server: Server, body: bytes, phrase: str) -> None:
    expected = 400, f"JSON Parse error: {phrase}"
    assert refused(server, "POST", PREDICT, body) == expected
    assert refused(server, "POST", "/v1/models/m:classify", body) == expected
    assert refused(server, "POST", "/v1/models/nobody:predict", body) == expected


@pytest.mark.parametrize(
    ("body", "predictions"),
    [
        (b'\xef\xbb\xbf{"instances": [2]}', "[3.0]"),  # a byte order mark
        (b'{"instances": [2]}garbage', "[3.0]"),
        (b'{"instances": [2]} {"instances": [4]}', "[3.0]"),
        (
            b'{"instances": [NaN, -NaN, Inf, -Inf, Infinity, -Infinity]}',
            "[NaN, NaN, Infinity, -Infinity, Infinity, -Infinity]",
        ),
        (b'{"instances": [2], "instances": [4]}', "[3.0]"),
        (b'{"signature_name": "", "signature_name": 1, "instances": [2]}', "[3.0]"),
        (b'{"unknown": {"a": [null]}, "instances": [2], "more": 1}', "[3.0]"),
        (b'{"\\u0069nstances": [2]}', "[3.0]"),
        (b'{"ignored": ' + 500_000 * b"[" + 500_000 * b"]" + b', "instances": [2]}', "[3.0]"),
        (b'\t{\r\n"instances" : [ 2 ] }\n', "[3.0]"),
    ],
)
def test_more_than_json(server: Server, body: bytes, predictions: str) -> None:
    reply = ask(server, "POST", PREDICT, body)
    assert (reply.status, json.dumps(reply.json["predictions"])) == (200, predictions)


@pytest.mark.parametrize("word", ["inf", "INFINITY", "Nan", "NAN", "+Inf", "infinity", "None"])
def test_the_case_of_a_number_that_is_none_counts(server: Server, word: str) -> None:
    status, error = refused(server, "POST", PREDICT, b'{"instances": [%s]}' % word.encode())
    assert status == 400
    assert error.startswith("JSON Parse error: Invalid value. at offset: ")


def test_bytes_in_a_string_that_are_no_utf8_pass_through(server: Server) -> None:
    body = b'{"signature_name": "string", "instances": ["\xff\xfe"]}'
    reply = ask(server, "POST", "/v1/models/dtypes:predict", body)
    assert reply.status == 200
    assert b'"\xff\xfe!"' in reply.body


@pytest.mark.parametrize(
    ("value", "printed"),
    [
        ("null", "null"),
        ("true", "true"),
        ("1", "1"),
        ("1.0", "1.0"),
        ("1.50", "1.5"),
        ("1e21", "1e21"),
        ("1E2", "100.0"),
        ("-0.0", "-0.0"),
        ("18446744073709551615", "18446744073709551615"),
        ('"a/b\\n\\u00e9"', '"a/b\\né"'),
        ("{}", "{}"),
        ('{"a":[1,2.5,[3]],"b":{"c":[]}}', '{\n    "a": [1, 2.5, [3]],\n    "b": {\n        "c": []\n    }\n}'),
    ],
)
def test_how_a_value_is_printed_again(server: Server, value: str, printed: str) -> None:
    body = b'{"instances": %s}' % value.encode()
    printed = printed.replace("\n", "\n    ")
    assert refused(server, "POST", PREDICT, body) == (
        400, f"JSON Value: {{\n    \"instances\": {printed}\n}} Expecting 'instances' to be an list/array",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("value", "printed"),
    [
        (b"[" + b", ".join([b"7"] * 200) + b"]", "[" + ", ".join(["7"] * 74)),  # 257 bytes with what stands before
        (b'"' + 300 * b"x" + b'"', '"' + 300 * "x" + '"'),  # completed
        (b"[1, NaN, 2]", "[1, "),
        (b"[Infinity]", "["),
    ],
)
def test_what_is_printed_ends_after_256_bytes_or_at_a_number_that_is_none(
    server: Server, value: bytes, printed: str
) -> None:
    said = "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist "
    assert refused(server, "POST", PREDICT, b'{"instances": 1, "inputs": ' + value + b"}") == (
        400, f'JSON Value: {{\n    "instances": 1,\n    "inputs": {printed} {said}',
    )  # fmt: skip
