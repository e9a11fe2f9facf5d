"""Models in memory that a server serves: each is exported as the next version of a base path.

What is served already goes on until the new version is ready. The directories are private and go with the server,
unless somebody names one to export to.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from tfs_notebook.engine.config import PLATFORM
from tfs_notebook.engine.events import State
from tfs_notebook.engine.models.export import check_exportable, export
from tfs_notebook.engine.storage.version_tree import VersionTree
from tfs_notebook.errors import Code, ServingError, invalid_argument

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from tensorflow_serving.config.model_server_config_pb2 import ModelConfig, ModelServerConfig

    from tfs_notebook.engine.status import ModelStatus

_MAX_KEPT = 5
"""Private versions of a model that stay on the disk, besides those that are served: labels can go back to them."""


@dataclass(frozen=True, slots=True)
class Exported:
    """A model that has been written as a version of `base_path`, and the label it is to have ("": none)."""

    name: str
    base_path: Path
    number: int
    label: str = ""


@dataclass
class LiveModels:
    """Exports models for one server, into a private directory or where `export_to` of each export says."""

    _private: Path | None = None
    _trees: dict[str, VersionTree] = field(default_factory=dict)

    def export(
        self,
        models: Mapping[str, object],
        serving: Sequence[ModelStatus] = (),
        *,
        variables: Mapping[str, str] | None = None,
        label: str = "",
        version: int | None = None,
        export_to: str = "",
        progress: Callable[[str], None] = lambda _text: None,
    ) -> list[Exported]:
        """Write each of `models`, by the name it is served under, as its next version or as `version`.

        `serving` is what the server serves now; `variables` are the models' names in messages, and `progress` is called
        with what is being done. All are checked before the first is written. Raises ServingError.
        """
        names = {name: (variables or {}).get(name, name) for name in models}
        for name, model in models.items():
            check_exportable(model, names[name])
        found: list[Exported] = []
        try:
            for name, model in models.items():
                progress(f"exporting {names[name]}, a {type(model).__name__}, as a version of {name} …")
                found.append(self._export(name, model, names[name], serving, label, version, export_to))
        except BaseException:
            remove(found)
            raise
        return found

    def _export(
        self,
        name: str,
        model: object,
        variable: str,
        serving: Sequence[ModelStatus],
        label: str,
        version: int | None,
        export_to: str,
    ) -> Exported:
        tree = self._tree(name, export_to)
        known = _known_versions(serving, name) | tree.numbers()
        number = max(known, default=0) + 1 if version is None else version
        _check_unused(name, number, known)
        try:
            tree.add(partial(export, model, name=variable), number)
        except OSError as error:
            message = f"{variable} cannot be exported to {tree.base}: {error.strerror or error}"
            raise ServingError(Code.UNAVAILABLE, message, hint="--export_to DIRECTORY names another place.") from None
        return Exported(name, tree.base, number, label)

    def prune(self, serving: Sequence[ModelStatus]) -> None:
        """Delete private versions that are neither served nor among the last."""
        for name, tree in self._trees.items():
            if self._private is not None and self._private in tree.base.parents:
                tree.prune(_MAX_KEPT, _known_versions(serving, name))

    def _tree(self, name: str, export_to: str) -> VersionTree:
        directory = quote(name, safe=" ")
        if export_to:
            base = Path(export_to).expanduser().absolute() / directory
            if base.is_file() or base.parent.is_file():
                raise invalid_argument(f"--export_to={export_to} is a file: name a directory")
            tree = self._trees[name] = VersionTree(base)
        elif (known := self._trees.get(name)) is not None:
            tree = known
        else:
            self._private = self._private or Path(tempfile.mkdtemp(prefix="tfs-live-"))
            tree = self._trees[name] = VersionTree(self._private / directory)
            tree.prepare_private()
        return tree

    def close(self) -> None:
        """Delete the private directories."""
        private, self._private = self._private, None
        if private is not None:
            shutil.rmtree(private, ignore_errors=True)
            self._trees = {name: tree for name, tree in self._trees.items() if private not in tree.base.parents}


def add_to(config: ModelServerConfig, exported: list[Exported], served: Mapping[str, int]) -> None:
    """Let `config` serve the `exported` versions: the newest, and those that have labels.

    `served` has the newest version that each model serves now: it stays beside one that gets a label.
    """
    for one in exported:
        model = next((model for model in config.model_config_list.config if model.name == one.name), None)
        if model is None:
            model = config.model_config_list.config.add(name=one.name, model_platform=PLATFORM)
        is_moved = model.base_path != str(one.base_path)
        model.base_path = str(one.base_path)
        if is_moved:
            model.ClearField("version_labels")
        wanted = {one.number, *([served[one.name]] if one.label and one.name in served and not is_moved else [])}
        if one.label:
            model.version_labels[one.label] = one.number
        _select(model, wanted | set(model.version_labels.values()), newest=one.number)


def _select(model: ModelConfig, wanted: set[int], *, newest: int) -> None:
    """Choose the policy that serves `wanted`; one that serves all versions stays."""
    policy = model.model_version_policy
    if policy.WhichOneof("policy_choice") == "all":
        return
    if wanted == {newest} == {max(VersionTree(Path(model.base_path)).numbers(), default=newest)}:
        model.ClearField("model_version_policy")
    else:
        policy.specific.versions[:] = sorted(wanted)


def newest_served(serving: Sequence[ModelStatus]) -> dict[str, int]:
    """The newest version that each model serves now."""
    return {
        model.name: max(version.number for version in model.versions if version.state is State.AVAILABLE)
        for model in serving
        if any(version.state is State.AVAILABLE for version in model.versions)
    }


def _known_versions(serving: Sequence[ModelStatus], name: str) -> set[int]:
    """The versions of model `name` that are loaded or served now."""
    return {v.number for model in serving if model.name == name for v in model.versions if v.state is not State.END}


def _check_unused(name: str, number: int, known: set[int]) -> None:
    if number < 1:
        raise invalid_argument(f"--version={number} is no version: versions are numbered from 1")
    if number in known:
        hint = f"Leave --version out for the next number, {max(known) + 1}."
        raise ServingError(Code.ALREADY_EXISTS, f"Version {number} of {name} is there already", hint=hint)


def remove(exported: list[Exported]) -> None:
    """Delete versions that nobody serves."""
    for one in exported:
        shutil.rmtree(one.base_path / str(one.number), ignore_errors=True)


@contextlib.contextmanager
def removed_when_refused(exported: list[Exported]) -> Iterator[None]:
    """Take exported versions away again when the configuration that was to serve them is refused."""
    try:
        yield
    except ServingError as error:
        if error.code is Code.DEADLINE_EXCEEDED:  # it goes on
            raise
        remove(exported)
        raise
