"""Where answers begin to differ on their way from a model in memory to a client, and the likely reason."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any

from tfs_notebook.errors import invalid_argument
from tfs_notebook.notebook.parity import steps
from tfs_notebook.notebook.parity.compare import agree, difference
from tfs_notebook.notebook.parity.reason import likely_reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tfs_notebook.api.calls.model_spec import ModelSpec
    from tfs_notebook.server.server import Server


@dataclass(frozen=True, slots=True)
class Parity:
    """A record: the steps, the largest difference of each from the one before, and the first that differs."""

    model: str
    version: int | None
    signature_name: str
    steps: tuple[steps.Step, ...]
    differences: tuple[float | None, ...]
    """None for the first step, and for one that did not answer."""
    first: int | None
    """The place of the first step that differs from the one before; None when all agree."""
    reason: str = ""
    time: float = field(default_factory=time.time)

    @property
    def agrees(self) -> bool:
        """True when every step answered the same."""
        return self.first is None and not any(step.error for step in self.steps)

    @property
    def headline(self) -> str:
        """The outcome in one line."""
        if self.first is not None:
            return f"{self.steps[self.first].name} is the first step that answers differently. {self.reason}"
        failed = next((step for step in self.steps if step.error), None)
        return f"{failed.name} does not answer: {failed.error}" if failed else "All steps answer the same"

    def _rows(self) -> list[tuple[str, str, str]]:
        rows = []
        for number, (step, apart) in enumerate(zip(self.steps, self.differences, strict=True)):
            told = step.error or ("" if apart is None else f"{apart:.3g}")
            rows.append((f"{step.name}{' ✗' if number == self.first else ''}", told, f"{step.seconds * 1000:.1f} ms"))
        return rows

    def _caption(self) -> str:
        version = f" · version {self.version}" if self.version is not None else ""
        clock = time.strftime("%H:%M:%S", time.localtime(self.time))
        return f"{self.model}{version} · {self.signature_name} · {clock}"

    def __repr__(self) -> str:
        rows = [("step", "largest difference from the step before", "time"), *self._rows()]
        width = max(len(row[0]) for row in rows)
        lines = [f"{name:<{width}}  {took:>9}  {told}" for name, told, took in rows]
        return "\n".join([self._caption(), *lines, self.headline])

    def _repr_mimebundle_(self, **_kwargs: Any) -> dict[str, str]:
        cell = 'style="padding:1px 16px 1px 0;text-align:left"'
        head = "".join(
            f"<th {cell}>{title}</th>" for title in ("Step", "Largest difference from the step before", "Time")
        )
        body = "".join(f"<tr>{''.join(f'<td {cell}>{escape(text)}</td>' for text in row)}</tr>" for row in self._rows())
        html = (
            f'<div>{escape(self._caption())}</div><table style="border-collapse:collapse"><tr>{head}</tr>{body}</table>'
            f"<div><b>{escape(self.headline)}</b></div>"
        )
        return {"text/html": html, "text/plain": repr(self)}


def parity(
    server: Server,
    spec: ModelSpec,
    value: Any,
    *,
    signature_name: str,
    model: Any = None,
    at: str = "",
    token: str = "",
) -> Parity:
    """Ask every step for the same rows; `model` is what was served, if it is at hand. Raises ServingError."""
    what = steps.asked(server, spec, signature_name, value, model)
    found = tuple(steps.run(what, server, at, token))
    if all(step.error for step in found):
        engine = next(step for step in found if step.name == steps.ENGINE)
        raise invalid_argument(f"No step answers: {engine.error}. {what.signature}")
    differences, first = _compared(found)
    reason = likely_reason(found[first].name, found, what, server) if first is not None else ""
    return Parity(spec.name, what.spec.version, what.signature.name, found, differences, first, reason)


def _compared(found: Sequence[steps.Step]) -> tuple[tuple[float | None, ...], int | None]:
    differences: list[float | None] = []
    first, before = None, None
    for number, step in enumerate(found):
        if step.error or before is None:
            differences.append(None)
        else:
            differences.append(difference(before.outputs, step.outputs))
            if first is None and not agree(before.outputs, step.outputs):
                first = number
        before = before if step.error else step
    return tuple(differences), first
