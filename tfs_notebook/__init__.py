"""TensorFlow Serving inside the notebook's own kernel.

`%load_ext tfs_notebook`, then `%tfs_serve PATH`; in scripts, `tfs_notebook.serve(PATH)`. Importing this imports neither
TensorFlow nor gRPC.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from tfs_notebook.errors import Code, ServingError
from tfs_notebook.server import display

if TYPE_CHECKING:
    import os

    from IPython.core.interactiveshell import InteractiveShell

    from tfs_notebook.api.local import Prediction
    from tfs_notebook.notebook.call_information.information import CallInformation
    from tfs_notebook.notebook.doctor.report import Report
    from tfs_notebook.server.server import Server

__version__ = "0.1.0"
__all__ = [
    "Code",
    "Prediction",
    "Server",
    "ServingError",
    "call_information",
    "doctor",
    "load_ipython_extension",
    "push",
    "serve",
    "unload_ipython_extension",
]

logging.getLogger(__name__).addHandler(logging.NullHandler())  # else warnings would appear in whatever cell runs


@display.register
def _mimebundle(server: Server, **kwargs: Any) -> dict[str, Any]:
    from tfs_notebook.notebook.view.display import mimebundle

    return mimebundle(server, **kwargs)


def serve(
    path: str | os.PathLike[str] = "", *, config: str = "", oss_credentials: Any = None, **options: Any
) -> Server:
    """Serve TensorFlow models from this process and return the running `Server`.

    `path` is a model's base path (the directory of its numbered versions; the model is called `model` unless
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

    `path` is a model's directory, a directory of models, a model config file or a service.json of PAI-EAS. `.findings`
    of the result each have a remedy. Raises ServingError for a path that does not exist.
    """
    from tfs_notebook.notebook.doctor import report
    from tfs_notebook.settings.arguments import as_path

    return report.doctor(as_path(path), server)


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
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
