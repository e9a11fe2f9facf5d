"""The signatures of a `model.tflite`, as TensorFlow Serving finds them.

They stand in the flatbuffer's metadata entry `signature_defs_metadata` (tensorflow/lite/tools/signature): a flexbuffer
map of name to serialized SignatureDef. TFLite's own `SignatureRunner` signatures are something else, and not used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import tensorflow as tf
from flatbuffers import flexbuffers
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef

from tfs_notebook.engine.models.signature import DEFAULT_SIGNATURE
from tfs_notebook.errors import Code, ServingError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tfs_notebook.engine.tflite.interpreter import Tensor

METADATA = b"signature_defs_metadata"
_PREDICT = "tensorflow/serving/predict"


def stored_signatures(content: bytes) -> dict[str, SignatureDef]:
    """The SignatureDefs by name in the metadata of the model `content`, a valid flatbuffer; empty without the entry.

    Raises ServingError DATA_LOSS for an entry that cannot be read.
    """
    from tensorflow.lite.python.schema_py_generated import Model

    model = Model.GetRootAs(content)
    for position in range(model.MetadataLength()):
        entry = model.Metadata(position)
        if entry.Name() == METADATA:
            try:
                return _read(model.Buffers(entry.Buffer()).DataAsNumpy().tobytes())
            except Exception as error:  # whatever the reader, which checks nothing, stumbles over
                name = METADATA.decode()
                raise ServingError(Code.DATA_LOSS, f"Metadata {name} of model.tflite cannot be read: {error}") from None
    return {}


def _read(flexbuffer: bytes) -> dict[str, SignatureDef]:
    entries = flexbuffers.GetRoot(flexbuffer).AsMap
    return {
        key.AsKey: SignatureDef.FromString(value.AsStringBytes)
        for key, value in zip(entries.Keys, entries.Values, strict=True)
    }


def made_up_signature(inputs: Iterable[Tensor], outputs: Iterable[Tensor]) -> dict[str, SignatureDef]:
    """`serving_default`, which takes and returns everything by the names of the tensors, without `:0`."""
    definition = SignatureDef(method_name=_PREDICT)
    for tensors, side in ((inputs, definition.inputs), (outputs, definition.outputs)):
        for tensor in tensors:
            info = side[tensor.name.removesuffix(":0")]
            info.name = tensor.name
            info.dtype = tf.as_dtype(tensor.dtype).as_datatype_enum
            info.tensor_shape.CopyFrom(tf.TensorShape(tensor.shape).as_proto())
    return {DEFAULT_SIGNATURE: definition}


def tensors_of(infos: Mapping[str, object], tensors: Iterable[Tensor], side: str) -> dict[str, Tensor]:
    """The tensors that `infos` (TensorInfos by alias) name, by those names: exactly that one, else that without `:0`.

    Raises ServingError INTERNAL for one that the model does not have; `side` is `input` or `output`.
    """
    by_name = {tensor.name: tensor for tensor in tensors}
    found = {}
    for alias, info in infos.items():
        name = str(getattr(info, "name", ""))
        tensor = by_name.get(name) or by_name.get(name.removesuffix(":0"))
        if tensor is None:
            reason = f"Unknown tensor '{name}'.\n\tSignature {side} {alias} references an unknown tensor"
            raise ServingError(Code.INTERNAL, reason, hint=f"The model's {side}s are {', '.join(by_name)}.")
        found[name] = tensor
    return found
