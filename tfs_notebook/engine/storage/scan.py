"""Which complete versions stand in a base path, and which of them a policy selects.

A child of the base path is a version when its whole name is a base-10 int64 (TensorFlow Serving's rule). It is taken up
only when its SavedModel is complete, and when nothing in it has changed for `SETTLE_SECONDS`: a copy that is still
running is waited for, never loaded (a difference from TensorFlow Serving, made on purpose).
"""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tfs_notebook.engine.config import Latest, Specific, VersionPolicy
from tfs_notebook.engine.storage import hints
from tfs_notebook.engine.storage.completeness import has_model, missing_part
from tfs_notebook.engine.storage.hints import is_dir
from tfs_notebook.errors import ServingError, not_found

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

SETTLE_SECONDS = 1.0
WHOLE = ".tfs-whole"
"""A file of this name in a base path says that versions appear there whole: their files need not settle."""
_INTEGER = re.compile(r"[ \t\n\v\f\r]*[+-]?[0-9]+[ \t\n\v\f\r]*", re.ASCII)


def parse_version(name: str) -> int | None:
    """The version number that a directory name spells, or None (absl::SimpleAtoi<int64>)."""
    if not _INTEGER.fullmatch(name):
        return None
    number = int(name)
    return number if -(2**63) <= number < 2**63 else None


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """The files of a version directory with size and change times: equal fingerprints, unchanged files."""

    files: frozenset[tuple[str, int, int, int]]
    changed: float
    """When something last changed: seconds since the epoch; a copy that keeps modification times cannot hide it."""

    @classmethod
    def of(cls, directory: Path) -> Fingerprint:
        """The fingerprint of `directory`, empty when it is gone."""
        return cls.of_files(_walk(directory))

    @classmethod
    def of_files(cls, paths: Iterable[Path]) -> Fingerprint:
        """The fingerprint of just these files and directories."""
        entries, changed = [], 0.0
        for path in paths:
            try:
                stat = path.stat()
            except OSError:
                continue
            entries.append((str(path), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns))
            changed = max(changed, stat.st_ctime)
        return cls(frozenset(entries), changed)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(size for _, size, *_ in self.files)


def _walk(directory: Path, above: frozenset[tuple[int, int]] = frozenset()) -> Iterator[Path]:
    """`directory` and everything below it; a link back to a directory `above` is not followed."""
    yield directory
    try:
        stat, children = directory.stat(), list(directory.iterdir())
    except OSError:
        return
    identity = stat.st_dev, stat.st_ino
    if identity in above:
        return
    for child in children:
        if is_dir(child):
            yield from _walk(child, above | {identity})
        else:
            yield child


@dataclass(frozen=True, slots=True)
class Scan:
    """What one look at a base path found.

    `aspired` maps the selected, complete versions to their directories. `waiting` says of each selected version that is
    not taken up what is missing. `settles_in` is the number of seconds after which another look is worthwhile though
    no file changes, None when there is no such moment. `problem` is set when nothing could be found out or selected.
    `repaired` are versions that could not be loaded, with other files than then. `names` is what the base path holds
    when all of this follows from its names and from what was known: None when it depends on more than them.
    """

    aspired: Mapping[int, Path] = field(default_factory=dict)
    waiting: Mapping[int, str] = field(default_factory=dict)
    settles_in: float | None = None
    problem: ServingError | None = None
    readable: bool = True
    repaired: frozenset[int] = frozenset()
    names: frozenset[str] | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class _Look:
    """What one version directory looked like, first so at `time` (monotonic seconds)."""

    fingerprint: Fingerprint
    prefer_tflite: bool
    missing: str
    time: float


