"""Exporters of small real SavedModels, and ways to damage one.

An exporter `name(directory)` writes a SavedModel to `directory`, a version directory such as `tmp/half_plus_two/1`,
and returns it. Unless its docstring says otherwise the signature is `serving_default`, made by `tf.saved_model.save`;
none takes more than half a second once TensorFlow is imported.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

v1 = tf.compat.v1

INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
FLOATS = {"half": tf.float16, "bfloat16": tf.bfloat16, "float": tf.float32, "double": tf.float64}
WORDS = (b"the", b"quick", b"brown", b"fox")


def half_plus_two(directory: Path, *, scale: float = 0.5, offset: float = 2.0) -> Path:
    """x: float[?] → y: float[?] = x * scale + offset, both constants being variables."""
    module = tf.Module()
    module.scale = tf.Variable(scale, dtype=tf.float32)
    module.offset = tf.Variable(offset, dtype=tf.float32)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def serve(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": x * module.scale + module.offset}

    return _save(module, directory, {"serving_default": serve})


def cnn(directory: Path, *, filters: tuple[int, int] = (8, 8)) -> Path:
    """keras_tensor: float[?, 28, 28, 1] → output_0: float[?, 10], a softmax with fixed random weights.

    Two convolutions with so many `filters`; (32, 64) are those of Keras's own example for 28×28 images.
    """
    random = np.random.default_rng(0)
    module = tf.Module()
    module.kernel = tf.Variable(random.normal(0, 0.3, (3, 3, 1, filters[0])).astype(np.float32))
    module.second = tf.Variable(random.normal(0, 0.1, (3, 3, *filters)).astype(np.float32))
    module.weights = tf.Variable(random.normal(0, 0.1, (7 * 7 * filters[1], 10)).astype(np.float32))
    module.bias = tf.Variable(np.zeros(10, np.float32))

    @tf.function(input_signature=[tf.TensorSpec([None, 28, 28, 1], tf.float32, name="keras_tensor")])
    def serve(keras_tensor: tf.Tensor) -> dict[str, tf.Tensor]:
        features = tf.nn.max_pool2d(tf.nn.relu(tf.nn.conv2d(keras_tensor, module.kernel, 1, "SAME")), 2, 2, "SAME")
        features = tf.nn.max_pool2d(tf.nn.relu(tf.nn.conv2d(features, module.second, 1, "SAME")), 2, 2, "SAME")
        flat = tf.reshape(features, [-1, 7 * 7 * filters[1]])
        return {"output_0": tf.nn.softmax(tf.matmul(flat, module.weights) + module.bias)}

    return _save(module, directory, {"serving_default": serve})


def half_plus_two_tf1(directory: Path) -> Path:
    """The graph of TensorFlow Serving's own half_plus_two: reference variables, no functions, three signatures.

    `serving_default`: x: float[?, 1] → y: float[?, 1], where x is not a placeholder but what the parser gives.
    `regress_x_to_y` and `classify_x_to_y`: inputs: string[?], serialized tf.train.Examples with a float feature "x",
    → outputs (regress) or scores (classify): float[?, 1].
    """
    with tf.Graph().as_default(), v1.Session() as session:
        scale = v1.Variable(0.5, name="a", use_resource=False)
        offset = v1.Variable(2.0, name="b", use_resource=False)
        examples = v1.placeholder(tf.string, [None], name="tf_example")
        features = tf.io.parse_example(examples, {"x": tf.io.FixedLenFeature([1], tf.float32)})
        x = tf.identity(features["x"], name="x")
        y = tf.add(tf.multiply(scale, x), offset, name="y")
        session.run([scale.initializer, offset.initializer])
        return _save_graph(
            session,
            directory,
            {
                "serving_default": _definition({"x": x}, {"y": y}, "predict"),
                "regress_x_to_y": _definition({"inputs": examples}, {"outputs": y}, "regress"),
                "classify_x_to_y": _definition({"inputs": examples}, {"scores": y}, "classify"),
            },
        )


def dtypes(directory: Path) -> Path:
    """A signature for each dtype, named as TensorFlow Serving prints it and without `serving_default`: x[?] → y[?].

    y is x + 1 of a number, `not x` of a bool, and x followed by "!" of a string.
    """
    numbers = {**FLOATS, **{name: tf.as_dtype(name) for name in INTEGERS}}
    changes = {name: (dtype, lambda x: x + tf.ones([], x.dtype)) for name, dtype in numbers.items()}
    changes["bool"] = tf.bool, tf.logical_not
    changes["string"] = tf.string, lambda x: tf.strings.join([x, "!"])

    def signature(dtype: tf.DType, change: Callable[[tf.Tensor], tf.Tensor]) -> object:
        return tf.function(lambda x: {"y": change(x)}, input_signature=[tf.TensorSpec([None], dtype, name="x")])

    return _save(tf.Module(), directory, {name: signature(*entry) for name, entry in changes.items()})


def multi(directory: Path) -> Path:
    """a: float[?, 2], b: int32[?] → total: float[?], the sum of each row of a, and doubled: int32[?] = 2 * b.

    The signature `one_output` takes the same and returns `total` alone.
    """
    inputs = [tf.TensorSpec([None, 2], tf.float32, name="a"), tf.TensorSpec([None], tf.int32, name="b")]

    @tf.function(input_signature=inputs)
    def serve(a: tf.Tensor, b: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"total": tf.reduce_sum(a, axis=1), "doubled": 2 * b}

    @tf.function(input_signature=inputs)
    def one_output(a: tf.Tensor, b: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"total": tf.reduce_sum(a, axis=1)}

    return _save(tf.Module(), directory, {"serving_default": serve, "one_output": one_output})


def aliased(directory: Path) -> Path:
    """x and also_x: float[?], one tensor → y and also_y: float[?] = 2 * x, one tensor, and echo, the input itself."""
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [None], name="x")
        y = tf.multiply(x, 2.0, name="y")
        definition = _definition({"x": x, "also_x": x}, {"y": y, "also_y": y, "echo": x}, "predict")
        return _save_graph(session, directory, {"serving_default": definition})


def no_input(directory: Path) -> Path:
    """The signature `constant` takes nothing → values: float[3] = 1, 2, 3; `serving_default`: x: float[?] → y = x."""

    @tf.function(input_signature=[])
    def constant() -> dict[str, tf.Tensor]:
        return {"values": tf.constant([1.0, 2.0, 3.0])}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def serve(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": tf.identity(x)}

    return _save(tf.Module(), directory, {"constant": constant, "serving_default": serve})


def defaults(directory: Path, *, method: str = "predict") -> Path:
    """x: float[?] with the default [8], offset: float[?] → y: float[?] = x + 2 * offset."""
    with tf.Graph().as_default(), v1.Session() as session:
        x, offset = (v1.placeholder(tf.float32, [None], name=name) for name in ("x", "offset"))
        definition = _definition({"x": x, "offset": offset}, {"y": x + 2.0 * offset}, method)
        definition.defaults["x"].CopyFrom(tf.make_tensor_proto([8.0]))
        return _save_graph(session, directory, {"serving_default": definition})


def vocabulary(directory: Path) -> Path:
    """words: string[?] → ids: int64[?], the line of each word in the asset vocabulary.txt, and words_bytes: string[?].

    The asset holds `WORDS`; a word that is not there has the id `len(WORDS)`.
    """
    module = tf.Module()
    with tempfile.TemporaryDirectory() as temporary:
        asset = Path(temporary) / "vocabulary.txt"
        asset.write_bytes(b"\n".join(WORDS) + b"\n")
        whole_line, line_number = tf.lookup.TextFileIndex.WHOLE_LINE, tf.lookup.TextFileIndex.LINE_NUMBER
        lines = tf.lookup.TextFileInitializer(str(asset), tf.string, whole_line, tf.int64, line_number)
        module.table = tf.lookup.StaticVocabularyTable(lines, num_oov_buckets=1)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="words")])
        def serve(words: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"ids": module.table.lookup(words), "words_bytes": tf.identity(words)}

        return _save(module, directory, {"serving_default": serve})


def counter(directory: Path) -> Path:
    """The signatures `incr` and `get_counter` take nothing → counter: int64[], after and without adding one."""
    module = tf.Module()
    module.counter = tf.Variable(0, dtype=tf.int64)

    @tf.function(input_signature=[])
    def incr() -> dict[str, tf.Tensor]:
        return {"counter": module.counter.assign_add(1)}

    @tf.function(input_signature=[])
    def get_counter() -> dict[str, tf.Tensor]:
        return {"counter": module.counter.read_value()}

    return _save(module, directory, {"incr": incr, "get_counter": get_counter})


def raising(directory: Path) -> Path:
    """x: float[?] → y = x, or InvalidArgument "x must not be negative" when any x is."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def serve(x: tf.Tensor) -> dict[str, tf.Tensor]:
        tf.debugging.Assert(tf.reduce_all(x >= 0), ["x must not be negative", x])
        return {"y": tf.identity(x)}

    return _save(tf.Module(), directory, {"serving_default": serve})


