"""`--classes` and `--truth`: what they name, as an answer needs it."""

from __future__ import annotations

import ast
import json
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfs_notebook.errors import invalid_argument

if TYPE_CHECKING:
    from collections.abc import Callable

    from tfs_notebook.notebook.predict.answer import Answer


def read_classes(text: str, evaluate: Callable[[str], Any], names: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of classes: a variable or expression (a list, an array, a dict by number), or a file of a name a line.

    Raises ServingError INVALID_ARGUMENT for what is neither.
    """
    __tracebackhide__ = True
    if not text:
        return ()
    bare = text.strip("\"'")
    if bare not in names and Path(bare).is_file():
        content = Path(bare).read_text(encoding="utf-8")
        found = json.loads(content) if bare.endswith(".json") else content.splitlines()
    else:
        found = evaluate(bare if bare != text else text)
    if isinstance(found, Mapping):
        found = _by_number(found)
    found = found.tolist() if hasattr(found, "tolist") else found
    if isinstance(found, (str, bytes)) or not hasattr(found, "__iter__"):
        raise invalid_argument(
            f"--classes {text} is {reprlib.repr(found)}: a list of names, or a file of a name a line"
        )
    return tuple(name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name) for name in found)


def _by_number(found: Mapping[Any, Any]) -> list[Any]:
    """The names of a dict that numbers them, either way round."""
    if found and all(isinstance(value, int) for value in found.values()):
        found = {number: name for name, number in found.items()}
    numbered = {int(number): name for number, name in found.items()}
    return [numbered.get(number, number) for number in range(max(numbered, default=-1) + 1)]


def read_truth(text: str, expression: str, evaluate: Callable[[str], Any]) -> Any:
    """The value of `--truth`; where the input's `expression` takes rows of a variable of as many, the same rows."""
    __tracebackhide__ = True
    if not text:
        return None
    bare = text[1:-1] if text[:1] == text[-1:] and text[:1] in "\"'" else text
    truth = evaluate(bare)
    truth = np.asarray(truth.to_numpy() if hasattr(truth, "to_numpy") else truth)
    taken = _rows_taken(expression)
    if taken is None or not bare.isidentifier():
        return truth
    whole, rows = taken
    return truth[evaluate(rows)] if len(evaluate(whole)) == len(truth) else truth


def _rows_taken(expression: str) -> tuple[str, str] | None:
    """What an expression like `x[:24]` or `x[rows] / 255` takes rows of, and which, as expressions."""
    try:
        node: Any = ast.parse(expression.strip().removesuffix(";"), mode="eval").body
    except (SyntaxError, ValueError):
        return None
    while True:
        if isinstance(node, ast.Subscript):
            rows = node.slice.elts[0] if isinstance(node.slice, ast.Tuple) and node.slice.elts else node.slice
            if not (isinstance(rows, ast.Constant) and (rows.value is Ellipsis or rows.value is None)):
                return ast.unparse(node.value), _index(rows)
            node = node.value
        elif isinstance(node, ast.BinOp):
            node = node.left
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            node = node.func.value
        else:
            return None


def _index(rows: Any) -> str:
    if not isinstance(rows, ast.Slice):
        return ast.unparse(rows)
    parts = ("None" if part is None else ast.unparse(part) for part in (rows.lower, rows.upper, rows.step))
    return f"slice({', '.join(parts)})"


def fitted_truth(truth: np.ndarray, answer: Answer, classes: tuple[str, ...], text: str) -> np.ndarray:
    """`truth` as one value a row: numbers of classes from names and from one-hot rows.

    Raises ServingError INVALID_ARGUMENT for another number of rows and for names that are none.
    """
    rows = {len(array) if array.ndim else 0 for array in answer.outputs.values()}
    if rows != {len(truth) if truth.ndim else 0}:
        asked = " and ".join(map(str, sorted(rows)))
        raise invalid_argument(
            f"--truth {text} has {len(truth) if truth.ndim else 'no'} values for {asked} rows: take the same rows, "
            f"like {text.partition('[')[0]}[:{min(rows)}]"
        )
    widths = {array.shape[1] for array in answer.outputs.values() if array.ndim == 2 and array.shape[1] > 1}
    if truth.ndim == 2 and truth.shape[1] in widths and ((truth == 0) | (truth == 1)).all():
        return np.asarray(truth.argmax(axis=1))
    if truth.ndim == 2 and truth.shape[1] == 1:
        truth = truth[:, 0]
    if truth.dtype.kind in "USO":
        return _numbers(truth, classes, text)
    return np.array(truth)


def _numbers(truth: np.ndarray, classes: tuple[str, ...], text: str) -> np.ndarray:
    names = [item.decode() if isinstance(item, bytes) else str(item) for item in truth.ravel().tolist()]
    unknown = [name for name in names if name not in classes]
    if unknown:
        known = f"none of --classes: {', '.join(classes[:8])}" if classes else "a name, and --classes is not given"
        raise invalid_argument(f"--truth {text} holds {unknown[0]!r}, {known}")
    return np.array([classes.index(name) for name in names], dtype=np.int64)


def check_classes(classes: tuple[str, ...], answer: Answer, text: str) -> None:
    """Raise ServingError INVALID_ARGUMENT when there are names for another number of classes than the model has."""
    widths = {alias: array.shape[1] for alias, array in answer.outputs.items() if array.ndim == 2}
    if classes and widths and len(classes) not in {*widths.values(), *(2 for width in widths.values() if width == 1)}:
        had = ", ".join(f"{alias} has {width} classes" for alias, width in widths.items())
        raise invalid_argument(f"--classes {text} gives {len(classes)} names, and {had}")
