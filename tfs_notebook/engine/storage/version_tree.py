"""A base path that versions are written to: each appears whole, under the next number, or not at all."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from tfs_notebook.engine.storage.scan import WHOLE, list_versions
from tfs_notebook.errors import Code, ServingError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path


class VersionTree:
    """The directory `base`, with a directory for each version. One thread at a time writes."""

    def __init__(self, base: Path) -> None:
        self.base = base

    def prepare_private(self) -> None:
        """Make the directory as one that only this writes to: what appears there need not settle. Raises OSError."""
        self.base.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self.base / WHOLE).touch()

    def numbers(self) -> set[int]:
        """The versions that are there. Raises OSError for what is no directory."""
        return set(list_versions(self.base)) if self.base.exists() else set()

    def add(self, write: Callable[[Path], None], number: int) -> Path:
        """Let `write` fill a directory, which then becomes version `number`, and return where that is.

        Whatever is raised, nothing of it is left. Raises ServingError ALREADY_EXISTS for a number that is there, and
        OSError for a place that cannot be written to.
        """
        place = self.base / str(number)
        if number in self.numbers():
            hint = "Leave --version out for the next number."
            raise ServingError(Code.ALREADY_EXISTS, f"{place} is there already", hint=hint)
        self.base.mkdir(parents=True, exist_ok=True)
        scratch = self.base / f".tfs-{number}-{os.getpid()}"
        shutil.rmtree(scratch, ignore_errors=True)
        try:
            write(scratch)
            scratch.rename(place)
        except BaseException:
            shutil.rmtree(scratch, ignore_errors=True)
            raise
        return place

    def prune(self, keep: int, in_use: Collection[int]) -> None:
        """Delete all but the `keep` highest numbers and those `in_use`."""
        for number in sorted(self.numbers())[:-keep]:
            if number not in in_use:
                place = self.base / str(number)
                withdrawn = self.base / f".tfs-{number}-deleted"  # in one step, so that nobody finds half of it
                place.rename(withdrawn)
                shutil.rmtree(withdrawn, ignore_errors=True)