class Storage:
    """Looks at base paths; parses a SavedModel only when its files have changed since it was last looked at."""

    def __init__(self, settle_seconds: float = SETTLE_SECONDS) -> None:
        self.prefer_tflite = False
        """Whether a `model.tflite` is what makes a version."""
        self.settle_seconds = settle_seconds
        self._looks: dict[Path, _Look] = {}

    def scan(
        self,
        name: str,
        base_path: str,
        policy: VersionPolicy,
        known: Collection[int] = (),
        failed: Mapping[int, Fingerprint | None] | None = None,
        copy_of: str = "",
    ) -> Scan:
        """Select the versions of model `name` under `base_path`.

        `known` are numbers that were taken up before: they stay selected while their directory exists, whatever
        happens inside it (TensorFlow Serving does not reload a number it has loaded). `failed` are those that could not
        be loaded, with what their files were then. `copy_of` is the address that messages name where `base_path` is a
        copy of what is kept elsewhere; until there is something in that copy it is empty.
        """
        try:
            return self._scan(name, base_path, policy, known, failed or {}, copy_of)
        except FileNotFoundError as error:
            if copy_of:
                return Scan(problem=_nothing_at(name, copy_of, policy), readable=False)
            return Scan(problem=_unreadable(name, base_path, error), readable=False)
        except (OSError, ValueError) as error:
            return Scan(problem=_unreadable(name, base_path, error), readable=False)

    def _scan(
        self,
        name: str,
        base_path: str,
        policy: VersionPolicy,
        known: Collection[int],
        failed: Mapping[int, Fingerprint | None],
        copy_of: str,
    ) -> Scan:
        names = names_in(Path(base_path))
        found = versions_among(names, Path(base_path))
        selected: dict[int, Path] = {}
        waiting: dict[int, str] = {}
        settles: list[float] = []
        only_names_count = True
        settle_seconds = 0.0 if WHOLE in names else self.settle_seconds
        for number in candidates(policy, found):
            path = found[number]
            if number in known and number not in failed:
                self._looks.pop(path, None)
            else:
                only_names_count = False
            reason, settles_in = ("", None) if number in known else self._why_not_yet(path, settle_seconds)
            if reason:
                waiting[number] = reason
                if settles_in is not None:
                    settles.append(settles_in)
                continue
            selected[number] = path
            if isinstance(policy, Latest) and len(selected) >= max(policy.num_versions, 1):
                break
        problem = None
        if not (selected or waiting):
            only_names_count = False  # the problem tells what else there is
            nothing = _nothing_at(name, copy_of, policy) if copy_of else None
            problem = nothing or _nothing_found(name, base_path, policy, found)
        if isinstance(policy, Specific):
            where = copy_of or base_path
            waiting |= {number: f"{where} does not hold it" for number in policy.versions if number not in found}
        repaired = frozenset(
            number
            for number in failed
            if number in selected and self._is_repaired(selected[number], failed[number], settle_seconds)
        )
        return Scan(
            selected, waiting, min(settles, default=None), problem,
            repaired=repaired, names=names if only_names_count else None,
        )  # fmt: skip

    def _is_repaired(self, path: Path, failed: Fingerprint | None, settle_seconds: float) -> bool:
        """Whether `path` is ready to be taken up, and its files are not those that `failed`."""
        return not self._why_not_yet(path, settle_seconds)[0] and self._looks[path].fingerprint != failed

    def _why_not_yet(self, path: Path, settle_seconds: float) -> tuple[str, float | None]:
        """Why `path` cannot be taken up, with the seconds to the next look; an empty reason when it can."""
        # Without a model, what else is there does not matter: thousands of files perhaps
        tflite = self.prefer_tflite
        has_one = has_model(path, prefer_tflite=tflite)
        fingerprint = Fingerprint.of(path) if has_one else Fingerprint.of_files([path])
        look = self._looks.get(path)
        if look is None or (look.fingerprint, look.prefer_tflite) != (fingerprint, tflite):
            missing = missing_part(path, prefer_tflite=tflite)
            look = self._looks[path] = _Look(fingerprint, tflite, missing, time.monotonic())
        # Its own age counts as well: the clock of a file server may be ahead of this machine's.
        quiet = max(time.time() - fingerprint.changed, time.monotonic() - look.time)
        if quiet < settle_seconds:
            return look.missing or "its files are still changing", settle_seconds - quiet + 0.01
        return look.missing, None


def nothing_to_serve(name: str, base_path: str, policy: VersionPolicy) -> ServingError | None:
    """Why no directory under `base_path` can ever be a version of model `name`, None when one can; quick."""
    try:
        found = list_versions(Path(base_path))
    except (OSError, ValueError) as error:
        return _unreadable(name, base_path, error)
    return None if candidates(policy, found) else _nothing_found(name, base_path, policy, found)


def names_in(base: Path | str) -> frozenset[str]:
    """What is in the directory `base`. Raises OSError when it cannot be listed."""
    return frozenset(os.listdir(base))  # noqa: PTH208 - a Path for each entry costs more than reading them


def list_versions(base: Path) -> dict[int, Path]:
    """The version directories of `base` by number; of several spellings of one number the last in byte order.

    Raises OSError when `base` is not a directory that can be listed.
    """
    return versions_among(names_in(base), base)


def versions_among(names: Iterable[str], base: Path) -> dict[int, Path]:
    """The version directories of `base`, which holds `names`; see `list_versions`."""
    return {number: base / name for name in sorted(names) if (number := parse_version(name)) is not None}


def candidates(policy: VersionPolicy, found: Iterable[int]) -> list[int]:
    """The numbers a policy looks at, best first; `latest` offers them all, so that an incomplete one is passed over."""
    numbers = sorted(found, reverse=True)
    if isinstance(policy, Specific):
        return [number for number in numbers if number in policy.versions]
    return numbers


def _unreadable(name: str, base_path: str, error: OSError | ValueError) -> ServingError:
    reason = error.strerror if isinstance(error, OSError) else None
    hint = "The base path must be a directory that can be read."
    if "://" in base_path:
        hint = (
            "Only directories and oss://BUCKET/PREFIX/ can be served: copy or mount the models, and name the directory."
        )
    elif isinstance(error, FileNotFoundError):
        hint = hints.for_missing(Path(base_path))
    elif isinstance(error, NotADirectoryError):
        hint = hints.for_file(Path(base_path))
    return not_found(
        f"Could not find base path {base_path} for servable {name} with error {reason or error}", hint=hint
    )


def _nothing_at(name: str, address: str, policy: VersionPolicy) -> ServingError:
    """Nothing that the policy asks for has come from `address`; whatever brings it may know why."""
    asked = f" that the policy asks for ({policy})" if isinstance(policy, Specific) else ""
    return not_found(
        f"No versions of servable {name} found under base path {address}{asked}.",
        hint="Versions are uploaded below it under a number, like 1/saved_model.pb.",
    )


def _nothing_found(name: str, base_path: str, policy: VersionPolicy, found: Mapping[int, Path]) -> ServingError:
    if isinstance(policy, Specific) and found:
        return not_found(
            f"No versions of servable {name} found under base path {base_path} that the policy asks for ({policy}).",
            hint=f"{base_path} holds {hints.listing(Path(base_path))}.",
        )
    return not_found(
        f"No versions of servable {name} found under base path {base_path}. "
        "Did you forget to name your leaf directory as a number (eg. '/1/')?",
        hint=hints.for_no_version(Path(base_path)),
    )
