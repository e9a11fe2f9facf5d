"""Models as people build them, asked with tensors of every rank and many sizes. Run as a program it tells them one by
one, so that the last line names the model and the call that ended the process:

    python -m tests.faults.shapes_of_models [--calls=N] [VERSION_DIRECTORY …]
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

from tests.support import saved_models, tflite_models
from tests.support.drawn_tensors import a_shape, an_array
from tests.support.drawn_tensors import changed as changed_shape
from tfs_notebook.engine.saved_model.loader import load_saved_model
from tfs_notebook.engine.tflite.servable import load_tflite_model
from tfs_notebook.errors import Code, ServingError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tfs_notebook.engine.models.signature import TensorSpec

layers = tf.keras.layers
FLOATS = tf.float32
PATIENCE_SECONDS = 300.0
KERNEL = np.ones((3, 3, 2, 4), np.float32)


def keras_models() -> Iterator[tuple[str, Any]]:
    """Models with the layers that are used most."""
    pictures = [
        layers.Input((12, 12, 3)), layers.Rescaling(1 / 255), layers.Conv2D(4, 3, activation="relu"),
        layers.BatchNormalization(), layers.MaxPooling2D(), layers.DepthwiseConv2D(3, padding="same"),
        layers.SeparableConv2D(4, 3), layers.Flatten(), layers.Dense(3, activation="softmax"),
    ]  # fmt: skip
    yield "keras cnn", tf.keras.Sequential(pictures)
    steps = [layers.Input((None,)), layers.Embedding(9, 4), layers.LSTM(3, return_sequences=True), layers.GRU(2)]
    yield "keras lstm", tf.keras.Sequential(steps)
    words = tf.keras.Input((None,), dtype="int32")
    embedded = layers.Embedding(9, 4)(words)
    attended = layers.LayerNormalization()(layers.MultiHeadAttention(2, 2)(embedded, embedded))
    yield "keras attention", tf.keras.Model(words, layers.Dense(2)(layers.GlobalAveragePooling1D()(attended)))
    waves = [layers.Input((16, 2)), layers.Conv1D(3, 3, dilation_rate=2), layers.GlobalMaxPooling1D()]
    yield "keras conv1d", tf.keras.Sequential(waves)
    small = [layers.Input((4, 4, 2)), layers.Conv2DTranspose(2, 3, strides=2), layers.UpSampling2D(), layers.ReLU(6.0)]
    yield "keras deconvolution", tf.keras.Sequential(small)
    price, size = tf.keras.Input((1,)), tf.keras.Input((3,))
    joined = layers.Concatenate()([price, layers.Normalization(mean=0.0, variance=1.0)(size)])
    yield "keras two inputs", tf.keras.Model([price, size], layers.Dense(2, activation="gelu")(joined))


def spec(shape: list[int | None], dtype: tf.DType = FLOATS, name: str = "x") -> tf.TensorSpec:
    return tf.TensorSpec(shape, dtype, name=name)


def lookup(module: tf.Module) -> Callable[..., Any]:
    pairs = tf.lookup.KeyValueTensorInitializer(["a", "b"], tf.constant([1, 2], tf.int64))
    module.table = table = tf.lookup.StaticHashTable(pairs, -1)
    return lambda x: {"y": tf.gather(tf.ones([4, 2]), table.lookup(tf.strings.lower(x)) + 1)}


def parsed(x: tf.Tensor) -> dict[str, tf.Tensor]:
    found = tf.io.parse_example(x, {"x": tf.io.FixedLenFeature([2], FLOATS, [0.0, 0.0])})
    return {"scores": tf.matmul(found["x"], tf.ones([2, 3]))}


def pictured(x: tf.Tensor) -> dict[str, tf.Tensor]:
    def decode(content: tf.Tensor) -> tf.Tensor:
        return tf.image.resize(tf.io.decode_image(content, channels=3, expand_animations=False), [4, 4])

    return {"y": tf.map_fn(decode, x, fn_output_signature=FLOATS)}


def tokens(x: tf.Tensor) -> dict[str, tf.Tensor]:
    return {"y": tf.strings.to_number(tf.strings.split(x), tf.float32).to_tensor(shape=[None, 4])}


def loop(x: tf.Tensor) -> dict[str, tf.Tensor]:
    return {"y": tf.while_loop(lambda i, _: i < 3, lambda i, x: (i + 1, x * 2), [0, x])[1]}


FUNCTIONS: dict[str, tuple[Callable[[tf.Module], Callable[..., Any]], list[Any]]] = {
    "lookup": (lookup, [spec([None], tf.string)]),
    "parser": (lambda _: parsed, [spec([None], tf.string)]),
    "pictures": (lambda _: pictured, [spec([None], tf.string)]),
    "tokens": (lambda _: tokens, [spec([None], tf.string)]),
    "loop": (lambda _: loop, [spec([None, 2])]),
    "ragged": (lambda _: lambda x: {"y": tf.reduce_sum(x, 1)}, [tf.RaggedTensorSpec([None, None], FLOATS)]),
    "ragged words": (lambda _: lambda x: {"y": x.to_tensor()}, [tf.RaggedTensorSpec([None, None, None], tf.string)]),
    "two factors": (
        lambda _: lambda a, b: {"y": tf.nn.relu(tf.matmul(a, b) + 1.0)},
        [spec([None, 3], name="a"), spec([3, 4], name="b")],
    ),
    "sparse": (
        lambda _: lambda x: {"y": tf.sparse.sparse_dense_matmul(x, tf.ones([3, 2]))},
        [tf.SparseTensorSpec([None, 3], FLOATS)],
    ),
    "sparse words": (
        lambda _: lambda x: {"y": tf.nn.safe_embedding_lookup_sparse(tf.ones([4, 2]), x, default_id=0)},
        [tf.SparseTensorSpec([None, None], tf.int64)],
    ),
    "einsum": (
        lambda _: lambda a, b: {"y": tf.einsum("bij,bjk->bik", a, b)},
        [spec([None, 2, 3], name="a"), spec([None, 3, 2], name="b")],
    ),
    "top": (lambda _: lambda x: dict(zip(("v", "i"), tf.math.top_k(x, 2), strict=True)), [spec([None, 5])]),
    "any rank": (lambda _: lambda x: {"y": tf.nn.softmax(x)}, [spec(None)]),  # type: ignore[arg-type]
    "padded convolution": (
        lambda _: lambda x: {"y": tf.nn.relu(tf.nn.bias_add(tf.nn.conv2d(x, KERNEL, 2, "SAME"), [1.0] * 4))},
        [spec([None, None, None, 2])],
    ),
    "boxes": (
        lambda _: lambda b, s: {"y": tf.image.non_max_suppression(b, s, 3)},
        [spec([None, 4], name="b"), spec([None], name="s")],
    ),
    "spectrum": (lambda _: lambda x: {"y": tf.abs(tf.signal.rfft(x))}, [spec([None, 8])]),
    "scattered": (
        lambda _: lambda i, u: {"y": tf.scatter_nd(i, u, [4])}, [spec([None, 1], tf.int32, "i"), spec([None], name="u")]
    ),
}  # fmt: skip
TOLD = frozenset({
    Code.INVALID_ARGUMENT, Code.INTERNAL, Code.OUT_OF_RANGE, Code.FAILED_PRECONDITION, Code.NOT_FOUND,
    Code.UNIMPLEMENTED,
})  # fmt: skip
"""What kernels refuse with."""
ALREADY = ("half_plus_two", "half_plus_two_tf1", "multi", "vocabulary", "bytes_image", "any_width", "cnn", "quantised")


def lite_models() -> Iterator[tuple[str, bytes]]:
    """TFLite models, one of them quantised."""
    yield "lite linear", tflite_models.linear()
    yield "lite words", tflite_models.words()
    yield "lite gathering", tflite_models.gathering()
    pictures = [
        layers.Input((8, 8, 3)),
        layers.Conv2D(4, 3),
        layers.AveragePooling2D(2),
        layers.Flatten(),
        layers.Dense(2),
    ]
    converter = tf.lite.TFLiteConverter.from_keras_model(tf.keras.Sequential(pictures))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    yield "lite cnn", converter.convert()
    open_sizes = [layers.Input((None, None, 2)), layers.Conv2D(2, 3), layers.GlobalAveragePooling2D()]
    yield "lite open sizes", tf.lite.TFLiteConverter.from_keras_model(tf.keras.Sequential(open_sizes)).convert()
    steps = [layers.Input(batch_shape=(1, 5, 2)), layers.LSTM(3)]
    yield "lite lstm", tf.lite.TFLiteConverter.from_keras_model(tf.keras.Sequential(steps)).convert()


def versions(root: Path) -> Iterator[tuple[str, Path]]:
    """Makes the models, each a version directory."""
    for name in ALREADY:
        yield name, getattr(saved_models, name)(root / name / "1")
    for name, (make, specs) in FUNCTIONS.items():
        module = tf.Module()
        module.serve = tf.function(make(module), input_signature=specs, autograph=False)
        tf.saved_model.save(module, str(root / name), signatures=module.serve)
        yield name, root / name
    for name, model in keras_models():
        model.export(str(root / name), verbose=False)
        yield name, root / name
    for name, content in lite_models():
        yield name, tflite_models.write(root / name, content)


def a_call(specs: dict[str, TensorSpec], draw: random.Random) -> dict[str, np.ndarray]:
    """Tensors of the declared dtypes; their shapes are more or less those that are declared."""
    rows = draw.choice((0, 1, 2, 3))
    arrays = {}
    for alias, one in specs.items():
        declared = (rows, *one.shape[1:]) if one.shape and one.shape[0] is None else one.shape
        sizes = None if declared is None else tuple(draw.choice((0, 1, 2, 5)) if s is None else s for s in declared)
        shape = a_shape(draw) if sizes is None else sizes
        while draw.random() < 0.4:
            shape = changed_shape(shape, draw)
        arrays[alias] = an_array(tf.as_dtype(one.numpy_dtype), shape, draw)
    return arrays


def try_model(name: str, directory: Path, calls: int) -> None:
    """Ask every signature of the model in `directory` so many times."""
    lite = directory / "model.tflite"
    model: Any = load_tflite_model(lite) if lite.is_file() else load_saved_model(directory)
    draw = random.Random(name)
    for signature in model.signatures.values():
        answered = refused = 0
        for _ in range(calls):
            inputs = a_call(signature.inputs, draw)
            print(
                f"{name} {signature.name} { {a: f'{x.dtype}{list(x.shape)}' for a, x in inputs.items()} }", flush=True
            )
            try:
                model.run(signature, inputs, None, PATIENCE_SECONDS)
                answered += 1
            except ServingError as error:
                if error.code not in TOLD:
                    raise
                refused += 1
        print(f"{name} {signature.name}: {answered} answered, {refused} refused", flush=True)
    model.close()


def main() -> None:
    """Try the models that the command line names, by default those of this module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=300, help="of each signature")
    parser.add_argument("directories", nargs="*", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        for name, directory in ((str(d), d) for d in given.directories) if given.directories else versions(Path(root)):
            try_model(name, directory, given.calls)
    sys.stdout.write("no model ended the process\n")


if __name__ == "__main__":
    main()
