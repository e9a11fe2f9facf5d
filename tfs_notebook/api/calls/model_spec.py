"""Which model a request is for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model: by default its newest version, else exactly the one of `version` or `label`."""

    name: str
    version: int | None = None
    label: str | None = None
