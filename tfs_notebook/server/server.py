"""`Server`: the one object that magics, widgets, panel and command line talk to."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
from concurrent import futures  # Python 3.10 has three TimeoutErrors
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from tfs_notebook.engine.events import Event, EventStream, Kind
from tfs_notebook.errors import Code, ServingError
from tfs_notebook.runtime import Runtime
from tfs_notebook.server.changes import Arrangement, Asked, Changes, InterruptedChangeError
from tfs_notebook.server.config_watch import Following
from tfs_notebook.server.display import mimebundle
from tfs_notebook.server.endpoints import Endpoints, with_token
from tfs_notebook.server.live import LiveModels, add_to, newest_served, removed_when_refused
from tfs_notebook.server.loaders import Loading
from tfs_notebook.server.questions import Questions
from tfs_notebook.server.sources import Sources
from tfs_notebook.settings.grpc import check_listening
from tfs_notebook.settings.mount import Mount
from tfs_notebook.switch_interval import SwitchInterval

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping
    from pathlib import Path

    from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig
    from typing_extensions import Self

    from tfs_notebook.api.inference import Inference
    from tfs_notebook.engine.config_file import ConfigFile
    from tfs_notebook.engine.core import ServerCore
    from tfs_notebook.engine.models.servable import Servable
    from tfs_notebook.options import Options


_SERVERS = WeakSet["Server"]()
_NUMBERS = itertools.count()


def newest_server() -> Server:
    """The server of this process that was started last and runs. Raises ServingError when none does."""
    running = [server for server in list(_SERVERS) if server.running]
    if not running:
        hint = "tfs_notebook.serve(PATH) starts a server, and so does %tfs_serve PATH."
        raise ServingError(Code.FAILED_PRECONDITION, "Nothing is served", hint=hint)
    return max(running, key=lambda server: server.number)


def _disown() -> None:
    """In a process that was forked off no server runs: what is left of them here is the parent's."""
    for server in _SERVERS:
        server.disown()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_disown)


