"""The page for contributors names what there is."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "CONTRIBUTING.md").read_text()
NAMED = sorted(set(re.findall(r"`((?:api|engine|notebook|oss|server|settings)\.[\w.]+)`", TEXT)))


def defined(tree: ast.AST) -> set[str]:
    return {
        node.name
        for node in ast.iter_child_nodes(tree)
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    }


@pytest.mark.parametrize("name", NAMED)
def test_what_it_names_is_there(name: str) -> None:
    *above, last = name.split(".")
    path = ROOT / "tfs_notebook"
    while above and (path / above[0]).is_dir():
        path /= above.pop(0)
    if not above:
        assert path.joinpath(last).is_dir() or path.joinpath(f"{last}.py").is_file()
        return
    tree: ast.AST = ast.parse(path.joinpath(f"{above.pop(0)}.py").read_text())
    for outer in above:
        tree = next(node for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and node.name == outer)
    assert last in defined(tree)


def test_it_shows_every_folder() -> None:
    missing = [
        folder.name
        for folder in (ROOT / "tfs_notebook").rglob("*")
        if folder.is_dir() and folder.name != "__pycache__" and f"{folder.name}/" not in TEXT
    ]
    assert missing == []


def test_it_names_the_two_ways() -> None:
    assert len(NAMED) > 15
