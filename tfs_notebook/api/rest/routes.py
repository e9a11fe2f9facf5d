"""The URLs of TensorFlow Serving's REST API, matched as it matches them: raw path and query, the whole of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote

from tfs_notebook.api.calls.model_spec import ModelSpec
from tfs_notebook.errors import ServingError, invalid_argument

_VERSION = r"(?:/versions/(?P<version>[0-9]+)|/labels/(?P<label>[^/:]+))?"
_POST = re.compile(rf"/v1/models/(?P<name>[^/:]+){_VERSION}:(?P<method>classify|regress|predict)", re.IGNORECASE)
_GET = re.compile(rf"/v1/models(?:/(?P<name>[^/:]+?))?{_VERSION}(?P<tail>/metadata)?", re.IGNORECASE)
_HALF_ESCAPE = re.compile(r"%(?![0-9a-f]{2})", re.IGNORECASE)
_MAX_REMEMBERED_LENGTH = 256
_METHODS = frozenset({"classify", "regress", "predict"})


@dataclass(frozen=True, slots=True)
class Route:
    """What a URL asks for: `action` is `predict`, `classify`, `regress`, `metadata` or `status`."""

    action: str
    spec: ModelSpec


def route(method: str, path: str) -> Route:
    """The route of a request for the raw path with its query. Raises ServingError as TensorFlow Serving would."""
    return _known_route(method, path) if len(path) <= _MAX_REMEMBERED_LENGTH else _route(method, path)


def _route(method: str, path: str) -> Route:
    grammar = {"POST": _POST, "GET": _GET}.get(method)
    match = grammar.fullmatch(path) if grammar is not None else None
    if match is None:
        raise _malformed(method, path)
    parts = match.groupdict()
    if method == "POST":
        action = parts["method"]
        if action not in _METHODS:  # the URL matches in any case, the method's name does not
            raise _malformed(method, path)
    else:
        action = "metadata" if parts["tail"] == "/metadata" else "status"
        if not parts["name"]:
            raise invalid_argument("Missing model name in request.")
    return Route(action, ModelSpec(_decode(parts["name"]), _version(parts["version"]), _label(parts["label"])))


_known_route = lru_cache(maxsize=1024)(_route)


def _malformed(method: str, path: str) -> ServingError:
    return invalid_argument(f"Malformed request: {method} {path}")


def _decode(text: str) -> str:
    try:
        if not _HALF_ESCAPE.search(text):
            return unquote(text, errors="strict")
    except UnicodeDecodeError:
        pass
    raise invalid_argument(f"Malformed request: {text} is not percent-encoded UTF-8")


def _label(text: str | None) -> str | None:
    return None if text is None else _decode(text)


def _version(digits: str | None) -> int | None:
    if digits is None:
        return None
    significant = digits.lstrip("0")
    if len(significant) > 19 or int(significant or 0) >= 2**63:  # Python refuses to convert thousands of digits
        raise invalid_argument(f"Failed to convert version: {digits} to numeric.")
    return int(significant or 0)
