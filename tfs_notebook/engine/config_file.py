"""A model config file that is read, and read again: applied only when its content changed."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from tfs_notebook.engine.config import parse_config
from tfs_notebook.engine.events import Event, EventStream, Kind
from tfs_notebook.errors import ServingError, not_found

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

_log = logging.getLogger(__name__)


class ConfigFile:
    """The file at `path`; remembers the content that it gave out last."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._content: str | None = None

    def read(self) -> ModelServerConfig:
        """The configuration in the file. Raises ServingError NOT_FOUND, or INVALID_ARGUMENT with the position."""
        self._content = self._read_text()
        return parse_config(self._content, self.path)

    def read_if_changed(self) -> ModelServerConfig | None:
        """The configuration in the file, or None when its content is what it was at the last read."""
        content = self._read_text()
        if content == self._content:
            return None
        self._content = content
        return parse_config(content, self.path)

    def _read_text(self) -> str:
        try:
            return Path(self.path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise not_found(f"{self.path}; {reason}", hint="--model_config_file names a file in text format.") from None

    async def watch(
        self, period: float, apply: Callable[[ModelServerConfig], Awaitable[None]], events: EventStream
    ) -> None:
        """Look at the file every `period` seconds and `apply` it when it changed; what is refused is told once."""
        loop = asyncio.get_running_loop()
        reported = ""
        while True:
            await asyncio.sleep(period)
            try:
                config = await loop.run_in_executor(None, self.read_if_changed)
            except ServingError as error:
                if error.message != reported:
                    reported = error.message
                    _log.warning("Failed to read ModelServerConfig file: %s", error)
                    events.publish(Event(Kind.CONFIG, error=error))
                continue
            reported = ""
            if config is not None:
                try:
                    await apply(config)
                except ServingError as error:
                    _log.warning("PollFilesystemAndReloadConfig failed to ReloadConfig: %s", error)
