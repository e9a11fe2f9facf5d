"""What may stand in the lines of `%tfs_label`, `%tfs_policy`, `%tfs_load` and `%tfs_unload`, for Tab."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfs_notebook.errors import ServingError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tfs_notebook.notebook.configuration.model import Known
    from tfs_notebook.server.server import Server

_USUAL_LABELS = ("canary", "stable")


def words(magic: str, word: str, before: Sequence[str], server: Server) -> Iterable[str]:
    """The words that may follow `before`, a model's name first, where `word` has been typed."""
    from tfs_notebook.notebook.configuration.model import known

    if not server.running:
        return ()
    try:
        model = known(server, before[0])
    except ServingError:
        return ()
    if magic == "tfs_label":
        return _labels(word, before[1:], model, server)
    if len(before) > 1:
        return ()
    if magic == "tfs_policy":
        return _policies(word, model)
    chosen = model.wanted if magic == "tfs_unload" else {*(model.on_disk or ())} - {*model.wanted}
    return [str(number) for number in sorted(chosen, reverse=True)]


def _labels(word: str, given: Sequence[str], model: Known, server: Server) -> list[str]:
    label, equals, _ = word.strip("\"'").partition("=")
    if equals:
        return [f"{label}={number}" for number in sorted(model.serving, reverse=True)]
    configs = server.config.model_config_list.config
    configured = [name for config in configs if config.name == model.name for name in sorted(config.version_labels)]
    done = {each.partition("=")[0] for each in given}
    return [f"{name}=" for name in dict.fromkeys([*configured, *_USUAL_LABELS]) if name not in done]


def _policies(word: str, model: Known) -> list[str]:
    numbers = sorted({*(model.on_disk or ()), *model.wanted}, reverse=True)
    kind, equals, typed = word.partition("=")
    if not equals:
        return ["latest=", "all", "specific="]
    if kind == "latest":
        return [f"latest={number}" for number in range(1, len(numbers) + 1)]
    earlier = typed.rpartition(",")[0]
    start = f"specific={earlier}," if earlier else "specific="
    return [f"{start}{number}" for number in numbers if str(number) not in earlier.split(",")]
