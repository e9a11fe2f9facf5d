"""The few names that are private to TensorFlow, in one place, each beside the public call that does the same.

A graph session is what TensorFlow Serving runs SavedModels in, TF1 and TF2 alike. The raw session run skips the Python
shape check that the C++ server does not have, gives the C++ server's error texts, and costs 5 µs where `Session.run`
costs 160; a callable made beforehand finds its feeds and fetches without looking them up, which saves a fifth of a
small call. With `inter_op_thread_pool=-1` the graph runs on the calling thread; it cannot be timed out there.
"""

from __future__ import annotations

import ctypes
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tensorflow as tf
from tensorflow.core.protobuf.config_pb2 import CallableOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np

CALLING_THREAD = -1
THREAD_POOL = 0

try:
    from tensorflow.python.client.pywrap_tf_session import (
        TF_DeleteBuffer,
        TF_NewBufferFromString,
        TF_SessionRun_wrapper,
        TF_SessionRunCallable,
    )
    from tensorflow.python.framework import op_def_registry
    from tensorflow.python.saved_model.loader_impl import SavedModelLoader
except ImportError:  # a TensorFlow that moved them: the public calls are slower and stricter about shapes
    TF_SessionRun_wrapper = op_def_registry = None

HAS_RAW_RUN = TF_SessionRun_wrapper is not None


def _shares_threads() -> ctypes.c_bool | None:
    """TensorFlow's variable that tells whether a new device uses the threads of the process's first one."""
    try:
        path = next(Path(tf.sysconfig.get_lib()).glob("libtensorflow_framework*"))
        return ctypes.c_bool.in_dll(ctypes.CDLL(str(path)), "_ZN10tensorflow11LocalDevice22use_global_threadpool_E")
    except (OSError, ValueError, StopIteration):
        return None


_SHARES_THREADS = _shares_threads()
HAS_OWN_THREADS = HAS_RAW_RUN and _SHARES_THREADS is not None
"""Whether a session can have threads of its own, and a short way to run on the caller's."""
_OPENING = threading.Lock()


def open_session(config: Any) -> Any:
    """A session with an empty graph and the threads that `config`, a ConfigProto, asks for.

    By itself TensorFlow makes its threads once, as many as the first who computes asks for: a kernel that has trained a
    model has them already. A session that asks for a number gets its own here, and others share those of the process.
    """
    if not config.intra_op_parallelism_threads or _SHARES_THREADS is None:
        return tf.compat.v1.Session(graph=tf.Graph(), config=config)
    with _OPENING:
        before, _SHARES_THREADS.value = _SHARES_THREADS.value, False
        try:
            return tf.compat.v1.Session(graph=tf.Graph(), config=config)
        finally:
            _SHARES_THREADS.value = before


def operation_definition(name: str) -> Any:
    """The OpDef of the operation `name`, None when there is none, or TensorFlow does not tell."""
    return op_def_registry and op_def_registry.get(name)


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
        self._untimed = {pool: _make_options(pool, 0) for pool in (CALLING_THREAD, THREAD_POOL)}
        self._callables: list[Any] = []

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

    def callable_on_this_thread(
        self, feeds: Sequence[str], fetches: Sequence[str]
    ) -> Callable[[list[np.ndarray]], list[np.ndarray]] | None:
        """What runs the graph on the calling thread for arrays in the order of `feeds`, which must have their dtypes.

        None when TensorFlow does not make one.
        """
        if not HAS_RAW_RUN:
            return None
        run_options = tf.compat.v1.RunOptions(inter_op_thread_pool=CALLING_THREAD)
        options = CallableOptions(feed=feeds, fetch=fetches, run_options=run_options)
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


def _make_options(pool: int, timeout_ms: int) -> Any:
    options = tf.compat.v1.RunOptions(inter_op_thread_pool=pool, timeout_in_ms=timeout_ms)
    return TF_NewBufferFromString(options.SerializeToString()) if HAS_RAW_RUN else options


def _free(options: Any) -> None:
    if HAS_RAW_RUN:  # Python does not own the buffers of the C API
        TF_DeleteBuffer(options)
