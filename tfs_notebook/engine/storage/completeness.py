"""Is a SavedModel all there? The rule that keeps half-copied versions from being loaded.

`saved_model.pb` is parsed first and names the rest: a restore op means `variables/variables.index` and every data shard
of one `-NNNNN-of-MMMMM` set; every asset of the meta graphs must lie under `assets/`. An empty `saved_model.pb` is what
a copy that has just begun looks like. Where `model.tflite` is preferred it is all there is to be.

`Parts` is what a graph asks for, whether its files stand in a directory or are only listed by a store.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tfs_notebook.engine.storage.hints import keras_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from tensorflow.core.protobuf.meta_graph_pb2 import MetaGraphDef

TFLITE_FILE = "model.tflite"
GRAPH_FILES = ("saved_model.pb", "saved_model.pbtxt")
"""What a version's graph is called, in the order in which TensorFlow looks for it."""
_SHARD = re.compile(r"variables\.data-(\d{5})-of-(\d{5})")


def has_model(directory: Path, *, prefer_tflite: bool = False) -> bool:
    """Whether there is a SavedModel's graph, or a preferred `model.tflite`, in `directory`, complete or not."""
    names = [*GRAPH_FILES, *([TFLITE_FILE] if prefer_tflite else ())]
    try:
        return any((directory / name).is_file() for name in names)
    except OSError:
        return False


def missing_part(directory: Path, *, prefer_tflite: bool = False) -> str:
    """The first part of the model in `directory` that is not there yet, or "" when it is complete.

    A file that cannot be read as what it should be counts as complete: loading it will say what is wrong with it.
    """
    try:
        if prefer_tflite and (directory / TFLITE_FILE).is_file():
            return "" if (directory / TFLITE_FILE).stat().st_size else f"{TFLITE_FILE} is empty"
        return next(_missing_files(directory), "")
    except OSError as error:
        return f"{error.filename} cannot be read ({error.strerror})"


def _missing_files(directory: Path) -> Iterator[str]:
    saved_model_pb, saved_model_pbtxt = (directory / name for name in GRAPH_FILES)
    if not directory.is_dir():
        yield f"{directory.name} is not a directory"
    elif saved_model_pb.is_file():
        if not saved_model_pb.stat().st_size:
            yield "saved_model.pb is empty"
        yield from _missing_parts(directory, saved_model_pb)
    elif saved_model_pbtxt.is_file():
        yield from _missing_parts(directory, saved_model_pbtxt)
    elif (directory / TFLITE_FILE).is_file():
        yield f"saved_model.pb is missing ({TFLITE_FILE} is served with --prefer_tflite_model)"
    else:
        keras = keras_file(directory)
        yield "saved_model.pb is missing" + (f" ({keras} is a Keras file: use model.export)" if keras else "")


def _missing_parts(directory: Path, graph: Path) -> Iterator[str]:
    for name in Parts.of(graph).missing(
        lambda name: (directory / name).is_file(), lambda: (path.name for path in (directory / "variables").iterdir())
    ):
        yield f"{name} is missing"


@dataclass(frozen=True, slots=True)
class Parts:
    """What the graph of a SavedModel needs beside itself; nothing when it cannot be read as a graph."""

    variables: bool = False
    assets: tuple[str, ...] = ()

    @classmethod
    def of(cls, graph: Path) -> Parts:
        """The parts that the file `graph`, a `saved_model.pb` or `.pbtxt`, asks for. Raises OSError."""
        meta_graphs = _parse_text(graph) if graph.suffix == ".pbtxt" else _parse_binary(graph)
        return cls(
            any(meta_graph.saver_def.restore_op_name for meta_graph in meta_graphs),
            tuple(asset.filename for meta_graph in meta_graphs for asset in meta_graph.asset_file_def),
        )

    def missing(self, has: Callable[[str], bool], in_variables: Callable[[], Iterable[str]]) -> Iterator[str]:
        """The files that are needed and not there, of the variables at most one; paths from the version's directory.

        `has` tells whether a file is there, and `in_variables` names the files in `variables/`, if there are any.
        """
        if self.variables and not has("variables/variables.index"):
            yield "variables/variables.index"
        elif self.variables and (shard := _missing_shard(in_variables())):
            yield f"variables/{shard}"
        for asset in self.assets:
            if not has(f"assets/{asset}"):
                yield f"assets/{asset}"


def _missing_shard(names: Iterable[str]) -> str:
    """The first data shard that is not among `names`, "" when one set is complete."""
    shards = {match.groups() for name in names if (match := _SHARD.fullmatch(name))}
    if not shards:
        return "variables.data-00000-of-00001"
    totals = {total for _, total in shards}
    if any({f"{i:05}" for i in range(int(total))} <= {i for i, of in shards if of == total} for total in totals):
        return ""
    total = min(totals)
    absent = next(i for i in range(int(total)) if (f"{i:05}", total) not in shards)
    return f"variables.data-{absent:05}-of-{total}"


def _parse_binary(path: Path) -> Sequence[MetaGraphDef]:
    from google.protobuf.message import DecodeError

    from tfs_notebook.engine.saved_model.file import without_graphs

    try:
        return list(without_graphs(path.read_bytes()))
    except DecodeError:
        return ()


def _parse_text(path: Path) -> Sequence[MetaGraphDef]:
    from google.protobuf import text_format
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    try:
        return list(text_format.Parse(path.read_text(encoding="utf-8"), SavedModel()).meta_graphs)
    except (text_format.ParseError, UnicodeDecodeError):
        return ()
