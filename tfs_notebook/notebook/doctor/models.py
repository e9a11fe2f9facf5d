"""Models on disk: directories that are no version, missing files, unusable SavedModels, labels without a version."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tfs_notebook.engine.config import Latest, Specific
from tfs_notebook.engine.storage import hints
from tfs_notebook.engine.storage.completeness import has_model, missing_part
from tfs_notebook.engine.storage.scan import list_versions, parse_version
from tfs_notebook.errors import ServingError, not_found
from tfs_notebook.notebook.doctor.finding import Finding, one_line
from tfs_notebook.oss.address import is_oss
from tfs_notebook.runtime import import_aside

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tfs_notebook.engine.config import ModelConfig
    from tfs_notebook.engine.status import ModelStatus
    from tfs_notebook.server.server import Server

_MOST_READ = 5
"""Versions of a model whose graph is read, from the newest on: one may have hundreds of megabytes."""
_INIT_SIGNATURE = "__saved_model_init_op"
_EXPORT = "write it again with model.export(DIRECTORY) or tf.saved_model.save(model, DIRECTORY, signatures=…)"


def look_at(path: Path) -> tuple[str, list[Finding]]:
    """What was looked at in `path`, and what was found. Raises ServingError NOT_FOUND for what does not exist."""
    if not path.exists():
        raise not_found(f"There is no {path}", hint=hints.for_missing(path))
    import_aside("tfs_notebook.engine.saved_model.file")  # TensorFlow's messages, which it brings
    if path.is_file():
        if path.suffix == ".json":
            from tfs_notebook.notebook.doctor.eas import look_at_service

            return f"the PAI-EAS service in {path}", look_at_service(path)
        return f"the model config in {path}", list(_config_file(path))
    if has_model(path):
        return f"the SavedModel in {path}", [*_stray_version(path), *_version(path.name, path)]
    if _versions(path):
        return f"the model in {path}", list(model_findings(path.name, path))
    models = [child for child in sorted(path.iterdir()) if hints.is_dir(child) and _versions(child)]
    if not models:
        return str(path), [
            Finding(path.name, f"{path} has no version of a model", one_line(hints.for_no_version(path)))
        ]
    found = [finding for model in models for finding in model_findings(model.name, model)]
    return f"the models {', '.join(model.name for model in models)} in {path}", found


def _stray_version(path: Path) -> Iterator[Finding]:
    if parse_version(path.name) is None:
        yield Finding(path.name, "it is in no directory named by a number", one_line(hints.for_no_version(path)))


def _config_file(path: Path) -> Iterator[Finding]:
    from tfs_notebook.engine.config import validate_config
    from tfs_notebook.engine.config_file import ConfigFile

    try:
        models = validate_config(ConfigFile(str(path)).read()) or {}
    except ServingError as error:
        yield Finding(path.name, one_line(error.message), one_line(error.hint) or "mend that line")
        return
    if not models:
        yield Finding(path.name, "it lists no model", "write model_config_list { config { name: … base_path: … } }")
    for name, config in models.items():
        yield from _configured(name, config, config.base_path)


def _configured(name: str, config: ModelConfig, place: str) -> Iterator[Finding]:
    if is_oss(place):
        return
    base = Path(place.removeprefix("file://"))
    if not base.is_dir():
        yield Finding(name, f"its base path {place} is no directory", one_line(hints.for_missing(base)))
        return
    yield from model_findings(name, base, config)


def look_at_served(server: Server, besides: str = "") -> tuple[str, list[Finding]]:
    """What was looked at of what `server` serves, and what was found but in the directory `besides`."""
    status = server.status()
    models = [model for model in status.models if model.config is not None]
    found = [finding for model in models for finding in _served(model, besides)]
    others = [*status.listening_problems, *status.logging_problems]
    others += [status.config_problem] if status.config_problem is not None else []
    found += [_of_error("server", error) for error in others]
    for source in status.sources:
        found += [_of_error(source.address, source.problem)] if source.problem is not None else []
    return f"the {len(models)} served model{'s' * (len(models) != 1)}", found


def _served(model: ModelStatus, besides: str) -> Iterator[Finding]:
    for version in model.versions:
        error = version.exchange_error or (version.error if version.wanted else None)
        if error is not None:
            yield _of_error(f"{model.name} {version.number}", error)
    for problem in filter(None, (model.problem, model.label_problem)):
        yield _of_error(model.name, problem)
    if is_oss(model.place):
        for number, reason in model.waiting.items():
            yield Finding(f"{model.name} {number}", one_line(reason), "it is looked at again by itself: %tfs_sync now")
    elif model.base_path is not None and model.problem is None and not _is_same(model.base_path, besides):
        yield from model_findings(model.name, model.base_path, model.config, labels=model.label_problem is None)


def _is_same(base: Path, other: str) -> bool:
    return bool(other) and base.absolute() == Path(other).expanduser().absolute()


def _of_error(about: str, error: ServingError) -> Finding:
    return Finding(about, one_line(error.message), one_line(error.hint) or "%tfs_status shows when it is tried again")


def model_findings(
    name: str, base: Path, config: ModelConfig | None = None, *, labels: bool = True
) -> Iterator[Finding]:
    """What is wrong with the versions in `base`, and with the labels of `config` where `labels` says so."""
    versions = _versions(base)
    if not versions:
        yield Finding(name, f"{base} has no version", one_line(hints.for_no_version(base)))
    yield from _no_versions(name, base, versions)
    for number in sorted(versions, reverse=True)[:_MOST_READ]:
        yield from _version(f"{name} {number}", versions[number])
    if config is not None:
        yield from _selection(name, config, versions, labels=labels)


def _versions(base: Path) -> dict[int, Path]:
    try:
        return list_versions(base)
    except OSError:
        return {}


def _no_versions(name: str, base: Path, versions: Mapping[int, Path]) -> Iterator[Finding]:
    """Directories in `base` that are not taken for versions."""
    for child in sorted(base.iterdir()):
        if not hints.is_dir(child) or child.name.startswith(".") or child in versions.values():
            continue
        number = parse_version(child.name)
        if number is not None:
            other = versions[number].name
            yield Finding(name, f"{child.name} and {other} are one number: only {other} is served", f"rename {child}")
        elif has_model(child):
            meant = hints.number_in(child.name) or max(versions, default=0) + 1
            yield Finding(
                name,
                f"the directory {child.name} is no version: its name is no number",
                f"mv {child} {base / str(meant)}",
            )


def _version(about: str, directory: Path) -> Iterator[Finding]:
    """What keeps the SavedModel in `directory` from being served or called."""
    if missing := missing_part(directory, prefer_tflite=True):
        yield Finding(about, missing, f"copy it again whole, or {_EXPORT}")
    elif has_model(directory):
        yield from _signatures(about, directory)


def _signatures(about: str, directory: Path) -> Iterator[Finding]:
    from google.protobuf.message import DecodeError

    from tfs_notebook.engine.saved_model.file import without_graphs

    graph = directory / "saved_model.pb"
    if not graph.is_file():
        return
    content = graph.read_bytes()
    try:
        found = list(without_graphs(content))
    except DecodeError:
        found = []
    if not found:
        yield Finding(about, f"saved_model.pb is not a SavedModel ({len(content)} bytes)", _EXPORT)
        return
    meta_graphs = [meta for meta in found if "serve" in meta.meta_info_def.tags]
    names = {name for meta_graph in meta_graphs for name in meta_graph.signature_def} - {_INIT_SIGNATURE}
    if not meta_graphs:
        yield Finding(about, "no meta graph has the tag serve", "--saved_model_tags names the tags to serve")
    elif not names:
        yield Finding(about, "the SavedModel has no signature: nobody can call it", _EXPORT)


def _selection(name: str, config: ModelConfig, versions: Mapping[int, Path], *, labels: bool) -> Iterator[Finding]:
    """Labels and chosen versions that do not stand on disk, and labels of versions that the policy leaves out."""
    policy = config.policy
    chosen = set(policy.versions) if isinstance(policy, Specific) else set(versions)
    if isinstance(policy, Latest):
        chosen = set(sorted(versions, reverse=True)[: policy.num_versions])
    for number in sorted(chosen - versions.keys()):
        yield Finding(
            name, f"the policy asks for version {number}, which is not there", f"there is {_numbers(versions)}"
        )
    for label, number in sorted(config.labels.items()) if labels else ():
        if number not in versions:
            remedy = (
                f"version_labels {{ key: '{label}' value: … }} with {_numbers(versions)}, or export version {number}"
            )
            yield Finding(name, f"the label {label} names version {number}, which is not there", remedy)
        elif number not in chosen:
            wanted = " ".join(f"versions: {each}" for each in sorted({*chosen, number}))
            remedy = f"model_version_policy {{ specific {{ {wanted} }} }}"
            yield Finding(name, f"the label {label} names version {number}, which {policy} does not serve", remedy)


def _numbers(versions: Mapping[int, Path]) -> str:
    return ", ".join(map(str, sorted(versions))) or "no version at all"
