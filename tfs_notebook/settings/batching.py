"""What a server's options say about batching: checked, read, and put around its loads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfs_notebook.engine.batching.parameters import WITHOUT_FILE, BatchingParameters, parse_parameters
from tfs_notebook.errors import Code, ServingError
from tfs_notebook.settings.files import option_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tfs_notebook.engine.batching.scheduler import Scheduler
    from tfs_notebook.engine.metrics.batches import BatchCounts
    from tfs_notebook.engine.models.servable import Servable
    from tfs_notebook.options import Options

    Load = Callable[[Path], Servable]

WAITING_THREADS = 64
"""Requests that can wait for a batch at a time, in each front end: a thread each, which does nothing meanwhile."""


def check_batching(options: Options) -> None:
    """Raise ServingError INVALID_ARGUMENT for parameters of a batching that is off."""
    if options.batching_parameters_file and not options.enable_batching:
        raise ServingError(
            Code.INVALID_ARGUMENT,
            "server_options.batching_parameters_file is set without setting server_options.enable_batching to true.",
            hint="--enable_batching beside it switches batching on.",
        )


def batching_parameters(options: Options) -> BatchingParameters | None:
    """The parameters for all models, None without batching. Raises ServingError for what cannot be read or run."""
    check_batching(options)
    if not options.enable_batching:
        return None
    file = option_file(options, "batching_parameters_file")
    parameters = parse_parameters(file.text, file.path) if file else WITHOUT_FILE
    parameters.check_threads()
    return parameters


def waiting_threads(options: Options, threads: int) -> int:
    """How many threads a front end needs that was given `threads`: its batches hold no more requests than wait."""
    return max(threads, WAITING_THREADS) if options.enable_batching else threads


class Batching:
    """Keeps one scheduler for all models, for as long as the number of its threads stays the same."""

    def __init__(self, counts: BatchCounts) -> None:
        """`counts` counts the batches of all models."""
        self._counts = counts
        self._scheduler: Scheduler | None = None

    def around(self, load: Load, parameters: BatchingParameters | None, *, per_model: bool) -> Load:
        """`load` with its servables' calls batched by `parameters`, or by their own alone; None: `load` itself."""
        if parameters is None:
            return load
        from tfs_notebook.engine.batching.model import BatchingLoader
        from tfs_notebook.engine.batching.scheduler import Scheduler

        wanted = parameters.num_batch_threads, parameters.thread_pool_name
        if self._scheduler is None or (self._scheduler.threads, self._scheduler.name) != wanted:
            self._scheduler = Scheduler(*wanted)
        return BatchingLoader(load, self._scheduler, parameters, per_model, self._counts)
