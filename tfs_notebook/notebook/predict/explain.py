"""What a refused request means to the person who wrote it: where it stood, what was expected, the nearest name.

The first line is always TensorFlow Serving's own text, as a client would get it; what follows is said only in the
notebook.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import numpy as np

from tfs_notebook.api.inputs import as_inputs
from tfs_notebook.errors import ServingError
from tfs_notebook.notebook.predict.request import BODY_KEYS
from tfs_notebook.notebook.view.state import state_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tfs_notebook.engine.models.signature import Signature
    from tfs_notebook.engine.status import ModelStatus
    from tfs_notebook.notebook.predict.request import Question
    from tfs_notebook.server.server import Server


def explain(error: ServingError, server: Server, question: Question) -> str:
    """`error` with what helps to mend `question`."""
    return "\n".join(filter(None, (error.told, _remedy(error), *_about(server, question))))


def _remedy(error: ServingError) -> str:
    """What is known to help against an error that a graph raised."""
    if "Could not find variable" in error.message or "uninitialized" in error.message:
        return (
            "The SavedModel does not restore its variables by itself, like one that tf.saved_model.save wrote of a "
            "Keras 3 model: write it with model.export('…/1')."
        )
    return ""


def model_names(server: Server) -> str:
    """The models there are to ask, as a sentence."""
    return nearest("", [model.name for model in server.status().models if model.config is not None])


def _about(server: Server, question: Question) -> Iterator[str]:
    spec, signature_name = question.spec, question.signature_name
    models = {model.name: model for model in server.status().models if model.config is not None}
    model = models.get(spec.name)
    if model is None:
        yield f"There is no model {spec.name!r}. {nearest(spec.name, models)}"
        return
    if spec.label is not None and spec.label not in model.labels:
        yield _no_label(model, spec.label)
        return
    signatures = server.signatures(spec)
    if signatures is None:
        yield _what_serves(model)
    elif signature_name not in signatures:
        yield f"{spec.name} has no signature {signature_name!r}. {nearest(signature_name, signatures)}"
    else:
        signature = signatures[signature_name]
        yield from _misfits(question, signature)
        yield from _unknown_inputs(question.input_names(), signature)
        yield _expectation(signature)
        yield from _shapes(question, signature)


def _no_label(model: ModelStatus, label: str) -> str:
    """Which labels there are; how to give one where there are none."""
    if model.labels:
        return f"{model.name} has no label {label!r}. {nearest(label, model.labels)}"
    newest = max((version.number for version in model.versions), default=1)
    return (
        f"{model.name} has no labels; add version_labels {{ key: {label!r} value: {newest} }} to its config, "
        f"or %tfs_label {model.name} {label}={newest}"
    )


def _misfits(question: Question, signature: Signature) -> Iterator[str]:
    """Of what was written as Python values: what cannot be the input, and where it stands."""
    if question.body is not None:
        return
    value, only = question.value, next(iter(signature.inputs), "")
    named = value if isinstance(value, Mapping) else {only: value}
    for alias, part in named.items():
        if alias in signature.inputs and _refused(part, alias, signature):
            yield _narrowed(part, alias, signature, alias)


def _shapes(question: Question, signature: Signature) -> Iterator[str]:
    """Of inputs that can be read but are not of the declared shape: what shape they have."""
    try:
        arrays = question.tensors(signature)
    except ServingError:
        return
    for alias, array in arrays.items():
        declared = signature.inputs[alias].shape if alias in signature.inputs else None
        if declared is None or _matches(array.shape, declared):
            continue
        yield f"{alias} has the shape {list(array.shape)}{_mended(array.shape, declared)}"


def _mended(shape: tuple[int, ...], declared: tuple[int | None, ...]) -> str:
    """What makes `shape` the `declared` one, "" where that cannot be told."""
    changes = [
        ((1, *shape), "; the batch dimension is missing: wrap it in [ ], or write x[None]"),
        ((*shape, 1), ": add the channel axis: x[..., None]"),
        ((1, *shape, 1), ": add the batch and the channel axis: x[None, ..., None]"),
        (
            (shape[0], *shape[2:], shape[1]) if len(shape) == 4 else (),
            ": the channels stand first: np.moveaxis(x, 1, -1)",
        ),
        (shape[:-1] if shape[-1:] == (1,) else (), ": leave the last axis out: x[..., 0]"),
    ]
    row = [size for size in declared[1:] if size is not None]
    if len(shape) > 1 and declared[:1] == (None,) and len(row) == len(declared) - 1:
        same = math.prod(shape[1:]) == math.prod(row)
        changes.append(((shape[0], *row) if same else (), f": x.reshape({', '.join(map(str, (-1, *row)))})"))
    return next((told for changed, told in changes if changed and _matches(changed, declared)), "")


def _matches(shape: tuple[int, ...], declared: tuple[int | None, ...]) -> bool:
    return len(shape) == len(declared) and all(want in {None, size} for size, want in zip(shape, declared, strict=True))


def _refused(value: Any, alias: str, signature: Signature) -> bool:
    try:
        as_inputs({alias: value}, signature)
    except ServingError:
        return True
    return False


def _narrowed(value: Any, alias: str, signature: Signature, where: str) -> str:
    """The first thing inside `value` that is refused by itself, or that differs from what stands beside it."""
    if not isinstance(value, (list, tuple)):
        return f"{where} is {reprlib.repr(value)}"
    for index, item in enumerate(value):
        if _refused(item, alias, signature):
            return _narrowed(item, alias, signature, f"{where}[{index}]")
    shapes = [np.shape(item) for item in value]
    odd = next((index for index, shape in enumerate(shapes) if shape != shapes[0]), 0)
    return f"{where}[0] has shape {list(shapes[0])}, {where}[{odd}] has {list(shapes[odd])}"


def _unknown_inputs(given: Iterable[str], signature: Signature) -> Iterator[str]:
    for name in given:
        if name not in signature.inputs:
            meant = get_close_matches(name, [*signature.inputs, *BODY_KEYS], n=1)
            yield f"There is no input {name!r}. {nearest(name, meant or signature.inputs)}"


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name that was probably meant, or all there are."""
    known = sorted(known)
    near = get_close_matches(name, known, n=1)
    if near:
        return f"Did you mean {near[0]!r}?"
    return f"There {'is' if len(known) == 1 else 'are'}: {', '.join(map(repr, known))}." if known else "There is none."


def _what_serves(model: ModelStatus) -> str:
    states = ", ".join(f"{version.number} ({state_of(version, model)})" for version in model.versions) or "none"
    return "\n".join([f"Versions of {model.name}: {states}.", *(str(problem) for problem in model.problems)])


def _expectation(signature: Signature) -> str:
    inputs = ", ".join(f"{alias}: {spec}" for alias, spec in signature.inputs.items()) or "nothing"
    return f"{signature.name} takes {inputs}"
