"""How the engine learns of models that are fetched from elsewhere, such as OSS.

The engine only reads local directories. A fetcher names the directory of a base path, fills it, and says what is still
to come: whoever waits for a model then knows whether waiting makes sense.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tfs_notebook.engine.config import ModelConfig
    from tfs_notebook.errors import ServingError


@dataclass(frozen=True, slots=True)
class FetchStatus:
    """What a fetcher knows of one base path.

    `expects_more` is True while versions may still arrive without help: the first listing or a transfer is under way.
    `waiting` maps each version that is not there yet to what it waits for. `problem` is why nothing can be fetched.
    """

    expects_more: bool = False
    waiting: Mapping[int, str] = field(default_factory=dict)
    problem: ServingError | None = None


@dataclass(frozen=True, slots=True)
class Transfer:
    """A version that is being fetched: files and bytes so far and in total, and the recent speed in bytes a second."""

    name: str
    files: int
    files_in_all: int
    size: int
    size_in_all: int
    speed: float


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """One root that is kept in step with its local copy, as `%tfs_sync status` and the table show it.

    `state` is one of `starting`, `in step`, `waiting`, `transferring`, `paused`, `stopped` (refused: tried again
    at `next_listing`, or at once with other credentials), `following` (another process writes the copy). `begun`
    counts all transfers that have begun in this process. Times are seconds since the epoch.
    """

    address: str
    directory: str
    state: str
    last_listing: float | None = None
    next_listing: float | None = None
    transfers: tuple[Transfer, ...] = ()
    begun: int = 0
    waiting: Mapping[str, str] = field(default_factory=dict)
    problem: ServingError | None = None
    warnings: tuple[str, ...] = ()


class Fetcher(Protocol):
    """Fetches what base paths name into local directories.

    Base paths are given as a mount resolves them. When the files of a directory or its fetch status change, the fetcher
    calls `ServerCore.look_again`.
    """

    def check(self, base_path: str) -> None:
        """Raise ServingError INVALID_ARGUMENT for what cannot be a base path; does not block."""
        ...

    def directory(self, base_path: str) -> str:
        """The local directory of `base_path`; does not block. A path that it does not fetch is its own directory."""
        ...

    def want(self, models: Iterable[ModelConfig]) -> None:
        """From now on fetch what these models' policies ask for, and nothing else. Called on the serving loop."""
        ...

    def fetch_status(self, base_path: str) -> FetchStatus:
        """What is known of `base_path` now; any thread may call, and it does not block."""
        ...

    def status(self) -> tuple[SourceStatus, ...]:
        """Every root; any thread may call."""
        ...


class LocalDirectories:
    """The fetcher of base paths that are local directories: there is nothing to fetch."""

    def check(self, base_path: str) -> None:
        """Accept every path."""

    def directory(self, base_path: str) -> str:
        """The base path."""
        return base_path

    def want(self, models: Iterable[ModelConfig]) -> None:
        """Do nothing."""

    def fetch_status(self, base_path: str) -> FetchStatus:  # noqa: ARG002
        """Nothing more is expected."""
        return _NOTHING_EXPECTED

    def status(self) -> tuple[SourceStatus, ...]:
        """There are no roots."""
        return ()


_NOTHING_EXPECTED = FetchStatus()
