"""However a body is read, the outcome is that of the exact way: the same arrays bit by bit, or the same error."""

from __future__ import annotations

import base64
import json

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfs_notebook.api.json import fast
from tfs_notebook.api.json.codec import parse_predict
from tfs_notebook.api.json.exact import ExactBody
from tfs_notebook.engine.models.signature import Signature, TensorSpec
from tfs_notebook.errors import ServingError

NUMPY = {"float": "f4", "double": "f8", "half": "f2", "bfloat16": ml_dtypes.bfloat16, "string": "O"}
INPUTS = [
    *({"x": dtype} for dtype in ("float", "double", "half", "bfloat16", "int32", "uint8", "int64", "uint64", "string")),
    {"x": "bool"},
    {"x": "complex64"},
    {"x": "float", "y": "string"},
    {"x": "int32", "b64": "string"},
    {"b64": "string"},
]
SIGNATURES = [
    Signature("s", {k: TensorSpec(k, t, None, np.dtype(NUMPY.get(t, t))) for k, t in inputs.items()}, {})
    for inputs in INPUTS
]

numbers = (
    st.integers(-(2**65), 2**65)
    | st.integers(-3, 300)
    | st.floats()
    | st.floats(-2, 2, width=32)
    | st.sampled_from([0, -0.0, 1e39, 2**31, 2**63])
)
texts = st.text(max_size=5) | st.sampled_from(["YQ==", "aGk", 'a":', ":", "\\u", "instances"])
leaves = numbers | texts | st.booleans() | st.none() | texts.map(lambda t: {"b64": t})
keys = st.sampled_from(["x", "y", "b64", "z"])
values = st.recursive(leaves, lambda v: st.lists(v, max_size=4) | st.dictionaries(keys, v, max_size=3), max_leaves=12)


@st.composite
def arrays(draw: st.DrawFn, elements: st.SearchStrategy[object]) -> object:
    """Nested lists of one shape."""
    shape = draw(st.lists(st.integers(0, 3), max_size=4))
    size = int(np.prod(shape))
    flat: list[object] = draw(st.lists(elements, min_size=size, max_size=size))
    for length in shape[::-1]:
        flat = [flat[start : start + length] for start in range(0, len(flat), length)] if length else [[]]
    return flat[0] if flat else []


uniform = (
    arrays(numbers)
    | arrays(st.integers(-5, 300))
    | arrays(st.floats(-1, 1))
    | arrays(texts)
    | arrays(st.booleans())
    | arrays(texts.map(lambda t: {"b64": base64.b64encode(t.encode()).decode()}))
)
rows = st.lists(uniform, min_size=1, max_size=3) | uniform
named = st.lists(
    st.fixed_dictionaries({"x": numbers, "y": texts})
    | st.fixed_dictionaries({"x": uniform})
    | st.fixed_dictionaries({"x": st.integers(0, 5), "b64": texts}),
    min_size=1,
    max_size=3,
)
documents = st.one_of(
    st.fixed_dictionaries({"instances": rows | named}),
    st.fixed_dictionaries({"inputs": rows | st.fixed_dictionaries({"x": uniform, "y": uniform})}),
    st.fixed_dictionaries({"signature_name": texts, "instances": rows}),
    st.fixed_dictionaries({"inputs": rows, "signature_name": texts | numbers}),
    st.dictionaries(st.sampled_from(["instances", "inputs", "signature_name", "other"]), values, max_size=3),
)


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    separators = draw(st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", " :\t")]))
    text = json.dumps(draw(documents), separators=separators, ensure_ascii=draw(st.booleans()))
    return text.encode("utf-8", "surrogatepass")


PIECES = st.sampled_from(
    [bytes((mark,)) for mark in b'[]{},:"\\01.eE+- \0\xff']
    + b"NaN Infinity -Inf e400 0e400 1e308 null true \xef\xbb\xbf [] {}".split()
    + [b'"x":1,', b'"instances":[1],', b'"signature_name":"s",']
    + [b"9" * 20, b"9" * 310, b"1797693134862315" + b"9" * 293]
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A body with some bytes put in, taken out, exchanged or doubled."""
    body = draw(bodies())
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(body)))
        length = draw(st.integers(0, 3))
        body = body[:start] + draw(PIECES | st.just(b"") | st.binary(max_size=2)) + body[start + length :]
    return body


def outcome(read: object, body: bytes, signature: Signature) -> object:
    try:
        request = read(body)  # type: ignore[operator]
    except ServingError as error:
        return "unreadable", error.code, error.message, error.where
    try:
        tensors = request.tensors(signature)
    except ServingError as error:
        return request.signature_name, error.code, error.message, error.where
    found = {}
    for alias, array in tensors.items():
        content = array.tolist() if array.dtype == object else array.tobytes()
        found[alias] = (array.dtype, array.shape, content)
    return request.signature_name, request.row_format, found


@pytest.mark.parametrize("signature", SIGNATURES, ids=str)
@settings(max_examples=60, deadline=None)
@given(body=bodies())
def test_sound_bodies(signature: Signature, body: bytes) -> None:
    assert outcome(parse_predict, body, signature) == outcome(ExactBody, body, signature)


@pytest.mark.parametrize("signature", SIGNATURES, ids=str)
@settings(max_examples=80, deadline=None)
@given(body=damaged())
def test_damaged_bodies(signature: Signature, body: bytes) -> None:
    assert outcome(parse_predict, body, signature) == outcome(ExactBody, body, signature)


@pytest.mark.parametrize("signature", SIGNATURES[:6:2], ids=str)
@settings(max_examples=80, deadline=None)
@given(body=st.one_of(bodies(), damaged()))
def test_numbers_that_are_read_in_pieces(signature: Signature, body: bytes) -> None:
    """As those of long bodies are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fast, "_LONG", 4)
        patch.setattr(fast, "_PIECE", 3)
        assert outcome(parse_predict, body, signature) == outcome(ExactBody, body, signature)


@pytest.mark.parametrize(
    "numbers", ["[[1,]2]", "[1[,2]]", "[1 2,3]", "[[1,2],[3,4]5]", "[[1,2] 6,[3,4]]", "[[1,2],6[3,4]]"]
)
def test_a_number_beside_a_list_is_no_json_in_pieces_either(numbers: str) -> None:
    body = f'{{"instances":{numbers}}}'.encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fast, "_LONG", 4)
        patch.setattr(fast, "_PIECE", 3)
        assert fast.read_numeric(body + b" " * 256) is None


@pytest.mark.parametrize("signature", SIGNATURES[:5], ids=str)
@pytest.mark.parametrize(
    "number",
    ["0e400", "0.00E+309", "0e-400", "0e308", "1e-400", "-0", "-0.0", "9" * 308, "17976931348623157" + "9" * 292],
)
def test_odd_numbers(signature: Signature, number: str) -> None:
    for body in (
        f'{{"instances":[[{number},1.5]]}}',
        f'{{"instances":[[{number}]]}}',
        f'{{"inputs":{{"x":{number}}}}}',
    ):
        assert outcome(parse_predict, body.encode(), signature) == outcome(ExactBody, body.encode(), signature)
