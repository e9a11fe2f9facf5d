"""A loaded version, and the count of the requests that keep it loaded.

Once retired it takes no new requests and reports when the last one is over, so that unloading waits for exactly the
requests that use it and for no others.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Protocol

from tfs_notebook.engine.metrics.stats import CallStats

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np

    from tfs_notebook.engine.batching.status import BatchingStatus
    from tfs_notebook.engine.models.signature import Signature


class Servable(Protocol):
    """What the lifecycle needs of a loaded model; `savedmodel.SavedModel` is one."""

    @property
    def signatures(self) -> Mapping[str, Signature]:
        """The signatures by name."""

    @property
    def signature_def(self) -> Mapping[str, object]:
        """The SignatureDef messages by name, as they stand in the SavedModel."""

    def run(
        self,
        signature: Signature,
        inputs: Mapping[str, np.ndarray],
        outputs: Sequence[str] | None,
        timeout: float | None,
    ) -> dict[str, np.ndarray]:
        """The `outputs`, None for all, for `inputs`, each by alias; `timeout` in seconds. Raises ServingError.

        `signature` is one of `signatures`, or several of them `together`, whose aliases are the names of the tensors.
        An output that is nothing but an input may share its memory.
        """

    def expected_seconds(self, signature: Signature, inputs: Mapping[str, np.ndarray]) -> float | None:
        """How long a call with `inputs` takes on the calling thread, None when it may run elsewhere or
        longer than any that was seen.
        """

    def close(self) -> None:
        """Free the memory."""


class Loaded:
    """A servable in use: its identity, its statistics and the number of requests that have it pinned."""

    def __init__(self, model: str, version: int, servable: Servable) -> None:
        self.model = model
        self.version = version
        self.servable = servable
        self._hurry: Callable[[], None] | None = getattr(servable, "hurry", None)
        self.begin: Any = getattr(servable, "begin", None)
        """`BatchedModel.begin`, for who does not want to wait in `Servable.run`; None for a servable without."""
        self.batching: Callable[[], BatchingStatus] | None = getattr(servable, "batching", None)
        """`BatchedModel.batching`, None for a servable without."""
        self.stats: dict[str, CallStats] = {name: CallStats() for name in servable.signatures}
        self._lock = threading.Lock()
        self._pins = 0
        self._when_idle: Callable[[], object] | None = None

    def try_pin(self) -> bool:
        """Keep this loaded until `release`; False when it has been retired."""
        with self._lock:
            if self._when_idle is not None:
                return False
            self._pins += 1
            return True

    def release(self) -> None:
        """End one pin."""
        with self._lock:
            self._pins -= 1
            idle = self._when_idle if not self._pins else None
        if idle is not None:
            idle()

    def hurry(self) -> None:
        """Let what is asked wait for no other requests: fewer and fewer come from now on."""
        if self._hurry is not None:
            self._hurry()

    def retire(self, when_idle: Callable[[], object]) -> None:
        """Take no new pins and call `when_idle` once, on whatever thread, when the last one has ended."""
        with self._lock:
            self._when_idle = when_idle
            idle = not self._pins
        self.hurry()
        if idle:
            when_idle()
