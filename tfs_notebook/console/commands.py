"""What can be done in the console: one table, which buttons, their lines and the tests are made from.

A row without a magic and a Python call does not exist, so whatever a click does can be repeated in a cell or a script.
In a line `{name}` stands for an argument as that language writes it, and `[…{name}…]` is left out when it is empty.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tfs_notebook.console import actions
from tfs_notebook.errors import Code, ServingError, invalid_argument

if TYPE_CHECKING:
    from collections.abc import Callable

    from tfs_notebook.server.server import Server

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Argument:
    """What a command is told; always a text, and "" is one that was not given."""

    name: str
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Command:
    """One row: what the button says, the magic and the Python call that do the same, and whether to ask first."""

    id: str
    label: str
    magic: str
    python: str
    arguments: tuple[Argument, ...] = ()
    confirm: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended: its value, or why it did not do what was asked (`code`: a status code's name)."""

    ok: bool
    value: Any = None
    code: str = ""
    message: str = ""
    hint: str = ""


_WHICH = (Argument("model"), Argument("version", optional=True), Argument("label", optional=True))
_ACTIONS: dict[Command, Callable[..., Any]] = {
    Command("stop", "Stop", "%tfs_stop", "server.stop()", confirm=True): actions.stop,
    Command(
        "label",
        "Move label",
        "%tfs_label {model} {label}={version}",
        "tfs_notebook.label({model}, {{label}: {version}})",
        (Argument("model"), Argument("label"), Argument("version")),
    ): actions.label,
    Command(
        "policy",
        "Versions to serve",
        "%tfs_policy {model} {policy}",
        "tfs_notebook.policy({model}, {policy})",
        (Argument("model"), Argument("policy")),
    ): actions.policy,
    Command("config", "Show the configuration", "%tfs_config", "server.config_text()"): actions.config,
    Command(
        "apply",
        "Apply",
        "%%tfs_serve\n{text}",
        "server.reload(parse_config({text}))",
        (Argument("text"),),
    ): actions.apply_config,
    Command("undo", "Undo", "%tfs_config --undo", "server.undo()"): actions.undo,
    Command(
        "predict",
        "Send",
        "%%tfs_predict {model}[ --version {version}][ --label {label}][ --signature_name {signature}] --via rest\n"
        "{body}",
        "server.predict({model}, {inputs}[, version={version}][, label={label}][, signature_name={signature}])",
        (*_WHICH, Argument("signature", optional=True), Argument("body")),
    ): actions.predict,
    Command(
        "describe",
        "Call information",
        "%tfs_call {model}[ --version {version}][ --label {label}]",
        "server.signatures(ModelSpec({model}[, version={version}][, label={label}]))",
        _WHICH,
    ): actions.describe,
    Command("sync_now", "Look at OSS now", "%tfs_sync now", "server.sync_now()"): actions.sync_now,
    Command("sync_pause", "Pause OSS", "%tfs_sync pause", "server.sync_pause()"): actions.sync_pause,
    Command("sync_resume", "Resume OSS", "%tfs_sync resume", "server.sync_resume()"): actions.sync_resume,
}
COMMANDS = tuple(_ACTIONS)
_BY_ID = {command.id: command for command in COMMANDS}


def run(server: Server, command_id: object, arguments: object) -> Outcome:
    """Do what a page asks for; blocks until it is done. Whatever is wrong with the question is told in the outcome."""
    try:
        command = _command(command_id)
        return Outcome(ok=True, value=_ACTIONS[command](server, **_checked(command, arguments)))
    except ServingError as error:
        return Outcome(ok=False, code=error.code.name, message=error.message, hint=error.hint)
    except OSError as error:
        return Outcome(ok=False, code=Code.UNAVAILABLE.name, message=str(error))
    except Exception as error:
        _log.exception("the console's command %s failed", command_id)
        return Outcome(ok=False, code=Code.INTERNAL.name, message=f"{type(error).__name__}: {error}")


def _command(command_id: object) -> Command:
    command = _BY_ID.get(command_id) if isinstance(command_id, str) else None
    if command is None:
        raise invalid_argument(
            f"There is no command {str(command_id)[:80]!r}: reload the page, which is another version's"
        )
    return command


def _checked(command: Command, arguments: object) -> dict[str, str]:
    """The arguments of `command`, all of them texts."""
    given = arguments if isinstance(arguments, dict) else {}
    known = {argument.name for argument in command.arguments}
    if unknown := given.keys() - known:
        raise invalid_argument(f"{command.label} takes {', '.join(sorted(known)) or 'nothing'}, not {min(unknown)!r}")
    if wrong := [name for name, value in given.items() if not isinstance(value, str)]:
        raise invalid_argument(f"{command.label}: {wrong[0]} is a text, not {given[wrong[0]]!r}")
    if missing := [each.name for each in command.arguments if not (each.optional or given.get(each.name))]:
        raise invalid_argument(f"{command.label} needs {missing[0]}")
    return {argument.name: given.get(argument.name, "") for argument in command.arguments}
