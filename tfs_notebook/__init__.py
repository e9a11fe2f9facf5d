"""TensorFlow Serving inside the notebook's own kernel.

`%load_ext tfs_notebook`, then `%tfs_serve PATH`; in scripts, `tfs_notebook.serve(PATH)`. Importing this imports neither
TensorFlow nor gRPC.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tfs_notebook.errors import Code, ServingError
from tfs_notebook.server import display

if TYPE_CHECKING:
    from collections.abc import Sequence

    from IPython.core.interactiveshell import InteractiveShell

    from tfs_notebook.api.local import Prediction
    from tfs_notebook.notebook.call_information.information import CallInformation
    from tfs_notebook.notebook.configuration.record import ConfigRecord, ConfigText
    from tfs_notebook.notebook.doctor.report import Report
    from tfs_notebook.notebook.parity.report import Parity
    from tfs_notebook.server.keras_callback import Serve
    from tfs_notebook.server.server import Server

__version__ = "0.1.0"
__all__ = [
    "Code",
    "Prediction",
    "Serve",
    "Server",
    "ServingError",
    "call_information",
    "config",
    "doctor",
    "label",
    "load",
    "load_ipython_extension",
    "parity",
    "policy",
    "push",
    "serve",
    "unload",
    "unload_ipython_extension",
]

logging.getLogger(__name__).addHandler(logging.NullHandler())  # else warnings would appear in whatever cell runs


@display.register
def _mimebundle(server: Server, **kwargs: Any) -> dict[str, Any]:
    from tfs_notebook.notebook.view.display import mimebundle

    return mimebundle(server, **kwargs)


def serve(path: Any = "", *, config: str = "", oss_credentials: Any = None, **options: Any) -> Server:
    """Serve TensorFlow models from this process and return the running `Server`.

    `path` may be a model in memory: a Keras model, a tf.Module, a tf.function or a loaded SavedModel, which is called
    `model` unless `model_name` says otherwise, or a mapping of several by name; `Server.serve_models` serves the next
    versions. Else it is a model's base path (the directory of its numbered versions; the model is called `model` unless
    `model_name` says otherwise) or, with `mount`, the directory that stands for that path; `oss://BUCKET/PREFIX/` is
    brought here from OSS and kept in step. `config` is a ModelServerConfig in text format. `options` are the flags of
    `tfs-model-server` by name; REST is on port 8501 and gRPC on 8500 unless `rest_api_port` and `port` say otherwise,
    and 0 picks a free one. `oss_credentials` is an object with oss2's `get_credentials()`; by default keys and roles
    are taken from the environment.

    Raises ServingError for a configuration that is invalid and OSError for a taken port; models that could not be
    loaded are told by `Server.problems` while the others serve.
    """
    from tfs_notebook.server import start
    from tfs_notebook.settings.arguments import as_path

    if not isinstance(path, (str, bytes, os.PathLike)):
        models = path if isinstance(path, Mapping) else {options.pop("model_name", "model"): path}
        return start.serve_models(models, options, credentials=oss_credentials)
    return start.serve(as_path(path), config, options, credentials=oss_credentials)


def push(model: Any, address: str, *, version: int | None = None, oss_credentials: Any = None, **options: Any) -> str:
    """Upload a model to OSS, so that nobody ever sees half of it, and return the address of the version written.

    `model` is a version's directory, a directory of numbered versions (the newest is taken), a Keras model or a
    tf.Module. `address` is `oss://BUCKET/PREFIX/` of the model; the number is `version`, or the next free one.
    `options` are `oss_endpoint`, `oss_region`, `oss_cname` and `oss_marker`; `oss_credentials` as for `serve`. What an
    interrupted push has sent is not sent again.

    Raises ServingError, for a number that is there already, too.
    """
    from tfs_notebook.server import push as pushing

    return str(pushing.push(model, address, version, options, credentials=oss_credentials))


def call_information(
    model: str,
    *,
    server: Server,
    version: int | None = None,
    label: str | None = None,
    signature_name: str = "",
    show_token: bool = False,
) -> CallInformation:
    """How programs call `model` of a running `server`: addresses, and programs that run as they are.

    `.programs` has them by what they use: curl, urllib, requests, JavaScript, gRPC. They read the token from the
    environment variable TFS_NOTEBOOK_TOKEN, or hold it with `show_token`. Raises ServingError for what does not serve.
    """
    from tfs_notebook.api.calls.model_spec import ModelSpec
    from tfs_notebook.notebook.call_information import information
    from tfs_notebook.settings.arguments import as_version

    spec = ModelSpec(model, as_version(version), label)
    return information.call_information(server, spec, signature_name, show_token=show_token)


def doctor(path: str | os.PathLike[str] = "", *, server: Server | None = None) -> Report:
    """Look for what is wrong with `path`, with a running `server` and with this machine; nothing is changed.

    `path` is a model's directory or a directory of models, here or in OSS, a model config file, or a service.json of
    PAI-EAS. `.findings` of the result each have a remedy. Raises ServingError for a path that does not exist.
    """
    from tfs_notebook.notebook.doctor import report
    from tfs_notebook.settings.arguments import as_path

    return report.doctor(as_path(path), server)


def parity(  # noqa: PLR0913 - as the options of %tfs_parity
    name: str,
    rows: Any,
    *,
    model: Any = None,
    version: int | None = None,
    label: str | None = None,
    signature_name: str = "",
    at: str = "",
    at_token: str = "",
    server: Server | None = None,
) -> Parity:
    """Ask the model `name` the same `rows` at every step from the `model` in memory to REST and gRPC.

    `rows` are the value of the only input, or a dict of arrays by input name; `at` is the address of another server,
    asked over REST with `at_token`. The record has `.agrees`, the `.first` step that differs, and the likely `.reason`.
    Raises ServingError for what does not serve, and when no step answers.
    """
    from tfs_notebook.api.calls.model_spec import ModelSpec
    from tfs_notebook.notebook.parity import report
    from tfs_notebook.settings.arguments import as_version

    spec = ModelSpec(name, as_version(version), label)
    return report.parity(_server(server), spec, rows, signature_name=signature_name, model=model, at=at, token=at_token)


def label(
    model: str, labels: Mapping[str, int | None] | None = None, /, *, server: Server | None = None, **more: int | None
) -> ConfigRecord:
    """Let labels of `model` name other versions; None takes a label away: `label("modelB", canary=3, old=None)`.

    All of them move, or none does. Without labels the record shows what is configured. Here, as for `policy`, `load`,
    `unload` and `config`, `server` is by default the one that was started last; the record has `.rows` of what was
    before and what is after, and what is refused, by a ServingError that says why, has changed nothing.
    """
    from tfs_notebook.notebook.configuration import edits

    return edits.label(_server(server), model, {**(labels or {}), **more})


def policy(
    model: str,
    *,
    latest: int | None = None,
    all: bool = False,  # noqa: A002 - TensorFlow Serving's word
    specific: Sequence[int] = (),
    server: Server | None = None,
) -> ConfigRecord:
    """Serve the `latest` so many versions of `model`, `all`, or `specific` ones; without any of them, show it."""
    from tfs_notebook.notebook.configuration import edits

    return edits.policy(_server(server), model, latest=latest, all=all, specific=specific)


def load(
    model: str | os.PathLike[str],
    version: int | None = None,
    *,
    model_name: str = "",
    server: Server | None = None,
) -> ConfigRecord:
    """Serve one more `version` of a model, whose policy becomes `specific`: those that it selects now, and this one.

    `model` may also be the name of a model that was unloaded, or a directory or an address in OSS, which is served as
    a new model under its own name or `model_name`.
    """
    from tfs_notebook.notebook.configuration import loading
    from tfs_notebook.settings.arguments import as_path

    return loading.load(_server(server), as_path(model), version, model_name=model_name)


def unload(model: str, version: int | None = None, *, server: Server | None = None) -> ConfigRecord:
    """Serve a `version` no longer, and make the policy `specific` without it; without one, the whole model.

    A version that a label names stays, which the error says; a model takes its labels along. `load` brings it back.
    """
    from tfs_notebook.notebook.configuration import loading

    return loading.unload(_server(server), model, version)


def config(
    *, save: str | os.PathLike[str] = "", undo: bool = False, server: Server | None = None
) -> ConfigRecord | ConfigText:
    """The configuration in force as the text of a model_config.pbtxt; `save` writes that to a file, too.

    `undo` goes back to the configuration before, whoever changed it, ten times at most; the record says what that
    changed.
    """
    from tfs_notebook.notebook.configuration import edits
    from tfs_notebook.settings.arguments import as_path

    return edits.config(_server(server), save=as_path(save), undo=undo)


def _server(server: Server | None) -> Server:
    from tfs_notebook.server.server import newest_server

    return server if server is not None else newest_server()


def load_ipython_extension(shell: InteractiveShell) -> None:
    """`%load_ext tfs_notebook`."""
    from tfs_notebook.notebook.magics import register

    register(shell)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """`%unload_ext tfs_notebook`: stops the server and removes everything that was added to the shell."""
    from tfs_notebook.notebook.magics import unregister

    unregister(shell)


def __getattr__(name: str) -> Any:
    if name == "Prediction":
        from tfs_notebook.api.local import Prediction

        return Prediction
    if name == "Server":
        from tfs_notebook.server.server import Server

        return Server
    if name == "Serve":
        from tfs_notebook.server.keras_callback import Serve

        return Serve
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
