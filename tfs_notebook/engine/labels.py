"""Which labels may be given to which versions.

A label may name a version that is available; with `allow_unavailable` also one that is not, unless the label already
names another version (`ServerCore::UpdateModelVersionLabelMap`). Unlike TensorFlow Serving the rule is applied when
the versions have settled, model by model, and again when a version becomes available later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfs_notebook.errors import Code, ServingError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


def refusal(
    model: str,
    wanted: Mapping[str, int],
    *,
    current: Mapping[str, int],
    available: Collection[int],
    allow_unavailable: bool,
) -> ServingError | None:
    """Why the labels `wanted` cannot be given to `model` now, or None when they can."""
    for label, version in wanted.items():
        if version in available:
            continue
        if allow_unavailable and current.get(label, version) == version:
            continue
        serving = ", ".join(map(str, sorted(available))) or "none"
        return ServingError(
            Code.FAILED_PRECONDITION,
            f"Request to assign label to version {version} of model {model}, "
            "which is not currently available for inference",
            where=f"label {label!r} of model {model!r}",
            hint=f"Available versions of {model}: {serving}. "
            + (
                ""
                if allow_unavailable
                else "--allow_version_labels_for_unavailable_models allows new labels for others."
            ),
        )
    return None
