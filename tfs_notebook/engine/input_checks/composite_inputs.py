"""Which inputs of a signature are the parts of ragged and sparse tensors.

A SignatureDef does not tell: it lists flat values and row splits, indices and dense shapes as tensors like any other.
Two things in the model do: the type of a `tf.function`'s argument that the inputs are handed to, and operations that
take such a tensor apart.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from tfs_notebook.engine.input_checks.row_splits import RaggedInput
from tfs_notebook.engine.input_checks.sparse_parts import SparseInput

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tfs_notebook.engine.models.signature import Signature
    from tfs_notebook.engine.saved_model.operations import Operations

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
_SPARSE_PARTS: dict[str, tuple[tuple[int, int | None, int], ...]] = {
    **dict.fromkeys(
        (
            "SerializeManySparse", "SparseBincount", "SparseCountSparseOutput", "SparseDenseCwiseAdd",
            "SparseDenseCwiseDiv", "SparseDenseCwiseMul", "SparseFillEmptyRows", "SparseReduceMax",
            "SparseReduceMaxSparse", "SparseReduceSum", "SparseReduceSumSparse", "SparseReorder", "SparseSlice",
            "SparseSoftmax", "SparseTensorDenseAdd", "SparseTensorDenseMatMul",
        ),
        ((0, 1, 2),),
    ),
    **dict.fromkeys(("SparseAdd", "SparseSparseMaximum", "SparseSparseMinimum"), ((0, 1, 2), (3, 4, 5))),
    "SparseReshape": ((0, None, 1),),
}  # fmt: skip
"""Operations that take sparse tensors apart: which of their inputs are the indices, the values and the dense shapes."""
Composite = RaggedInput | SparseInput


def composite_inputs(meta_graph: Any, operations: Operations, signature: Signature) -> tuple[Composite, ...]:
    """The ragged and sparse tensors that `signature` takes, part by part.

    Costs nothing where no input can be such a part: a vector of integers beside another input.
    """
    if len(signature.inputs) < 2 or not any(
        spec.dtype in {"int32", "int64"} and (spec.shape is None or len(spec.shape) == 1)
        for spec in signature.inputs.values()
    ):
        return ()
    found = dict.fromkeys(_found(meta_graph, operations, signature))
    return tuple(one for one in found if not any(set(one.aliases) < set(other.aliases) for other in found))


def _found(meta_graph: Any, operations: Operations, signature: Signature) -> Iterator[Composite]:
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
            for parts in _SPARSE_PARTS.get(node.op, ()):
                indices, values, dense_shape = (None if p is None else scope.alias(node.input[p]) for p in parts)
                if indices and dense_shape:
                    yield SparseInput(indices, values, dense_shape)
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


def _declared(structure: Any, aliases: Sequence[str | None]) -> Iterator[Composite]:
    """The ragged and sparse tensors among the arguments of a function whose flat inputs have these `aliases`."""
    start = 0
    for spec in _flat(structure):
        kind = spec.type_spec_value if spec.WhichOneof("kind") == "type_spec_value" else None
        is_ragged = kind is not None and kind.type_spec_class == kind.RAGGED_TENSOR_SPEC
        count = 1 if kind is None else kind.num_flat_components
        if kind is not None and is_ragged:
            count = 1 + kind.type_state.tuple_value.values[2].int64_value
        if not count:
            return  # written by a TensorFlow that does not tell where the next argument begins
        values, *rest = aliases[start : start + count]
        start += count
        if is_ragged and rest and all(rest):
            yield RaggedInput(values, tuple(alias for alias in rest if alias))
        elif kind is not None and kind.type_spec_class == kind.SPARSE_TENSOR_SPEC and values and rest[-1]:
            yield SparseInput(values, rest[0], rest[-1])


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
