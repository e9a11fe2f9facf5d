"""What shapes a signature takes, so that no request ends the process.

TensorFlow's kernels are given any shape here, as by TensorFlow Serving: the session checks none. Most of them say what
is wrong with it. Some end the process instead (a failed CHECK, memory that is not theirs). A signature that runs one
of which it is not known that it checks its tensors takes only what it declares: its rank and its fixed sizes.
"""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from tfs_notebook.engine.input_checks.composite_inputs import composite_inputs
from tfs_notebook.errors import Code, ServingError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import numpy as np

    from tfs_notebook.engine.input_checks.composite_inputs import Composite
    from tfs_notebook.engine.models.signature import Signature, TensorSpec
    from tfs_notebook.engine.saved_model.operations import Operations

MAX_DIMENSIONS = 30
"""TensorFlow's exchange of string tensors with numpy ends the process beyond 32; some graphs add one or two."""
OPTION = "--enable_input_shape_check=false"


class ShapeChecks:
    """The shapes that one signature takes. Any thread may ask."""

    def __init__(
        self,
        signature: Signature,
        *,
        declared: Mapping[str, TensorSpec] = MappingProxyType({}),
        because: Sequence[str] = (),
        composites: Sequence[Composite] = (),
    ) -> None:
        """`declared` are the inputs that are taken as they declare, `because` of these operations; `composites` are
        ragged and sparse tensors among the inputs.
        """
        self._signature = signature
        self._declared = declared
        self.composites = tuple(composites)
        self._because = ", ".join(because[:3])
        self._passed: dict[str, tuple[int, ...] | None] = dict.fromkeys(signature.inputs)
        """The shape of each input that passed last: the next one mostly has the same."""
        fixed = any(spec.shape and spec.shape[0] is not None for spec in declared.values())
        self.joins = not composites and not fixed
        """Whether rows of several calls may be put together: row splits would be wrong then, and a number of rows that
        is declared not be kept.
        """

    def check(self, inputs: Mapping[str, np.ndarray]) -> None:
        """Raise ServingError INVALID_ARGUMENT, with the input, for a shape that may end the process."""
        passed = self._passed
        for alias, array in inputs.items():
            if passed[alias] != array.shape:
                self._check_shape(alias, array.shape)
                passed[alias] = array.shape
        if self.composites:
            for composite in self.composites:
                composite.check(inputs)

    def check_tensors(self, inputs: Mapping[str, np.ndarray]) -> None:
        """`check` for inputs by the names of their tensors, some of which may be left out or be those of others."""
        specs = self._signature.inputs
        self.check({alias: inputs[spec.name] for alias, spec in specs.items() if spec.name in inputs})

    def _check_shape(self, alias: str, shape: tuple[int, ...]) -> None:
        if len(shape) > MAX_DIMENSIONS:
            raise bad_shape(alias, f"may have at most {MAX_DIMENSIONS} dimensions", shape)
        spec = self._declared.get(alias)
        if spec is not None and (expected := wanted(spec, shape)):
            hint = (
                f"Of {self._because}, which the model runs, it is not known that it survives other shapes; "
                f"{OPTION} hands them on."
            )
            raise bad_shape(alias, expected, shape, hint=hint)


class SeveralShapeChecks:
    """The shapes that several signatures take together, whose inputs go by the names of their tensors."""

    def __init__(self, checks: Iterable[ShapeChecks]) -> None:
        self._checks = tuple(checks)
        self.joins = all(one.joins for one in self._checks)

    def check(self, inputs: Mapping[str, np.ndarray]) -> None:
        """Raise ServingError INVALID_ARGUMENT for a shape that may end the process."""
        for one in self._checks:
            one.check_tensors(inputs)


def shape_checks(meta_graph: Any, operations: Operations, signature: Signature) -> ShapeChecks:
    """What `signature` of a graph of these `operations` takes."""
    unchecked, trusting = operations.unchecked(signature), operations.trusting_integers(signature)
    declared = {
        alias: replace(spec, shape=operations.declared_shape(spec))
        for alias, spec in signature.inputs.items()
        if unchecked or (trusting and spec.dtype.lstrip("u").startswith("int"))
    }
    composites = composite_inputs(meta_graph, operations, signature)
    return ShapeChecks(signature, declared=declared, because=[*unchecked, *trusting], composites=composites)


def wanted(spec: TensorSpec, shape: tuple[int, ...]) -> str:
    """What an input that `spec` declares must be; empty when `shape` is it.

    Without a declared rank only a scalar is told to be none, which some of TensorFlow's kernels do not expect.
    """
    declared = spec.shape
    if declared is None:
        return "" if shape or spec.dtype == "bool" else "must have dimensions"
    if len(shape) != len(declared):
        return f"must be {len(declared)}-dimensional, {shape_text(declared)}"
    if any(size not in {None, given} for size, given in zip(declared, shape, strict=True)):
        return f"must be {shape_text(declared)}"
    return ""


def shape_text(shape: Sequence[int | None]) -> str:
    """A shape as messages print it: `[?,28,28,1]`."""
    return f"[{','.join('?' if size is None else str(size) for size in shape)}]"


def bad_shape(alias: str, expected: str, shape: Sequence[int], *, hint: str = "") -> ServingError:
    """The refusal of an input with a shape that is not as `expected`."""
    message = f"{alias} {expected}, but is {shape_text(shape)}"
    return ServingError(Code.INVALID_ARGUMENT, message, where=alias, hint=hint)
