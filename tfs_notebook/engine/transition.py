"""Which version of a model is loaded or unloaded next: TensorFlow Serving's availability-preserving policy.

A new version loads beside the old one and the old one goes only when a wanted version is ready, so a broken new version
leaves exactly one old version serving (`core/availability_preserving_policy.cc`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tfs_notebook.engine.events import State

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class VersionView:
    """As much of a version as the policy looks at; a failed version is in state END."""

    number: int
    state: State
    aspired: bool


@dataclass(frozen=True, slots=True)
class Action:
    """The next step for one version."""

    verb: Literal["load", "unload"]
    number: int


def next_action(versions: Iterable[VersionView]) -> Action | None:
    """The next step among all versions of one model, or None when there is nothing to do now."""
    versions = list(versions)
    ready = [version for version in versions if version.state is State.AVAILABLE]
    unwanted = sorted(version.number for version in ready if not version.aspired)
    aspired_exists = any(version.aspired for version in versions)
    aspired_ready = any(version.aspired for version in ready)
    if unwanted and (not aspired_exists or aspired_ready or len(unwanted) > 1):
        return Action("unload", unwanted[0])
    new = [version.number for version in versions if version.aspired and version.state is State.START]
    return Action("load", max(new)) if new else None
