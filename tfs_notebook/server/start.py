"""Starts a server for a notebook or script, and lets a running one go on with something else."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

from tfs_notebook.engine.config import config_text, parse_config
from tfs_notebook.engine.events import Kind
from tfs_notebook.runtime import import_aside
from tfs_notebook.settings.batching import batching_parameters
from tfs_notebook.settings.deployment import plan
from tfs_notebook.settings.grpc import check_listening
from tfs_notebook.tensorflow_log import ERRORS_ONLY

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tfs_notebook.server.server import Server


def serve(
    path: str,
    text: str,
    given: Mapping[str, Any],
    *,
    source: str = "model config",
    credentials: Any = None,
    meanwhile: Callable[[Server], None] | None = None,
) -> Server:
    """Start a server in a notebook or script; see `tfs_notebook.serve`. `meanwhile` is called while models come up."""
    deployed = plan(path, text, given, source=source, credentials=credentials)
    check_listening(deployed.options)  # before TensorFlow is imported, which takes seconds
    batching_parameters(deployed.options)
    import_aside("tfs_notebook.engine.saved_model.loader", "tfs_notebook.server.server")
    from tfs_notebook.server.server import Server

    server = Server(deployed.options, oss_credentials=credentials)
    waiting = partial(meanwhile, server) if meanwhile is not None else None
    speak_up = ERRORS_ONLY.begin()
    server.events.listen(lambda event: None if event.kind is not Kind.SERVER or server.running else speak_up())
    server.start(deployed.config, file=deployed.file, meanwhile=waiting)
    open_console(server)
    return server


def open_console(server: Server) -> None:
    """Open the console's page, if the options of `server` want one. Raises PortTakenError, and then nothing runs."""
    if server.options.console_port == 0:
        return
    from tfs_notebook.console.pages import open_page

    try:
        open_page(server, server.options.console_port)
    except BaseException:
        server.stop(timeout=1.0)
        raise


def serve_models(
    models: Mapping[str, object],
    given: Mapping[str, Any],
    *,
    credentials: Any = None,
    meanwhile: Callable[[Server], None] | None = None,
    **export: Any,
) -> Server:
    """Start a server for models in memory, see `Server.serve_models`; `export` goes to `LiveModels.export`."""
    from tfs_notebook.server.live import LiveModels, add_to

    live = LiveModels()
    try:
        exported = live.export(models, **export)
        config = parse_config("")
        add_to(config, exported, {})
        server = serve("", config_text(config), given, source="model", credentials=credentials, meanwhile=meanwhile)
    except BaseException:
        live.close()
        raise
    server.live = live
    return server


def change_and_serve_models(
    server: Server,
    models: Mapping[str, object],
    given: Mapping[str, Any],
    *,
    meanwhile: Callable[[Server], None] | None = None,
    **export: Any,
) -> None:
    """The same for a running server with other options, which `given` has."""
    from tfs_notebook.server.live import add_to, newest_served, removed_when_refused

    exported, config = server.live.export(models, server.status().models, **export), server.config
    add_to(config, exported, newest_served(server.status().models))
    with removed_when_refused(exported):
        change(server, "", config_text(config), given, source="model", meanwhile=meanwhile)
    server.live.prune(server.status().models)


def change(
    server: Server,
    path: str,
    text: str,
    given: Mapping[str, Any],
    *,
    source: str = "model config",
    meanwhile: Callable[[Server], None] | None = None,
) -> None:
    """Let a running server go on with another deployment, without an unanswered request.

    Where it listens and who may ask stay as they are unless `given` says otherwise.
    """
    kept = () if given.get("ssl_config_file") else server.options.files
    given = {**server.listening_options(), **given}
    deployed = plan(path, text, given, source=source, credentials=server.oss_credentials, kept=kept)
    waiting = partial(meanwhile, server) if meanwhile is not None else None
    with _console(server, deployed.options.console_port):
        server.change(deployed.options, deployed.config, file=deployed.file, meanwhile=waiting)


def _console(server: Server, port: int) -> AbstractContextManager[None]:
    """Moves the console's page while a server is changed, if it is to be somewhere else."""
    if port == server.options.console_port:
        return nullcontext()
    from tfs_notebook.console.pages import moved

    return moved(server, port)