class Server(Questions):
    """A TensorFlow Serving in this process. Make one with `tfs_notebook.serve`; use it in a `with`, or `stop` it."""

    def __init__(self, options: Options, *, oss_credentials: Any = None) -> None:
        """Imports TensorFlow, if nobody has, so that the models can be loaded; takes seconds then.

        `oss_credentials` is a provider of credentials for OSS, asked before every request; by default the environment.
        """
        from tfs_notebook.api.metrics.metrics import Metrics
        from tfs_notebook.engine.saved_model.loader import DEVICES
        from tfs_notebook.server.request_log import RequestLogging

        self.made_up_token = ""
        """The token that was made up because none was given; "" when none was needed."""
        self.console_url: str | None = None
        """Where the console's page is, None while there is none; set by `console.pages`."""
        self._take(options, self._complete(options))
        self.events = EventStream()
        self._metrics = Metrics()
        self._devices = DEVICES
        self._loading = Loading(self._metrics, lambda: self._running)
        self._runtime = Runtime()
        try:
            self._core, self._inference, self._endpoints, self._changes = self._runtime.call(self._make())
        except BaseException:
            self._runtime.close()
            raise
        self._logging = RequestLogging(self._core, self._inference, self._runtime.loop, self._metrics.logged)
        self._core.fetcher = self._sources = Sources(self._look_again, self._core.in_use, oss_credentials)
        self._following = Following(self._core, self._sources, self.options, self._changes.apply)
        self._running = True
        self.number = next(_NUMBERS)
        """Which server of this process it is; the later, the higher."""
        self.live = LiveModels()
        _SERVERS.add(self)
        self._switch_interval = SwitchInterval(self._runtime.loop)
        self._inference.on_request = self._switch_interval.request

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    # Life

    async def _make(self) -> tuple[ServerCore, Inference, Endpoints, Changes]:
        from tfs_notebook.api.inference import Inference
        from tfs_notebook.engine.core import ServerCore
        from tfs_notebook.engine.lifecycle.manager import Manager
        from tfs_notebook.engine.saved_model.loader import Loader

        manager = Manager(
            Loader(),
            self.events,
            load_threads=self.options.num_load_threads,
            unload_threads=self.options.num_unload_threads,
        )
        core = ServerCore(manager, self.events)
        inference = Inference(core)
        endpoints = Endpoints(inference, self._metrics, self._begin_reload)
        return core, inference, endpoints, Changes(core, self.events, self._arrange, lambda: endpoints.ports)

    def _complete(self, options: Options) -> Options:
        """`options` with the token that is in force."""
        return with_token(options, os.environ.get("TFS_NOTEBOOK_TOKEN", ""), self.made_up_token)

    def _take(self, asked: Options, complete: Options) -> None:
        self._asked, self.options = asked, complete
        if complete.token and not (asked.token or os.environ.get("TFS_NOTEBOOK_TOKEN")):
            self.made_up_token = complete.token

    def start(
        self,
        config: ModelServerConfig,
        *,
        file: ConfigFile | None = None,
        timeout: float | None = 60.0,
        strict: bool = False,
        meanwhile: Callable[[], None] | None = None,
    ) -> None:
        """Load the models of `config`, waiting up to `timeout` seconds for them, then open the ports.

        `file` is where `config` was read from; its changes are followed as `model_config_file_poll_wait_seconds` says.
        With `strict`, as on the command line, a model that does not come up raises ServingError; otherwise the others
        serve and `problems` tells. `meanwhile` is called a few times a second during the wait. Raises ServingError for
        an invalid configuration and PortTakenError for a taken port. Whatever is raised, Ctrl-C too, nothing is left
        running.
        """
        try:
            check_listening(self.options)
            arrangement = self._arrangement(self._asked, file)
            self._changes.start(arrangement)
            self._configure(arrangement.load)
            self._sources.turn_to(self.options)
            try:
                self._runtime.call(self._core.apply(config, timeout=timeout, patient=strict), meanwhile=meanwhile)
            except ServingError as error:
                if strict:
                    message = error.message.replace("model(s) did not", "servable(s) did not", 1)
                    raise ServingError(error.code, message, where=error.where, hint=error.hint) from None
                if not self._core.configs:
                    raise
            self._runtime.call(self._open(file))
        except BaseException:
            self.stop(timeout=1.0)
            raise
        self._switch_interval.turn_to(self.options.switch_interval_micros)
        self.events.publish(Event(Kind.SERVER, message="started"))

    async def _open(self, file: ConfigFile | None) -> None:
        await self._endpoints.open(self.options)
        self._following.turn_to(file, self.options)

    def change(
        self,
        options: Options,
        config: ModelServerConfig,
        *,
        file: ConfigFile | None = None,
        timeout: float = 60.0,
        meanwhile: Callable[[], None] | None = None,
    ) -> None:
        """Go on with other options and another configuration, without an unanswered request.

        What is served under an unchanged number is exchanged when its files changed, and what failed is tried again.
        Raises ServingError for a configuration that is invalid, or refused because of a label, and PortTakenError for a
        taken port; nothing changes then, but for a port that somebody else took meanwhile. `problems` tells that, and
        what does not come up within `timeout` seconds, during which `meanwhile` is called now and then. Ctrl-C raises
        InterruptedChangeError, which tells whether the change goes on.
        """
        from tfs_notebook.engine.config import validate_config

        validate_config(config, self._core.configs)
        asked = Asked()
        self._carry_out(
            asked, self._changes.change(asked, self._arrangement(options, file), config, timeout), meanwhile
        )

    def edit(
        self,
        edit: Callable[[ModelServerConfig], ModelServerConfig | None],
        *,
        timeout: float = 60.0,
        reload: bool = False,
        meanwhile: Callable[[], None] | None = None,
    ) -> None:
        """Change the configuration: `edit` is called with a copy of the one in force, and changes that or returns
        another one, on the serving thread, so at once. Edits and all other changes come one after the other; a
        configuration that still waits for versions of its labels is waited for.

        With `reload`, versions whose files have changed are exchanged, and what failed is tried again. A configuration
        file that is followed replaces what was edited when its text changes, as after HandleReloadConfigRequest.
        Raises ServingError for a configuration that is invalid, or refused because of a label, and whatever `edit`
        raises; nothing has changed then. The rest is as `change` has it.
        """
        asked = Asked()
        self._carry_out(asked, self._changes.edit(asked, edit, timeout, reload=reload), meanwhile)

    def serve_models(
        self,
        models: Mapping[str, object],
        *,
        label: str = "",
        version: int | None = None,
        export_to: str = "",
        timeout: float = 60.0,
        meanwhile: Callable[[], None] | None = None,
        **messages: Any,
    ) -> None:
        """Serve models in memory, by the name that each is to have: the next version of each, beside all else.

        A Keras model, a tf.Module, a tf.function with an input signature, or a loaded SavedModel is written as a
        SavedModel, `version` or the next number, to `export_to`/NAME, by default to a private directory that goes with
        the server. The version before answers until the new one does; with a `label` it goes on, and the label moves.
        Raises ServingError, and what served goes on. `messages` are `LiveModels.export`'s variables and progress.
        """
        exported = self.live.export(
            models, self._core.status(), label=label, version=version, export_to=export_to, **messages
        )
        served = newest_served(self._core.status())
        with removed_when_refused(exported):
            self.edit(
                lambda config: add_to(config, exported, served), reload=True, timeout=timeout, meanwhile=meanwhile
            )
        self.live.prune(self._core.status())

    def undo(self, *, timeout: float = 60.0, meanwhile: Callable[[], None] | None = None) -> None:
        """Go back to the configuration before the one in force, whoever changed it; ten times at most.

        Options, like a mount, stay as they are. A config file that is followed is applied again when its text changes.
        Raises ServingError FAILED_PRECONDITION when there is none; the rest is as `edit` has it.
        """
        asked = Asked()
        self._carry_out(asked, self._changes.undo(asked, timeout), meanwhile)

    def _carry_out(
        self, asked: Asked, change: Coroutine[Any, Any, object], meanwhile: Callable[[], None] | None
    ) -> None:
        try:
            self._runtime.call(change, meanwhile=meanwhile)
        except KeyboardInterrupt:
            raise InterruptedChangeError(goes_on=asked.leave()) from None

    def _arrangement(self, asked: Options, file: ConfigFile | None) -> Arrangement:
        complete = self._complete(asked)
        return Arrangement(asked, complete, self._loading.loader(complete), file)

    async def _arrange(self, wanted: Arrangement) -> None:
        """Make everything as it is to be but the models."""
        try:
            await self._endpoints.open(replace(wanted.options, **wanted.ports))
        except BaseException:
            for problem in self._endpoints.lost.values():
                self.events.publish(Event(Kind.SERVER, error=problem, message="stopped listening"))
            raise
        if not self._running:
            raise ServingError(Code.UNAVAILABLE, "The server has been stopped")
        self._take(wanted.asked, wanted.options)
        self._configure(wanted.load)
        self._switch_interval.turn_to(self.options.switch_interval_micros)
        self._following.turn_to(wanted.file, self.options)
        await asyncio.get_running_loop().run_in_executor(None, self._sources.turn_to(self.options))

    def _configure(self, load: Callable[[Path], Servable]) -> None:
        from tfs_notebook.engine.core import CoreOptions
        from tfs_notebook.engine.lifecycle.manager import RetryPolicy

        options, manager = self.options, self._core.manager
        manager.load = load
        manager.retry_policy = RetryPolicy(options.max_num_load_retries, options.load_retry_interval_micros / 1e6)
        self._core.options = CoreOptions(
            poll_seconds=options.file_system_poll_wait_seconds,
            allow_labels_for_unavailable=options.allow_version_labels_for_unavailable_models,
            prefer_tflite=options.prefer_tflite_model,
        )
        self._core.resolve = Mount(options.mount, options.model_root).resolve
        self._logging.limit_files(options.request_log_file_mb << 20)

    # Sources

    def _look_again(self, directory: str) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._runtime.loop.call_soon_threadsafe(self._core.look_again, directory)

    def sync_now(self, *, timeout: float = 60.0, meanwhile: Callable[[], None] | None = None) -> None:
        """Look now at everything in OSS that models and their configuration come from, and bring what is new.

        Returns once that serves, or after `timeout` seconds; `meanwhile` is called a few times a second. Raises
        ServingError while it is paused.
        """
        if self._sources.paused:
            raise ServingError(
                Code.FAILED_PRECONDITION,
                "The synchronisation is paused",
                hint="%tfs_sync resume (Server.sync_resume) goes on, beginning with a look.",
            )
        with contextlib.suppress(TimeoutError, asyncio.TimeoutError, futures.TimeoutError):
            self._runtime.call(self._following.look_now(), timeout, meanwhile=meanwhile)

    def sync_pause(self) -> None:
        """Bring nothing more from OSS until `sync_resume`; what is served stays."""
        self._runtime.call(self._following.pause())

    def sync_resume(self) -> None:
        """Look at OSS again every `oss_poll_wait_seconds`, beginning now."""
        self._runtime.call(self._following.resume())

    def reload(self, config: ModelServerConfig, *, timeout: float = 60.0) -> None:
        """Replace the configuration, as HandleReloadConfigRequest does. Raises ServingError."""
        self._runtime.call(self._changes.apply(config, timeout))

    def _begin_reload(self, config: ModelServerConfig, timeout: float) -> futures.Future[None]:
        return self._runtime.spawn(self._changes.apply(config, timeout))

    def stop(self, timeout: float = 10.0) -> None:
        """Finish the requests under way within `timeout` seconds, unload everything, free the ports. Twice is fine."""
        if not self._running:
            return
        self._running = False
        try:
            try:
                with contextlib.suppress(TimeoutError, asyncio.TimeoutError, futures.TimeoutError):
                    self._runtime.call(self._close(timeout), timeout + 2.0)
            finally:
                self._endpoints.abandon()
                self._logging.close(timeout)
                self._sources.close()
        finally:
            self._runtime.close()
            self._switch_interval.turn_to(0)
            self.live.close()
            self.events.publish(Event(Kind.SERVER, message="stopped"))

    def disown(self) -> None:
        """Be a stopped server in a process that was forked off; the parent's goes on."""
        self._running = False
        self._runtime.disown()

    async def _close(self, timeout: float) -> None:
        self._changes.close()
        self._following.stop()
        self._core.manager.registry.hurry()
        try:
            await self._endpoints.close(timeout)
        finally:
            await asyncio.wait_for(self._core.close(), timeout)

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run `coroutine` on the serving loop until it ends or the server stops."""
        self._runtime.spawn(coroutine)

    def listen(self, listener: Callable[[Event], None]) -> Callable[[], None]:
        """Call `listener` on the serving thread for every event; it must return at once. The result ends that."""
        return self.events.listen(listener)

    def __repr__(self) -> str:
        if not self._running:
            return "<tfs_notebook.Server, stopped>"
        parts = [*self.status().addresses, *["batching"] * self.options.enable_batching]
        return f"<tfs_notebook.Server {', '.join(parts)}: {', '.join(sorted(self._core.configs)) or 'no model'}>"

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        return mimebundle(self, **kwargs)