def echoes(directory: Path) -> Path:
    """Signatures x → y = x for every dtype that has a name in TensorFlow Serving, and some of floats with odd outputs.

    x_bytes: x: string → x_bytes.        none_of: y of no rows.        sum: y: float[].
    unequal: a of as many rows as x, b of twice as many.        as_complex: y: complex64.
    """
    with tf.Graph().as_default(), v1.Session() as session:
        others = {"bool": tf.bool, "string": tf.string, "complex64": tf.complex64, "complex128": tf.complex128}
        types = {**FLOATS, **{name: tf.as_dtype(name) for name in INTEGERS}, **others}
        inputs = {name: v1.placeholder(dtype, name=name) for name, dtype in types.items()}
        x = inputs["float"]
        outputs = {name: {"y": tf.identity(tensor)} for name, tensor in inputs.items()}
        odd = {
            "none_of": {"y": x[:0]},
            "sum": {"y": tf.reduce_sum(x)},
            "unequal": {"a": tf.identity(x), "b": tf.concat([x, x], axis=0)},
            "as_complex": {"y": tf.complex(x, x)},
        }
        strings = _definition({"x": inputs["string"]}, {"x_bytes": outputs["string"]["y"]}, "predict")
        signatures = {name: _definition({"x": inputs[name]}, y, "predict") for name, y in outputs.items()}
        signatures |= {name: _definition({"x": x}, y, "predict") for name, y in odd.items()}
        return _save_graph(session, directory, {**signatures, "x_bytes": strings})


