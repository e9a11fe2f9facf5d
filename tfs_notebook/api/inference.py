"""Predict, metadata and status, free of any protocol: the only place where a model spec is resolved.

REST, gRPC and a local call all enter here, so they cannot disagree. The checks and their texts are those of
TensorFlow Serving's `PreProcessPrediction`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tfs_notebook.engine.models.signature import DEFAULT_SIGNATURE, Signature, together
from tfs_notebook.errors import Code, ServingError, invalid_argument, not_found

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    import numpy as np
    from typing_extensions import Self

    from tfs_notebook.engine.batching.model import Waiting
    from tfs_notebook.engine.core import ServerCore
    from tfs_notebook.engine.input_checks.composite_inputs import Composite
    from tfs_notebook.engine.lifecycle.version import VersionStatus
    from tfs_notebook.engine.metrics.stats import CallStats
    from tfs_notebook.engine.models.servable import Loaded
    from tfs_notebook.engine.request_log.log import ModelLog


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """Which model a request is for: by default the newest version, else exactly one of `version` and `label`."""

    name: str
    version: int | None = None
    label: str | None = None


class Inference:
    """Answers requests with what `core` serves. Any thread may ask."""

    def __init__(self, core: ServerCore) -> None:
        self._core = core
        self._registry = core.manager.registry
        self.call_type: type[Call] = Call
        """What `open` returns; may be replaced at any time."""
        self.logs: Mapping[str, ModelLog] = {}
        """Where requests are written down, by model; replaced whole."""
        self.on_request: Callable[[], None] = _nothing
        """Called at each request of a client, on whatever thread; must return at once."""

    def open(self, spec: ModelSpec) -> Call:
        """Pin the version that `spec` names for a client's request: see `pin`."""
        self.on_request()
        return self.pin(spec)

    def pin(self, spec: ModelSpec) -> Call:
        """Pin the version that `spec` names, for use in a `with`. Raises ServingError when there is none."""
        return self.call_type(self._registry.pin(spec.name, spec.version, spec.label))

    def not_ready(self) -> dict[str, str]:
        """Why each configured model that has no available version has none; empty when every model answers."""
        silent = self._core.configs.keys() - self._registry.serving.keys()
        problems = {name: self._core.model_status(name).problems for name in sorted(silent)}
        return {name: found[0].message if found else "It is being loaded" for name, found in problems.items()}

    def status(self, name: str, version: int | None = None) -> list[VersionStatus]:
        """All known versions of a model, highest first, or the one asked for. Raises ServingError NOT_FOUND."""
        versions = self._core.manager.versions(name)
        if version is None:
            if not versions:
                raise not_found(f"Could not find any versions of model {name}")
            return versions
        found = [status for status in versions if status.number == version]
        if not found:
            raise not_found(f"Could not find version {version} of model {name}")
        return found


def _nothing() -> None:
    pass


class Call:
    """One request's hold on one version."""

    __slots__ = ("_loaded", "api")
    checks_method_names: ClassVar = False
    """Whether classify and regress only take signatures whose `method_name` says so."""

    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded
        self.api = "Predict"
        """What is asked for, in the metrics' words."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the version."""
        self._loaded.release()

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

    def expected_seconds(self, signature: Signature, inputs: Mapping[str, np.ndarray]) -> float | None:
        """How long the call takes on the calling thread, None when that is not known to be short."""
        return self._loaded.servable.expected_seconds(signature, inputs)

    def predict(
        self,
        signature: Signature,
        inputs: Mapping[str, np.ndarray],
        *,
        output_filter: Sequence[str] = (),
        timeout: float | None = None,
    ) -> dict[str, np.ndarray]:
        """The outputs by alias, all of them without a filter; `timeout` in seconds. Raises ServingError."""
        stats = self._loaded.stats[signature.name]
        started = time.perf_counter()
        try:
            if inputs.keys() != signature.inputs.keys():
                inputs = _bind(signature, inputs)
            outputs = _filtered(signature, output_filter) if output_filter else None
            values = self._loaded.servable.run(signature, inputs, outputs, timeout)
        except BaseException:
            stats.record_error()
            raise
        self.answered(stats, started)
        return values

    def answered(self, stats: CallStats, started: float) -> None:
        """Count a predict that began at `started` and has its outputs."""
        stats.record(time.perf_counter() - started)

    def predict_together(
        self,
        signatures: Sequence[Signature],
        inputs: Mapping[str, np.ndarray],
        outputs: Sequence[str],
        *,
        timeout: float | None = None,
    ) -> dict[str, np.ndarray]:
        """The `outputs` of several signatures by one run, everything by the names of the tensors. Raises ServingError.

        It counts as a call of each.
        """
        stats = [self._loaded.stats[signature.name] for signature in signatures]
        started = time.perf_counter()
        try:
            values = self._loaded.servable.run(together(signatures), inputs, outputs, timeout)
        except BaseException:
            for each in stats:
                each.record_error()
            raise
        seconds = time.perf_counter() - started
        for each in stats:
            each.record(seconds)
        return values

    @property
    def is_batched(self) -> bool:
        """Whether `predict` waits for other requests; `begin` is for those who do not."""
        return self._loaded.begin is not None

    def begin(
        self,
        signature: Signature,
        inputs: Mapping[str, np.ndarray],
        when_over: Callable[[Begun], object],
        *,
        timeout: float | None = None,
    ) -> Begun | None:
        """`predict` of a model that `is_batched`, for those who do not wait. Raises ServingError.

        `when_over` is given, on any thread, what is returned when its `end` is due; None is returned for what must be
        asked by `predict`.
        """
        stats = self._loaded.stats[signature.name]
        started = time.perf_counter()
        try:
            if inputs.keys() != signature.inputs.keys():
                inputs = _bind(signature, inputs)
            waiting = self._loaded.begin(
                signature, inputs, None, timeout, lambda waiting: when_over(Begun(self, waiting, stats, started))
            )
        except BaseException:
            stats.record_error()
            raise
        return None if waiting is None else Begun(self, waiting, stats, started)


