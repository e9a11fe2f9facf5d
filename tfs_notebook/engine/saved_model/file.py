"""Reads `saved_model.pb` in small pieces, and without the values of its constants.

Parsing a message holds the interpreter's lock: a frozen graph of 300 MB, or one of 26 000 operations, would keep every
other thread waiting. TensorFlow gets the graph as the bytes that it is; Python only sees which operations are in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from google.protobuf import text_format
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf.meta_graph_pb2 import MetaGraphDef
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
from tensorflow.core.protobuf.saved_object_graph_pb2 import SavedObjectGraph

from tfs_notebook.errors import Code, ServingError, not_found

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

PIECE_BYTES = 256 << 10
"""So much is parsed at once, which takes about a millisecond; an attribute or a text that is larger is left out."""
_VARINT, _FIXED64, _MESSAGE, _FIXED32 = 0, 1, 2, 5
_META_GRAPHS = SavedModel.DESCRIPTOR.fields_by_name["meta_graphs"].number
_GRAPH = MetaGraphDef.DESCRIPTOR.fields_by_name["graph_def"].number
_OBJECTS = MetaGraphDef.DESCRIPTOR.fields_by_name["object_graph_def"].number
_FUNCTION_TYPES = SavedObjectGraph.DESCRIPTOR.fields_by_name["concrete_functions"].number
_RAGGED = b"RaggedTensorSpec"


class MetaGraph(NamedTuple):
    """A meta graph, and its serialized GraphDef.

    `message.graph_def` lacks attributes that are large, `message.object_graph_def` all but the types of functions that
    take or return ragged tensors.
    """

    message: Any
    graph_def: bytes | memoryview


def read_meta_graph(directory: Path, tags: Sequence[str]) -> MetaGraph:
    """The meta graph that has exactly `tags`. Raises ServingError with the text of TensorFlow's loader."""
    path = directory / "saved_model.pb"
    if path.is_file():
        content = path.read_bytes()
    else:
        path = directory / "saved_model.pbtxt"
        content = _from_text(path)
    try:
        return _find(content, tags)
    except (DecodeError, IndexError):
        hint = _no_saved_model(content)
        raise ServingError(
            Code.DATA_LOSS, f"Can't parse {path} as binary proto", where=str(directory), hint=hint
        ) from None


def _no_saved_model(content: bytes) -> str:
    return (
        f"saved_model.pb is not a SavedModel ({len(content):,} bytes), or only a part of one: export or copy it again"
    )


def _from_text(path: Path) -> bytes:
    try:
        return bytes(text_format.Parse(path.read_bytes(), SavedModel()).SerializeToString())
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise ServingError(
            Code.DATA_LOSS, f"Can't parse {path} as text proto", where=str(path.parent), hint=str(error)
        ) from None


def without_graphs(content: bytes) -> Iterator[Any]:
    """Each meta graph in `content`, a serialized SavedModel, without its graph and objects. Raises DecodeError."""
    try:
        for number, _, start, end in _fields(content, 0, len(content)):
            if number == _META_GRAPHS:
                yield _read(content, start, end).message
    except IndexError:
        raise DecodeError from None


def _find(content: bytes, tags: Sequence[str]) -> MetaGraph:
    found = []
    for number, _, start, end in _fields(content, 0, len(content)):
        if number != _META_GRAPHS:
            continue
        message, graphs, objects = _read(content, start, end)
        if set(message.meta_info_def.tags) == set(tags):
            for part in objects:
                for functions in _ragged_functions(content, *part):
                    message.MergeFromString(functions)
            for graph in graphs:
                _merge(message.graph_def, content, *graph)
            return MetaGraph(message, _joined([memoryview(content)[slice(*graph)] for graph in graphs]))
        found.append(f"'{','.join(message.meta_info_def.tags)}'")
    raise not_found(
        f"Could not find meta graph def matching supplied tags: {{ {' '.join(tags)} }}. To inspect available "
        "tag-sets in the SavedModel, please use the SavedModel CLI: `saved_model_cli`",
        hint=f"it has the tags {' or '.join(found)}: --saved_model_tags names those to serve"
        if found
        else _no_saved_model(content),
    )


class _Read(NamedTuple):
    """A MetaGraphDef without what is large, and where in the file that begins and ends."""

    message: Any
    graphs: list[tuple[int, int]]
    objects: list[tuple[int, int]]


def _read(content: bytes, start: int, end: int) -> _Read:
    found = _Read(MetaGraphDef(), [], [])
    for number, tag, value, stop in _fields(content, start, end):
        if number == _GRAPH:
            found.graphs.append((value, stop))
        elif number == _OBJECTS:
            found.objects.append((value, stop))
        else:
            found.message.MergeFromString(content[tag:stop])
    return found


def _ragged_functions(content: bytes, start: int, end: int) -> Iterator[bytes]:
    """The parts of an object graph that type functions with ragged tensors, each as part of a meta graph."""
    if content.find(_RAGGED, start, end) < 0:
        return
    for number, tag, value, stop in _fields(content, start, end):
        if number == _FUNCTION_TYPES and content.find(_RAGGED, value, stop) >= 0:
            objects = SavedObjectGraph.FromString(content[tag:stop])
            yield MetaGraphDef(object_graph_def=objects).SerializeToString()


def _joined(parts: list[memoryview]) -> bytes | memoryview:
    """One message in several parts is allowed, and never seen; a copy takes its time."""
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _merge(message: Any, content: bytes, start: int, end: int) -> None:
    """Add to `message` what stands in `content` from `start` to before `end`, in pieces."""
    begin = start
    for number, tag, value, stop in _fields(content, start, end):
        if stop - value > PIECE_BYTES:
            message.MergeFromString(content[begin:tag])
            begin = stop
            if (part := _part(message, number)) is not None:
                _merge(part, content, value, stop)
        elif stop - begin > PIECE_BYTES:
            message.MergeFromString(content[begin:stop])
            begin = stop
    message.MergeFromString(content[begin:end])


def _part(message: Any, number: int) -> Any:
    """The message in which the field `number` is to be read; None for an attribute, or for what is no message."""
    field = message.DESCRIPTOR.fields_by_number.get(number)
    if field is None or field.message_type is None or field.message_type.GetOptions().map_entry:
        return None
    part = getattr(message, field.name)
    return part.add() if hasattr(part, "add") else part


def _fields(content: bytes, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Of each field: its number, where its tag begins, where its value begins, and where it ends."""
    position = start
    while position < end:
        tag = position
        key, value = _varint(content, position)
        kind = key & 7
        if kind == _MESSAGE:
            size, value = _varint(content, value)
            position = value + size
        elif kind == _VARINT:
            _, position = _varint(content, value)
        elif kind in {_FIXED32, _FIXED64}:
            position = value + (4 if kind == _FIXED32 else 8)
        else:
            raise DecodeError
        if position > end:
            raise DecodeError
        yield key >> 3, tag, value, position


def _varint(content: bytes, position: int) -> tuple[int, int]:
    """The number that stands at `position`, and where it ends."""
    byte = content[position]
    number, position, shift = byte & 127, position + 1, 7
    while byte & 128:
        byte = content[position]
        number |= (byte & 127) << shift
        position, shift = position + 1, shift + 7
        if shift > 70:
            raise DecodeError
    return number, position
