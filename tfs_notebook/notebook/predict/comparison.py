"""The same rows answered by several models, versions or labels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from tfs_notebook.api.calls.model_spec import ModelSpec
    from tfs_notebook.notebook.predict.answer import Answer


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """Answers to one request by what they are called: a label, `version 2`, or a model; a record, as they are."""

    answers: dict[str, Answer]

    @property
    def differ(self) -> np.ndarray:
        """The rows that are not answered alike, those that differ most first: int[n].

        Alike are the same predicted class, or numbers that are the same but for rounding.
        """
        from tfs_notebook.notebook.plots.compare import differing

        rows: np.ndarray = differing(self._shown())
        return rows

    @property
    def predictions(self) -> dict[str, list[Any]]:
        """The rows of each answer, by its name."""
        return {name: answer.predictions for name, answer in self.answers.items()}

    def numpy(self) -> dict[str, Any]:
        """The outputs of each answer, by its name."""
        return {name: answer.numpy() for name, answer in self.answers.items()}

    def to_pandas(self) -> Any:
        """The DataFrames of the answers one below the other, by name. Raises ImportError without pandas."""
        frames = {name: answer.to_pandas() for name, answer in self.answers.items()}
        import pandas as pd

        return pd.concat(frames, names=["answer", "row"])

    def plot(self) -> Any:
        """How long each took and, with truth, how often each is right, as a matplotlib Figure."""
        from tfs_notebook.notebook.plots.compare import figure_parts
        from tfs_notebook.notebook.plots.figure import bars

        return bars(figure_parts(self._shown(), {name: answer.seconds for name, answer in self.answers.items()}))

    def __repr__(self) -> str:
        from tfs_notebook.notebook.plots.compare import text

        return text(self._shown())

    def _repr_mimebundle_(self, **_kwargs: Any) -> dict[str, str]:
        bundle = {"text/plain": repr(self)}
        if next(iter(self.answers.values())).view.plot != "none":
            from tfs_notebook.notebook.plots.compare import html

            bundle["text/html"] = html(self._shown())
        return bundle

    def _shown(self) -> dict[str, Any]:
        return {name: answer.shown() for name, answer in self.answers.items()}


def called(specs: list[ModelSpec]) -> list[str]:
    """What tells `specs` apart, in as few words as do."""
    names = [spec.label or (f"version {spec.version}" if spec.version is not None else "") for spec in specs]
    if len({spec.name for spec in specs}) == 1:
        return names
    return [f"{spec.name} {name}".strip() for spec, name in zip(specs, names, strict=True)]


def compared(names: list[str], answers: list[Answer]) -> Comparison:
    """`answers` side by side. What was sent is kept once."""
    first = answers[0]
    same = [replace(answer, inputs=first.inputs) if _alike(answer, first) else answer for answer in answers]
    return Comparison(dict(zip(names, same, strict=True)))


def _alike(one: Answer, other: Answer) -> bool:
    return {alias: (array.dtype, array.shape) for alias, array in one.inputs.items()} == {
        alias: (array.dtype, array.shape) for alias, array in other.inputs.items()
    }
