"""Which models are served, and which versions beside those that their policies select: loaded and unloaded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tensorflow_serving.config.model_server_config_pb2 import ModelConfig

from tfs_notebook.engine.config import PLATFORM, Latest, validate_config
from tfs_notebook.engine.storage.scan import nothing_to_serve
from tfs_notebook.errors import Code, ServingError, invalid_argument, not_found
from tfs_notebook.notebook.configuration.edits import carry_out, serve_only
from tfs_notebook.notebook.configuration.model import (
    Known,
    check_labels_stay,
    check_number,
    known,
    numbers,
    on_disk,
    proto_of,
    unknown_model,
)
from tfs_notebook.oss.address import check_spelling, is_oss

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tensorflow_serving.config import model_server_config_pb2 as pb

    from tfs_notebook.notebook.configuration.record import ConfigRecord
    from tfs_notebook.server.server import Server

_FOLLOWS_NO_MORE = "New versions of {name} are no longer taken up by themselves: %tfs_policy {name} {policy} does that"


def load(server: Server, model: str, version: int | None = None, *, model_name: str = "") -> ConfigRecord:
    """Serve one more version of a configured model, or one more model.

    With a `version` of a configured model, the policy becomes `specific`: the versions that it selects now, and this
    one. Otherwise `model` is the name of a model that was unloaded, which comes back as it was, or a directory of
    numbered versions, or an address in OSS, which is served under the name of its last part, or `model_name`.
    """
    names = [each.name for each in server.config.model_config_list.config]
    if model in names and not model_name:
        return _load_version(server, known(server, model), version)
    earlier = None if model_name else _earlier(server, model)
    added = earlier if earlier is not None else _new_model(server, model, model_name, names)
    if version is not None:
        _serve_alone(server, added, check_number("version", version))

    def change(config: pb.ModelServerConfig) -> None:
        if any(each.name == added.name for each in config.model_config_list.config):
            raise _taken(added.name, model)
        config.model_config_list.config.append(added)

    return carry_out(server, change, added.name)


def _serve_alone(server: Server, model: pb.ModelConfig, version: int) -> None:
    """Let a model that is new serve `version` only, and keep no label of another."""
    place = server.place(model.base_path)
    there = None if is_oss(place) else on_disk(Path(place))
    Known(model.name, place, (), (), there).check_on_disk([version])
    serve_only(model, [version])
    for name, number in list(model.version_labels.items()):
        if number != version:
            del model.version_labels[name]


def _load_version(server: Server, versions: Known, version: int | None) -> ConfigRecord:
    name = versions.name
    if version is None:
        there = "" if versions.on_disk is None else f" ({numbers(versions.on_disk)} are on disk)"
        raise invalid_argument(
            f"{name} is configured already: %tfs_load {name} VERSION serves one more version{there}, "
            "and %tfs_serve again takes files that have changed"
        )
    versions.check_on_disk([check_number("version", version)])
    if version in versions.wanted:
        return _load_again(server, versions, version)
    before = (validate_config(server.config) or {})[name].policy

    def change(config: pb.ModelServerConfig) -> None:
        edited = proto_of(config, name)
        chosen = edited.model_version_policy.WhichOneof("policy_choice")
        if chosen == "all":
            raise invalid_argument(f"{name} serves all versions, {version} too: %tfs_status shows what keeps it")
        selected = edited.model_version_policy.specific.versions if chosen == "specific" else versions.wanted
        serve_only(edited, [*selected, version])

    return carry_out(server, change, name, *_no_longer(name, str(before)))


def _load_again(server: Server, versions: Known, version: int) -> ConfigRecord:
    """Try again what could not be loaded; the policy selects it already."""
    if version in versions.serving:
        raise invalid_argument(
            f"Version {version} of {versions.name} serves already; %tfs_serve again takes files that have changed"
        )
    return carry_out(server, lambda _: None, versions.name, reload=True)


def _no_longer(name: str, policy_before: str) -> list[str]:
    """What is to be said when a policy becomes `specific` that was not."""
    if policy_before.startswith("specific"):
        return []
    return [_FOLLOWS_NO_MORE.format(name=name, policy=policy_before.replace(" ", "="))]


def _earlier(server: Server, name: str) -> pb.ModelConfig | None:
    """The model `name` as it was last configured, None for one that never was."""
    for config in server.earlier_configs:
        for model in config.model_config_list.config:
            if model.name == name:
                return model
    return None


def _new_model(server: Server, path: str, name: str, names: Sequence[str]) -> pb.ModelConfig:
    check_spelling(path)
    place = server.place(path)
    if not is_oss(place):
        directory = Path(place).expanduser().absolute()
        if not directory.is_dir():
            is_path = Path(path).name != path
            raise not_found(f"There is no directory {directory}") if is_path else unknown_model(path, names)
        if (problem := nothing_to_serve(name, str(directory), Latest())) is not None:
            raise problem
        path = path if Path(path).is_absolute() else str(directory)
    name = name or path.rstrip("/").rpartition("/")[2]
    if name in names:
        raise _taken(name, path)
    return ModelConfig(name=name, base_path=path, model_platform=PLATFORM)


def _taken(name: str, path: str) -> ServingError:
    message = f"There is a model {name!r} already: %tfs_load {path} --model_name=NAME serves it under another name"
    return ServingError(Code.ALREADY_EXISTS, message)


def unload(server: Server, model: str, version: int | None = None) -> ConfigRecord:
    """Serve a `version` no longer: the policy becomes `specific` without it. Without one: serve the model no longer,
    and take it, with its labels, out of the configuration; `load` brings it back.
    """
    versions = known(server, model)
    if version is not None:
        check_number("version", version)
    before = (validate_config(server.config) or {})[model].policy

    def change(config: pb.ModelServerConfig) -> None:
        edited = proto_of(config, model)
        if version is None:
            config.model_config_list.config.remove(edited)
            return
        selected = [*edited.model_version_policy.specific.versions] or versions.wanted
        if version not in selected:
            raise not_found(f"Version {version} of {model} is not loaded; there are: {numbers(selected)}")
        staying = [number for number in selected if number != version]
        if not staying:
            message = f"Version {version} is the only one of {model}: %tfs_unload {model} takes the model away"
            raise ServingError(Code.FAILED_PRECONDITION, message)
        check_labels_stay(edited, staying)
        serve_only(edited, staying)

    if version is None:
        return carry_out(server, change, model, f"%tfs_load {model} or %tfs_config --undo brings it back")
    return carry_out(server, change, model, *_no_longer(model, str(before)))
