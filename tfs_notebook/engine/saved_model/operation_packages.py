"""Packages that register operations with TensorFlow, which a graph may need: imported when one does.

TensorFlow Serving's binary has those of TensorFlow Text and of TensorFlow Decision Forests linked in
(SUPPORTED_TENSORFLOW_OPS in model_servers/BUILD); in a kernel they come with a package.
"""

from __future__ import annotations

import importlib
import logging
import re
from importlib.util import find_spec
from typing import Any, NamedTuple

from tfs_notebook.engine.saved_model.session import knows_operations, operation_definition

_log = logging.getLogger(__name__)


class _Package(NamedTuple):
    module: str
    project: str
    """What `pip install` takes."""
    operations: re.Pattern[str]
    """How the names of its operations look."""


_PACKAGES = (
    _Package(
        "tensorflow_text",
        "tensorflow-text",
        re.compile(
            "TFText>|Tokeniz|Sentencepiece|CaseFoldUTF8|NormalizeUTF8|RegexSplit|SentenceFragments|FindSourceOffsets"
            "|ConstrainedSequence|MaxSpanningTree|RougeL|FastBertNormalize"
        ),
    ),
    _Package("tensorflow_decision_forests", "tensorflow-decision-forests", re.compile("SimpleML")),
    _Package("tensorflow_ranking", "tensorflow-ranking", re.compile("Ranking>")),
    _Package("tensorflow_addons", "tensorflow-addons", re.compile("Addons>")),
    _Package("tensorflow_io", "tensorflow-io", re.compile("IO>")),
    _Package("tensorflow_recommenders_addons", "tensorflow-recommenders-addons", re.compile("TFRA>")),
)


def find_missing(graph_def: Any) -> str:
    """An operation of `graph_def` that nothing registers, empty for none; a package that may is imported."""
    missing = _missing(graph_def)
    for package in _PACKAGES:
        if any(map(package.operations.search, missing)) and _import(package.module):
            missing = _missing(graph_def)
    return min(missing, default="")


def remedy(operation: str) -> str:
    """What a person can do about an `operation` that is not registered."""
    for package in _PACKAGES:
        if package.operations.search(operation):
            if find_spec(package.module) is None:
                return (
                    f"{operation} is probably one of {package.project}'s: install the version made for this TensorFlow"
                )
            return f"{operation} is probably one of {package.project}'s, but the installed version does not register it"
    return f"register {operation} before the model is loaded: import the package that has it, or tf.load_op_library"


def _missing(graph_def: Any) -> set[str]:
    if not knows_operations():
        return set()
    functions = graph_def.library.function
    operations = {node.op for nodes in (graph_def.node, *(f.node_def for f in functions)) for node in nodes}
    return {
        operation
        for operation in operations - {function.signature.name for function in functions}
        if operation_definition(operation) is None
    }


def _import(module: str) -> bool:
    """Import `module`; False when it is not installed, or cannot be imported."""
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            _log.warning("%s, which the graph needs, cannot be imported: %s", module, error)
        return False
    except Exception as error:  # made for another TensorFlow: whatever its library says
        _log.warning("%s, which the graph needs, cannot be imported: %s", module, error)
        return False
    _log.info("Imported %s, whose operations the graph needs", module)
    return True
