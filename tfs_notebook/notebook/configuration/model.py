"""What there is to know of a model before its configuration is edited, and the refusals that name what is there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tfs_notebook.engine.events import State
from tfs_notebook.engine.storage.scan import list_versions
from tfs_notebook.errors import Code, ServingError, invalid_argument, not_found
from tfs_notebook.notebook.predict.explain import nearest
from tfs_notebook.oss.address import is_oss

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tensorflow_serving.config import model_server_config_pb2 as pb

    from tfs_notebook.server.server import Server


@dataclass(frozen=True, slots=True)
class Known:
    """The versions of a configured model: those `serving`, those `wanted` (also while they load, or failed to), and
    those `on_disk`, None where they are in OSS, which may hold more than was brought here.
    """

    name: str
    place: str
    serving: tuple[int, ...]
    wanted: tuple[int, ...]
    on_disk: tuple[int, ...] | None

    def check_on_disk(self, versions: Iterable[int]) -> None:
        """Raise ServingError NOT_FOUND for a version that is not there."""
        missing = [] if self.on_disk is None else [number for number in versions if number not in self.on_disk]
        if missing:
            there = numbers(self.on_disk or ())
            raise not_found(f"There is no version {numbers(missing)} of {self.name}: {self.place} holds {there}")


def known(server: Server, name: str) -> Known:
    """What is known of the configured model `name`. Raises ServingError NOT_FOUND with the nearest name."""
    models = {model.name: model for model in server.status().models if model.config is not None}
    if name not in models:
        raise unknown_model(name, models)
    model = models[name]
    there = None if is_oss(model.place) else on_disk(model.base_path or Path(model.place))
    serving = [version.number for version in model.versions if version.state is State.AVAILABLE]
    wanted = [version.number for version in model.versions if version.wanted]
    return Known(name, model.place, tuple(sorted(serving)), tuple(sorted(wanted)), there)


def on_disk(base_path: Path) -> tuple[int, ...]:
    """The numbers of the directories in `base_path` that are versions, none where it cannot be listed."""
    try:
        return tuple(sorted(list_versions(base_path)))
    except (OSError, ValueError):
        return ()


def unknown_model(name: str, models: Iterable[str]) -> ServingError:
    """The refusal of a name that no configured model has."""
    return not_found(f"There is no model {name!r}. {nearest(name, models)}")


def unknown_label(model: str, name: str, labels: Iterable[str]) -> ServingError:
    """The refusal of a label that a model does not have."""
    return not_found(f"{model} has no label {name!r}. {nearest(name, labels)}")


def proto_of(config: pb.ModelServerConfig, name: str) -> pb.ModelConfig:
    """The model `name` in `config`. Raises ServingError NOT_FOUND."""
    for model in config.model_config_list.config:
        if model.name == name:
            return model
    raise unknown_model(name, [model.name for model in config.model_config_list.config])


def numbers(versions: Iterable[int]) -> str:
    """Versions as a person lists them."""
    return ", ".join(map(str, versions)) or "none"


def check_labels_stay(model: pb.ModelConfig, staying: Iterable[int]) -> None:
    """Raise ServingError FAILED_PRECONDITION when a label names a version that is not among those `staying`."""
    kept = set(staying)
    for label, version in sorted(model.version_labels.items()):
        if version not in kept:
            other = max(kept, default=None)
            move = f", %tfs_label {model.name} {label}={other} moves it" if other is not None else ""
            raise ServingError(
                Code.FAILED_PRECONDITION,
                f"Version {version} of {model.name} stays, as the label {label!r} names it: "
                f"%tfs_label {model.name} {label}= takes the label away{move}",
            )


def does_not_serve(model: Known, label: str, version: int, refusal: ServingError) -> ServingError:
    """Why `label` cannot name a version that does not serve, with what can be done."""
    model.check_on_disk([version])
    remedy = "%tfs_status shows why" if version in model.wanted else f"%tfs_load {model.name} {version} loads it"
    return ServingError(
        refusal.code,
        f"The label {label!r} cannot name version {version} of {model.name}, which does not serve "
        f"(those that do: {numbers(model.serving)}): {remedy}",
    )


def check_number(what: str, value: object) -> int:
    """`value` as a version number. Raises ServingError INVALID_ARGUMENT."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise invalid_argument(f"{what}={value} is no version: a version is a whole number")
    if not -(2**63) <= value < 2**63:
        raise invalid_argument(f"{what}={value} is no version: a version has 64 bits")
    return value
