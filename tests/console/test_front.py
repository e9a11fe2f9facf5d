"""The bundle that is committed is the one that the sources make, and speaks of what the dataclasses hold."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType

FRONT = Path(__file__).parents[2] / "labextension"
STATIC = resources.files("tfs_notebook.console") / "static"
MOST_BYTES = 150_000


def make_types() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_types", FRONT / "make_types.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_bundle_was_made_from_these_sources() -> None:
    sources = [path for path in (FRONT / "src" / "console").rglob("*") if path.is_file()]
    named = {path.relative_to(FRONT).as_posix(): path for path in sources}
    named |= {name: FRONT / name for name in ("build.mjs", "package-lock.json")}
    digest = hashlib.sha256()
    for name in sorted(named):
        digest.update(name.encode() + b"\0" + named[name].read_bytes() + b"\0")
    assert (STATIC / "console.sources").read_text().strip() == digest.hexdigest(), "`make front`, and commit the bundle"
    assert len((STATIC / "console.js").read_bytes()) < MOST_BYTES


def test_the_types_of_the_front_end_are_those_of_the_dataclasses() -> None:
    made = make_types()
    assert made.TARGET.read_text() == made.typescript(), "`make front` writes them anew"


def test_the_lock_file_names_no_registry() -> None:
    lock = json.loads((FRONT / "package-lock.json").read_text())
    assert len(lock["packages"]) > 5
    assert not [name for name, package in lock["packages"].items() if "resolved" in package]
    assert all("integrity" in package for name, package in lock["packages"].items() if name)
