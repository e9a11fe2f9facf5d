"""Which inputs of a signature are the parts of ragged tensors.

A SignatureDef does not tell: it lists flat values and row splits as tensors like any other. Two things in the model do:
the type of a `tf.function`'s argument that the inputs are handed to, and operations that take a ragged tensor apart.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from tfs_notebook.engine.row_splits import RaggedInput

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tfs_notebook.engine.operations import Operations
    from tfs_notebook.engine.signature import Signature

_SAME = frozenset({"Identity", "StopGradient", "PreventGradient", "Cast", "EnsureShape", "Snapshot"})
"""Operations whose result has the rows of their first input, and row splits that are right when those are."""
_PARTS = {
    "RaggedTensorToTensor": (1, slice(3, None)),
    "RaggedTensorToSparse": (-1, slice(0, -1)),
    "RaggedTensorToVariant": (-1, slice(0, -1)),
    "RaggedGather": (-2, slice(0, -2)),
    "RaggedBincount": (1, slice(0, 1)),
    "RaggedCountSparseOutput": (1, slice(0, 1)),
    "StringNGrams": (0, slice(1, 2)),
    "UnicodeEncode": (0, slice(1, 2)),
}
"""Operations that take a ragged tensor apart: which of their inputs are the flat values, and which the row splits."""
_SKIPPED_INPUTS = {"If": 1, "StatelessIf": 1, "Case": 1, "StatelessCase": 1}
"""How many inputs of an operation are not handed to the function that it calls."""


def ragged_inputs(meta_graph: Any, operations: Operations, signature: Signature) -> tuple[RaggedInput, ...]:
    """The ragged tensors that `signature` takes, part by part.

    Costs nothing where no input can be row splits: a vector of integers beside another input.
    """
    if len(signature.inputs) < 2 or not any(
        spec.dtype in {"int32", "int64"} and (spec.shape is None or len(spec.shape) == 1)
        for spec in signature.inputs.values()
    ):
        return ()
    found = dict.fromkeys(_found(meta_graph, operations, signature))
    with_values = {ragged.splits for ragged in found if ragged.values is not None}
    return tuple(ragged for ragged in found if ragged.values is not None or ragged.splits not in with_values)


def _found(meta_graph: Any, operations: Operations, signature: Signature) -> Iterator[RaggedInput]:
    """Follow the inputs through the graph and the functions that they are handed to."""
    structures = meta_graph.object_graph_def.concrete_functions
    inputs = {spec.name.removesuffix(":0"): alias for alias, spec in signature.inputs.items()}
    waiting = deque([(_Scope(operations.nodes, inputs), operations.reached_nodes(signature))])
    seen: set[tuple[str, tuple[str | None, ...]]] = set()
    while waiting:
        scope, nodes = waiting.popleft()
        for node in nodes:
            if node.op in _PARTS:
                yield from _taken_apart(node, scope)
            for name in operations.called(node):
                aliases = tuple(map(scope.alias, _handed_over(node)))
                if not any(aliases) or (name, aliases) in seen or name not in operations.functions:
                    continue
                seen.add((name, aliases))
                if name in structures:
                    yield from _declared(structures[name].canonicalized_input_signature, aliases)
                function = operations.functions[name]
                arguments = (argument.name for argument in function.signature.input_arg)
                bound = {name: alias for name, alias in zip(arguments, aliases, strict=False) if alias}
                waiting.append((_Scope({inner.name: inner for inner in function.node_def}, bound), function.node_def))


class _Scope:
    """A graph or the body of a function, and the tensors in it that are inputs of the signature."""

    def __init__(self, nodes: Mapping[str, Any], inputs: Mapping[str, str]) -> None:
        self._nodes = nodes
        self._inputs = inputs

    def alias(self, tensor: str) -> str | None:
        """The input that `tensor` is, but for its dtype; None for any other."""
        while (alias := self._inputs.get(tensor.removesuffix(":0"))) is None:
            node = self._nodes.get(tensor.partition(":")[0])
            if node is None or node.op not in _SAME:
                return None
            tensor = node.input[0]
        return alias


def _handed_over(node: Any) -> list[str]:
    tensors = [name for name in node.input if not name.startswith("^")]
    return tensors[_SKIPPED_INPUTS.get(node.op, 0) :]


def _taken_apart(node: Any, scope: _Scope) -> Iterator[RaggedInput]:
    values, splits = _PARTS[node.op]
    if any(kind != b"ROW_SPLITS" for kind in node.attr["row_partition_types"].list.s):
        return
    tensors = [name for name in node.input if not name.startswith("^")]
    aliases = tuple(map(scope.alias, tensors[splits]))
    if aliases and all(aliases):
        yield RaggedInput(scope.alias(tensors[values]), tuple(alias for alias in aliases if alias))


def _declared(structure: Any, aliases: Sequence[str | None]) -> Iterator[RaggedInput]:
    """The ragged tensors among the arguments of a function whose flat inputs have these `aliases`."""
    start = 0
    for spec in _flat(structure):
        if spec.WhichOneof("kind") != "type_spec_value":
            start += 1
            continue
        kind = spec.type_spec_value
        if kind.type_spec_class != kind.RAGGED_TENSOR_SPEC:
            if not kind.num_flat_components:
                return  # written by a TensorFlow that does not tell where the next argument begins
            start += kind.num_flat_components
            continue
        rank = kind.type_state.tuple_value.values[2].int64_value
        values, *splits = aliases[start : start + 1 + rank]
        if rank and len(splits) == rank and all(splits):
            yield RaggedInput(values, tuple(alias for alias in splits if alias))
        start += 1 + rank


def _flat(structure: Any) -> Iterator[Any]:
    """The types of tensors in a StructuredValue, in the order of a function's inputs."""
    kind = structure.WhichOneof("kind")
    if kind in {"tensor_spec_value", "bounded_tensor_spec_value", "type_spec_value"}:
        yield structure
    elif kind in {"list_value", "tuple_value"}:
        for value in getattr(structure, kind).values:
            yield from _flat(value)
    elif kind == "named_tuple_value":
        for pair in structure.named_tuple_value.values:
            yield from _flat(pair.value)
    elif kind == "dict_value":
        for _, value in sorted(structure.dict_value.fields.items()):
            yield from _flat(value)
