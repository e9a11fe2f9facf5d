"""What a model answered: a record, which shows itself and never changes."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from tfs_notebook.engine.models.signature import DEFAULT_SIGNATURE

if TYPE_CHECKING:
    from collections.abc import Mapping

_KEPT_BYTES = 64_000_000


@dataclass(frozen=True, slots=True)
class View:
    """How an answer is to be shown: names of the classes, what is true of each row, and the kind of picture."""

    classes: tuple[str, ...] = ()
    truth: np.ndarray | None = None
    plot: str = "auto"


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """The outputs by alias, and how they came about; `seconds` is what the asker waited.

    `version` is the one that answered, None where the reply does not tell (REST, unless a version was asked for);
    `label` the one that was asked for. `times` are seconds by stage: `total`, and `run`, the model's share, where the
    way tells it. `inputs` are the arrays that were sent, of a very large batch the first rows. All arrays are
    read-only: `numpy()` gives copies.
    """

    model: str
    version: int | None
    signature_name: str
    via: str
    seconds: float
    outputs: Mapping[str, np.ndarray]
    label: str | None = None
    inputs: Mapping[str, np.ndarray] = field(default_factory=dict)
    times: Mapping[str, float] = field(default_factory=dict)
    at: datetime = field(default_factory=lambda: datetime.now().astimezone())
    view: View = field(default_factory=View)

    def __post_init__(self) -> None:
        object.__setattr__(self, "inputs", kept(self.inputs))
        object.__setattr__(self, "times", MappingProxyType({"total": self.seconds, **self.times}))
        for array in self.outputs.values():
            array.flags.writeable = False

    @property
    def value(self) -> Any:
        """The only output as an array, or all of them by alias: copies."""
        outputs = {alias: array.copy() for alias, array in self.outputs.items()}
        return next(iter(outputs.values())) if len(outputs) == 1 else outputs

    def numpy(self) -> Any:
        """The only output as an array, or all of them by alias: copies."""
        return self.value

    @property
    def predictions(self) -> list[Any]:
        """The rows as REST would answer them: each the only output's value, or a dict by alias.

        Raises ValueError when the outputs are not one a row.
        """
        sizes = {array.shape[:1] for array in self.outputs.values()}
        if len(sizes) != 1 or sizes == {()}:
            shapes = ", ".join(f"{alias}{list(array.shape)}" for alias, array in self.outputs.items())
            raise ValueError(f"The outputs are not one a row ({shapes}): .numpy() gives them as arrays")
        columns = {alias: _plain(array) for alias, array in self.outputs.items()}
        if len(columns) == 1:
            return list(next(iter(columns.values())))
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    def to_pandas(self) -> Any:
        """A DataFrame with a row for each example: see `frames.frame`. Raises ImportError without pandas."""
        from tfs_notebook.notebook.plots.frames import frame

        return frame(self.shown())

    def plot(self) -> Any:
        """The picture as a matplotlib Figure, transparent and readable in light and dark."""
        from tfs_notebook.notebook.plots.figure import figure

        return figure(self.shown())

    @property
    def caption(self) -> str:
        """Who answered, when and in what time, in one line."""
        run = f" (model {_milliseconds(self.times['run'])})" if "run" in self.times else ""
        parts = [
            self.model,
            "" if self.version is None else f"version {self.version}",
            self.label or "",
            "" if self.signature_name == DEFAULT_SIGNATURE else self.signature_name,
            f"{_milliseconds(self.seconds)}{run}",
            self.via,
            f"{self.at:%H:%M:%S}",
        ]
        return " · ".join(filter(None, parts))

    def __repr__(self) -> str:
        from tfs_notebook.notebook.plots.choose import text

        return text(self.shown())

    def _repr_mimebundle_(self, **_kwargs: Any) -> dict[str, str]:
        bundle = {"text/plain": repr(self)}
        if self.view.plot != "none":
            from tfs_notebook.notebook.plots.choose import html

            bundle["text/html"] = html(self.shown())
        return bundle

    def shown(self) -> Any:
        """What pictures are drawn of: a `plots.shown.Shown`."""
        from tfs_notebook.notebook.plots.shown import Shown

        view = self.view
        return Shown(self.caption, self.inputs, self.outputs, view.classes, view.truth, view.plot)


def kept(arrays: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    """Read-only copies, which do not change with the notebook's variables; only the first rows of very large ones."""
    size = sum(array.nbytes for array in arrays.values())
    share = _KEPT_BYTES / size if size > _KEPT_BYTES else 1.0
    found = {}
    for alias, array in arrays.items():
        rows = max(int(len(array) * share), 1) if array.ndim else 0
        found[alias] = np.array(array[:rows] if array.ndim and share < 1 else array)
        found[alias].flags.writeable = False
    return MappingProxyType(found)


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"


def _plain(array: np.ndarray) -> list[Any]:
    if array.dtype != object:
        return list(array.tolist())
    return [_text(item) for item in array.tolist()]


def _text(item: Any) -> Any:
    """Bytes as REST writes them: text where it is text."""
    if isinstance(item, list):
        return [_text(part) for part in item]
    try:
        return item.decode()
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(item).decode()}
