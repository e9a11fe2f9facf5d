"""Which part of the package may know which: read from every import, also those inside functions and for types."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import tfs_notebook

ROOT = Path(tfs_notebook.__file__).parent
FORBIDDEN = {
    "engine": {"api", "console", "oss", "notebook", "server", "settings"},
    "api": {"console", "oss", "notebook", "server"},
    "console": {"notebook"},
    "oss": {"api", "console", "notebook", "server", "settings"},
    "settings": {"console", "notebook", "server"},
    "server": {"notebook"},
}
CIRCLES = {
    frozenset({"tfs_notebook.api.http.connection", "tfs_notebook.api.http.server"}),
    frozenset({"tfs_notebook.engine.batching.queue", "tfs_notebook.engine.batching.scheduler"}),
    frozenset({"tfs_notebook.notebook.completion", "tfs_notebook.notebook.magics"}),
}
"""Parents and children that know each other."""


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__")


def imports() -> dict[str, set[str]]:
    """What each module imports of the package."""
    paths = {module_name(path): path for path in ROOT.rglob("*.py")}
    found = {}
    for name, path in paths.items():
        nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
        asked = {(node.module or "", alias.name) for node in nodes for alias in node.names}
        ours = {(module, alias) for module, alias in asked if module.partition(".")[0] == "tfs_notebook"}
        found[name] = {f"{module}.{alias}" if f"{module}.{alias}" in paths else module for module, alias in ours}
    return found


IMPORTS = imports()


def reached(start: str) -> set[str]:
    """The modules that `start` imports, and those that they do."""
    found: set[str] = set()
    waiting = [start]
    while waiting:
        new = IMPORTS[waiting.pop()] - found
        found |= new
        waiting += new
    return found


@pytest.mark.parametrize("folder", FORBIDDEN)
def test_a_folder_knows_only_what_is_below_it(folder: str) -> None:
    broken = [
        f"{module} imports {other}"
        for module, others in IMPORTS.items()
        for other in others
        if module.split(".")[1:2] == [folder] and other.split(".")[1] in FORBIDDEN[folder]
    ]
    assert broken == []


def test_no_modules_import_each_other_but_three_pairs() -> None:
    reaches = {name: reached(name) for name in IMPORTS}
    circles = {
        frozenset(other for other in reaches[name] if name in reaches[other])
        for name in IMPORTS
        if name in reaches[name]
    }
    assert circles == CIRCLES


def test_the_imports_were_found() -> None:
    assert "tfs_notebook.engine.core" in IMPORTS["tfs_notebook.server.server"]
    assert len(IMPORTS) > 200


def test_no_folder_is_crowded() -> None:
    sizes = {folder: len(list(folder.glob("*.py"))) for folder in [ROOT, *ROOT.rglob("*")] if folder.is_dir()}
    assert sizes[ROOT] < 10
    assert [str(folder) for folder, size in sizes.items() if size > 18] == []
