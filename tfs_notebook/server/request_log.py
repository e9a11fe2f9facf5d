"""The request log of a server, in step with the configuration in force."""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from typing import TYPE_CHECKING

from tfs_notebook.api.records import write_down
from tfs_notebook.engine.events import Event, Kind
from tfs_notebook.engine.request_log.log import RequestLog
from tfs_notebook.oss.address import is_oss

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping

    from tfs_notebook.api.calls.record import CallRecord
    from tfs_notebook.api.inference import Inference
    from tfs_notebook.engine.core import ServerCore
    from tfs_notebook.engine.metrics.counters import Counter
    from tfs_notebook.engine.request_log.config import LoggingConfig
    from tfs_notebook.engine.request_log.log import ModelLog
    from tfs_notebook.errors import ServingError


class RequestLogging:
    """Tells `inference` which requests to write down whenever `core` adopts a configuration."""

    def __init__(
        self, core: ServerCore, inference: Inference, loop: asyncio.AbstractEventLoop, logged: Counter
    ) -> None:
        """`loop` is the serving loop, on which events are published; `logged` counts requests by model and status."""
        self._core, self._inference, self._loop = core, inference, loop
        self._log = RequestLog(self._tell, logged=logged)
        self._logs: Mapping[str, ModelLog] = {}
        self._end_listening = core.events.listen(self._on_event)

    @property
    def problems(self) -> tuple[ServingError, ...]:
        """Why the requests to some models cannot be written down at present. Any thread may ask."""
        return self._log.problems

    def limit_files(self, max_bytes: int) -> None:
        """How large a file may become, from the next configuration on."""
        self._log.max_file_bytes = max_bytes

    def close(self, timeout: float) -> None:
        """Log nothing more, and write what was accepted within `timeout` seconds."""
        self._end_listening()
        self._write_down({})
        self._log.close(timeout)

    def _on_event(self, event: Event) -> None:
        if event.kind is Kind.CONFIG and event.error is None:
            configs = self._core.configs.items()
            wanted = {name: self._placed(config.logging) for name, config in configs if config.logging is not None}
            self._write_down(self._log.update(wanted))

    def _write_down(self, logs: Mapping[str, ModelLog]) -> None:
        """Observe calls while there are `logs` to write them to."""
        self._logs = logs
        if logs:
            self._inference.observers.add(self._on_call, tensors=True)
        else:
            self._inference.observers.remove(self._on_call)

    def _on_call(self, call: CallRecord) -> None:
        write_down(self._logs, call)

    def _placed(self, config: LoggingConfig) -> LoggingConfig:
        """`config` with the place that its prefix stands for: a mounted directory, or below the current one."""
        given = config.filename_prefix
        place = self._core.resolve(given)
        place = given if is_oss(place) else place  # nothing is written into a bucket
        prefix = os.path.abspath(os.path.expanduser(place))  # noqa: PTH100, PTH111 - keeps links
        return replace(config, filename_prefix=prefix + os.sep * given.endswith("/"))

    def _tell(self, model: str, problem: ServingError | None) -> None:
        event = Event(Kind.LOGGING, model, error=problem)
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._core.events.publish, event)
