"""`%tfs_doctor`: findings with remedies, or that everything looks fine; a record that stays as it was."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfs_notebook.notebook.doctor.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tfs_notebook.server.server import Server


@dataclass(frozen=True, slots=True)
class Report:
    """What was found, what was looked at, and when (seconds since the epoch)."""

    findings: tuple[Finding, ...]
    checked: tuple[str, ...]
    time: float = field(default_factory=time.time)

    @property
    def headline(self) -> str:
        """The outcome in one line."""
        clock = time.strftime("%H:%M:%S", time.localtime(self.time))
        if not self.findings:
            return f"Everything looks fine at {clock}"
        count = len(self.findings)
        return f"{count} finding{'s' * (count > 1)} at {clock}"

    def __repr__(self) -> str:
        return "\n".join([self.headline, *(f"✗ {finding}" for finding in self.findings), self._looked_at])

    @property
    def _looked_at(self) -> str:
        return f"Looked at: {'; '.join(self.checked)}"

    def _repr_mimebundle_(self, **_kwargs: Any) -> dict[str, str]:
        rows = "".join(
            f'<tr><td align="left">✗ {escape(finding.about)}</td><td align="left">{escape(finding.problem)}</td>'
            f'<td align="left">{escape(finding.remedy)}</td></tr>'
            for finding in self.findings
        )
        head = "".join(f'<th align="left" scope="col">{title}</th>' for title in ("About", "Problem", "Remedy"))
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>" if rows else ""
        html = (
            f'<div class="tfs-doctor"><b>{escape(self.headline)}</b>{table}<div>{escape(self._looked_at)}</div></div>'
        )
        return {"text/html": html, "text/plain": repr(self)}


def doctor(path: str = "", server: Server | None = None) -> Report:
    """Look at what `server` serves if it runs, at what is to be served from `path`, and at this machine.

    `path` is a model's directory, a directory of models, a model config file, a service.json of PAI-EAS, or such a
    directory's address in OSS. Nothing is
    loaded and nothing is changed. Raises ServingError NOT_FOUND for a path that does not exist.
    """
    from tfs_notebook.notebook.doctor import bucket, machine, models, ports

    running = server if server is not None and server.running else None
    looks: list[tuple[str, Iterable[Finding]]] = [ports.look(running)]
    if path:
        from_oss = "://" in path  # a misspelt scheme, too, which is told then
        looks.append(bucket.look_at_prefix(path, running) if from_oss else models.look_at(Path(path).expanduser()))
    if running is not None:
        looks.append(models.look_at_served(running, besides=path))
    looks += machine.look(running)
    findings = [finding for _, found in looks for finding in found]
    return Report(tuple(dict.fromkeys(findings)), tuple(checked for checked, _ in looks))
