"""The few names that are private to TensorFlow, in one place, each beside the public call that does the same.

A graph session is what TensorFlow Serving runs SavedModels in, TF1 and TF2 alike. The raw session run skips the Python
shape check that the C++ server does not have, gives the C++ server's error texts, and costs 5 µs where `Session.run`
costs 160; a callable made beforehand finds its feeds and fetches without looking them up, which saves a fifth of a
small call. With `inter_op_thread_pool=-1` the graph runs on the calling thread; it cannot be timed out there.

TensorFlow shares each operation out over the cores. That costs a small convolution more than it gains, and over how
many is settled for the whole process by whoever runs first, the user's own training for instance. Its run handlers are
the only pools beside that: here they give an operation one thread, so that a call keeps to one core.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tensorflow as tf
from tensorflow.core.protobuf.config_pb2 import CallableOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np

CALLING_THREAD = -1
THREAD_POOL = 0
ONE_CORE = 1
"""A call on another thread, none of whose operations is shared out."""
POOLS = (THREAD_POOL, CALLING_THREAD, ONE_CORE)

try:
    from tensorflow.python.client.pywrap_tf_session import (
        TF_DeleteBuffer,
        TF_NewBufferFromString,
        TF_SessionRun_wrapper,
        TF_SessionRunCallable,
    )
    from tensorflow.python.saved_model.loader_impl import SavedModelLoader
except ImportError:  # a TensorFlow that moved them: the public calls are slower and stricter about shapes
    TF_SessionRun_wrapper = None

HAS_RAW_RUN = TF_SessionRun_wrapper is not None


def load_into(session: Any, tags: Sequence[str], directory: str) -> Any:
    """Load the meta graph with exactly `tags` into `session` and return it (a MetaGraphDef)."""
    if not HAS_RAW_RUN:
        return tf.compat.v1.saved_model.load(session, list(tags), directory)
    loader = SavedModelLoader(directory)
    loader.load_graph(session.graph, list(tags))
    meta_graph = loader.get_meta_graph_def_from_tags(list(tags))
    saver = meta_graph.saver_def
    # As the C++ loader does it; Python's Saver would write "Restoring parameters" into whatever cell is running.
    if saver.restore_op_name and Path(directory, "variables", "variables.index").exists():
        session.run(saver.restore_op_name, {saver.filename_tensor_name: loader.variables_path})
    loader.run_init_ops(session, list(tags))
    return meta_graph


class Runner:
    """Runs one session; feeds and fetches are resolved once with `tensor`."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._untimed = {pool: _make_options(pool, 0) for pool in POOLS}
        self._callables: list[Any] = []
        _make_run_handlers()

    def tensor(self, name: str) -> Any:
        """What `run` takes for the tensor `name`. Raises KeyError or ValueError when there is none."""
        tensor = self._session.graph.get_tensor_by_name(name)
        return tensor._as_tf_output() if HAS_RAW_RUN else tensor  # noqa: SLF001

    def run(
        self, feeds: dict[Any, np.ndarray], fetches: list[Any], *, pool: int, timeout: float | None
    ) -> list[np.ndarray | bytes]:
        """The values of `fetches`; raises tf.errors.OpError. `timeout` in seconds; `pool` is one of the above."""
        timeout_ms = max(1, int(timeout * 1000)) if timeout is not None and pool != CALLING_THREAD else 0
        if not timeout_ms:
            return self._run(feeds, fetches, self._untimed[pool])
        options = _make_options(pool, timeout_ms)
        try:
            return self._run(feeds, fetches, options)
        finally:
            _free(options)

    def _run(self, feeds: dict[Any, np.ndarray], fetches: list[Any], options: Any) -> list[np.ndarray | bytes]:
        if HAS_RAW_RUN:
            values: list[np.ndarray | bytes] = TF_SessionRun_wrapper(
                self._session._session, options, feeds, fetches, [], None  # noqa: SLF001
            )  # fmt: skip
            return values
        return list(self._session.run(fetches, feeds, options=options))

    def callable_in(
        self, pool: int, feeds: Sequence[str], fetches: Sequence[str]
    ) -> Callable[[list[np.ndarray]], list[np.ndarray]] | None:
        """What runs the graph in `pool` for arrays in the order of `feeds`, which must have their dtypes.

        None when TensorFlow does not make one. It cannot be timed out.
        """
        if not HAS_RAW_RUN:
            return None
        options = CallableOptions(feed=feeds, fetch=fetches, run_options=_run_options(pool, 0))
        try:
            made = self._session._make_callable_from_options(options)  # noqa: SLF001
        except tf.errors.OpError:  # two inputs are the same tensor
            return None
        self._callables.append(made)  # it is released with the last reference
        session, handle = self._session._session, made._handle  # noqa: SLF001
        return lambda arrays: TF_SessionRunCallable(session, handle, arrays, None)

    def close(self) -> None:
        """Close the session, which frees its variables at once. Nothing may run any more."""
        self._callables.clear()
        self._session.close()
        for options in self._untimed.values():
            _free(options)


def _run_options(pool: int, timeout_ms: int) -> Any:
    options = tf.compat.v1.RunOptions(inter_op_thread_pool=min(pool, THREAD_POOL), timeout_in_ms=timeout_ms)
    options.experimental.use_run_handler_pool = pool == ONE_CORE
    return options


def _make_options(pool: int, timeout_ms: int) -> Any:
    options = _run_options(pool, timeout_ms)
    return TF_NewBufferFromString(options.SerializeToString()) if HAS_RAW_RUN else options


def _free(options: Any) -> None:
    if HAS_RAW_RUN:  # Python does not own the buffers of the C API
        TF_DeleteBuffer(options)


@cache
def _make_run_handlers() -> None:
    """Make the process's run handlers: the first session that runs in them says how many threads they have.

    To be called once another session is there, which has settled over how many cores all else is shared out.
    """
    config = tf.compat.v1.ConfigProto(
        inter_op_parallelism_threads=os.cpu_count() or 1, intra_op_parallelism_threads=1, device_count={"GPU": 0}
    )
    with tf.compat.v1.Session(graph=tf.Graph(), config=config) as session:
        with session.graph.as_default():
            nothing = tf.no_op()
        session.run(nothing, options=_run_options(ONE_CORE, 0))
