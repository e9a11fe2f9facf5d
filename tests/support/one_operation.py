"""Graphs of one operation, run with tensors of every rank and many sizes: which operations end the process?

Run as a program it tells, for the operations that are named (default: all that let a tensor through), how many calls
were answered, how many refused, and what ended the process:

    python -m tests.support.one_operation [--graphs=N] [--calls=N] [--seed=N] [OPERATION …]

Each operation is tried in a forked process of its own. Its inputs are placeholders of unknown shape; types and other
attributes are drawn anew for every graph. Half of the calls change the shape of one input of a call that was answered
before, because tensors drawn at random rarely fit together.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import select
import signal
from typing import TYPE_CHECKING, Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf
from tensorflow.python.client.pywrap_tf_session import TF_SessionRun_wrapper
from tensorflow.python.framework import op_def_registry

from tests.support.drawn_tensors import FITTING, an_array, shapes_of_a_call, texts
from tests.support.operation_graphs import build
from tests.support.operation_recipes import RECIPES
from tfs_notebook.engine.input_checks.checked_operations import CHECKED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Tell = Callable[..., object]

v1 = tf.compat.v1

PATIENCE_SECONDS = 300.0
"""A process that tells nothing for so long hangs."""
MAX_UNBUILT = 20
"""So many graphs that can not be built are tried for each one that is asked for."""
MAX_ANSWERED = 40
CONFIG = v1.ConfigProto(intra_op_parallelism_threads=2, inter_op_parallelism_threads=1)
UNTRIED = frozenset({
    "Const", "ControlTrigger", "FakeParam", "HashTable", "HashTableV2", "LookupTableSizeV2", "MutableHashTableV2",
    "NoOp", "Placeholder", "PlaceholderWithDefault", "ReadVariableOp", "RefIdentity", "RefMerge", "RefSwitch",
    "StatelessRandomGetAlg", "Timestamp", "VarHandleOp", "Variable", "VariableV2",
})  # fmt: skip
"""Operations that are listed as checked and are given no tensor by a request."""


def try_operation(name: str, graphs: int, calls: int, seed: int, tell: Tell) -> None:
    """Call so many graphs of the operation `name` so many times each."""
    definition = op_def_registry.get(name)
    tell("operation", name)
    texts()
    draw = random.Random(f"{name} {seed}")
    fitting = FITTING.get(name)
    answered: dict[int, list[list[tuple[int, ...]]]] = {len(fitting): [list(fitting)]} if fitting else {}
    built = unbuilt = 0
    while built < graphs and unbuilt < MAX_UNBUILT * graphs:
        with tf.Graph().as_default() as graph, v1.Session(graph=graph, config=CONFIG) as session:
            try:
                inputs, outputs = RECIPES[name](draw) if name in RECIPES else build(definition, draw)
                session.run([v1.global_variables_initializer(), v1.tables_initializer()])
            except Exception as error:
                unbuilt += 1
                tell("unbuilt", str(error)[:150])
                continue
            if call(session, inputs, outputs, calls, draw, answered.setdefault(len(inputs), []), tell):
                built += 1
            else:
                unbuilt += 1
    tell("over")


def call(
    session: Any,
    inputs: list[Any],
    outputs: list[Any],
    calls: int,
    draw: random.Random,
    answered: list[Any],
    tell: Tell,
) -> bool:
    """Call one graph so many times; False where there is no kernel for its types."""
    feeds = [tensor._as_tf_output() for tensor in inputs]
    fetches = [
        tensor._as_tf_output()
        for tensor in outputs
        if isinstance(tensor, tf.Tensor) and tensor.dtype not in {tf.resource, tf.variant}
    ]
    targets = [(output if isinstance(output, tf.Operation) else output.op)._c_op for output in outputs]
    good = bad = 0
    has_kernel = True
    while has_kernel and good + bad < (calls if inputs else 1):
        shapes = shapes_of_a_call(len(inputs), answered, draw) if inputs else []
        arrays = [an_array(tensor.dtype, shape, draw) for tensor, shape in zip(inputs, shapes, strict=True)]
        tell("call", [f"{array.dtype}{list(array.shape)} {array.reshape(-1)[:4].tolist()}" for array in arrays])
        try:
            TF_SessionRun_wrapper(session._session, None, dict(zip(feeds, arrays, strict=True)), fetches, targets, None)
            good += 1
            if len(answered) < MAX_ANSWERED:
                answered.append(shapes)
            elif draw.random() < 0.1:
                answered[draw.randrange(MAX_ANSWERED)] = shapes
        except Exception as error:
            bad += 1
            has_kernel = "No OpKernel was registered" not in str(error)
    tell("graph", good, bad)
    return has_kernel


def tried(names: Sequence[str], graphs: int, calls: int, seed: int = 0) -> dict[str, Any]:
    """What came of the operations `names`, tried one after the other in a process of their own: calls that were
    answered (`good`) and refused (`bad`), the last operation, and, when that ended the process, the signal (`end`) and
    the call (`last`).
    """
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(reader)
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 2)
        os.dup2(null, 1)
        for name in names:
            try_operation(name, graphs, calls, seed, lambda *what: os.write(writer, (json.dumps(what) + "\n").encode()))
        os._exit(0)
    os.close(writer)
    found: dict[str, Any] = {"operation": "", "good": 0, "bad": 0, "end": "", "last": None, "unbuilt": ""}
    for kind, *what in _lines(reader):
        if kind == "graph":
            found["good"] += what[0]
            found["bad"] += what[1]
        elif kind == "hangs":
            os.kill(child, signal.SIGKILL)
            found["end"] = "hangs"
        elif kind != "over":
            found["last" if kind == "call" else kind] = what[0]
    os.close(reader)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status) and not found["end"]:
        found["end"] = signal.Signals(os.WTERMSIG(status)).name
    return found


def _lines(reader: int) -> Iterator[list[Any]]:
    """What a child tells until it has ended, at last that it hangs when it does."""
    rest = b""
    while select.select([reader], [], [], PATIENCE_SECONDS)[0]:
        chunk = os.read(reader, 1 << 20)
        if not chunk:
            return
        *lines, rest = (rest + chunk).split(b"\n")
        yield from map(json.loads, lines)
    yield ["hangs"]


def main() -> None:
    """Try the operations that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--graphs", type=int, default=20)
    parser.add_argument("--calls", type=int, default=100, help="of each graph")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("operations", nargs="*", metavar="OPERATION")
    parser.add_argument("--together", action="store_true", help="in one process, for one line")
    given = parser.parse_args()
    names = given.operations or sorted(CHECKED - UNTRIED)
    if given.together:
        print(json.dumps(tried(names, given.graphs, given.calls, given.seed)))
        return
    for name in names:
        print(json.dumps(tried([name], given.graphs, given.calls, given.seed)), flush=True)


if __name__ == "__main__":
    main()
