"""JSON schemas of dataclasses, made from their annotations."""

from __future__ import annotations

import types
import typing
from dataclasses import fields, is_dataclass
from typing import Any

_PLAIN = {str: "string", int: "integer", float: "number", bool: "boolean", types.NoneType: "null"}


def schema(kind: type[Any]) -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of what orjson writes for the dataclass `kind`."""
    found: dict[str, Any] = {}
    of_kind = _schema(kind, found)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **of_kind, "$defs": found}


def _schema(kind: Any, found: dict[str, Any]) -> dict[str, Any]:
    if kind is Any:
        return {}
    if kind in _PLAIN:
        return {"type": _PLAIN[kind]}
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is tuple and arguments[-1] is not Ellipsis:  # of a fixed length, and here of one type
        return {"type": "array", "items": _schema(arguments[0], found), "minItems": len(arguments)}
    if origin is tuple:
        return {"type": "array", "items": _schema(arguments[0], found)}
    if origin in {typing.Union, types.UnionType}:
        return {"anyOf": [_schema(each, found) for each in arguments]}
    if not (isinstance(kind, type) and is_dataclass(kind)):
        raise TypeError(f"{kind} has no JSON schema")
    if kind.__name__ not in found:
        found[kind.__name__] = {}  # it may hold itself
        hints = typing.get_type_hints(kind)
        properties = {item.name: _schema(hints[item.name], found) for item in fields(kind)}
        found[kind.__name__] = {
            "type": "object",
            "properties": properties,
            "required": list(properties),
            "additionalProperties": False,
        }
    return {"$ref": f"#/$defs/{kind.__name__}"}
