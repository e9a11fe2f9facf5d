"""Keeps the labels of all models as their configurations want them, as far as what serves allows: see `labels`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfs_notebook.engine.events import Event, EventStream, Kind
from tfs_notebook.engine.lifecycle.labels import Assignment, assign

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from tfs_notebook.engine.lifecycle.manager import Manager
    from tfs_notebook.errors import ServingError


class LabelKeeper:
    """Gives labels in the manager's registry, and tells of every change. Lives on the manager's event loop."""

    def __init__(self, manager: Manager, events: EventStream, *, allow_unavailable: Callable[[], bool]) -> None:
        """`allow_unavailable` tells whether new labels may name versions that do not serve."""
        self._manager = manager
        self._events = events
        self._allow_unavailable = allow_unavailable
        self._wanted: Mapping[str, Mapping[str, int]] = {}
        self._given: dict[str, Mapping[str, int]] = {}
        """The labels that the configuration in force has been given, by model; they stay when their versions go."""

    def turn_to(self, wanted: Mapping[str, Mapping[str, int]]) -> None:
        """From now on models are to have the labels `wanted`, each with its version, and others none."""
        names = wanted.keys() | self._wanted.keys()
        self._wanted, self._given = wanted, {}
        self.update(names)

    def update(self, names: Collection[str]) -> None:
        """Give the labels that can be given now, and keep the versions that others still name until they can move."""
        registry = self._manager.registry
        before, labels = registry.labels, dict(registry.labels)
        for name in names:
            assigned = self._assigned(name)
            labels[name], self._given[name] = assigned.in_force, assigned.given
        if any(labels[name] != before.get(name, {}) for name in names):
            registry.set_labels(labels)
        for name in names:
            wanted, in_force = self._wanted.get(name, {}), registry.labels.get(name, {})
            self._manager.hold(name, {number for label, number in in_force.items() if wanted.get(label) != number})
            if before.get(name, {}) != in_force:
                self._events.publish(Event(Kind.LABELS, name))

    def problem(self, name: str) -> ServingError | None:
        """Why the labels of a model are not those that are wanted."""
        return self._assigned(name).refusal

    def lacking(self, wanted: Mapping[str, Mapping[str, int]]) -> dict[str, frozenset[int]]:
        """The versions, by model, to which another configuration's labels could not be given now."""
        assigned = {name: self._assign(name, labels, {}) for name, labels in wanted.items()}
        return {
            name: frozenset(version for label, version in wanted[name].items() if label not in outcome.given)
            for name, outcome in assigned.items()
            if outcome.refusal is not None
        }

    def refusal(
        self, wanted: Mapping[str, Mapping[str, int]], loadable: Mapping[str, Collection[int]]
    ) -> ServingError | None:
        """Why another configuration's labels could not be given now, if not for versions that are `loadable`."""
        refusals = (self._assign(name, wanted[name], {}, loadable.get(name, ())).refusal for name in sorted(wanted))
        return next(filter(None, refusals), None)

    def _assigned(self, name: str) -> Assignment:
        return self._assign(name, self._wanted.get(name, {}), self._given.get(name, {}))

    def _assign(
        self, name: str, wanted: Mapping[str, int], given: Mapping[str, int], loadable: Collection[int] = ()
    ) -> Assignment:
        registry = self._manager.registry
        return assign(
            name,
            wanted,
            given=given,
            current=registry.labels.get(name, {}),
            available={*registry.serving.get(name, {}), *loadable},
            allow_unavailable=self._allow_unavailable(),
        )