def failing(directory: Path) -> Path:
    """Signatures x: string[] → y that fail with the code they are named for; complex: x: complex64[?] → y = x.

    `not_found` and `data_loss` (of a file that holds no records) need the path of a file as x.
    """
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.string, [], name="x")
        numbers = v1.placeholder(tf.complex64, [None], name="numbers")
        closed = v1.FIFOQueue(1, tf.string, [()], shared_name="closed")
        files = v1.FIFOQueue(100, tf.string, [()], shared_name="files")
        with tf.control_dependencies([closed.close()]):
            taken = closed.dequeue()
            with tf.control_dependencies([closed.enqueue(x)]):
                put = tf.identity(x)
        with tf.control_dependencies([files.enqueue(x)]):
            record = v1.TFRecordReader().read(files).value
        outputs = {
            "out_of_range": taken,
            "cancelled": put,
            "failed_precondition": v1.Variable("", name="unset", use_resource=False, collections=["unsaved"]).value(),
            "not_found": tf.io.read_file(x),
            "data_loss": record,
        }
        definitions = {name: _definition({"x": x}, {"y": y}, "predict") for name, y in outputs.items()}
        definitions["complex"] = _definition({"x": numbers}, {"y": tf.identity(numbers)}, "predict")
        return _save_graph(session, directory, definitions)


def slow(directory: Path) -> Path:
    """seconds: float[] → elapsed: float[], after keeping one core busy that long without Python or its lock."""

    @tf.function(input_signature=[tf.TensorSpec([], tf.float32, name="seconds")])
    def serve(seconds: tf.Tensor) -> dict[str, tf.Tensor]:
        start = tf.timestamp()
        least = tf.cast(seconds, tf.float64)
        elapsed = tf.while_loop(lambda elapsed: elapsed < least, lambda _: [tf.timestamp() - start], [start - start])[0]
        return {"elapsed": tf.cast(elapsed, tf.float32)}

    return _save(tf.Module(), directory, {"serving_default": serve})


def together(directory: Path) -> Path:
    """seconds: float[?] → rows: int32[?], how many rows ran together, and echo: float[?] = seconds.

    It keeps one core busy for the longest of `seconds` without Python or its lock.
    """

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="seconds")])
    def serve(seconds: tf.Tensor) -> dict[str, tf.Tensor]:
        start = tf.timestamp()
        least = tf.cast(tf.reduce_max(seconds), tf.float64)
        elapsed = tf.while_loop(lambda elapsed: elapsed < least, lambda _: [tf.timestamp() - start], [start - start])[0]
        rows = tf.fill(tf.shape(seconds), tf.size(seconds) + tf.cast(elapsed < 0, tf.int32))
        return {"rows": rows, "echo": tf.identity(seconds)}

    return _save(tf.Module(), directory, {"serving_default": serve})


def gated(directory: Path) -> Path:
    """x: float[?] → y: float[?] = x, for each call of which a call of `let_in` has to be made, before or meanwhile.

    `let_in`: one: float[?] → y = one.
    """
    with tf.Graph().as_default(), v1.Session() as session:
        tokens = v1.FIFOQueue(1000, tf.bool, [()], shared_name="tokens")
        x, one = (v1.placeholder(tf.float32, [None], name=name) for name in ("x", "one"))
        with tf.control_dependencies([tokens.dequeue()]):
            passed = tf.identity(x)
        with tf.control_dependencies([tokens.enqueue(True)]):
            put = tf.identity(one)
        signatures = {
            "serving_default": _definition({"x": x}, {"y": passed}, "predict"),
            "let_in": _definition({"one": one}, {"y": put}, "predict"),
        }
        return _save_graph(session, directory, signatures)


