"""Writes the front end's types from the schema of the Python dataclasses: `python labextension/make_types.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tfs_notebook.console.actions import Calls, Reply
from tfs_notebook.console.commands import Command, Outcome
from tfs_notebook.console.schema import schema
from tfs_notebook.console.snapshot import PROTOCOL, Snapshot

TARGET = Path(__file__).parent / "src" / "console" / "types.ts"
_NAMES = {"string": "string", "integer": "number", "number": "number", "boolean": "boolean", "null": "null"}


def typescript() -> str:
    """The text of types.ts."""
    found: dict[str, Any] = {}
    for kind in (Snapshot, Command, Outcome, Calls, Reply):
        found |= schema(kind)["$defs"]
    head = "// Made by labextension/make_types.py from the dataclasses of tfs_notebook/console; not to be edited.\n"
    interfaces = (_interface(name, found[name]) for name in sorted(found))
    return "\n".join([head, f"export const PROTOCOL = {PROTOCOL};", "", *interfaces])


def _interface(name: str, definition: dict[str, Any]) -> str:
    members = (f"  readonly {each}: {_type(of)};" for each, of in definition["properties"].items())
    return "\n".join([f"export interface {name} {{", *members, "}", ""])


def _type(of: dict[str, Any]) -> str:
    if "$ref" in of:
        return str(of["$ref"].rpartition("/")[2])
    if "anyOf" in of:
        return " | ".join(map(_type, of["anyOf"]))
    if of.get("type") == "array":
        inner = _type(of["items"])
        return f"readonly ({inner})[]" if "|" in inner or inner.startswith("readonly") else f"readonly {inner}[]"
    return _NAMES[of["type"]] if "type" in of else "unknown"


if __name__ == "__main__":
    TARGET.write_text(typescript())
