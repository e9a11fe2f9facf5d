"""Which versions of a model are loaded and unloaded next: TensorFlow Serving's availability-preserving policy.

A new version loads beside the old one and the old one goes only when a wanted version is ready, so a broken new version
leaves exactly one old version serving (`core/availability_preserving_policy.cc`). Unlike there, a version stays as long
as a label that is to move to another one still names it.
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
    held: bool = False
    """Whether a label names it that is on its way to another version."""


@dataclass(frozen=True, slots=True)
class Action:
    """A step for one version."""

    verb: Literal["load", "unload"]
    number: int


def next_actions(versions: Iterable[VersionView]) -> list[Action]:
    """The steps that are possible now among all versions of one model, in the order in which they are to begin."""
    ordered = sorted(versions, key=lambda version: version.number)
    ready = [version for version in ordered if version.state is State.AVAILABLE]
    unwanted = [version for version in ready if not version.aspired]
    if any(version.aspired for version in ordered) and not any(version.aspired for version in ready):
        unwanted = unwanted[:-1]
    return [
        *(Action("unload", version.number) for version in unwanted if not version.held),
        *(Action("load", v.number) for v in reversed(ordered) if v.aspired and v.state is State.START),
    ]
