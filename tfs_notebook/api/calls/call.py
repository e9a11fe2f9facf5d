"""One request's hold on one version: it asks the model, and tells its observers when it ends."""

from __future__ import annotations

from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from tfs_notebook.api.calls.names import bind, filtered
from tfs_notebook.api.calls.observers import code_of
from tfs_notebook.api.calls.record import CallRecord
from tfs_notebook.engine.models.signature import DEFAULT_SIGNATURE, Signature, together
from tfs_notebook.errors import Code

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    import numpy as np
    from typing_extensions import Self

    from tfs_notebook.api.calls.model_spec import ModelSpec
    from tfs_notebook.api.calls.observers import Observers
    from tfs_notebook.api.calls.record import Exchange, Wire
    from tfs_notebook.engine.batching.model import Waiting
    from tfs_notebook.engine.input_checks.composite_inputs import Composite
    from tfs_notebook.engine.models.servable import Loaded

    Arrays = Mapping[str, np.ndarray]

_record = partial(tuple.__new__, CallRecord)
"""A record of all its fields: a third of the time that `CallRecord` takes."""


class Asking(NamedTuple):
    """What is asked of a version, and by whom."""

    wire: Wire
    method: str
    """`Predict`, `Classify`, `Regress` or `MultiInference`."""


class Call:
    """One request's hold on one version.

    It is over when the version is let go of (`close`) and the reply is ready or will never be (`replied`), in whichever
    order; a `with` does both. Then the observers are told, once, unless nothing was asked.
    """

    checks_method_names: ClassVar = False
    """Whether classify and regress only take signatures whose `method_name` says so."""

    # What most calls never change stands here: to set it for each takes a microsecond
    parsed: float | None = None
    """When the inputs were there as arrays, which who makes them notes; else when the call begins to run."""
    examples = 0
    """How many examples were sent."""
    exchange: Exchange | None = None
    """Request and reply for the observers; who answers notes it if they `wants_tensors`."""
    _closed = False
    _replied: float | None = None
    _code, _message = Code.OK, ""
    _begun: float | None = None
    _started: float | None = None
    _ran: float | None = None
    _inputs: Arrays | None = None
    _outputs: Arrays | None = None

    def __init__(
        self,
        loaded: Loaded,
        spec: ModelSpec,
        asking: Asking | None,
        signature_names: Sequence[str],
        received: float,
        observers: Observers,
    ) -> None:
        """`signature_names` are one, or that of each task; "" is the default.

        `received` is when the last byte of the request was there, in seconds of `time.perf_counter`.
        """
        self._loaded = loaded
        self._spec = spec
        self._asking = asking
        self._signature_names = signature_names
        self._observers = observers
        self._received = received
        self._untold = [True]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        self.end(error)

    # How it ends

    def close(self) -> None:
        """Let go of the version; once is enough."""
        if self._closed:
            return
        self._closed = True
        self._loaded.release()
        if self._replied is not None:
            self._tell()

    def replied(self, error: BaseException | None = None) -> None:
        """The reply is ready to be sent, which tells of `error` if there is one; only the first word of this counts."""
        if self._replied is not None:
            return
        if error is not None:
            self._code, self._message = code_of(error), getattr(error, "message", None) or str(error)
        self._replied = perf_counter()
        if self._closed:
            self._tell()

    def end(self, error: BaseException | None = None) -> None:
        """Both at once."""
        self.close()
        self.replied(error)

    def _tell(self) -> None:
        asking, observers = self._asking, self._observers
        if asking is None:
            return
        try:
            self._untold.pop()  # at once: another thread may find at this moment that the client has gone
        except IndexError:
            return
        loaded = self._loaded
        for task, asked in enumerate(self._signature_names):
            name = asked or DEFAULT_SIGNATURE
            inputs, outputs = self._inputs, self._outputs
            if inputs is not None and asking.method == "MultiInference":
                inputs, outputs = _of_task(loaded.servable.signatures.get(name), inputs, outputs)
            record = _record((
                loaded.model, loaded.version, self._spec, name, asking.method, asking.wire, self._code, self._message,
                task, self.examples, self._received, self.parsed or self._begun, self._begun, self._started, self._ran,
                self._replied, inputs, outputs, self.exchange, loaded.stats.get(name),
            ))  # fmt: skip
            observers.tell(record)

    # What it may ask

    @property
    def wants_tensors(self) -> bool:
        """Whether an observer wants to know what was sent and answered."""
        return self._observers.want_tensors and self._asking is not None

    @property
    def model(self) -> str:
        """The model's name."""
        return self._loaded.model

    @property
    def version(self) -> int:
        """The concrete version that answers."""
        return self._loaded.version

    @property
    def signatures(self) -> Mapping[str, Signature]:
        """The version's signatures by name."""
        return self._loaded.servable.signatures

    @property
    def signature_def(self) -> Mapping[str, object]:
        """The version's SignatureDef messages by name."""
        return self._loaded.servable.signature_def

    def signature(self, name: str) -> Signature | None:
        """The signature called `name` (by default `serving_default`), or None."""
        return self._loaded.servable.signatures.get(name or DEFAULT_SIGNATURE)

    def composites(self, signature: Signature) -> Collection[Composite]:
        """The ragged and sparse tensors among the inputs of `signature`, as far as they are known."""
        known: Mapping[str, Collection[Composite]] = getattr(self._loaded.servable, "composites", {})
        return known.get(signature.name, ())

    def expected_seconds(self, signature: Signature, inputs: Arrays) -> float | None:
        """How long the call takes on the calling thread, None when that is not known to be short."""
        return self._loaded.servable.expected_seconds(signature, inputs)

    # The model

    def predict(
        self, signature: Signature, inputs: Arrays, *, output_filter: Sequence[str] = (), timeout: float | None = None
    ) -> dict[str, np.ndarray]:
        """The outputs by alias, all of them without a filter; `timeout` in seconds. Raises ServingError."""
        self._begun = perf_counter()
        if inputs.keys() != signature.inputs.keys():
            inputs = bind(signature, inputs)
        return self._run(signature, inputs, filtered(signature, output_filter) if output_filter else None, timeout)

    def predict_together(
        self, signatures: Sequence[Signature], inputs: Arrays, outputs: Sequence[str], *, timeout: float | None = None
    ) -> dict[str, np.ndarray]:
        """The `outputs` of several signatures by one run, everything by the names of the tensors. Raises ServingError.

        It is a call of each.
        """
        self._begun = perf_counter()
        return self._run(together(signatures), inputs, outputs, timeout)

    def _run(
        self, signature: Signature, inputs: Arrays, outputs: Sequence[str] | None, timeout: float | None
    ) -> dict[str, np.ndarray]:
        if self._observers.want_tensors:
            self._inputs = inputs
        begin = self._loaded.begin
        waiting = begin(signature, inputs, outputs, timeout) if begin is not None else None
        if waiting is not None:
            waiting.wait()
            return self.take(waiting)
        self._started = perf_counter()
        values = self._loaded.servable.run(signature, inputs, outputs, timeout)
        self._ran = perf_counter()
        if self._inputs is not None:
            self._outputs = values
        return values

    @property
    def is_batched(self) -> bool:
        """Whether `predict` waits for other requests; `begin` is for those who do not."""
        return self._loaded.begin is not None

    def begin(
        self,
        signature: Signature,
        inputs: Arrays,
        when_over: Callable[[Begun], object],
        *,
        timeout: float | None = None,
    ) -> Begun | None:
        """`predict` of a model that `is_batched`, for those who do not wait. Raises ServingError.

        `when_over` is given, on any thread, what is returned when its `end` is due; None is returned for what must be
        asked by `predict`.
        """
        self._begun = perf_counter()
        if inputs.keys() != signature.inputs.keys():
            inputs = bind(signature, inputs)
        if self._observers.want_tensors:
            self._inputs = inputs
        waiting = self._loaded.begin(signature, inputs, None, timeout, lambda waiting: when_over(Begun(self, waiting)))
        return None if waiting is None else Begun(self, waiting)

    def take(self, waiting: Waiting) -> dict[str, np.ndarray]:
        """The outputs of `waiting`, which is over. Raises ServingError, also when it is not, and gives it up then."""
        values = waiting.end()
        self._started, self._ran = waiting.moments
        if self._inputs is not None:
            self._outputs = values
        return values


class Begun:
    """A predict that waits for others to run with."""

    __slots__ = ("_call", "_waiting")

    def __init__(self, call: Call, waiting: Waiting) -> None:
        self._call = call
        self._waiting = waiting

    def end(self) -> dict[str, np.ndarray]:
        """The outputs by alias. Raises ServingError, also when it is not over yet, and gives it up then."""
        return self._call.take(self._waiting)

    def give_up(self) -> bool:
        """Leave the batch, as nobody will hear the answer; True when its end will not be told any more."""
        return self._waiting.give_up()


def _of_task(
    signature: Signature | None, inputs: Arrays, outputs: Arrays | None
) -> tuple[Arrays | None, Arrays | None]:
    """The inputs and outputs of one task by alias, of those of all by the names of the tensors."""
    if signature is None:
        return None, None
    own = {alias: inputs[spec.name] for alias, spec in signature.inputs.items() if spec.name in inputs}
    if outputs is None:
        return own, None
    return own, {alias: outputs[spec.name] for alias, spec in signature.outputs.items() if spec.name in outputs}