class Begun:
    """A predict that waits for others to run with."""

    __slots__ = ("_call", "_started", "_stats", "_waiting")

    def __init__(self, call: Call, waiting: Waiting, stats: CallStats, started: float) -> None:
        self._call = call
        self._waiting = waiting
        self._stats = stats
        self._started = started

    def end(self) -> dict[str, np.ndarray]:
        """The outputs by alias. Raises ServingError, also when it is not over yet, and gives it up then."""
        try:
            outputs = self._waiting.end()
        except BaseException:
            self._stats.record_error()
            raise
        self._call.answered(self._stats, self._started)
        return outputs

    def give_up(self) -> bool:
        """Leave the batch, as nobody will hear the answer; True when its end will not be told any more."""
        return self._waiting.give_up()


def _bind(signature: Signature, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """`inputs` completed by the signature's defaults. Raises ServingError for names that are missing or too many."""
    check_names(signature, inputs.keys())
    return {alias: inputs[alias] if alias in inputs else signature.defaults[alias] for alias in signature.inputs}


def check_names(signature: Signature, sent: Collection[str]) -> None:
    """Raise ServingError INVALID_ARGUMENT unless the inputs `sent` are, with its defaults, those of `signature`."""
    sent, expected, defaults = set(sent), signature.inputs.keys(), signature.defaults.keys()
    if len(sent) > len(expected) or (len(sent) < len(expected) and not defaults):
        raise invalid_argument(
            f"input size does not match signature: {len(sent)}!={len(expected)} len({_names(sent)}) != "
            f"len({_names(expected)}). Sent extra: {_names(sent - expected)}. "
            f"Missing but required: {_names(expected - sent - defaults)}."
        )
    for alias, spec in signature.inputs.items():
        if alias not in sent and alias not in defaults:
            raise invalid_argument(
                f"Signature input alias: {alias}(feed name: {spec.name}) not found in request and no default value "
                f"provided. Inputs expected to be in the request {_names(expected - defaults)}, "
                f"or default input alias set: {_names(defaults)}"
            )
    if sent - expected:
        raise invalid_argument(
            f"Inputs contains invalid name. Used request inputs: {_names(sent & expected)}, "
            f"request input: {_names(sent)}"
        )


def _filtered(signature: Signature, output_filter: Sequence[str]) -> tuple[str, ...]:
    for position, alias in enumerate(output_filter):
        if alias not in signature.outputs:
            raise invalid_argument(
                f"output tensor alias not found in signature: {alias} Outputs expected to be in the set "
                f"{_names(signature.outputs.keys())}."
            )
        if alias in output_filter[:position]:
            raise invalid_argument(f"duplicate output tensor alias: {alias}")
    return tuple(output_filter)


def _names(names: Collection[str]) -> str:
    return "{" + ",".join(sorted(names)) + "}"


def unknown_signature(name: str) -> ServingError:
    """What gRPC answers for a signature that the model does not have (REST has words of its own)."""
    return ServingError(Code.FAILED_PRECONDITION, f'Serving signature key "{name or DEFAULT_SIGNATURE}" not found.')
