"""Where the directories of base paths come from when they are brought here from somewhere else.

The engine looks at directories only. A supply turns a configured base path into one, fills it in its own time, and
tells what is still on its way, so that whoever waits for a model knows whether waiting makes sense.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tfs_notebook.engine.config import ModelConfig
    from tfs_notebook.errors import ServingError


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a supply knows of one base path.

    `coming` is whether more may appear soon without anybody doing anything: the first look, or a transfer, is under
    way. `waiting` says of versions that are not there yet what they wait for. `problem` is why nothing can be brought.
    """

    coming: bool = False
    waiting: Mapping[int, str] = field(default_factory=dict)
    problem: ServingError | None = None


@dataclass(frozen=True, slots=True)
class Transfer:
    """A version that is being brought: files and bytes so far and in all, and bytes a second lately."""

    name: str
    files: int
    files_in_all: int
    size: int
    size_in_all: int
    speed: float


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """One place that is kept in step: what `%tfs_sync status` and the table show of it.

    `state` is one of `starting`, `in step`, `waiting`, `transferring`, `paused`, `stopped` (refused: asked again
    at `next_look`, or at once with other credentials), `following` (another process keeps the copy in step). `begun`
    counts the transfers that have ever begun here. Times are seconds since the epoch.
    """

    address: str
    directory: str
    state: str
    last_look: float | None = None
    next_look: float | None = None
    transfers: tuple[Transfer, ...] = ()
    begun: int = 0
    waiting: Mapping[str, str] = field(default_factory=dict)
    problem: ServingError | None = None
    warnings: tuple[str, ...] = ()


class Supply(Protocol):
    """Brings what base paths name into directories.

    Base paths are given as a mount resolves them. Whenever a directory or the outlook on it has changed, the supply
    tells `ServerCore.look_again`.
    """

    def check(self, base_path: str) -> None:
        """Raise ServingError INVALID_ARGUMENT for what cannot be a base path; quick."""
        ...

    def directory(self, base_path: str) -> str:
        """The directory that `base_path` stands for; quick, never raises for a path that is not its own."""
        ...

    def want(self, models: Iterable[ModelConfig]) -> None:
        """From now on bring what these models' policies ask for, and nothing else. Called on the serving loop."""
        ...

    def outlook(self, base_path: str) -> Outlook:
        """What is known of `base_path` now; any thread may ask, and gets an answer at once."""
        ...

    def status(self) -> tuple[SourceStatus, ...]:
        """Every source; any thread may ask."""
        ...


class Directories:
    """The supply of base paths that are directories themselves: there is nothing to bring."""

    def check(self, base_path: str) -> None:
        """Every path can be one."""

    def directory(self, base_path: str) -> str:
        """The base path."""
        return base_path

    def want(self, models: Iterable[ModelConfig]) -> None:
        """Nothing has to be brought."""

    def outlook(self, base_path: str) -> Outlook:  # noqa: ARG002
        """Nothing more is coming."""
        return _NOTHING_COMING

    def status(self) -> tuple[SourceStatus, ...]:
        """There are no sources."""
        return ()


_NOTHING_COMING = Outlook()
