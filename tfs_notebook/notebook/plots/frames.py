"""An answer as a pandas DataFrame."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tfs_notebook.notebook.plots.scores import scores_of, true_classes
from tfs_notebook.notebook.plots.subject import subject_of

if TYPE_CHECKING:
    from tfs_notebook.notebook.plots.shown import Shown


def frame(shown: Shown) -> Any:
    """A row for each example: predicted class, its score and every class's, or the outputs by alias; then the truth.

    An output of several values has a column of arrays. Raises ImportError without pandas, ValueError when the outputs
    are not one a row.
    """
    try:
        import pandas as pd
    except ImportError:
        raise ImportError("to_pandas() needs pandas: pip install pandas. .numpy() gives the same as arrays") from None
    if not shown.rows:
        raise ValueError("The outputs are not one a row: .numpy() gives them as arrays")
    columns: dict[str, Any] = {}
    scores = scores_of(shown, subject_of(shown.inputs))
    if scores is not None:
        columns["predicted"] = [scores.name(int(number)) for number in scores.predicted]
        columns["score"] = scores.sure
        columns |= {scores.name(number): scores.values[:, number] for number in range(scores.values.shape[1])}
    else:
        columns |= {alias: _column(array) for alias, array in shown.outputs.items()}
    if shown.truth is not None:
        truth = true_classes(shown) if scores is not None else None
        columns["truth"] = shown.truth if truth is None or scores is None else [scores.name(int(n)) for n in truth]
    return pd.DataFrame(columns)


def _column(array: np.ndarray) -> Any:
    if array.dtype == object:
        return [item.decode("utf-8", "replace") if isinstance(item, bytes) else item for item in array.tolist()]
    return array.reshape(len(array)) if array.size == len(array) else list(array)
