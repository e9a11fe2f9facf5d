"""What there is to know of a call once it is over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from tfs_notebook.api.calls.model_spec import ModelSpec
    from tfs_notebook.engine.metrics.stats import CallStats
    from tfs_notebook.errors import Code

    Wire = Literal["rest", "grpc", "local"]
    """By which protocol a call came; `local` is one from this process."""


class Exchange(Protocol):
    """A request and its reply as a PredictionLog has them; they may be made on another thread, once each."""

    @property
    def kind(self) -> str:
        """The field of PredictionLog that they belong to, like `predict_log`."""

    @property
    def size(self) -> int:
        """About how many bytes they hold."""

    def request(self) -> Any:
        """The request, a message."""

    def reply(self) -> bytes:
        """The reply, serialized; it need not tell the version that gave it."""

    def alone(self) -> Exchange:
        """The same, to be kept for a while: without the rest of a batch, and unchanged whatever the caller does."""


class CallRecord(NamedTuple):  # a frozen dataclass takes six times as long to make
    """A call that has ended; a MultiInference is one for each of its tasks.

    Its moments are seconds of `time.perf_counter`, None where it did not come so far. Arrays are there only while an
    observer wants tensors. They are not to be changed; the caller of a `local` call may change them after the
    observers were told.
    """

    model: str
    version: int
    """The version that answered."""
    asked: ModelSpec
    """How it was asked for: by a label, a version, or neither."""
    signature_name: str
    method: str
    """`Predict`, `Classify`, `Regress` or `MultiInference`."""
    wire: Wire
    code: Code
    """How it ended; CANCELLED when nobody waited for the reply any more."""
    message: str
    """Why it failed; "" when it did not."""
    task: int
    """Which of the tasks of a MultiInference it is, from 0; 0 for everything else."""
    examples: int
    """How many examples came, 0 for a Predict."""
    received: float
    """The last byte of the request was there; for a local call, it began."""
    parsed: float | None
    """The inputs were there as arrays."""
    begun: float | None
    """A thread began with it."""
    started: float | None
    """The model began: not before its batch, where it has one."""
    ran: float | None
    """The model had answered."""
    replied: float
    """The reply was ready to be sent, or it was clear that there will be none."""
    inputs: Mapping[str, np.ndarray] | None
    outputs: Mapping[str, np.ndarray] | None
    exchange: Exchange | None
    stats: CallStats | None
    """Where the engine counts the calls of this version and signature; None for a signature that there is not."""

    @property
    def label(self) -> str | None:
        """The label that was asked for."""
        return self.asked.label

    @property
    def seconds(self) -> float:
        """From the receipt of the request to its reply."""
        return self.replied - self.received

    @property
    def parse_seconds(self) -> float:
        """From the receipt to the arrays, also where that was waited for."""
        return (self.parsed or self.replied) - self.received

    @property
    def queue_seconds(self) -> float:
        """From the arrays until the model began: for a thread and for a batch."""
        return 0.0 if self.parsed is None else (self.started or self.replied) - self.parsed

    @property
    def run_seconds(self) -> float | None:
        """In the model, None when that gave no answer."""
        return None if self.ran is None or self.started is None else self.ran - self.started

    @property
    def write_seconds(self) -> float:
        """From the model's answer until the reply was ready to be sent, 0 when nobody waited for it any more."""
        return 0.0 if self.ran is None else max(self.replied - self.ran, 0.0)
