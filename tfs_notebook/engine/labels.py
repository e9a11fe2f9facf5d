"""Which labels are in force.

A label may be given to a version that is available; with `allow_unavailable` also to one that is not, unless the label
already names another version (`ServerCore::UpdateModelVersionLabelMap`). Unlike in TensorFlow Serving each label moves
on its own, as soon as its version is available, and names its old version until then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfs_notebook.errors import Code, ServingError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


def assign(
    model: str,
    wanted: Mapping[str, int],
    *,
    current: Mapping[str, int],
    available: Collection[int],
    allow_unavailable: bool,
) -> tuple[dict[str, int], ServingError | None]:
    """The labels of `model` from now on, and why they are not all as `wanted`, None when they are."""
    in_force: dict[str, int] = {}
    refusal = None
    for label, version in wanted.items():
        if version in available or (allow_unavailable and current.get(label, version) == version):
            in_force[label] = version
            continue
        if label in current:
            in_force[label] = current[label]
        refusal = refusal or _refusal(model, label, version, available, allow_unavailable=allow_unavailable)
    return in_force, refusal


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
