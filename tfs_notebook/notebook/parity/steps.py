"""The steps from a model in memory to a reply over a network, each asked for the same rows."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from tfs_notebook.api.calls.names import unknown_signature
from tfs_notebook.engine.events import State
from tfs_notebook.errors import Code, ServingError
from tfs_notebook.notebook.predict.client import ask, ask_rest_at
from tfs_notebook.notebook.predict.request import Question, as_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from tfs_notebook.api.calls.model_spec import ModelSpec
    from tfs_notebook.engine.models.signature import Signature
    from tfs_notebook.server.server import Server

MODEL, SAVED_MODEL, ENGINE, REST, GRPC = "model", "SavedModel", "engine", "REST", "gRPC"


@dataclass(frozen=True, slots=True)
class Step:
    """What one step answered: outputs by alias, in `seconds`; `error` says why it did not."""

    name: str
    outputs: Mapping[str, np.ndarray]
    seconds: float
    error: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked: the rows as they were given, and as tensors by alias; where the version is on the disk."""

    spec: ModelSpec
    signature: Signature
    value: Any
    inputs: Mapping[str, np.ndarray]
    path: Path | None
    model: Any = None


def asked(server: Server, spec: ModelSpec, signature_name: str, value: Any, model: Any) -> Asked:
    """The question, for the version that `spec` names now. Raises ServingError."""
    question = Question(spec, signature_name, None, value)
    with server.open(spec) as call:
        signature = call.signature(signature_name)
        if signature is None:
            raise unknown_signature(signature_name)
        number, inputs = call.version, question.tensors(signature)
    versions = [version for each in server.status().models if each.name == spec.name for version in each.versions]
    path = next((v.path for v in versions if v.number == number and v.state is State.AVAILABLE), None)
    fixed = type(spec)(spec.name, number)
    has_graph = path is not None and (path / "saved_model.pb").exists()
    return Asked(fixed, signature, value, inputs, path if has_graph else None, model)


def run(what: Asked, server: Server, at: str = "", token: str = "") -> Iterator[Step]:
    """Ask each step in turn; `at` is the address of another server, asked last with its `token`."""
    if what.model is not None:
        yield _timed(MODEL, partial(of_model, what))
    if what.path is not None:
        yield _timed(SAVED_MODEL, partial(of_saved_model, what))
    question = Question(what.spec, what.signature.name, None, dict(what.inputs))
    for name, via in ((ENGINE, "local"), (REST, "rest"), (GRPC, "grpc")):
        step = _timed(name, partial(_asked_via, question, server, via))
        if "is off" not in step.error:
            yield step
    if at:
        spec = type(what.spec)(what.spec.name)  # its versions are its own
        only = next(iter(what.inputs.values())) if len(what.inputs) == 1 else dict(what.inputs)
        remote = Question(spec, what.signature.name, as_json({"inputs": only}))  # which may have another name there
        yield _timed(at, lambda: ask_rest_at(at.rstrip("/"), token, remote, what.signature, what.inputs).outputs)


def of_engine(what: Asked, server: Server) -> Mapping[str, np.ndarray]:
    """What the version that serves answers."""
    return _asked_via(Question(what.spec, what.signature.name, None, dict(what.inputs)), server, "local")


def _asked_via(question: Question, server: Server, via: str) -> Mapping[str, np.ndarray]:
    return ask(question, server, via).outputs


def _timed(name: str, step: Callable[[], Mapping[str, np.ndarray]]) -> Step:
    started = time.perf_counter()
    try:
        outputs = step()
    except ServingError as error:
        return Step(name, {}, time.perf_counter() - started, error.message.splitlines()[0])
    except Exception as error:
        return Step(name, {}, time.perf_counter() - started, f"{type(error).__name__}: {error}".splitlines()[0])
    return Step(name, outputs, time.perf_counter() - started)


def of_model(what: Asked, *, training: bool = False) -> dict[str, np.ndarray]:
    """What the model in memory answers to the rows as they were given."""
    given = what.value if isinstance(what.value, dict) or len(what.inputs) == 1 else dict(what.inputs)
    if hasattr(what.model, "predict_step"):  # a Keras model
        if isinstance(given, dict) and len(what.inputs) == 1:
            given = next(iter(given.values()))
        answered = what.model(_tensors(given), training=training)
    else:
        answered = what.model(**{alias: _tensor(array) for alias, array in what.inputs.items()})
    return _by_alias(answered, list(what.signature.outputs))


def of_saved_model(what: Asked) -> dict[str, np.ndarray]:
    """What the signature of the SavedModel on the disk answers."""
    import tensorflow as tf

    function = tf.saved_model.load(str(what.path)).signatures[what.signature.name]
    answered = function(**{alias: _tensor(array) for alias, array in what.inputs.items()})
    return {alias: answered[alias].numpy() for alias in what.signature.outputs}


def _tensors(given: Any) -> Any:
    return {name: _tensor(each) for name, each in given.items()} if isinstance(given, dict) else _tensor(given)


def _tensor(array: Any) -> Any:
    import tensorflow as tf

    array = np.asarray(array)
    return tf.constant(array.tolist() if array.dtype == object else array)


def _by_alias(answered: Any, aliases: list[str]) -> dict[str, np.ndarray]:
    if isinstance(answered, dict):
        found = {str(name): np.asarray(value) for name, value in answered.items()}
        if found.keys() >= set(aliases):
            return {alias: found[alias] for alias in aliases}
        answered = list(answered.values())
    parts = list(answered) if isinstance(answered, (list, tuple)) else [answered]
    if len(parts) != len(aliases):
        raise ServingError(Code.INVALID_ARGUMENT, f"It has {len(parts)} outputs, and the signature {len(aliases)}")
    return {alias: np.asarray(part) for alias, part in zip(aliases, parts, strict=True)}
