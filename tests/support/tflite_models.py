"""Makers of small real TFLite models, as bytes; none takes more than a few seconds once TensorFlow is imported."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import flatbuffers
import tensorflow as tf
from flatbuffers import flexbuffers
from tensorflow.lite.python import schema_py_generated as schema

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path


def linear(scale: float = 2.0) -> bytes:
    """serving_default_x and serving_default_z: float[?, 2] → scale * x + z: float[?, 2], and its rows' sums: float[?].

    The outputs are PartitionedCall and PartitionedCall:1.
    """
    spec = tf.TensorSpec([None, 2], tf.float32)

    def serve(x: tf.Tensor, z: tf.Tensor) -> dict[str, tf.Tensor]:
        y = x * scale + z
        return {"a": y, "b": tf.reduce_sum(y, 1)}

    return _converted(serve, {"x": spec, "z": spec})


def words() -> bytes:
    """serving_default_s: string[?] → the same as a column: string[?, 1]."""
    return _converted(lambda s: {"t": tf.reshape(s, [-1, 1])}, {"s": tf.TensorSpec([None], tf.string)})


def matching(wanted: bytes) -> bytes:
    """serving_default_s: string[?] → PartitionedCall: float[?, 1], 1 where it is `wanted`, else 0; PartitionedCall:1:
    string[?, 1], the same strings; PartitionedCall:2: float[?], three times the first.

    (TensorFlow's package has no TFLite operation that parses tf.train.Examples.)
    """

    def serve(s: tf.Tensor) -> dict[str, tf.Tensor]:
        found = tf.cast(tf.equal(s, wanted), tf.float32)
        return {"a": tf.reshape(found, [-1, 1]), "b": tf.reshape(s, [-1, 1]), "c": 3.0 * found}

    return _converted(serve, {"s": tf.TensorSpec([None], tf.string)})


def gathering() -> bytes:
    """serving_default_i: int32[?] → PartitionedCall: float[?], that place of 10, 20, 30; refuses others when run."""
    return _converted(
        lambda i: {"y": tf.gather(tf.constant([10.0, 20.0, 30.0]), i)}, {"i": tf.TensorSpec([None], tf.int32)}
    )


def of_a_custom_operation() -> bytes:
    """A model with an operation that TFLite does not have."""
    spec = tf.TensorSpec([2, 2], tf.float32)
    return _converted(lambda x: {"y": tf.linalg.cholesky(x)}, {"x": spec}, allow_custom_ops=True)


def that_does_not_fit() -> bytes:
    """A model whose only shape, float[2, 4], its operation can not be prepared for: it makes six values three rows."""
    content = _converted(lambda x: {"y": tf.reshape(x, [3, 2])}, {"x": tf.TensorSpec([2, 3], tf.float32)})
    model = schema.ModelT.InitFromPackedBuf(content)
    graph = model.subgraphs[0]
    graph.tensors[graph.inputs[0]].shape = [2, 4]
    return _packed(model)


def with_signatures(content: bytes, signatures: Mapping[str, Any]) -> bytes:
    """`content` with SignatureDefs in its metadata, as tensorflow/lite/tools/signature writes them."""
    builder = flexbuffers.Builder()
    with builder.Map():
        for name, definition in signatures.items():
            builder.String(name, _Encoded(definition.SerializeToString()))
    return with_metadata(content, bytes(builder.Finish()))


def with_metadata(content: bytes, data: bytes, name: str = "signature_defs_metadata") -> bytes:
    """`content` with an entry in its metadata."""
    model = schema.ModelT.InitFromPackedBuf(content)
    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data, entry.name, entry.buffer = list(data), name, len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [*(model.metadata or ()), entry]
    return _packed(model)


def renamed(content: bytes, names: Mapping[str, str]) -> bytes:
    """`content` with other names for some tensors."""
    model = schema.ModelT.InitFromPackedBuf(content)
    for tensor in model.subgraphs[0].tensors:
        tensor.name = names.get(tensor.name.decode(), tensor.name)
    return _packed(model)


def _packed(model: Any) -> bytes:
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def definition(inputs: Mapping[str, str], outputs: Mapping[str, str], shape: list[int | None]) -> Any:
    """A SignatureDef of floats, from alias to tensor name."""
    made = tf.compat.v1.saved_model.build_signature_def(method_name="tensorflow/serving/predict")
    for side, names in ((made.inputs, inputs), (made.outputs, outputs)):
        for alias, name in names.items():
            side[alias].name, side[alias].dtype = name, tf.float32.as_datatype_enum
            side[alias].tensor_shape.CopyFrom(tf.TensorShape(shape).as_proto())
    return made


def write(directory: Path, content: bytes) -> Path:
    """Make `directory` a version with that model.tflite; returns it."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "model.tflite").write_bytes(content)
    return directory


class _Encoded(bytes):
    """Bytes that a flexbuffer takes for a text: protobuf's are none."""

    def encode(self, _encoding: str) -> bytes:
        return self


def _converted(
    serve: Callable[..., dict[str, tf.Tensor]], inputs: Mapping[str, tf.TensorSpec], *, allow_custom_ops: bool = False
) -> bytes:
    module = tf.Module()
    function = tf.function(serve, autograph=False).get_concrete_function(**inputs)
    module.serve = function
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], module)
    converter.allow_custom_ops = allow_custom_ops
    return bytes(converter.convert())
