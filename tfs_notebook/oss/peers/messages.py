"""What processes with one local copy tell one another, and how that is written as JSON.

Whatever is read may be half written, or be another release's: then it tells nothing, never something wrong.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tfs_notebook.engine.config import AllVersions, Latest, Specific, VersionPolicy
from tfs_notebook.engine.storage.remote import FetchStatus
from tfs_notebook.errors import Code, ServingError

if TYPE_CHECKING:
    from collections.abc import Mapping

Wants = dict[str, tuple[VersionPolicy, ...]]
"""The policies by the base path, relative to its root, that they are for."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a process that does not write tells the one that does; versions are named by their path from the root.

    `uses` are those that it has loaded or is loading, found out after it had heard that `published` stand there.
    `asked` is when somebody last asked it for a look (seconds since the epoch), 0 for never.
    """

    wants: Wants = field(default_factory=dict)
    uses: frozenset[str] = frozenset()
    published: frozenset[str] | None = None
    asked: float = 0.0

    def encode(self) -> bytes:
        """The report as a file."""
        told = {
            "wants": _wants_as_json(self.wants),
            "uses": sorted(self.uses),
            "published": None if self.published is None else sorted(self.published),
            "asked": self.asked,
        }
        return json.dumps(told).encode()

    @classmethod
    def decode(cls, content: bytes) -> Report | None:
        """The report in a file, None when that holds none, or not yet."""
        try:
            told = json.loads(content)
            published = None if told["published"] is None else frozenset(map(str, told["published"]))
            return cls(_wants(told["wants"]), frozenset(map(str, told["uses"])), published, float(told["asked"]))
        except _NOT_THAT:
            return None


@dataclass(frozen=True, slots=True)
class Bulletin:
    """What the writer tells all others: the fetch status of each base path, for the policies in `wants`, and what
    stands `published`, as of `last_listing` (seconds since the epoch).

    `problem` is what keeps the writer from looking; `failures` tells one from the next, which may look the same.
    """

    fetch_statuses: Mapping[str, FetchStatus] = field(default_factory=dict)
    wants: Wants = field(default_factory=dict)
    published: frozenset[str] = frozenset()
    last_listing: float | None = None
    problem: ServingError | None = None
    failures: int = 0

    def encode(self) -> bytes:
        """The bulletin as a file."""
        told = {
            "fetch_statuses": {base: as_json(fetch_status) for base, fetch_status in self.fetch_statuses.items()},
            "wants": _wants_as_json(self.wants),
            "published": sorted(self.published),
            "last_listing": self.last_listing,
            "problem": _problem_as_json(self.problem),
            "failures": self.failures,
        }
        return json.dumps(told).encode()

    def judged(self, wants: Wants) -> Wants:
        """Of `wants` those for which the fetch statuses are."""
        return {base: policies for base, policies in wants.items() if set(policies) <= set(self.wants.get(base, ()))}

    @classmethod
    def decode(cls, content: bytes) -> Bulletin | None:
        """The bulletin in a file, None when that holds none."""
        try:
            told = json.loads(content)
            return cls(
                {base: _fetch_status(fetch_status) for base, fetch_status in told["fetch_statuses"].items()},
                _wants(told["wants"]),
                frozenset(map(str, told["published"])),
                None if told["last_listing"] is None else float(told["last_listing"]),
                _problem(told["problem"]),
                int(told["failures"]),
            )
        except _NOT_THAT:
            return None


_NOT_THAT = (ValueError, LookupError, TypeError, AttributeError)


def as_json(fetch_status: FetchStatus) -> dict[str, object]:
    """All that is said of a base path, in a form that can be written and compared."""
    return {
        "expects_more": fetch_status.expects_more,
        "waiting": {str(number): why for number, why in fetch_status.waiting.items()},
        "problem": _problem_as_json(fetch_status.problem),
    }


def _fetch_status(told: Mapping[str, Any]) -> FetchStatus:
    waiting = {int(number): why for number, why in told["waiting"].items()}
    return FetchStatus(bool(told["expects_more"]), waiting, _problem(told["problem"]))


def _problem_as_json(problem: ServingError | None) -> list[object] | None:
    return None if problem is None else [problem.code.value, problem.message, problem.hint]


def _problem(told: Any) -> ServingError | None:
    if told is None:
        return None
    code, message, hint = told
    return ServingError(Code(code), message, hint=hint)


def _wants_as_json(wants: Wants) -> dict[str, list[dict[str, object]]]:
    return {base: [_policy_as_json(policy) for policy in policies] for base, policies in wants.items()}


def _wants(told: Mapping[str, Any]) -> Wants:
    return {base: tuple(map(_policy, policies)) for base, policies in told.items()}


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
