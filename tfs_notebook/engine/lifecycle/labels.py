"""Which labels are in force.

A label may be given to a version that is available; with `allow_unavailable` also to one that is not, unless the label
already names another version (`ServerCore::UpdateModelVersionLabelMap`). Unlike in TensorFlow Serving each label moves
on its own, as soon as its version is available, and names its old version until then. Nothing takes a label away
when its version goes; only the next configuration may not give it again then.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tfs_notebook.errors import Code, ServingError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


@dataclass(frozen=True, slots=True)
class Assignment:
    """The labels of a model from now on, those among them that its configuration has been given, by version, and why
    that are not all which it wants, None when they are.
    """

    in_force: Mapping[str, int]
    given: Mapping[str, int]
    refusal: ServingError | None


def assign(
    model: str,
    wanted: Mapping[str, int],
    *,
    given: Mapping[str, int],
    current: Mapping[str, int],
    available: Collection[int],
    allow_unavailable: bool,
) -> Assignment:
    """What comes of the labels `wanted` by a configuration that was `given` some already; `current` are in force."""
    in_force: dict[str, int] = {}
    granted: dict[str, int] = {}
    refusal = None
    for label, version in wanted.items():
        may_be_unavailable = label in given or (allow_unavailable and current.get(label, version) == version)
        if version in available or may_be_unavailable:
            in_force[label] = granted[label] = version
            continue
        if label in current:
            in_force[label] = current[label]
        refusal = refusal or _refusal(model, label, version, available, allow_unavailable=allow_unavailable)
    return Assignment(in_force, granted, refusal)


def _refusal(
    model: str, label: str, version: int, available: Collection[int], *, allow_unavailable: bool
) -> ServingError:
    serving = ", ".join(map(str, sorted(available))) or "none"
    advice = "" if allow_unavailable else " --allow_version_labels_for_unavailable_models allows new labels for others."
    return ServingError(
        Code.FAILED_PRECONDITION,
        f"Request to assign label to version {version} of model {model}, "
        "which is not currently available for inference",
        where=f"label {label!r} of model {model!r}",
        hint=f"Available versions of {model}: {serving}.{advice}",
    )
