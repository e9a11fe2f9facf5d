"""Is a SavedModel all there? The rule that keeps half-copied versions from being loaded.

`saved_model.pb` is parsed first and names the rest: a restore op means `variables/variables.index` and every data shard
of one `-NNNNN-of-MMMMM` set; every asset of the meta graphs must lie under `assets/`. An empty `saved_model.pb` is what
a copy that has just begun looks like. Where `model.tflite` is preferred it is all there is to be.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tfs_notebook.engine.hints import keras_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

TFLITE_FILE = "model.tflite"
_SHARD = re.compile(r"variables\.data-(\d{5})-of-(\d{5})")


def has_model(directory: Path, *, prefer_tflite: bool = False) -> bool:
    """Whether there is a SavedModel's graph, or a preferred `model.tflite`, in `directory`, complete or not."""
    names = ["saved_model.pb", "saved_model.pbtxt", *([TFLITE_FILE] if prefer_tflite else ())]
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
    saved_model_pb, saved_model_pbtxt = directory / "saved_model.pb", directory / "saved_model.pbtxt"
    if not directory.is_dir():
        yield f"{directory.name} is not a directory"
    elif saved_model_pb.is_file():
        if not saved_model_pb.stat().st_size:
            yield "saved_model.pb is empty"
        yield from _missing_parts(directory, _parse_binary(saved_model_pb))
    elif saved_model_pbtxt.is_file():
        yield from _missing_parts(directory, _parse_text(saved_model_pbtxt))
    elif (directory / TFLITE_FILE).is_file():
        yield f"saved_model.pb is missing ({TFLITE_FILE} is served with --prefer_tflite_model)"
    else:
        keras = keras_file(directory)
        yield "saved_model.pb is missing" + (f" ({keras} is a Keras file: use model.export)" if keras else "")


def _parse_binary(path: Path) -> SavedModel | None:
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    try:
        return SavedModel.FromString(path.read_bytes())
    except DecodeError:
        return None


def _parse_text(path: Path) -> SavedModel | None:
    from google.protobuf import text_format
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    try:
        return text_format.Parse(path.read_text(encoding="utf-8"), SavedModel())
    except (text_format.ParseError, UnicodeDecodeError):
        return None


def _missing_parts(directory: Path, saved_model: SavedModel | None) -> Iterator[str]:
    for meta_graph in saved_model.meta_graphs if saved_model is not None else ():
        if meta_graph.saver_def.restore_op_name:
            yield from _missing_variables(directory / "variables")
        for asset in meta_graph.asset_file_def:
            if not (directory / "assets" / asset.filename).is_file():
                yield f"assets/{asset.filename} is missing"


def _missing_variables(directory: Path) -> Iterator[str]:
    if not (directory / "variables.index").is_file():
        yield "variables/variables.index is missing"
        return
    shards = [match.groups() for path in directory.iterdir() if (match := _SHARD.fullmatch(path.name))]
    if not shards:
        yield "variables/variables.data-00000-of-00001 is missing"
        return
    totals = {total for _, total in shards}
    if any({f"{i:05}" for i in range(int(total))} <= {i for i, of in shards if of == total} for total in totals):
        return
    total = min(totals)
    absent = next(i for i in range(int(total)) if (f"{i:05}", total) not in shards)
    yield f"variables/variables.data-{absent:05}-of-{total} is missing"
