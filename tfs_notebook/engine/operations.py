"""What the operations of a graph tell of the calls of its signatures."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from tfs_notebook.engine.session import operation_definition

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tfs_notebook.engine.signature import Signature

_BRANCHES = frozenset({"While", "StatelessWhile", "Enter", "RefEnter", "If", "StatelessIf", "Case", "StatelessCase"})
_PYTHON = frozenset({"PyFunc", "EagerPyFunc"})
_SIZED_BY_VALUES = re.compile(
    "Range|Fill|Tile|BroadcastTo|LinSpace|OneHot|Random|Resize|Sequence|Dataset|SparseToDense"
)
"""Operations that make as much of a number as it says."""
_LAYOUTS = re.compile("Conv|Pool|BatchNorm|DepthToSpace|SpaceToDepth|FakeQuant.*PerChannel")
"""Operations that end the whole process (a failed CHECK) when they are given a tensor of the wrong rank."""
_READERS = frozenset({
    "StatefulPartitionedCall", "VarHandleOp", "ReadVariableOp", "ResourceGather", "ResourceGatherNd", "VariableV2",
    "Variable", "HashTable", "HashTableV2", "LookupTableFindV2", "LookupTableSizeV2", "Assert",
})  # fmt: skip
"""Operations that TensorFlow takes for stateful, but that leave their state as it is."""


class Operations:
    """The operations of one GraphDef."""

    def __init__(self, graph: Any) -> None:
        self._inputs = {node.name: node for node in graph.node}
        self._functions = {function.signature.name: function.node_def for function in graph.library.function}
        self._all = {node.op for nodes in (graph.node, *self._functions.values()) for node in nodes}
        self.needs_ranks = any(map(_LAYOUTS.search, self._all))
        """Whether a tensor of the wrong rank may end the process."""

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
        return any(map(_keeps_state, self._of(signature)))

    def _of(self, signature: Signature) -> set[str]:
        """The operations that a call of `signature` runs."""
        found: set[str] = set()
        waiting = [spec.name for spec in signature.outputs.values()]
        seen: set[str] = set()
        while waiting:
            name = waiting.pop().lstrip("^").partition(":")[0]
            if name in seen or name not in self._inputs:
                continue
            seen.add(name)
            node = self._inputs[name]
            waiting += node.input
            found.add(node.op)
            called = list(_called(node))
            while called:
                function = called.pop()
                if function not in seen and function in self._functions:
                    seen.add(function)
                    for inner in self._functions[function]:
                        found.add(inner.op)
                        called += _called(inner)
        return found


def _called(node: Any) -> Iterator[str]:
    """The functions that an operation may call."""
    for value in node.attr.values():
        for function in (value.func, *value.list.func):
            if function.name:
                yield function.name


def _keeps_state(operation: str) -> bool:
    if operation in _READERS:
        return False
    definition = operation_definition(operation)
    if definition is None:  # a function's name stands for a call of it, or TensorFlow does not tell
        return True
    return definition.is_stateful or any(argument.is_ref for argument in definition.input_arg)
