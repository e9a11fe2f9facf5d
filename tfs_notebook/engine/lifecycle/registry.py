"""Which versions answer requests right now, by model, number and label.

Written by the manager on the serving loop, read by every thread that serves a request: each write replaces a frozen
mapping, so a reader always sees one consistent state without a lock.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from tfs_notebook.errors import invalid_argument, not_found

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tfs_notebook.engine.models.servable import Loaded


class Registry:
    """Looks versions up for requests."""

    def __init__(self) -> None:
        self._serving: MappingProxyType[str, Mapping[int, Loaded]] = MappingProxyType({})
        self._labels: Mapping[str, Mapping[str, int]] = MappingProxyType({})

    @property
    def serving(self) -> Mapping[str, Mapping[int, Loaded]]:
        """What answers requests: model → version (highest first) → loaded servable."""
        return self._serving

    @property
    def labels(self) -> Mapping[str, Mapping[str, int]]:
        """The labels in force: model → label → version."""
        return self._labels

    def publish(self, loaded: Loaded) -> None:
        """Answer requests for this version with `loaded` from now on."""
        versions = {**self._serving.get(loaded.model, {}), loaded.version: loaded}
        self._replace(loaded.model, versions)

    def hurry(self) -> None:
        """Let no request wait for others: they are the last ones."""
        for versions in self._serving.values():
            for loaded in versions.values():
                loaded.hurry()

    def withdraw(self, model: str, version: int) -> None:
        """Answer no more requests with this version."""
        self._replace(model, {n: loaded for n, loaded in self._serving.get(model, {}).items() if n != version})

    def _replace(self, model: str, versions: Mapping[int, Loaded]) -> None:
        serving = self._serving | {model: MappingProxyType(dict(sorted(versions.items(), reverse=True)))}
        if not versions:
            del serving[model]
        self._serving = MappingProxyType(serving)

    def set_labels(self, labels: Mapping[str, Mapping[str, int]]) -> None:
        """Replace the labels of all models in one step."""
        self._labels = MappingProxyType({model: MappingProxyType(dict(of)) for model, of in labels.items() if of})

    def pin(self, model: str, version: int | None = None, label: str | None = None) -> Loaded:
        """Pin the version asked for, by default the highest that is ready now.

        The caller releases it. Raises ServingError with TensorFlow Serving's texts: INVALID_ARGUMENT for an empty name
        or an unknown label, NOT_FOUND for anything that is not served.
        """
        if not model:
            raise invalid_argument("ModelSpec has no name specified.")
        while True:
            labelled = self._labels.get(model, {}).get(label) if label is not None else None
            if label is not None and labelled is None:
                raise invalid_argument(f"Unrecognized servable version label: {label}")
            number = version if label is None else labelled
            versions = self._serving.get(model, {})
            loaded = next(iter(versions.values()), None) if number is None else versions.get(number)
            if loaded is not None and loaded.try_pin():
                return loaded
            if loaded is None and (label is None or self._labels.get(model, {}).get(label) == labelled):
                wanted = f"Latest({model})" if number is None else f"Specific({model}, {number})"
                raise not_found(f"Servable not found for request: {wanted}")
            # retired, or its label moved, between the two looks: the next look sees what came of it
