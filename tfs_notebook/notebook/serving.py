"""`%tfs_serve`: starts a server or changes it, for variables, a path or a config, and shows how far that is."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from tfs_notebook.errors import invalid_argument
from tfs_notebook.notebook.live import named_models, path_in
from tfs_notebook.notebook.view.progress import FetchProgress
from tfs_notebook.server import start

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from tfs_notebook.server.server import Server


def serve(
    server: Server | None,
    arguments: argparse.Namespace,
    text: str,
    given: Mapping[str, Any],
    namespace: Mapping[str, Any],
) -> Server:
    """Do what a line of %tfs_serve asks for; `server` is the one that runs, `given` are TensorFlow Serving's options.

    Returns the server that runs then. Raises ServingError, OSError for a taken port, and KeyboardInterrupt.
    """
    models = named_models(arguments.models, namespace, variables_only=arguments.variable == "true")
    with FetchProgress(server) as progress:
        if "tensorflow" not in sys.modules:
            progress.say("importing TensorFlow …")
        if models:
            return _serve_models(server, models, arguments, text, given, progress)
        _check_options(arguments)
        path = path_in(arguments.models[0], namespace) if arguments.models else ""
        if server is None:
            return start.serve(path, text, given, source="cell", meanwhile=progress.update)
        start.change(server, path, text, given, source="cell", meanwhile=progress.update)
        return server


def _serve_models(
    server: Server | None,
    models: Mapping[str, Any],
    arguments: argparse.Namespace,
    text: str,
    given: Mapping[str, Any],
    progress: FetchProgress,
) -> Server:
    variables = {name: name for name in models}
    given = dict(given)
    if others := [f"--{name}" for name in ("model_config_file", "model_base_path", "mount") if given.get(name)]:
        raise invalid_argument(
            f"{next(iter(models))} is a variable and needs no {others[0]}: serve each by its own line"
        )
    if text.strip():
        raise invalid_argument(
            f"{next(iter(models))} is a variable: a config in the cell needs a %%tfs_serve of its own"
        )
    if name := given.pop("model_name", ""):
        if len(models) > 1:
            raise invalid_argument(
                f"--model_name={name} is one name for {len(models)} models: serve each by its own line"
            )
        variables = {name: next(iter(models))}
        models = {name: next(iter(models.values()))}
    export = {
        "variables": variables,
        "label": arguments.label,
        "version": arguments.version,
        "export_to": arguments.export_to,
        "progress": progress.say,
    }
    if server is None:
        return start.serve_models(models, given, meanwhile=progress.update, **export)
    if given:
        start.change_and_serve_models(server, models, given, meanwhile=progress.update, **export)
    else:
        server.serve_models(models, meanwhile=lambda: progress.update(server), **export)
    return server


def _check_options(arguments: argparse.Namespace) -> None:
    for option, value in (
        ("label", arguments.label),
        ("version", arguments.version),
        ("export_to", arguments.export_to),
    ):
        if value:
            raise invalid_argument(
                f"--{option}={value} is for variables: a path has its versions already, and a config their labels"
            )
