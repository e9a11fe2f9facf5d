"""What is not served as asked, in the one line above the table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfs_notebook.engine.events import State

if TYPE_CHECKING:
    from tfs_notebook.engine.status import ModelStatus
    from tfs_notebook.server.status import ServerStatus


def summary(status: ServerStatus) -> str:
    """Like `2 of 3 models not found, 1 failed to load; details below`; "" when all is well."""
    if not status.problems:
        return ""
    models = [model for model in status.models if model.config is not None]
    kinds = [_kind(model) for model in models]
    counts = {kind: kinds.count(kind) for kind in dict.fromkeys(kinds) if kind}
    parts = [f"{count} {kind}" for kind, count in counts.items()]
    if parts:
        count, _, kind = parts[0].partition(" ")
        parts[0] = f"{count} of {len(models)} model{'s' * (len(models) != 1)} {kind}"
    others = [*status.listening_problems, *status.logging_problems, *filter(None, [status.config_problem])]
    others += [source.problem for source in status.sources if source.problem is not None] if not parts else []
    if others:
        parts.append(f"{len(others)} {'other ' * bool(parts)}problem{'s' * (len(others) != 1)}")
    return f"{', '.join(parts)}; details below (%tfs_status)"


def _kind(model: ModelStatus) -> str:
    """What is wrong with a model, "" for nothing."""
    if not model.problems:
        return ""
    serves = any(version.state is State.AVAILABLE for version in model.versions)
    if any(version.error is not None and version.wanted for version in model.versions):
        return "with a version that failed to load" if serves else "failed to load"
    if model.waiting:
        return "waiting for files of a version"
    if model.label_problem is not None and model.problem is None:
        return "with labels that are not in force"
    return "answering as before" if serves else "not found"