def any_width(directory: Path) -> Path:
    """x: float[?, ?] → total: float[?], the sum of each row, and width: int32[?], the numbers in it."""

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.float32, name="x")])
    def serve(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"total": tf.reduce_sum(x, axis=1), "width": tf.fill([tf.shape(x)[0]], tf.shape(x)[1])}

    return _save(tf.Module(), directory, {"serving_default": serve})


def sized(directory: Path) -> Path:
    """n: int32[] → sum: float[], of n random numbers: a small request with any amount of work."""

    @tf.function(input_signature=[tf.TensorSpec([], tf.int32, name="n")])
    def serve(n: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"sum": tf.reduce_sum(tf.random.uniform([n]))}

    return _save(tf.Module(), directory, {"serving_default": serve})


def huge(directory: Path) -> Path:
    """x: float[?] → y: float[?], which first takes a petabyte for each row: more than any address space has."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def serve(x: tf.Tensor) -> dict[str, tf.Tensor]:
        rows = tf.shape(x, out_type=tf.int64)[0]
        return {"y": x + tf.fill(tf.stack([rows, tf.constant(2**48, tf.int64)]), 1.0)[:, 0]}

    return _save(tf.Module(), directory, {"serving_default": serve})


def quantised(directory: Path) -> Path:
    """x: float[?, 3] → y: float[?, 3], rounded by an operation that does not check the rank of what it is given."""

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="x")])
    def serve(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": tf.quantization.fake_quant_with_min_max_vars_per_channel(x, [-1.0] * 3, [1.0] * 3)}

    return _save(tf.Module(), directory, {"serving_default": serve})


def wide(directory: Path) -> Path:
    """x: float[?] → y: float[?, 10000], each x ten thousand times."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def serve(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": x[:, None] * tf.ones([1, 10_000])}

    return _save(tf.Module(), directory, {"serving_default": serve})


def bytes_image(directory: Path) -> Path:
    """image_bytes: string[?] → length: int64[?], the bytes of each, and echo_bytes: string[?]."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def serve(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        length = tf.cast(tf.strings.length(image_bytes), tf.int64)
        return {"length": length, "echo_bytes": tf.identity(image_bytes)}

    return _save(tf.Module(), directory, {"serving_default": serve})


def scalar_output(directory: Path) -> Path:
    """x: float[?] → doubled: float[?] and mean: float[], which has no batch dimension."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def serve(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"doubled": 2 * x, "mean": tf.reduce_mean(x)}

    return _save(tf.Module(), directory, {"serving_default": serve})


def without_index(directory: Path) -> Path:
    """Remove the index of the variables of the good version at `directory`; returns the path it had."""
    return _remove(directory / "variables" / "variables.index")


def without_shard(directory: Path) -> Path:
    """Remove the only shard of the variables of the good version at `directory`; returns the path it had."""
    return _remove(directory / "variables" / "variables.data-00000-of-00001")


def without_asset(directory: Path) -> Path:
    """Remove the only asset of the good version at `directory`, such as `vocabulary`; returns the path it had."""
    (asset,) = (directory / "assets").iterdir()
    return _remove(asset)


def truncated_pb(directory: Path) -> Path:
    """Cut saved_model.pb of the good version at `directory` to its first half, as a broken upload would; returns it."""
    graph = directory / "saved_model.pb"
    content = graph.read_bytes()
    graph.write_bytes(content[: len(content) // 2])
    return graph


def _remove(path: Path) -> Path:
    path.unlink()
    return path


def _definition(inputs: Mapping[str, tf.Tensor], outputs: Mapping[str, tf.Tensor], method: str) -> Any:
    infos = [{alias: v1.saved_model.build_tensor_info(t) for alias, t in side.items()} for side in (inputs, outputs)]
    return v1.saved_model.build_signature_def(*infos, f"tensorflow/serving/{method}")


def _save_graph(session: v1.Session, directory: Path, signatures: Mapping[str, object]) -> Path:
    directory.parent.mkdir(parents=True, exist_ok=True)
    builder = v1.saved_model.Builder(str(directory))
    builder.add_meta_graph_and_variables(session, ["serve"], signature_def_map=dict(signatures))
    builder.save()
    return directory


def _save(module: tf.Module, directory: Path, signatures: Mapping[str, object]) -> Path:
    directory.parent.mkdir(parents=True, exist_ok=True)
    tf.saved_model.save(module, str(directory), signatures=dict(signatures))
    return directory
