"""A model config file that is read, and read again: applied only when its content changed."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tfs_notebook.engine.config import parse_config
from tfs_notebook.engine.events import Event, EventStream, Kind
from tfs_notebook.engine.storage.hints import for_missing
from tfs_notebook.errors import Code, ServingError, invalid_argument, not_found
from tfs_notebook.threads import run_on_daemon_thread

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

_log = logging.getLogger(__name__)
PATIENCE_SECONDS = 10.0
"""How long a look at the file may take until that is told."""
_MAX_PAUSE_SECONDS = 60.0
"""How long it may take until a configuration is tried again whose labels were refused."""


class ConfigFile:
    """The file at `path`; remembers the content that it gave out last."""

    def __init__(self, path: str, fetch: Callable[[], str] | None = None) -> None:
        """`fetch` gives the content now, or raises ServingError, for what is not a file on this machine."""
        self.path = path
        self._fetch = fetch or partial(_read_file, path)
        self._asked = asyncio.Event()
        self._asking: list[asyncio.Future[None]] = []
        self._content: str | None = None
        self._unreadable: ServingError | None = None
        self._refused = False
        self._refusal: ServingError | None = None
        """Why labels of the configuration that was read last were refused: their versions may still come."""
        self._config: ModelServerConfig | None = None
        self._pause = self._retry_at = 0.0
        self._told = ""

    def read(self) -> ModelServerConfig:
        """The configuration in the file. Raises ServingError NOT_FOUND, or INVALID_ARGUMENT with the position."""
        return self._parse(self._read_text())

    def read_if_changed(self) -> ModelServerConfig | None:
        """The configuration in the file, or None when its content is what it was at the last read.

        Raises ServingError as `read` does, each time, for as long as it cannot be read.
        """
        content = self._read_text()
        if content != self._content:
            return self._parse(content)
        if self._unreadable is not None:
            raise self._unreadable
        return None

    def _parse(self, content: str) -> ModelServerConfig:
        self._content, self._unreadable, self._refused = content, None, False
        try:
            return parse_config(content, self.path)
        except ServingError as error:
            self._unreadable = error
            raise

    def _read_text(self) -> str:
        try:
            return self._fetch()
        except ServingError:
            if self._refused:
                self._content = None  # when it is there again it is refused again, and told again
            raise

    async def look_now(self) -> None:
        """Let `watch` look at once, and wait until what it finds has been applied."""
        looked = asyncio.get_running_loop().create_future()
        self._asking.append(looked)
        self._asked.set()
        await looked

    async def watch(
        self,
        period: float,
        apply: Callable[[ModelServerConfig], Awaitable[None]],
        events: EventStream,
        is_last: Callable[[ServingError], bool] = lambda _refusal: False,
    ) -> None:
        """Look at the file every `period` seconds and `apply` it when it changed; what is refused is told once.

        With a `period` of 0 or less it is only looked at when `look_now` asks for it. A change is applied though an
        earlier one is still waiting for its models. What was refused for a label is tried again, ever more rarely,
        while `is_last` says that no other configuration came after it. A file that does not answer is told, and holds
        up nothing but the looks that would follow.
        """
        loop = asyncio.get_running_loop()
        applying: asyncio.Task[None] | None = None
        try:
            while True:
                waking = loop.call_later(period, self._asked.set) if period > 0 else None
                await self._asked.wait()
                self._asked.clear()
                if waking is not None:
                    waking.cancel()
                number = len(self._asking)
                config = await self._look(events)
                if config is not None:
                    self._refusal, self._pause = None, max(period, 0.0)
                elif self._refusal is not None and is_last(self._refusal) and loop.time() >= self._retry_at:
                    config = self._config
                if config is not None:
                    if applying is not None:
                        applying.cancel()
                    applying = loop.create_task(self._apply(config, apply))
                answered, self._asking = self._asking[:number], self._asking[number:]
                if applying is not None:
                    applying.add_done_callback(partial(_answer, answered))
                else:
                    _answer(answered)
        finally:
            if applying is not None:
                applying.cancel()
            _answer(self._asking)

    async def _look(self, events: EventStream) -> ModelServerConfig | None:
        """The configuration when its content changed; what keeps it from being read is told once."""
        try:
            config = await self._read_aside(events)
        except ServingError as error:
            self._tell(error, events)
            return None
        if self._told:
            self._told = ""
            events.publish(Event(Kind.CONFIG))
        return config

    async def _read_aside(self, events: EventStream) -> ModelServerConfig | None:
        """What `read_if_changed` returns or raises; for how long it does neither is told, ever more rarely."""
        looking = asyncio.wrap_future(run_on_daemon_thread(self.read_if_changed, "tfs-config-file"))
        waited, pause = 0.0, PATIENCE_SECONDS
        try:
            while not (await asyncio.wait([looking], timeout=pause))[0]:
                waited = pause = waited + pause
                self._tell(self.silence(waited), events)
            return looking.result()
        finally:
            looking.cancel()

    def silence(self, seconds: float) -> ServingError:
        """What there is to tell when the file has not answered for `seconds`."""
        hint = "The configuration that is in force stays so. Is the file system that holds the file within reach?"
        return ServingError(Code.UNAVAILABLE, f"{self.path} has not answered for {seconds:g} s", hint=hint)

    def _tell(self, error: ServingError, events: EventStream) -> None:
        if error.message != self._told:
            self._told = error.message
            _log.warning("Failed to read ModelServerConfig file: %s", error)
            events.publish(Event(Kind.CONFIG, error=error))

    async def _apply(self, config: ModelServerConfig, apply: Callable[[ModelServerConfig], Awaitable[None]]) -> None:
        before, self._refusal = self._refusal, None
        try:
            await apply(config)
        except ServingError as error:
            self._refused = True
            if error.code is Code.FAILED_PRECONDITION:
                self._refusal, self._config = error, config
                self._retry_at = asyncio.get_running_loop().time() + self._pause
                self._pause = min(2 * self._pause, _MAX_PAUSE_SECONDS)
            if before is None or str(before) != str(error):
                _log.warning("PollFilesystemAndReloadConfig failed to ReloadConfig: %s", error)
        except Exception:
            _log.exception("%s could not be applied", self.path)


def _answer(looked: list[asyncio.Future[None]], _applied: object = None) -> None:
    for future in looked:
        if not future.done():
            future.set_result(None)


def _read_file(path: str) -> str:
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        missing = for_missing(Path(path)) if isinstance(error, FileNotFoundError) else ""
        hint = "\n".join(filter(None, ("--model_config_file names a file in text format.", missing)))
        raise not_found(f"{path}; {error.strerror}", hint=hint) from None
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise invalid_argument(f"Invalid protobuf file: '{path}' (line {line} is not UTF-8 text)") from None
