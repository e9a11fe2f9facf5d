"""A Keras callback that serves a model while it is trained."""

from __future__ import annotations

import threading
import warnings
from typing import TYPE_CHECKING, Any

import keras  # type: ignore[import-untyped]

from tfs_notebook.errors import ServingError, invalid_argument
from tfs_notebook.server.server import newest_server
from tfs_notebook.threads import start_daemon_thread

if TYPE_CHECKING:
    from tfs_notebook.server.server import Server


class Serve(keras.callbacks.Callback):  # type: ignore[misc]  # keras has no types
    """Serve the model as the next version of `name` after each `every` epochs: `fit(…, callbacks=[Serve("modelA")])`.

    Each version is a copy of the weights of its epoch, exported beside the training. When training is faster than
    that, epochs in between are left out; the last one is always served when `fit` returns. `label` moves to each
    version. `server` is by default the one that was started last. Raises ServingError when nothing is served yet, or
    when `every` is less than 1; what cannot be served later is a warning, and training goes on.
    """

    def __init__(self, name: str = "model", *, every: int = 1, label: str = "", server: Server | None = None) -> None:
        super().__init__()
        if every < 1:
            raise invalid_argument(f"every={every}: serve each epoch (1), each second one (2), and so on")
        self.server = server if server is not None else newest_server()
        self._name, self._every, self._label = name, every, label
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._waiting: list[Any] | None = None
        """The weights to serve next, once those under way are served."""
        self._copy: Any = None

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002 - Keras calls it so
        """Serve a copy of the weights, unless this epoch is left out."""
        if (epoch + 1) % self._every == 0:
            self._offer(self.model.get_weights())

    def on_train_end(self, logs: Any = None) -> None:  # noqa: ARG002 - Keras calls it so
        """Wait until the last weights are served."""
        self._join()
        if self._copy is None or not _equal(self._copy.get_weights(), self.model.get_weights()):
            self._offer(self.model.get_weights())
            self._join()

    def _offer(self, weights: list[Any]) -> None:
        if self._copy is None:
            self._copy = keras.models.clone_model(self.model)
        with self._lock:
            self._waiting = weights
            if self._thread is None:
                self._thread = start_daemon_thread(self._serve_waiting, "tfs-serve-epochs")

    def _join(self) -> None:
        if (thread := self._thread) is not None:
            thread.join()

    def _serve_waiting(self) -> None:
        while True:
            with self._lock:
                weights, self._waiting = self._waiting, None
                if weights is None:
                    self._thread = None
                    return
            self._copy.set_weights(weights)
            try:
                self.server.serve_models({self._name: self._copy}, label=self._label)
            except ServingError as error:
                warnings.warn(f"An epoch of {self._name} is not served: {error}", stacklevel=1)


def _equal(left: list[Any], right: list[Any]) -> bool:
    return len(left) == len(right) and all((a == b).all() for a, b in zip(left, right, strict=True))
