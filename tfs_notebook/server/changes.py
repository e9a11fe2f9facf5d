"""The changes of a running server: applied one after the other, and what is said about one stays true."""

from __future__ import annotations

import asyncio
import copy
import threading
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from tfs_notebook.engine.events import Event, EventStream, Kind
from tfs_notebook.errors import Code, ServingError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Mapping
    from pathlib import Path

    from tfs_notebook.engine.config_file import ConfigFile
    from tfs_notebook.engine.core import ServerCore
    from tfs_notebook.engine.lifecycle.trial import Adoption
    from tfs_notebook.engine.models.servable import Servable
    from tfs_notebook.options import Options


class InterruptedChangeError(KeyboardInterrupt):
    """Ctrl-C while a change was waited for."""

    def __init__(self, *, goes_on: bool) -> None:
        self.goes_on = goes_on
        """Whether the change had begun, and will be completed; otherwise nothing of it happens."""
        super().__init__("what was asked for goes on" if goes_on else "nothing has changed")


class Asked:
    """A change that somebody asked for: it can be taken back until it begins."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._begun = self._left = False

    def begin(self) -> bool:
        """Whether it may begin: nobody has taken it back. Called on the serving loop."""
        with self._lock:
            self._begun = not self._left
            return self._begun

    def leave(self) -> bool:
        """Wait for it no more, and take it back if it has not begun; whether it goes on. Any thread may call."""
        with self._lock:
            self._left = True
            return self._begun

    @property
    def is_left(self) -> bool:
        """Whether nobody waits for it any more."""
        return self._left


@dataclass(frozen=True, slots=True, eq=False)
class Arrangement:
    """Options as they were `asked` for and with the token in force, how versions are loaded, and the config file.

    `ports` are those that it had, by flag, while it was arranged: the way back leads to them.
    """

    asked: Options
    options: Options
    load: Callable[[Path], Servable]
    file: ConfigFile | None = None
    ports: Mapping[str, Any] = field(default_factory=dict)


class Changes:
    """Applies changes of a server to `core`, and to all else by `arrange`. Lives on the serving loop."""

    def __init__(
        self,
        core: ServerCore,
        events: EventStream,
        arrange: Callable[[Arrangement], Awaitable[None]],
        ports: Callable[[], Mapping[str, int]],
    ) -> None:
        """`arrange` makes everything but the models as an Arrangement says, or raises and leaves it as it was; `ports`
        gives the ports there are.
        """
        self._core = core
        self._events = events
        self._arrange = arrange
        self._ports = ports
        self._one_at_a_time = asyncio.Lock()
        self._arranged: Arrangement | None = None
        self._in_force: Arrangement | None = None
        """What belongs to the configuration in force; another is arranged while labels wait for their versions."""
        self._tasks: set[asyncio.Task[Adoption]] = set()
        self._closed = False

    def start(self, arrangement: Arrangement) -> None:
        """Begin with what the server was started with."""
        self._arranged = self._in_force = arrangement

    async def change(
        self, asked: Asked, arrangement: Arrangement, config: ModelServerConfig, timeout: float
    ) -> ServingError | None:
        """Make the server as asked; why not every model of `config` serves after `timeout` seconds, None when all do.

        Raises what keeps it from being changed: then nothing has changed.
        """
        return await self._wait(asked, self._carry_out(asked, arrangement, config), timeout)

    async def edit(
        self,
        asked: Asked,
        edit: Callable[[ModelServerConfig], ModelServerConfig | None],
        timeout: float,
        *,
        reload: bool,
    ) -> ServingError | None:
        """Apply what `edit` makes of a copy of the configuration in force, which nobody else changes meanwhile.

        `edit` changes its argument or returns another; the rest is as `change` has it.
        """

        def begin() -> asyncio.Future[Adoption]:
            before = copy.deepcopy(self._core.config) or ModelServerConfig()
            return self._core.begin(edit(before) or before, patient=False, afresh=reload)

        return await self._wait(asked, self._begin(asked, begin), timeout)

    async def undo(self, asked: Asked, timeout: float) -> ServingError | None:
        """Go back to the configuration before the one in force; see `edit`."""

        def begin() -> asyncio.Future[Adoption]:
            if not self._core.history:
                message = "There is no earlier configuration to go back to"
                raise ServingError(Code.FAILED_PRECONDITION, message)
            return self._core.begin(self._core.history[-1], patient=False, is_undo=True)

        return await self._wait(asked, self._begin(asked, begin), timeout)

    async def _begin(self, asked: Asked, begin: Callable[[], asyncio.Future[Adoption]]) -> Adoption:
        while True:
            await self._core.decided()  # what this adds to: begun before, it would be given up for this
            async with self._one_at_a_time:
                self._check_open()
                if self._core.is_trying:
                    continue
                if not asked.begin():
                    raise asyncio.CancelledError
                outcome = begin()
            return await outcome

    async def _wait(self, asked: Asked, change: Coroutine[Any, Any, Adoption], timeout: float) -> ServingError | None:
        deadline = time.monotonic() + timeout
        # As a task of its own: what interrupts the caller must not leave it half done
        task = asyncio.get_running_loop().create_task(change)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        await asyncio.wait([task], timeout=timeout)
        if not task.done():
            if asked.leave():
                raise self._core.undecided(timeout)
            message = f"Another change has taken more than {timeout:g} s: nothing has changed"
            raise ServingError(Code.DEADLINE_EXCEEDED, message, hint="Ask again; %tfs_status shows what is served.")
        adoption = task.result()
        try:
            await self._core.settled(adoption, max(deadline - time.monotonic(), 0.0))
        except ServingError as error:
            return error
        return None

    def _ended(self, task: asyncio.Task[Adoption]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # also when nobody waits

    async def _carry_out(self, asked: Asked, arrangement: Arrangement, config: ModelServerConfig) -> Adoption:
        try:
            async with self._one_at_a_time:
                self._check_open()
                if not asked.begin():
                    raise asyncio.CancelledError
                if self._in_force is not None and self._arranged is self._in_force:
                    self._arranged = self._in_force = replace(self._in_force, ports=self._ports())
                await self._arrange(arrangement)
                self._arranged = arrangement
                try:
                    outcome = self._core.begin(config, patient=False, afresh=True)
                except Exception:
                    await self._go_back(arrangement)
                    raise
            adoption = await self._adopted(arrangement, outcome)
        except (ServingError, OSError) as error:
            if asked.is_left:  # told to those who look at the status
                told = error if isinstance(error, ServingError) else ServingError(Code.UNAVAILABLE, str(error))
                self._events.publish(Event(Kind.CONFIG, error=told))
            raise
        self._events.publish(Event(Kind.SERVER, message="changed"))
        return adoption

    async def _adopted(self, arrangement: Arrangement, outcome: asyncio.Future[Adoption]) -> Adoption:
        """Wait until the configuration that belongs to `arrangement` is in force; back to the one before when not."""
        try:
            adoption = await outcome
        except ServingError:
            async with self._one_at_a_time:
                await self._go_back(arrangement)
            raise
        if self._arranged is arrangement:
            self._in_force = arrangement
        return adoption

    async def _go_back(self, arrangement: Arrangement) -> None:
        """Arrange what belongs to the configuration in force, unless something else was arranged after this."""
        if self._arranged is arrangement and self._in_force is not None and not self._closed:
            await self._arrange(self._in_force)
            self._arranged = self._in_force

    async def apply(self, config: ModelServerConfig, timeout: float | None = 60.0) -> None:
        """Replace the configuration alone, as HandleReloadConfigRequest does; see `ServerCore.apply`."""
        async with self._one_at_a_time:
            self._check_open()
            outcome = self._core.begin(config)
        await self._core.wait(outcome, timeout)

    def _check_open(self) -> None:
        if self._closed:
            raise ServingError(Code.UNAVAILABLE, "The server has been stopped")

    def close(self) -> None:
        """Begin no more changes."""
        self._closed = True
