"""The few names that are private to TensorFlow, in one place, each beside the public call that does the same.

A graph session is what TensorFlow Serving runs SavedModels in, TF1 and TF2 alike. `extend` gives it a GraphDef as the
C++ loader does, without the import into a Python graph, which refuses graphs that TensorFlow Serving takes. The raw
session run skips the Python shape check that the C++ server does not have, gives the C++ server's error texts, and
costs 8 µs where `Session.run` costs 160; a callable made beforehand finds its feeds and fetches without looking them
up, which saves a quarter of a small call. With `inter_op_thread_pool=-1` the graph runs on the calling thread; it
cannot be timed out there.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf.config_pb2 import CallableOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

CALLING_THREAD = -1
THREAD_POOL = 0
_NO_POOL = 1 << 30
"""TensorFlow compiles the graph before it finds that there is no such pool."""

try:
    from tensorflow.python.client.pywrap_tf_session import (
        ExtendSession,
        TF_DeleteBuffer,
        TF_NewBufferFromString,
        TF_Output,
        TF_SessionMakeCallable,
        TF_SessionReleaseCallable,
        TF_SessionRun_wrapper,
        TF_SessionRunCallable,
    )
    from tensorflow.python.framework import op_def_registry
    from tensorflow.python.saved_model.loader_impl import SavedModelLoader
except ImportError:  # a TensorFlow that moved them: the public calls are slower and stricter about shapes
    TF_SessionRun_wrapper = op_def_registry = None

HAS_RAW_RUN = TF_SessionRun_wrapper is not None


def _library(name: str) -> ctypes.CDLL | None:
    """One of TensorFlow's own libraries, which are loaded already."""
    try:
        return ctypes.CDLL(str(next(Path(tf.sysconfig.get_lib()).glob(f"{name}*"))))
    except (OSError, StopIteration):
        return None


def _graph_library() -> ctypes.CDLL | None:
    """The library with the C API; None when TensorFlow lacks what `extend` needs of it."""
    library = _library("libtensorflow_cc")
    if library is None or not HAS_RAW_RUN or not _finds_pointers():
        return None
    try:
        library.TF_NewStatus.restype = ctypes.c_void_p
        library.TF_DeleteStatus.argtypes = library.TF_GetCode.argtypes = library.TF_Message.argtypes = [ctypes.c_void_p]
        library.TF_Message.restype = ctypes.c_char_p
        library.TF_ExtendGraph.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p]
        library.TF_ExtendGraph.restype = library.TF_DeleteStatus.restype = None
    except AttributeError:
        return None
    return library


def _pointer(wrapped: Any) -> int:
    """Where the C structure is that a Python object of TensorFlow's stands for."""
    return ctypes.c_void_p.from_address(id(wrapped) + object.__basicsize__).value or 0


def _finds_pointers() -> bool:
    """Whether `_pointer` holds, tried with a structure of which one can tell: TF_Output is a pointer and an int."""
    known = TF_Output()
    known.index = 31415
    return (
        sys.implementation.name == "cpython"
        and (address := _pointer(known)) != 0
        and ctypes.c_int.from_address(address + ctypes.sizeof(ctypes.c_void_p)).value == known.index
    )


_GRAPHS: Any = _graph_library()
HAS_RAW_GRAPH = _GRAPHS is not None
"""Whether a session can take a GraphDef as it is."""


def _shares_threads() -> ctypes.c_bool | None:
    """TensorFlow's variable that tells whether a new device uses the threads of the process's first one."""
    if (library := _library("libtensorflow_framework")) is None:
        return None
    try:
        return ctypes.c_bool.in_dll(library, "_ZN10tensorflow11LocalDevice22use_global_threadpool_E")
    except ValueError:
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


def knows_operations() -> bool:
    """Whether TensorFlow tells which operations are registered."""
    return op_def_registry is not None


def operation_definition(name: str) -> Any:
    """The OpDef of the operation `name`, None when there is none, or TensorFlow does not tell."""
    return op_def_registry and op_def_registry.get(name)


def extend(session: Any, graph_def: bytes | memoryview) -> None:
    """Give the empty `session` a serialized GraphDef. Raises tf.errors.OpError in the words of the C++ loader.

    Other Python threads run meanwhile. The session's Python graph stays empty, and `Session.run` of no use.
    """
    ExtendSession(session._session)  # noqa: SLF001 - from now on it does not look at its Python graph
    graph = np.frombuffer(graph_def, np.uint8)
    status = _GRAPHS.TF_NewStatus()
    try:
        # What a TF_Session and a TF_DeprecatedSession, for which this function is, begin with is their C++ session
        _GRAPHS.TF_ExtendGraph(_pointer(session._session), graph.ctypes.data, graph.size, status)  # noqa: SLF001
        if code := _GRAPHS.TF_GetCode(status):
            message = _GRAPHS.TF_Message(status).decode("utf-8", "replace")
            raise tf.compat.v1.errors.exception_type_from_error_code(code)(None, None, message)
    finally:
        _GRAPHS.TF_DeleteStatus(status)


