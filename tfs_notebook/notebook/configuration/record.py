"""What a change of configuration changed, and the configuration itself, as records that stay as they were."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any

from tfs_notebook.engine.config import validate_config

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

    from tfs_notebook.engine.config import ModelConfig

_NOTHING = "none"


@dataclass(frozen=True, slots=True)
class Row:
    """One thing about a model; `before` is None where nothing was changed, but something looked at."""

    model: str
    what: str
    before: str | None
    after: str

    def __str__(self) -> str:
        value = self.after if self.before is None else f"{self.before} → {self.after}"
        return f"{self.model}: {self.what} {value}"


@dataclass(frozen=True, slots=True)
class ConfigRecord:
    """Rows about models, with what else there is to say, at a time (seconds since the epoch)."""

    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    time: float = field(default_factory=time.time)

    @property
    def headline(self) -> str:
        """The outcome in one line."""
        clock = time.strftime("%H:%M:%S", time.localtime(self.time))
        if not self.rows:
            return f"Nothing has changed at {clock}"
        changed = any(row.before is not None for row in self.rows)
        return f"{'Changed' if changed else 'As configured'} at {clock}"

    def __repr__(self) -> str:
        return "\n".join([self.headline, *map(str, self.rows), *self.notes])

    def _repr_mimebundle_(self, **_kwargs: Any) -> dict[str, str]:
        changed = any(row.before is not None for row in self.rows)
        titles = ("Model", "What", "Before", "After") if changed else ("Model", "What", "Value")
        lines = [
            (row.model, row.what, *((row.before or "", row.after) if changed else (row.after,))) for row in self.rows
        ]
        head = "".join(f'<th align="left" scope="col">{title}</th>' for title in titles)
        cells = ("".join(f'<td align="left">{escape(cell)}</td>' for cell in line) for line in lines)
        body = "".join(f"<tr>{line}</tr>" for line in cells)
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>" if lines else ""
        notes = "".join(f"<div>{escape(note)}</div>" for note in self.notes)
        html = f'<div class="tfs-config"><b>{escape(self.headline)}</b>{table}{notes}</div>'
        return {"text/html": html, "text/plain": repr(self)}


@dataclass(frozen=True, slots=True)
class ConfigText:
    """A configuration as the text of a model_config.pbtxt; `saved` is the file that it was written to, "" for none."""

    text: str
    saved: str = ""

    def __repr__(self) -> str:
        return f"{self.text}# Saved as {self.saved}" if self.saved else self.text.rstrip("\n")

    def _repr_mimebundle_(self, **_kwargs: Any) -> dict[str, str]:
        return {"text/html": f'<pre class="tfs-config">{escape(repr(self))}</pre>', "text/plain": repr(self)}


def labels_text(labels: Mapping[str, int]) -> str:
    """Labels as they are written on a line: `canary=3 stable=2`."""
    return " ".join(f"{label}={version}" for label, version in sorted(labels.items())) or _NOTHING


def compare(before: ModelServerConfig, after: ModelServerConfig) -> tuple[Row, ...]:
    """What is different in `after`: a row for each model that came or went, and for each thing about the others."""
    old, new = (validate_config(config) or {} for config in (before, after))
    rows: list[Row] = []
    for name in dict.fromkeys([*old, *new]):
        if name in old and name in new:
            rows += _differences(old[name], new[name])
        else:
            rows.append(Row(name, "model", _model_text(old.get(name)), _model_text(new.get(name))))
    return tuple(rows)


def _model_text(model: ModelConfig | None) -> str:
    if model is None:
        return _NOTHING
    labels = f", labels {labels_text(model.labels)}" if model.labels else ""
    return f"{model.base_path}, {model.policy}{labels}"


def _differences(old: ModelConfig, new: ModelConfig) -> Iterator[Row]:
    things = {
        "base path": (old.base_path, new.base_path),
        "policy": (str(old.policy), str(new.policy)),
        "labels": (labels_text(old.labels), labels_text(new.labels)),
        "request log": tuple("off" if model.logging is None else str(model.logging) for model in (old, new)),
    }
    return (Row(new.name, what, *values) for what, values in things.items() if values[0] != values[1])
