"""What there is to know about a model at one moment."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tfs_notebook.engine.events import State
from tfs_notebook.errors import Code, ServingError, invalid_argument

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tfs_notebook.engine.config import ModelConfig
    from tfs_notebook.engine.lifecycle.version import VersionStatus


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """Everything there is to know about a model.

    `config` is None for a model that is no longer configured. `waiting` says of versions on disk that are not taken up
    what is missing, `waits_since` since when they wait (seconds since the epoch); `problem` is why nothing could be
    found, `label_problem` why its labels are not in force. `base_path` is the directory where versions are looked for,
    which people know as `place`.
    """

    name: str
    config: ModelConfig | None
    versions: tuple[VersionStatus, ...]
    labels: Mapping[str, int]
    waiting: Mapping[int, str]
    problem: ServingError | None
    label_problem: ServingError | None
    base_path: Path | None = None
    place: str = ""
    waits_since: Mapping[int, float] = field(default_factory=dict)

    @property
    def problems(self) -> list[ServingError]:
        """Why the model does not serve what its configuration asks for; empty when all is well."""
        if self.config is None:
            return []
        problems = list(self._problems())
        return problems + self._stopgap() if problems else []

    def _problems(self) -> Iterator[ServingError]:
        if not self.name:
            yield _NAMELESS
        for version in self.versions:
            if version.error is not None and version.wanted:
                yield version.error
            if version.exchange_error is not None:
                yield _not_exchanged(self.name, version, version.exchange_error)
        for number, reason in self.waiting.items():
            yield not_taken_up(self.name, number, reason)
        yield from filter(None, (self.problem, self.label_problem))

    def _stopgap(self) -> list[ServingError]:
        """That versions which were loaded from another directory answer in place of those that are wanted."""
        serving = [version for version in self.versions if version.state is State.AVAILABLE]
        if not serving or self.base_path is None or any(v.path.parent == self.base_path for v in serving):
            return []
        numbers = ", ".join(f"{version.number} ({version.path})" for version in serving)
        message = f"Model {self.name} answers as before, by version {numbers}, until one in {self.place} serves"
        return [ServingError(Code.UNAVAILABLE, message)]


_NAMELESS = invalid_argument("A model without a name cannot be called: give it a `name`")


def not_taken_up(name: str, number: int, reason: str) -> ServingError:
    """What is told of version `number` of the model `name` that waits for a `reason`."""
    return ServingError(Code.UNAVAILABLE, f"Version {number} of model {name} is not taken up yet: {reason}")


def _not_exchanged(name: str, version: VersionStatus, error: ServingError) -> ServingError:
    message = f"Version {version.number} of model {name} is still the copy loaded from {version.path}; {error.message}"
    return ServingError(error.code, message, where=error.where, hint=error.hint)
