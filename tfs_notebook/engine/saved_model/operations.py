"""What the operations of a graph tell of the calls of its signatures."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from tfs_notebook.engine.input_checks.checked_operations import CHECKED, TRUSTING_INTEGERS, operation_of
from tfs_notebook.engine.saved_model.session import operation_definition

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tfs_notebook.engine.models.signature import Signature, TensorSpec

_BRANCHES = frozenset({"While", "StatelessWhile", "Enter", "RefEnter", "If", "StatelessIf", "Case", "StatelessCase"})
_PYTHON = frozenset({"PyFunc", "EagerPyFunc"})
_SIZED_BY_VALUES = re.compile(
    "Range|Fill|Tile|BroadcastTo|LinSpace|OneHot|Random|Resize|Sequence|Dataset|SparseToDense"
)
"""Operations that make as much of a number as it says."""
_READERS = frozenset({
    "StatefulPartitionedCall", "VarHandleOp", "ReadVariableOp", "ResourceGather", "ResourceGatherNd", "VariableV2",
    "Variable", "HashTable", "HashTableV2", "LookupTableFindV2", "LookupTableSizeV2", "Assert",
})  # fmt: skip
"""Operations that TensorFlow takes for stateful, but that leave their state as it is."""
UNKNOWN_IS_NO_SCALAR = 24
"""From this version of a GraphDef on the shape of a placeholder tells an unknown rank from a scalar."""


class Operations:
    """The operations of one GraphDef."""

    def __init__(self, graph: Any) -> None:
        self.nodes = {node.name: node for node in graph.node}
        self.functions = {function.signature.name: function for function in graph.library.function}
        self._all = {node.op for node in graph.node}.union(
            *({node.op for node in function.node_def} for function in self.functions.values())
        )
        self._producer = graph.versions.producer
        self._ran: dict[str, frozenset[str]] = {}
        self._in_function: dict[str, tuple[frozenset[str], frozenset[str]]] = {}

    def is_bounded(self, signature: Signature) -> bool:
        """Whether the time of a call depends on nothing but the size of its inputs: no loops or branches, and no
        integer of the request from which the graph could make a tensor of any size.
        """
        if self._all & (_BRANCHES | _PYTHON):
            return False
        has_integers = any(spec.dtype.lstrip("u").startswith("int") for spec in signature.inputs.values())
        return not (has_integers or "Cast" in self._all) or not any(map(_SIZED_BY_VALUES.search, self._all))

    def keeps_state(self, signature: Signature) -> bool:
        """Whether a call may change what later ones answer."""
        return any(map(_keeps_state, self.ran_by(signature) - self.functions.keys()))

    def unchecked(self, signature: Signature) -> list[str]:
        """Operations that a call of `signature` runs and of which it is not known that they check their tensors."""
        return sorted(
            operation
            for operation in self.ran_by(signature)
            if operation not in CHECKED and operation not in self.functions
        )

    def trusting_integers(self, signature: Signature) -> list[str]:
        """Operations that a call of `signature` runs and that do not check the rank of their integers."""
        return sorted(self.ran_by(signature) & TRUSTING_INTEGERS)

    def declared_shape(self, spec: TensorSpec) -> tuple[int | None, ...] | None:
        """The shape of an input as its signature declares it, else as its placeholder does; None for an unknown rank.

        Graphs of the first TensorFlows declare an unknown rank as a scalar.
        """
        node = self.nodes.get(spec.name.removesuffix(":0"))
        if spec.shape is not None or node is None or "shape" not in node.attr:
            return spec.shape
        shape = node.attr["shape"].shape
        if shape.unknown_rank or (not shape.dim and self._producer < UNKNOWN_IS_NO_SCALAR):
            return None
        return tuple(None if dimension.size < 0 else int(dimension.size) for dimension in shape.dim)

    def ran_by(self, signature: Signature) -> frozenset[str]:
        """The operations that a call of `signature` runs, in functions, branches and loops, too."""
        if signature.name not in self._ran:
            found: set[str] = set()
            called: list[str] = []
            for node in self.reached_nodes(signature):
                found.add(operation_of(node))
                called += self.called(node)
            seen: set[str] = set()
            while called:
                name = called.pop()
                if name not in seen and name in self.functions:
                    seen.add(name)
                    inner, more = self._of_function(name)
                    found |= inner
                    called += more
            self._ran[signature.name] = frozenset(found)
        return self._ran[signature.name]

    def reached_nodes(self, signature: Signature) -> Iterator[Any]:
        """The nodes of the graph that the outputs of `signature` need."""
        waiting = [spec.name for spec in signature.outputs.values()]
        seen: set[str] = set()
        while waiting:
            name = waiting.pop().lstrip("^").partition(":")[0]
            if name in seen or name not in self.nodes:
                continue
            seen.add(name)
            node = self.nodes[name]
            waiting += node.input
            yield node

    def called(self, node: Any) -> Iterator[str]:
        """The functions that an operation may call; its own name may be that of one."""
        if node.op in self.functions:
            yield node.op
        for value in node.attr.values():
            kind = value.WhichOneof("value")
            if kind == "func":
                yield value.func.name
            elif kind == "list":
                for function in value.list.func:
                    yield function.name

    def _of_function(self, name: str) -> tuple[frozenset[str], frozenset[str]]:
        """The operations in the body of the function `name`, and the functions that they may call."""
        if name not in self._in_function:
            nodes = self.functions[name].node_def
            called = frozenset(function for node in nodes for function in self.called(node))
            self._in_function[name] = frozenset(map(operation_of, nodes)), called
        return self._in_function[name]


def _keeps_state(operation: str) -> bool:
    if operation in _READERS:
        return False
    definition = operation_definition(operation)
    if definition is None:  # TensorFlow does not tell
        return True
    return definition.is_stateful or any(argument.is_ref for argument in definition.input_arg)
