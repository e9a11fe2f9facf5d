"""Why a step answers differently from the one before: what can be found out, else what is most likely."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tfs_notebook.notebook.parity import steps
from tfs_notebook.notebook.parity.compare import agree

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tfs_notebook.server.server import Server

_LATER = {
    steps.ENGINE: "The version that serves is not what is on the disk now: exported again under its number? "
    "%tfs_serve exchanges it.",
    steps.REST: "Numbers lost digits in JSON, or a value has no JSON form of its own.",
    steps.GRPC: "A value changed on its way as a TensorProto.",
}


def likely_reason(name: str, found: Sequence[steps.Step], what: steps.Asked, server: Server) -> str:
    """The reason why the step `name` differs, with what to do."""
    if not agree(steps.of_engine(what, server), steps.of_engine(what, server)):
        return "The model answers differently each time: a random or stateful layer."
    if name == steps.SAVED_MODEL:
        by_name = {step.name: step.outputs for step in found}
        return _of_export(what, by_name[steps.MODEL], by_name[steps.SAVED_MODEL])
    return _LATER.get(name, "Another version, or other weights, are served there.")


def _of_export(what: steps.Asked, model: Mapping[str, np.ndarray], exported: Mapping[str, np.ndarray]) -> str:
    if not agree(model, steps.of_model(what)):
        return "The model answers differently each time: a random or stateful layer."
    if _has_other_weights(what):
        return "The model has other weights by now: it was trained after it was served; %tfs_serve serves it again."
    if hasattr(what.model, "predict_step") and agree(steps.of_model(what, training=True), exported):
        return "The export answers as with training=True: dropout or batch normalisation is at work in it."
    if lost := _lost_by_cast(what):
        return f"The signature takes {lost[1]}, and the rows are {lost[0]}: digits are lost by the cast."
    return "Something that the model does to its input is not in the export, as preprocessing in Python is."


def _has_other_weights(what: steps.Asked) -> bool:
    import tensorflow as tf

    if what.path is None:
        return False
    weights = getattr(what.model, "weights", None) or getattr(what.model, "variables", None) or ()
    reader = tf.train.load_checkpoint(str(what.path / "variables" / "variables"))
    names = [name for name in reader.get_variable_to_shape_map() if name.endswith("VARIABLE_VALUE")]
    exported = [reader.get_tensor(name) for name in names]
    return any(not _is_among(np.asarray(weight), exported) for weight in weights)


def _is_among(weight: np.ndarray, exported: Sequence[Any]) -> bool:
    return any(np.shape(each) == weight.shape and np.array_equal(each, weight) for each in exported)


def _lost_by_cast(what: steps.Asked) -> tuple[str, str] | None:
    given = what.value if isinstance(what.value, dict) else dict.fromkeys(what.inputs, what.value)
    for alias, array in what.inputs.items():
        rows = np.asarray(given.get(alias, array))
        if rows.dtype != array.dtype and rows.dtype.kind in "iuf" and not np.array_equal(rows, array):
            return str(rows.dtype), str(array.dtype)
    return None
