"""Labels, policies, and the configuration as text: each call that changes something is one edit; see `Server.edit`.

What is refused, has changed nothing.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING

from tfs_notebook.engine.config import config_text, validate_config
from tfs_notebook.errors import Code, ServingError, invalid_argument
from tfs_notebook.notebook.configuration.model import (
    Known,
    check_labels_stay,
    check_number,
    does_not_serve,
    known,
    numbers,
    proto_of,
    unknown_label,
)
from tfs_notebook.notebook.configuration.record import ConfigRecord, ConfigText, Row, compare, labels_text
from tfs_notebook.notebook.view.progress import FetchProgress

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tensorflow_serving.config import model_server_config_pb2 as pb

    from tfs_notebook.server.server import Server


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
        return carry_out(server, change, model)
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
            serve_only(edited, specific)
        elif latest is not None:
            check_labels_stay(edited, there[-latest:])
            edited.model_version_policy.latest.num_versions = latest
        else:
            edited.model_version_policy.all.SetInParent()

    return carry_out(server, change, model)


def _policy_now(server: Server, versions: Known) -> ConfigRecord:
    models = validate_config(server.config) or {}
    rows = [Row(versions.name, "policy", None, str(models[versions.name].policy))]
    rows.append(Row(versions.name, "serves", None, numbers(versions.serving)))
    if versions.on_disk is not None:
        rows.append(Row(versions.name, "on disk", None, numbers(versions.on_disk)))
    return ConfigRecord(tuple(rows))


def serve_only(model: pb.ModelConfig, versions: Sequence[int]) -> None:
    """Give `model` the policy that serves just these versions."""
    model.model_version_policy.specific.ClearField("versions")
    model.model_version_policy.specific.versions.extend(sorted(set(versions)))


def carry_out(
    server: Server,
    change: Callable[[pb.ModelServerConfig], None],
    model: str,
    *notes: str,
    reload: bool = False,
) -> ConfigRecord:
    """Let `change` edit the configuration, and tell what is different and what is wrong with `model` then.

    With `reload`, what failed is tried again, and versions whose files have changed are exchanged.
    """
    compared: list[Row] = []

    def edit(config: pb.ModelServerConfig) -> None:
        before = copy.deepcopy(config)
        change(config)
        compared[:] = compare(before, config)

    with FetchProgress(server) as progress:
        server.edit(edit, reload=reload, meanwhile=lambda: progress.update(server))
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
