"""A `%%tfs_predict` cell: what its body asks.

The body is a REST request body in JSON, or a Python expression: such a body as a dict, a dict of arrays by input alias,
or the value of the only input.
"""

from __future__ import annotations

import base64
import json
import re
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tfs_notebook.api.inputs import as_inputs
from tfs_notebook.api.json import codec as json_codec
from tfs_notebook.engine.models.signature import DEFAULT_SIGNATURE
from tfs_notebook.errors import ServingError, invalid_argument

if TYPE_CHECKING:
    from collections.abc import Callable

    from tfs_notebook.api.calls.model_spec import ModelSpec
    from tfs_notebook.engine.models.signature import Signature

BODY_KEYS = frozenset({"instances", "inputs"})
_BODY_KEY = re.compile(r'"(?:instances|inputs)"\s*:')
_JSON_WORDS = frozenset({"true", "false", "null"})


@dataclass(frozen=True, slots=True)
class Question:
    """A request: `body` in REST's JSON, or `value` for the inputs when it was written as arrays."""

    spec: ModelSpec
    signature_name: str
    body: bytes | None
    value: Any = None

    def tensors(self, signature: Signature) -> Mapping[str, np.ndarray]:
        """The inputs by alias, of the dtypes that `signature` declares. Raises ServingError."""
        if self.body is None:
            return as_inputs(self.value, signature)
        return json_codec.parse_predict(self.body).tensors(signature)

    def input_names(self) -> list[str]:
        """The inputs that it gives by name; none when it gives the only input without one."""
        try:
            value = self.value if self.body is None else _named_part(from_json(self.body))
        except ServingError:
            return []
        return list(value) if isinstance(value, Mapping) and value.keys() != {"b64"} else []


def _named_part(body: dict[str, Any]) -> Any:
    if "instances" not in body:
        return body.get("inputs")
    return next(iter(body["instances"]), None) if isinstance(body["instances"], list) else None


def read_question(text: str, spec: ModelSpec, signature_name: str, evaluate: Callable[[str], Any]) -> Question:
    """The question in a cell's `text`; `evaluate` runs a Python expression in the user's namespace.

    Raises ServingError INVALID_ARGUMENT when the text is neither JSON nor an expression; what `evaluate` raises passes.
    """
    __tracebackhide__ = True  # IPython then shows the user's own frames only
    if not text.strip():
        raise invalid_argument(
            f"What is {spec.name} to be asked? %tfs_predict {spec.name} x[:24], or in a %%tfs_predict cell "
            '{"instances": […]} or a Python expression'
        )
    text = text.strip().removesuffix(";")  # as behind any expression whose value is not to be shown
    named = signature_name or DEFAULT_SIGNATURE
    try:
        parsed = json_codec.parse_predict(text.encode())
        if not (more := _after_json(text)):
            if _BODY_KEY.search(text):
                return Question(spec, signature_name or parsed.signature_name or DEFAULT_SIGNATURE, text.encode())
            return Question(spec, named, None, from_json(text.encode()))
        not_json = f"{reprlib.repr(more)} follows the JSON value"
    except ServingError as error:
        not_json = error.message
    value = _evaluated(text, evaluate, not_json)
    if isinstance(value, dict) and BODY_KEYS & value.keys():
        return Question(spec, signature_name or value.get("signature_name") or DEFAULT_SIGNATURE, as_json(value))
    return Question(spec, named, None, value)


def _evaluated(text: str, evaluate: Callable[[str], Any], not_json: str) -> Any:
    __tracebackhide__ = True
    try:
        return evaluate(text)
    except SyntaxError as error:
        where = f"line {error.lineno}, column {error.offset}"
        raise _unreadable(not_json, f"{error.msg}; statements go into a cell of their own", where) from None
    except NameError as error:
        if error.name not in _JSON_WORDS:
            raise
        raise _unreadable(not_json, str(error)) from None


def _after_json(text: str) -> str:
    """What stands behind the JSON value in `text`: ignored on the wire, but not from a person."""
    try:
        _, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):  # of what RapidJSON takes and Python does not
        return "" if text.endswith("}") else text[-20:]
    return text[end:].strip()


def _unreadable(not_json: str, not_python: str, where: str = "") -> ServingError:
    message = f"The body is neither JSON ({not_json}) nor a Python expression ({not_python})"
    return invalid_argument(message, where=where)


def as_json(value: Any) -> bytes:
    """`value` as REST's JSON: arrays as lists, bytes as `{"b64": …}`. Raises ServingError for what has no such form."""
    try:
        return json.dumps(value, default=_jsonable).encode("utf-8", "surrogateescape")
    except (TypeError, ValueError, RecursionError) as error:
        raise invalid_argument(f"The body cannot be written as JSON: {error}") from None


def from_json(body: bytes) -> Any:
    """What `body` says as Python values. Raises ServingError for what Python does not read, as too deep a nesting."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise invalid_argument(f"The body cannot be read as JSON: {error}") from None


def _jsonable(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"b64": base64.b64encode(value).decode()}
    if hasattr(value, "numpy"):
        return value.numpy()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item() if isinstance(value.item(), (int, float, bool, str, bytes)) else float(value)
    if hasattr(value, "to_numpy"):  # of pandas: the rows of a table, or a column
        return value.to_numpy().tolist()
    raise TypeError(f"{type(value).__name__} has no JSON form")
