"""Several processes with one local copy: one writes, the others follow, and take over when it ends.

Whoever holds the lock brings what all of them want. A follower leaves a file with what it wants, locked as long as it
lives, and reads what the writer has last said of every base path.
"""

from __future__ import annotations

import fcntl
import json
import os
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from tfs_notebook.engine.config import AllVersions, Latest, Specific, VersionPolicy
from tfs_notebook.engine.supply import Outlook
from tfs_notebook.errors import Code, ServingError
from tfs_notebook.oss.cache import write_atomically

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Wants = dict[str, tuple[VersionPolicy, ...]]
"""The policies by the base path, relative to its root, that they are for."""


class Crew:
    """The place of this process among those that share the directory `private`."""

    def __init__(self, private: Path) -> None:
        self._lock = private / "lock"
        self._said = private / "outlook.json"
        self._followers = private / "followers"
        self._held: int | None = None
        self._mine: tuple[Path, int] | None = None
        self._asked: Wants | None = None
        self._told: object = None
        self._heard: dict[Path, dict[str, Any]] = {}

    @property
    def writes(self) -> bool:
        """Whether this process is the one that writes."""
        return self._held is not None

    @property
    def has_lost_lock(self) -> bool:
        """Whether the lock of this process is not where others look for it: somebody cleared the directory."""
        return self._held is not None and not _stands_at(self._lock, self._held)

    def try_to_write(self) -> bool:
        """Become the writer if nobody is; whether this process is it. Raises OSError."""
        if self._held is None:
            self._held = _lock(self._lock)
            if self._held is not None:
                self._stop_following()
        return self.writes

    def leave(self) -> None:
        """Let another process write."""
        self._stop_following()
        if self._held is not None:
            _unlock(self._held)
            self._held = self._told = None

    # The writer's side

    def wants(self) -> Wants:
        """What the followers want; the files of those that have ended go."""
        wants: Wants = {}
        for path in self._followers.glob("*.json"):
            held = _lock(path)
            if held is not None:
                path.unlink(missing_ok=True)
                _unlock(held)
                self._heard.pop(path, None)
                continue
            self._heard[path] = _read(path) or self._heard.get(path, {})  # it may be being written
            for base, policies in self._heard[path].items():
                wants[base] = wants.get(base, ()) + tuple(_policy(policy) for policy in policies)
        return wants

    def say(self, outlooks: Mapping[str, Outlook], wants: Wants) -> None:
        """Let the followers know what is to be expected, and for which policies."""
        told = {
            base: {**as_json(outlook), "for": [_policy_as_json(policy) for policy in wants.get(base, ())]}
            for base, outlook in outlooks.items()
        }
        if told != self._told:
            write_atomically(self._said, json.dumps(told).encode())
            self._told = told

    # A follower's side

    def ask(self, wants: Wants) -> None:
        """Let the writer know what this process wants."""
        if self._mine is not None and not _stands_at(*self._mine):
            self._stop_following()
        if self._mine is None:
            path = self._followers / f"{uuid.uuid4().hex}.json"
            held = _lock(path)
            if held is None:
                return
            self._mine = path, held
        if wants == self._asked:
            return
        _, held = self._mine
        content = json.dumps({base: [_policy_as_json(policy) for policy in wants[base]] for base in wants}).encode()
        os.pwrite(held, content, 0)
        os.ftruncate(held, len(content))
        self._asked = wants

    def hear(self) -> tuple[dict[str, Outlook], Wants]:
        """What the writer has last said, and for which policies."""
        said = _read(self._said)
        wants = {base: tuple(_policy(policy) for policy in told["for"]) for base, told in said.items()}
        return {base: _outlook(told) for base, told in said.items()}, wants

    def _stop_following(self) -> None:
        if self._mine is not None:
            path, held = self._mine
            path.unlink(missing_ok=True)
            _unlock(held)
            self._mine = self._asked = None


_HELD: set[int] = set()
"""The descriptors of all locks of this process."""


def _lock(path: Path) -> int | None:
    """The descriptor with which `path` is locked from now on, None when somebody else holds it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:
        os.close(descriptor)
        raise
    if not _stands_at(path, descriptor):  # deleted between the two: who comes next makes another file
        os.close(descriptor)
        return None
    _HELD.add(descriptor)
    return descriptor


def _stands_at(path: Path, descriptor: int) -> bool:
    """Whether `path` still names the open file."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _unlock(descriptor: int) -> None:
    """Let others lock; also when a fork of this process has the same descriptor."""
    _HELD.discard(descriptor)
    with suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)


def _forget_locks() -> None:
    """A fork must not hold the locks of its parent when that has ended."""
    while _HELD:
        os.close(_HELD.pop())


os.register_at_fork(after_in_child=_forget_locks)


def _read(path: Path) -> dict[str, Any]:
    """The object in a JSON file, empty while it is being written or is not there."""
    try:
        told = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}


def _policy_as_json(policy: VersionPolicy) -> dict[str, object]:
    match policy:
        case Latest(count):
            return {"latest": count}
        case Specific(versions):
            return {"specific": versions}
        case _:
            return {}


def _policy(told: Mapping[str, Any]) -> VersionPolicy:
    if "latest" in told:
        return Latest(int(told["latest"]))
    return Specific(tuple(told["specific"])) if "specific" in told else AllVersions()


def as_json(outlook: Outlook) -> dict[str, object]:
    """All that is said of a base path, in a form that can be written and compared."""
    problem = outlook.problem
    return {
        "coming": outlook.coming,
        "waiting": {str(number): why for number, why in outlook.waiting.items()},
        "problem": None if problem is None else [problem.code.value, problem.message, problem.hint],
    }


def _outlook(told: Mapping[str, Any]) -> Outlook:
    problem = None
    if told["problem"] is not None:
        code, message, hint = told["problem"]
        problem = ServingError(Code(code), message, hint=hint)
    return Outlook(bool(told["coming"]), {int(number): why for number, why in told["waiting"].items()}, problem)
