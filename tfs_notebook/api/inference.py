"""Predict, metadata and status, free of any protocol: the only place where a model spec is resolved.

REST, gRPC and a local call all enter here, so they cannot disagree.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfs_notebook.api.calls.call import Call
from tfs_notebook.api.calls.observers import Observers, count_call
from tfs_notebook.errors import not_found

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tfs_notebook.api.calls.call import Asking
    from tfs_notebook.api.calls.model_spec import ModelSpec
    from tfs_notebook.engine.core import ServerCore
    from tfs_notebook.engine.lifecycle.version import VersionStatus


class Inference:
    """Answers requests with what `core` serves. Any thread may ask."""

    def __init__(self, core: ServerCore) -> None:
        self._core = core
        self._registry = core.manager.registry
        self.call_type: type[Call] = Call
        """What `open` returns; may be replaced at any time."""
        self.observers = Observers()
        """Who is told of every call that ends."""
        self.observers.add(count_call)
        self.on_request: Callable[[], None] = _nothing
        """Called at each request of a client, on whatever thread; must return at once."""

    def open(
        self, spec: ModelSpec, asking: Asking | None = None, signature_names: Sequence[str] = (), received: float = 0.0
    ) -> Call:
        """Pin the version that `spec` names for a client's request: see `pin`."""
        self.on_request()
        return self.pin(spec, asking, signature_names, received)

    def pin(
        self, spec: ModelSpec, asking: Asking | None = None, signature_names: Sequence[str] = (), received: float = 0.0
    ) -> Call:
        """Pin the version that `spec` names, for use in a `with`. Raises ServingError when there is none.

        Observers are told of what is `asking` these signatures, and of nothing else; see `Call` for the rest.
        """
        loaded = self._registry.pin(spec.name, spec.version, spec.label)
        return self.call_type(loaded, spec, asking, signature_names, received, self.observers)

    def not_ready(self) -> dict[str, str]:
        """Why each configured model that has no available version has none; empty when every model answers."""
        silent = self._core.configs.keys() - self._registry.serving.keys()
        problems = {name: self._core.model_status(name).problems for name in sorted(silent)}
        return {name: found[0].message if found else "It is being loaded" for name, found in problems.items()}

    def status(self, name: str, version: int | None = None) -> list[VersionStatus]:
        """All known versions of a model, highest first, or the one asked for. Raises ServingError NOT_FOUND."""
        versions = self._core.manager.versions(name)
        if version is None:
            if not versions:
                raise not_found(f"Could not find any versions of model {name}")
            return versions
        found = [status for status in versions if status.number == version]
        if not found:
            raise not_found(f"Could not find version {version} of model {name}")
        return found


def _nothing() -> None:
    pass
