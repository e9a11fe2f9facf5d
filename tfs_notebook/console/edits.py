"""Small changes of a ModelServerConfig, for `Server.edit`: what a click says, without the notebook's records of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfs_notebook.errors import invalid_argument, not_found

if TYPE_CHECKING:
    from tensorflow_serving.config.model_server_config_pb2 import ModelConfig, ModelServerConfig


def move_label(config: ModelServerConfig, model: str, label: str, version: int) -> None:
    """Let `label` of `model` name `version`. Raises ServingError NOT_FOUND."""
    _model(config, model).version_labels[label] = version


def set_policy(config: ModelServerConfig, model: str, policy: str) -> None:
    """Let versions of `model` be served as `policy` says: `all`, `latest=2`, or `specific=1,2`.

    Raises ServingError: NOT_FOUND for a model that is not configured, INVALID_ARGUMENT for another policy.
    """
    kind, _, numbers = policy.partition("=")
    parts = [part.strip() for part in numbers.split(",")] if numbers else []
    found = _model(config, model)
    if not all(part.isascii() and part.isdigit() and int(part) < 1 << 63 for part in parts):
        raise _unknown_policy(policy)
    chosen = [int(part) for part in parts]
    if kind == "all" and not chosen:
        found.model_version_policy.all.SetInParent()
    elif kind == "latest" and len(chosen) == 1 and 1 <= chosen[0] < 1 << 32:
        found.model_version_policy.latest.num_versions = chosen[0]
    elif kind == "specific" and chosen:
        found.model_version_policy.ClearField("specific")
        found.model_version_policy.specific.versions.extend(chosen)
    else:
        raise _unknown_policy(policy)


def _unknown_policy(policy: str) -> Exception:
    return invalid_argument(f"{policy!r} is no version policy: write latest=2, all, or specific=1,2")


def _model(config: ModelServerConfig, name: str) -> ModelConfig:
    configs = config.model_config_list.config
    for found in configs:
        if found.name == name:
            return found
    known = ", ".join(sorted(each.name for each in configs))
    raise not_found(f"There is no model {name}", hint=f"Configured: {known or 'none'}.")
