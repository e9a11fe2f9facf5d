"""A classify or regress body: JSON objects to tf.train.Examples by the rules of TensorFlow Serving's json_tensor.cc.

The JSON type of a value decides the kind of its feature, whatever the model expects: 20 is an int64, 20.0 a float.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tensorflow.core.example.example_pb2 import Example
from tensorflow.core.example.feature_pb2 import BytesList, Feature, Features, FloatList, Int64List

from tfs_notebook.api.classification import Classes, classify, regress
from tfs_notebook.api.examples import example_tensor
from tfs_notebook.api.json.base64 import decode_base64
from tfs_notebook.api.json.exact import JsonBody
from tfs_notebook.api.json.reader import JsonObject
from tfs_notebook.api.json.text import text, type_word
from tfs_notebook.api.json.values import INTEGER_RANGES, base64_text
from tfs_notebook.api.json.writer import encode_classes, encode_values
from tfs_notebook.errors import ServingError, invalid_argument

if TYPE_CHECKING:
    from tfs_notebook.api.calls.call import Call
    from tfs_notebook.api.classification import Result
    from tfs_notebook.api.json.reader import JsonValue

_, _LARGEST = INTEGER_RANGES["int64"]


class ExamplesBody(JsonBody):
    """A classify or regress request, read as a whole: that takes no model. Raises INVALID_ARGUMENT.

    `examples` is an object array of serialized Examples, the context's features in each, of shape [examples]; `context`
    and `given` are the context, b"" without one, and the examples without it.
    """

    def __init__(self, body: bytes) -> None:
        super().__init__(body)
        self.context = _example(self._members[b"context"], "context") if b"context" in self._members else b""
        self.given = self._examples()
        self.examples = example_tensor(self.given, self.context)

    def _examples(self) -> list[bytes]:
        if b"examples" not in self._members:
            raise self._refusal("When method is classify, key 'examples' is expected and was not found", "examples")
        examples = self._members[b"examples"]
        if not isinstance(examples, list):
            raise self._refusal("Expecting 'examples' value to be an list/array", "examples")
        if not examples:
            raise self._refusal("'examples' value is an empty array", "examples")
        return [_example(example, f"examples[{index}]") for index, example in enumerate(examples)]


def evaluate(call: Call, action: str, parsed: ExamplesBody, timeout: float | None) -> Result:
    """What comes of a request for `classify`, or else `regress`; `timeout` in seconds. Raises ServingError."""
    asked = classify if action == "classify" else regress
    return asked(call, parsed.signature_name, parsed.examples, timeout=timeout)


def encode_result(result: Result) -> bytes:
    """The reply with `result`."""
    return encode_classes(result.labels, result.scores) if isinstance(result, Classes) else encode_values(result)


def _example(value: JsonValue, where: str) -> bytes:
    if not isinstance(value, JsonObject):
        raise invalid_argument(f"Example must be JSON object but got JSON {type_word(value)}", where=where)
    features = dict[str, Feature]()
    for key, content in value.members:
        key = key.partition(b"\0")[0]  # noqa: PLW2901 - TensorFlow Serving takes it as a C string
        name = text(key)
        where_of_feature = f"{where}.{name}"
        if not key.isascii() and not _is_utf8(key):
            raise invalid_argument(f"Feature: {name} has a name that is not UTF-8", where=where_of_feature)
        values: list[Any] = content if isinstance(content, list) else [content]
        try:
            features[name] = _feature(name, values)
        except ServingError as error:
            position = error.where if isinstance(content, list) else ""
            raise ServingError(error.code, error.message, where=where_of_feature + position) from None
    serialized: bytes = Example(features=Features(feature=features)).SerializeToString()
    return serialized


def _is_utf8(key: bytes) -> bool:
    try:
        key.decode()
    except UnicodeDecodeError:
        return False
    return True


def _feature(name: str, values: list[Any]) -> Feature:
    """The values, which must all be of one kind; `where` of an error is like `[17]`."""
    kind = _common_kind(name, values)
    if kind == "int64":
        return Feature(int64_list=Int64List(value=map(int, values)))
    if kind == "float":
        return Feature(float_list=FloatList(value=values))  # what is too large for a float becomes infinite
    return Feature(bytes_list=BytesList(value=map(_bytes, values))) if kind else Feature()


def _common_kind(name: str, values: list[Any]) -> str | None:
    expected = None
    for index, value in enumerate(values):
        kind = _kind(value)
        if kind is None:
            problem = f"Feature: {name} has element with unexpected JSON type: {type_word(value)}"
        elif expected not in {None, kind}:
            problem = f"Unexpected element type in feature: {name} expecting type: {expected}"
        elif kind == "int64" and value > _LARGEST:
            problem = f"Feature: {name} has uint64_t element. Only int64_t is supported."
        else:
            expected = kind
            continue
        raise invalid_argument(problem, where=f"[{index}]")
    return expected


def _kind(value: JsonValue) -> str | None:
    """What the feature of a value holds, None when there is none that could."""
    if isinstance(value, int):  # a bool, too
        return "int64"
    if isinstance(value, float):
        return "float"
    return "bytes" if isinstance(value, bytes) or base64_text(value) is not None else None


def _bytes(value: JsonValue) -> bytes:
    return value if isinstance(value, bytes) else decode_base64(base64_text(value) or b"")
