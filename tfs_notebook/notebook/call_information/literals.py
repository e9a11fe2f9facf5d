"""A request's body as an expression of Python, JavaScript or JSON; what repeats is told by how often."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from tfs_notebook.api.example_request import Example, ExampleTensor


@dataclass(frozen=True, slots=True)
class Syntax:
    """How a language writes a value that JSON knows, and a list of `count` times the same."""

    literal: Callable[[object], str]
    repeated: Callable[[str, int], str]


def _listed(inner: str, count: int) -> str:
    return f"[{', '.join([inner] * count)}]"


JSON = Syntax(json.dumps, _listed)
PYTHON = Syntax(
    lambda value: json.dumps(value) if not isinstance(value, bool) else repr(value),
    lambda inner, count: f"[{inner}] * {count}" if count > 1 else f"[{inner}]",
)
JAVASCRIPT = Syntax(json.dumps, lambda inner, count: f"Array({count}).fill({inner})" if count > 1 else f"[{inner}]")


def body_text(example: Example, syntax: Syntax) -> str:
    """The body of the REST request as an expression of `syntax`."""
    if example.verb != "predict":
        return json.dumps(example.body)
    named = {"signature_name": json.dumps(example.signature_name)} if example.signature_name else {}
    return _object({**named, example.format: _values(example, syntax)})


def _values(example: Example, syntax: Syntax) -> str:
    repeated = syntax.repeated if example.is_long else _listed
    by_rows, tensors = example.format == "instances", example.tensors.items()
    written = {alias: _tensor(tensor, syntax.literal, repeated, row=by_rows) for alias, tensor in tensors}
    values = next(iter(written.values())) if len(written) == 1 else _object(written)
    return f"[{values}]" if by_rows else values


def _tensor(
    tensor: ExampleTensor,
    literal: Callable[[object], str],
    repeated: Callable[[str, int], str],
    *,
    row: bool = False,
) -> str:
    """The nested lists of `tensor`, or of its first `row`."""
    if tensor.values is not None:
        return json.dumps(tensor.values)
    built = literal(tensor.leaf)
    for count in reversed(tensor.shape[row:]):
        built = repeated(built, count)
    return built


def _object(parts: dict[str, str]) -> str:
    return f"{{{', '.join(f'{json.dumps(key)}: {value}' for key, value in parts.items())}}}"
