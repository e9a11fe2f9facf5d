"""`%tfs_push`: which model is meant, how far its upload is, and what happens with it next."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfs_notebook.engine.config import Specific
from tfs_notebook.engine.events import State
from tfs_notebook.engine.models.export import can_be_exported
from tfs_notebook.engine.storage.remote import Transfer
from tfs_notebook.engine.storage.scan import parse_version
from tfs_notebook.errors import Code, ServingError, invalid_argument
from tfs_notebook.notebook.view.progress import Progress, transfer_text
from tfs_notebook.notebook.view.source_table import size_text
from tfs_notebook.options import PUSH_OPTIONS
from tfs_notebook.oss.address import OssAddress
from tfs_notebook.server.push import push

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tfs_notebook.engine.config import ModelConfig
    from tfs_notebook.server.server import Server


def push_model(
    name: str,
    address: str,
    version: int | None,
    given: Mapping[str, Any],
    server: Server | None,
    namespace: Mapping[str, Any],
) -> None:
    """Upload the model that `name` names; shows how far it is, and at the end what was written. Raises ServingError."""
    model = named_model(name, server, namespace)
    label = "/".join(Path(model).parts[-2:]) if model == name else name
    progress = _PushProgress(label)
    inherited = {option: getattr(server.options, option) for option in PUSH_OPTIONS} if server is not None else {}
    credentials = server.oss_credentials if server is not None else None
    written = push(model, address, version, {**inherited, **given}, credentials=credentials, progress=progress.told)
    root, number = _model_and_number(written)
    size = f", {size_text(progress.size)}" if progress.size else ""
    progress.end(f"{label} is version {number} of {root}{size}. {_what_is_next(root, number, server)}")


def named_model(name: str, server: Server | None, namespace: Mapping[str, Any]) -> Any:
    """The path of the newest served version of model `name`, the value of the variable `name`, or `name` as a path.

    Raises ServingError when it names two different things, or a variable that is no model.
    """
    served, variable = _served_path(name, server), namespace.get(name)
    if served is not None and can_be_exported(variable):
        raise invalid_argument(
            f"{name!r} is both a served model and a variable: give the path of the first, {served}, or another name to "
            "the second"
        )
    if served is not None:
        return served
    if variable is None or isinstance(variable, (str, Path)) or can_be_exported(variable):
        return name if variable is None else variable
    raise invalid_argument(
        f"The variable {name} is a {type(variable).__name__}: %tfs_push takes a Keras model, a tf.Module, the name of "
        "a served model, or a path like ./model"
    )


def _served_path(name: str, server: Server | None) -> Path | None:
    models = server.status().models if server is not None else ()
    model = next((model for model in models if model.name == name and model.config is not None), None)
    if model is None:
        return None
    available = [version.path for version in model.versions if version.state is State.AVAILABLE]
    if not available:
        raise ServingError(Code.FAILED_PRECONDITION, f"No version of {name} is available: %tfs_status shows why")
    return available[0]


class _PushProgress:
    """Shows how far a push is."""

    def __init__(self, name: str) -> None:
        self.size = 0
        self._name = name
        self._progress = Progress()

    def told(self, sent: int, size: int) -> None:
        self.size = size
        self._progress.show(transfer_text(Transfer(self._name, 0, 0, sent, size, 0.0)))

    def end(self, text: str) -> None:
        self._progress.show(text, at_once=True)


def _model_and_number(written: OssAddress) -> tuple[OssAddress, int]:
    above, _, number = written.key.rstrip("/").rpartition("/")
    return OssAddress(written.bucket, above).directory, parse_version(number) or 0


def _what_is_next(root: OssAddress, number: int, server: Server | None) -> str:
    following = [] if server is None else [model for model in _configs(server) if _is_at(model, root, server)]
    if server is None or not following:
        return f"%tfs_serve {shlex.quote(str(root))} serves it."
    return " ".join(_told(model, number, server) for model in following)


def _configs(server: Server) -> list[ModelConfig]:
    return [model.config for model in server.status().models if model.config is not None]


def _is_at(model: ModelConfig, root: OssAddress, server: Server) -> bool:
    place = server.place(model.base_path)
    return place.startswith("oss://") and OssAddress.parse(place).directory == root


def _told(model: ModelConfig, number: int, server: Server) -> str:
    if isinstance(model.policy, Specific) and number not in model.policy.versions:
        return f"The policy of {model.name} ({model.policy}) does not ask for it."
    seconds = server.options.oss_poll_wait_seconds
    if server.is_paused or seconds <= 0:
        return f"{model.name} follows it when asked: %tfs_sync {'resume' if server.is_paused else 'now'}."
    return f"{model.name} follows it within {2 * seconds} s; %tfs_sync now waits for it."
