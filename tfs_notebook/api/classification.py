"""Classify, regress and several of them at once, free of any protocol.

Which signatures can, and what their outputs must be, are the rules of TensorFlow Serving's classifier.cc, regressor.cc
and multi_inference.cc. A signature's `method_name` counts only when it is asked for: TensorFlow 2 always writes
`predict`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from tfs_notebook.api.tensor_proto import dtype_name
from tfs_notebook.engine.models.signature import DEFAULT_SIGNATURE
from tfs_notebook.errors import Code, ServingError, invalid_argument

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tfs_notebook.api.calls.call import Call
    from tfs_notebook.engine.models.signature import Signature

CLASSIFY = "tensorflow/serving/classify"
REGRESS = "tensorflow/serving/regress"
_INPUTS = "inputs"
_CLASSES, _SCORES = "classes", "scores"
_OUTPUTS = "outputs"


@dataclass(frozen=True, slots=True)
class Classes:
    """The classes of each example: labels (objects: bytes) and scores (float32), both [examples, classes].

    What the model does not tell is "" or 0.
    """

    labels: np.ndarray
    scores: np.ndarray


Result: TypeAlias = "Classes | np.ndarray"
"""What came of classify, or of regress: float32 of shape [examples]."""


@dataclass(frozen=True, slots=True)
class Task:
    """One part of a MultiInference: a signature of a model, and `CLASSIFY` or `REGRESS` as the method."""

    model: str
    signature_name: str
    method: str


def classify(call: Call, signature_name: str, examples: np.ndarray, *, timeout: float | None) -> Classes:
    """The classes of serialized Examples, an object array [examples]; `timeout` in seconds. Raises ServingError."""
    outputs = _classify_outputs(call, _definition(call, signature_name))
    return _as_classes(_run(call, signature_name, outputs, examples, timeout), len(examples))


def regress(call: Call, signature_name: str, examples: np.ndarray, *, timeout: float | None) -> np.ndarray:
    """A value, float32, for each of the serialized Examples; the rest is as for `classify`."""
    outputs = _regress_outputs(call, _definition(call, signature_name))
    return _as_values(_run(call, signature_name, outputs, examples, timeout), len(examples))


def multi_inference(call: Call, tasks: Sequence[Task], examples: np.ndarray, *, timeout: float | None) -> list[Result]:
    """The results of `tasks` in their order, by one run of the model; the rest is as for `classify`."""
    aliases = _plan(call, tasks)
    _check_not_empty(call, examples)
    signatures = [_signature(call, task.signature_name) for task in tasks]
    inputs = {signature.inputs[_INPUTS].name: examples for signature in signatures}
    names = [
        {alias: signature.outputs[alias].name for alias in outputs}
        for signature, outputs in zip(signatures, aliases, strict=True)
    ]
    fetches = sorted({name for of_task in names for name in of_task.values()})
    values = call.predict_together(signatures, inputs, fetches, timeout=timeout)
    return [
        _AS_RESULT[task.method]({alias: values[name] for alias, name in of_task.items()}, len(examples))
        for task, of_task in zip(tasks, names, strict=True)
    ]


def _plan(call: Call, tasks: Sequence[Task]) -> list[tuple[str, ...]]:
    """The outputs that each task needs. Raises ServingError for the first task that cannot be done."""
    asked, outputs = set[str](), []
    for task in tasks:
        if not task.model:
            raise invalid_argument("Found ModelSpec with an empty model name.")
        if task.model != tasks[0].model:
            raise invalid_argument("All ModelSpecs in a MultiInferenceRequest must access the same model name.")
        name = task.signature_name or DEFAULT_SIGNATURE
        if name in asked:
            raise invalid_argument(f"Duplicate evaluation of signature: {name}")
        asked.add(name)
        definition: Any = call.signature_def.get(name)
        if definition is None:
            raise invalid_argument(f"Requested signature not found in model graph: {name}")
        check = _OUTPUTS_OF.get(task.method)
        if check is None:
            raise ServingError(Code.UNIMPLEMENTED, f"Unsupported signature method_name: {task.method}")
        outputs.append(check(call, definition))
    return outputs


def _run(
    call: Call, signature_name: str, outputs: Sequence[str], examples: np.ndarray, timeout: float | None
) -> dict[str, np.ndarray]:
    _check_not_empty(call, examples)
    signature = _signature(call, signature_name)
    return call.predict(signature, {_INPUTS: examples}, output_filter=outputs, timeout=timeout)


def _definition(call: Call, signature_name: str) -> Any:
    name = signature_name or DEFAULT_SIGNATURE
    definition = call.signature_def.get(name)
    if definition is None:
        raise invalid_argument(f"No signature was found with the name: {name}")
    return definition


def _signature(call: Call, signature_name: str) -> Signature:
    signature = call.signature(signature_name)
    if signature is None:
        raise invalid_argument(f"Signature {signature_name or DEFAULT_SIGNATURE} names tensors that its graph lacks")
    return signature


def _check_not_empty(call: Call, examples: np.ndarray) -> None:
    call.examples = len(examples)
    if not call.examples:
        raise invalid_argument("Input is empty.")


def _classify_outputs(call: Call, definition: Any) -> tuple[str, ...]:
    """The outputs of a SignatureDef that classify needs. Raises ServingError INVALID_ARGUMENT when it cannot."""
    _check_method_name(call, definition, "classification", CLASSIFY)
    if len(definition.inputs) != 1:
        raise invalid_argument("Expected one input Tensor.")
    if len(definition.outputs) not in {1, 2}:
        raise invalid_argument(f"Expected one or two output Tensors, found {len(definition.outputs)}")
    if _INPUTS not in definition.inputs:
        raise invalid_argument(f"No classification inputs found in SignatureDef: {definition}")
    outputs = tuple(alias for alias in (_CLASSES, _SCORES) if alias in definition.outputs)
    if not outputs:
        raise invalid_argument(
            'Expected classification signature outputs to contain at least one of "classes" or "scores". '
            f"Signature was: {definition}"
        )
    return outputs


def _regress_outputs(call: Call, definition: Any) -> tuple[str, ...]:
    """The outputs of a SignatureDef that regress needs. Raises ServingError INVALID_ARGUMENT when it cannot."""
    _check_method_name(call, definition, "regression", REGRESS)
    if len(definition.inputs) != 1:
        raise invalid_argument("Expected one input Tensor.")
    if len(definition.outputs) != 1:
        raise invalid_argument("Expected one output Tensor.")
    if _INPUTS not in definition.inputs:
        raise invalid_argument(f"No regression inputs found in SignatureDef: {definition}")
    if _OUTPUTS not in definition.outputs:
        raise invalid_argument(f"No regression outputs found in SignatureDef: {definition}")
    return (_OUTPUTS,)


def _check_method_name(call: Call, definition: Any, kind: str, method: str) -> None:
    name = definition.method_name
    if call.checks_method_names and name != method:
        raise invalid_argument(f"Expected {kind} signature method_name to be {method}. Was: {name}")


def _as_classes(outputs: Mapping[str, np.ndarray], count: int) -> Classes:
    for alias, array in outputs.items():
        dtype = "DT_STRING" if alias == _CLASSES else "DT_FLOAT"
        if array.ndim != 2:
            raise invalid_argument(f"Expected Tensor shape: [batch_size num_classes] but got {_shape(array)}")
        if dtype_name(array) != dtype:
            raise invalid_argument(f"Expected {alias} Tensor of {dtype}. Got: {dtype_name(array)}")
        if len(array) != count:
            raise invalid_argument(f"Expected {alias} output batch size of {count}. Got: {len(array)}")
    shapes = [array.shape for array in outputs.values()]
    if shapes[0] != shapes[-1]:
        widths = f"{shapes[0][1]} vs. {shapes[-1][1]}"
        raise invalid_argument(f"Tensors class and score should match in dim_size(1). Got {widths}")
    labels, scores = outputs.get(_CLASSES), outputs.get(_SCORES)
    return Classes(
        np.full(shapes[0], b"", dtype=object) if labels is None else labels,
        np.zeros(shapes[0], dtype=np.float32) if scores is None else scores,
    )


def _as_values(outputs: Mapping[str, np.ndarray], count: int) -> np.ndarray:
    array = outputs[_OUTPUTS]
    if not (array.ndim == 1 or (array.ndim == 2 and array.shape[1] == 1)):
        shape = _shape(array)
        raise invalid_argument(
            f"Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got {shape}"
        )
    if len(array) != count:
        raise invalid_argument(f"Input batch size did not match output batch size: {count} vs. {len(array)}")
    if dtype_name(array) != "DT_FLOAT":
        raise invalid_argument(f"Expected output Tensor of DT_FLOAT.  Got: {dtype_name(array)}")
    return array.reshape(-1)


def _shape(array: np.ndarray) -> str:
    return f"[{','.join(map(str, array.shape))}]"


_OUTPUTS_OF = {CLASSIFY: _classify_outputs, REGRESS: _regress_outputs}
_AS_RESULT: dict[str, Callable[[Mapping[str, np.ndarray], int], Result]] = {CLASSIFY: _as_classes, REGRESS: _as_values}
