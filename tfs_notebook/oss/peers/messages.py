"""The states that processes with one local copy publish for each other, and how they are written as JSON.

A file may be half written, or be of another release of this package: then it is ignored, never misread.
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
"""The wanted version policies of each base path, relative to its root."""


@dataclass(frozen=True, slots=True)
class FollowerState:
    """What a follower tells the writer; versions are named by their path from the root.

    `uses` are the versions that it has loaded or is loading, determined after it had read what is `published`.
    `requested_at` is when somebody last requested a listing of it (seconds since the epoch), 0 for never.
    """

    wants: Wants = field(default_factory=dict)
    uses: frozenset[str] = frozenset()
    published: frozenset[str] | None = None
    requested_at: float = 0.0

    def encode(self) -> bytes:
        """The content of the file."""
        fields = {
            "wants": _wants_as_json(self.wants),
            "uses": sorted(self.uses),
            "published": None if self.published is None else sorted(self.published),
            "asked": self.requested_at,
        }
        return json.dumps(fields).encode()

    @classmethod
    def decode(cls, content: bytes) -> FollowerState | None:
        """The state in a file's content, None when there is none, or not all of it yet."""
        try:
            fields = json.loads(content)
            published = None if fields["published"] is None else frozenset(map(str, fields["published"]))
            return cls(
                _wants_from_json(fields["wants"]),
                frozenset(map(str, fields["uses"])),
                published,
                float(fields["asked"]),
            )
        except _DECODE_ERRORS:
            return None


@dataclass(frozen=True, slots=True)
class WriterState:
    """What the writer tells the followers: the fetch status of each base path by the policies in `wants`, and which
    versions are `published`, as of `last_listing` (seconds since the epoch).

    `problem` is what keeps the writer from listing. `failures` counts the problems, as two in a row may read the same.
    """

    fetch_statuses: Mapping[str, FetchStatus] = field(default_factory=dict)
    wants: Wants = field(default_factory=dict)
    published: frozenset[str] = frozenset()
    last_listing: float | None = None
    problem: ServingError | None = None
    failures: int = 0

    def encode(self) -> bytes:
        """The content of the file."""
        fields = {
            "fetch_statuses": {
                base: fetch_status_as_json(fetch_status) for base, fetch_status in self.fetch_statuses.items()
            },
            "wants": _wants_as_json(self.wants),
            "published": sorted(self.published),
            "last_listing": self.last_listing,
            "problem": _problem_as_json(self.problem),
            "failures": self.failures,
        }
        return json.dumps(fields).encode()

    def handled(self, wants: Wants) -> Wants:
        """The part of `wants` that the fetch statuses take into account."""
        return {base: policies for base, policies in wants.items() if set(policies) <= set(self.wants.get(base, ()))}

    @classmethod
    def decode(cls, content: bytes) -> WriterState | None:
        """The state in a file's content, None when there is none."""
        try:
            fields = json.loads(content)
            return cls(
                {
                    base: _fetch_status_from_json(fetch_status)
                    for base, fetch_status in fields["fetch_statuses"].items()
                },
                _wants_from_json(fields["wants"]),
                frozenset(map(str, fields["published"])),
                None if fields["last_listing"] is None else float(fields["last_listing"]),
                _problem_from_json(fields["problem"]),
                int(fields["failures"]),
            )
        except _DECODE_ERRORS:
            return None


_DECODE_ERRORS = (ValueError, LookupError, TypeError, AttributeError)


def fetch_status_as_json(fetch_status: FetchStatus) -> dict[str, object]:
    """`fetch_status` in a form that can be written as JSON and compared."""
    return {
        "expects_more": fetch_status.expects_more,
        "waiting": {str(number): why for number, why in fetch_status.waiting.items()},
        "problem": _problem_as_json(fetch_status.problem),
    }


def _fetch_status_from_json(fields: Mapping[str, Any]) -> FetchStatus:
    waiting = {int(number): why for number, why in fields["waiting"].items()}
    return FetchStatus(bool(fields["expects_more"]), waiting, _problem_from_json(fields["problem"]))


def _problem_as_json(problem: ServingError | None) -> list[object] | None:
    return None if problem is None else [problem.code.value, problem.message, problem.hint]


def _problem_from_json(fields: Any) -> ServingError | None:
    if fields is None:
        return None
    code, message, hint = fields
    return ServingError(Code(code), message, hint=hint)


def _wants_as_json(wants: Wants) -> dict[str, list[dict[str, object]]]:
    return {base: [_policy_as_json(policy) for policy in policies] for base, policies in wants.items()}


def _wants_from_json(fields: Mapping[str, Any]) -> Wants:
    return {base: tuple(map(_policy_from_json, policies)) for base, policies in fields.items()}


def _policy_as_json(policy: VersionPolicy) -> dict[str, object]:
    match policy:
        case Latest(count):
            return {"latest": count}
        case Specific(versions):
            return {"specific": versions}
        case _:
            return {}


def _policy_from_json(fields: Mapping[str, Any]) -> VersionPolicy:
    if "latest" in fields:
        return Latest(int(fields["latest"]))
    return Specific(tuple(fields["specific"])) if "specific" in fields else AllVersions()
