"""The call information as text and as HTML without script or style sheet: it stays readable wherever it is shown."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_PRE = "white-space:pre;overflow-x:auto;margin:4px 0;padding:8px;border:1px solid rgba(128,128,128,.4)"


def as_text(title: str, rows: Sequence[tuple[str, str]], programs: Mapping[str, str]) -> str:
    """Everything, program after program."""
    width = max(len(name) for name, _ in rows)
    lines = [f"{name:<{width}}  {text}" for name, text in rows]
    blocks = [f"── {name} ──\n{program}" for name, program in programs.items()]
    return "\n\n".join(["\n".join([title, *lines]), *blocks])


def as_html(title: str, rows: Sequence[tuple[str, str]], programs: Mapping[str, str]) -> str:
    """Everything; the first program is open, the others are a click away."""
    cells = "".join(
        f'<tr><th scope="row" align="left">{escape(name)}</th><td align="left">{escape(text)}</td></tr>'
        for name, text in rows
    )
    blocks = "".join(
        f"<details{' open' * (number == 0)}><summary>{escape(name)}</summary>"
        f'<pre style="{_PRE}">{escape(program)}</pre></details>'
        for number, (name, program) in enumerate(programs.items())
    )
    return f'<div class="tfs-call"><b>{escape(title)}</b><table>{cells}</table>{blocks}</div>'
