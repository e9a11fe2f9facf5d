"""What there is to know about a model at one moment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tfs_notebook.errors import Code, ServingError, invalid_argument

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tfs_notebook.engine.config import ModelConfig
    from tfs_notebook.engine.version import VersionStatus


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """Everything there is to know about a model.

    `config` is None for a model that is no longer configured. `waiting` says of versions on disk that are not taken up
    what is missing; `problem` is why nothing could be found, `label_problem` why its labels are not in force.
    """

    name: str
    config: ModelConfig | None
    versions: tuple[VersionStatus, ...]
    labels: Mapping[str, int]
    waiting: Mapping[int, str]
    problem: ServingError | None
    label_problem: ServingError | None

    @property
    def problems(self) -> list[ServingError]:
        """Why the model does not serve what its configuration asks for; empty when all is well."""
        return list(self._problems()) if self.config is not None else []

    def _problems(self) -> Iterator[ServingError]:
        if not self.name:
            yield _NAMELESS
        for version in self.versions:
            if version.error is not None and version.wanted:
                yield version.error
            if version.exchange_error is not None:
                yield _not_exchanged(self.name, version, version.exchange_error)
        for number, reason in self.waiting.items():
            yield ServingError(Code.UNAVAILABLE, f"Version {number} of model {self.name} is not taken up yet: {reason}")
        yield from filter(None, (self.problem, self.label_problem))


_NAMELESS = invalid_argument("A model without a name cannot be called: give it a `name`")


def _not_exchanged(name: str, version: VersionStatus, error: ServingError) -> ServingError:
    message = f"Version {version.number} of model {name} is still the copy loaded from {version.path}; {error.message}"
    return ServingError(error.code, message, where=error.where, hint=error.hint)