def name_operations(session: Any, names: Iterable[str]) -> None:
    """Let `Runner.tensor` find the outputs of these operations, which are in the graph that `extend` was given."""
    with session.graph.as_default():
        for name in names:
            with suppress(ValueError):  # a name that TensorFlow does not allow
                # Nothing but their names counts; with a slash at its end a name is not made unique
                tf.compat.v1.placeholder(tf.variant, name=f"{name}/")


def run_once(session: Any, operation: str, feeds: Mapping[str, str]) -> None:
    """Run `operation`, with strings for the tensors in `feeds`, and keep nothing of what was compiled for it.

    Raises tf.errors.OpError in the words of the C++ loader.
    """
    raw = session._session  # noqa: SLF001
    handle = _make_callable(raw, CallableOptions(feed=[*feeds], target=[operation]))
    try:
        TF_SessionRunCallable(raw, handle, [np.array(os.fsencode(value), object) for value in feeds.values()], None)
    finally:
        TF_SessionReleaseCallable(raw, handle)


def import_into(session: Any, tags: Sequence[str], directory: str) -> Any:
    """Load the meta graph with exactly `tags` by Python's importer and return it (a MetaGraphDef)."""
    with session.graph.as_default():
        if not HAS_RAW_RUN:
            return tf.compat.v1.saved_model.load(session, list(tags), directory)
        loader = SavedModelLoader(directory)
        loader.load_graph(session.graph, list(tags))
        meta_graph = loader.get_meta_graph_def_from_tags(list(tags))
        saver = meta_graph.saver_def
        # Python's Saver would write "Restoring parameters" into whatever cell is running
        if saver.restore_op_name and Path(directory, "variables", "variables.index").exists():
            session.run(saver.restore_op_name, {saver.filename_tensor_name: loader.variables_path})
        loader.run_init_ops(session, list(tags))
    return meta_graph


class Runner:
    """Runs one session; feeds and fetches are resolved once with `tensor`."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._untimed = {pool: _make_options(pool, 0) for pool in (CALLING_THREAD, THREAD_POOL)}
        self._callables: list[int] = []

    def tensor(self, name: str) -> Any:
        """What `run` takes for the tensor `name`. Raises KeyError or ValueError when there is none."""
        graph = self._session.graph
        if not HAS_RAW_RUN:
            return graph.get_tensor_by_name(name)
        operation, _, index = name.partition(":")
        found = TF_Output()
        found.oper, found.index = graph.get_operation_by_name(operation)._c_op, int(index)  # noqa: SLF001
        return found

    def compile(self, feeds: Mapping[Any, np.ndarray], fetches: list[Any]) -> bool:
        """Compile what `run` needs for these tensors, in whatever pool, and run nothing.

        False when it is not known to be compiled, as with `feeds` of a wrong dtype: `run` says what is wrong.
        """
        options = _make_options(_NO_POOL, 0)
        try:
            self._run(feeds, fetches, options)
        except tf.errors.InvalidArgumentError as error:
            return "inter_op_thread_pool" in error.message
        except (tf.errors.OpError, TypeError, ValueError, RuntimeError):
            return False
        finally:
            _free(options)
        return True

    def run(
        self, feeds: Mapping[Any, np.ndarray], fetches: list[Any], *, pool: int, timeout: float | None
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

    def _run(self, feeds: Mapping[Any, np.ndarray], fetches: list[Any], options: Any) -> list[np.ndarray | bytes]:
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
        session = self._session._session  # noqa: SLF001
        try:
            handle = _make_callable(session, options)
        except tf.errors.OpError:  # two inputs are the same tensor
            return None
        self._callables.append(handle)
        return lambda arrays: TF_SessionRunCallable(session, handle, arrays, None)

    def close(self) -> None:
        """Close the session, which frees its variables at once. Nothing may run any more."""
        for handle in self._callables:
            TF_SessionReleaseCallable(self._session._session, handle)  # noqa: SLF001
        self._callables.clear()
        self._session.close()
        for options in self._untimed.values():
            _free(options)


def _make_callable(raw_session: Any, options: CallableOptions) -> int:
    """Compile what `options` describe. Raises tf.errors.OpError."""
    buffer = TF_NewBufferFromString(options.SerializeToString())
    try:
        return int(TF_SessionMakeCallable(raw_session, buffer))
    finally:
        TF_DeleteBuffer(buffer)


def _make_options(pool: int, timeout_ms: int) -> Any:
    options = tf.compat.v1.RunOptions(inter_op_thread_pool=pool, timeout_in_ms=timeout_ms)
    return TF_NewBufferFromString(options.SerializeToString()) if HAS_RAW_RUN else options


def _free(options: Any) -> None:
    if HAS_RAW_RUN:  # Python does not own the buffers of the C API
        TF_DeleteBuffer(options)
