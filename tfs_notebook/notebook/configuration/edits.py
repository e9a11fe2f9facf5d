"""Labels, policies, and which models and versions are loaded: each call is one edit; see `Server.edit`.

What is refused, has changed nothing.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING

from tensorflow_serving.config.model_server_config_pb2 import ModelConfig

from tfs_notebook.engine.config import PLATFORM, Latest, config_text, validate_config
from tfs_notebook.engine.storage.scan import nothing_to_serve
from tfs_notebook.errors import Code, ServingError, invalid_argument, not_found
from tfs_notebook.notebook.configuration.model import (
    Known,
    check_labels_stay,
    check_number,
    does_not_serve,
    known,
    numbers,
    on_disk,
    proto_of,
    unknown_label,
    unknown_model,
)
from tfs_notebook.notebook.configuration.record import ConfigRecord, ConfigText, Row, compare, labels_text
from tfs_notebook.notebook.view.progress import FetchProgress
from tfs_notebook.oss.address import check_spelling, is_oss

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tensorflow_serving.config import model_server_config_pb2 as pb

    from tfs_notebook.server.server import Server

_FOLLOWS_NO_MORE = "New versions of {name} are no longer taken up by themselves: %tfs_policy {name} {policy} does that"


def label(server: Server, model: str, labels: Mapping[str, int | None]) -> ConfigRecord:
    """Let labels name other versions, or no longer any (None). Without `labels`: what is configured."""
    versions = known(server, model)
    if not labels:
        return ConfigRecord((Row(model, "labels", None, labels_text(proto_of(server.config, model).version_labels)),))
    given = {name: check_number(name, version) for name, version in labels.items() if version is not None}

    def change(config: pb.ModelServerConfig) -> None:
        edited = proto_of(config, model).version_labels
        for name in labels.keys() - given.keys():
            if name not in edited:
                raise unknown_label(model, name, edited)
            del edited[name]
        edited.update(given)

    try:
        return _edit(server, change, model)
    except ServingError as error:
        lacking = [name for name, version in given.items() if version not in versions.serving]
        if lacking and error.code is Code.FAILED_PRECONDITION:
            raise does_not_serve(versions, lacking[0], given[lacking[0]], error) from None
        raise


def policy(
    server: Server,
    model: str,
    *,
    latest: int | None = None,
    all: bool = False,  # noqa: A002 - TensorFlow Serving's word
    specific: Sequence[int] = (),
) -> ConfigRecord:
    """Serve the `latest` so many versions of a model, `all`, or `specific` ones. Without any: what is configured."""
    versions = known(server, model)
    if sum((latest is not None, all, bool(specific))) > 1:
        raise invalid_argument("latest, all and specific are three policies: give one of them")
    if latest is None and not all and not specific:
        return _policy_now(server, versions)
    if latest is not None and check_number("latest", latest) < 1:
        raise invalid_argument(f"latest={latest}: at least one version is served, like latest=1")
    versions.check_on_disk([check_number("specific", number) for number in specific])

    def change(config: pb.ModelServerConfig) -> None:
        edited = proto_of(config, model)
        there = sorted({*(versions.on_disk or ()), *versions.wanted})
        if specific:
            check_labels_stay(edited, specific)
            _serve_only(edited, specific)
        elif latest is not None:
            check_labels_stay(edited, there[-latest:])
            edited.model_version_policy.latest.num_versions = latest
        else:
            edited.model_version_policy.all.SetInParent()

    return _edit(server, change, model)


def _policy_now(server: Server, versions: Known) -> ConfigRecord:
    models = validate_config(server.config) or {}
    rows = [Row(versions.name, "policy", None, str(models[versions.name].policy))]
    rows.append(Row(versions.name, "serves", None, numbers(versions.serving)))
    if versions.on_disk is not None:
        rows.append(Row(versions.name, "on disk", None, numbers(versions.on_disk)))
    return ConfigRecord(tuple(rows))


def _serve_only(model: pb.ModelConfig, versions: Sequence[int]) -> None:
    model.model_version_policy.specific.ClearField("versions")
    model.model_version_policy.specific.versions.extend(sorted(set(versions)))


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

    return _edit(server, change, added.name)


def _serve_alone(server: Server, model: pb.ModelConfig, version: int) -> None:
    """Let a model that is new serve `version` only, and keep no label of another."""
    place = server.place(model.base_path)
    there = None if is_oss(place) else on_disk(Path(place))
    Known(model.name, place, (), (), there).check_on_disk([version])
    _serve_only(model, [version])
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
    before = (validate_config(server.config) or {})[name].policy

    def change(config: pb.ModelServerConfig) -> None:
        edited = proto_of(config, name)
        if edited.model_version_policy.WhichOneof("policy_choice") == "all":
            raise invalid_argument(f"{name} serves all versions, {version} too: %tfs_status shows what keeps it")
        if edited.model_version_policy.WhichOneof("policy_choice") == "specific":
            _serve_only(edited, [*edited.model_version_policy.specific.versions, version])
        else:
            _serve_only(edited, [*versions.wanted, version])

    return _edit(server, change, name, *_no_longer(name, str(before)))


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
        _serve_only(edited, staying)

    if version is None:
        return _edit(server, change, model, f"%tfs_load {model} or %tfs_config --undo brings it back")
    return _edit(server, change, model, *_no_longer(model, str(before)))


def _edit(server: Server, change: Callable[[pb.ModelServerConfig], None], model: str, *notes: str) -> ConfigRecord:
    """Carry out `change`, and tell what is different and what is wrong with `model` then."""
    compared: list[Row] = []

    def edit(config: pb.ModelServerConfig) -> None:
        before = copy.deepcopy(config)
        change(config)
        compared[:] = compare(before, config)

    with FetchProgress(server) as progress:
        server.edit(edit, meanwhile=lambda: progress.update(server))
    problems = [each.told for status in server.status().models if status.name == model for each in status.problems]
    return ConfigRecord(tuple(compared), (*notes, *_followed(server), *problems))


def _followed(server: Server) -> list[str]:
    """What is to be said when a config file will replace what was changed here."""
    path = server.followed_config_file
    return [f"{path} is followed, and replaces this when its text changes: write this there, too"] if path else []


def config(server: Server, *, save: str = "", undo: bool = False) -> ConfigRecord | ConfigText:
    """The configuration in force as text for TensorFlow Serving; with `save` also in that file, and with `undo` after
    one step back, which is what is returned then.
    """
    changed = None
    if undo:
        before = server.config
        with FetchProgress(server) as progress:
            server.undo(meanwhile=lambda: progress.update(server))
        changed = compare(before, server.config)
    text = config_text(server.config)
    path = _write(save, text) if save else ""
    if changed is None:
        return ConfigText(text, path)
    problems = [each.told for each in server.problems]
    return ConfigRecord(changed, (*([f"Saved as {path}"] if path else []), *_followed(server), *problems))


def _write(save: str, text: str) -> str:
    """Write `text` beside its file and rename it: whoever follows the file never reads half of it."""
    path = Path(save).expanduser().absolute()
    aside = path.with_name(f".{path.name}.new")
    try:
        aside.write_text(text, encoding="utf-8")
        aside.replace(path)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise invalid_argument(f"{path} could not be written: {error.strerror}") from None
    return str(path)
