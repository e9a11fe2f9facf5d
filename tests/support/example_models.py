"""Real SavedModels whose signatures parse tf.train.Examples, for classify, regress and several of them at once.

As in `saved_models`, an exporter writes a version directory and returns it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import tensorflow as tf

from tests.support.saved_models import _definition, _save, _save_graph, v1

if TYPE_CHECKING:
    from pathlib import Path

FEATURES = {
    "x": tf.io.FixedLenFeature([1], tf.float32, 0.0),
    "n": tf.io.FixedLenFeature([1], tf.int64, 0),
    "word": tf.io.FixedLenFeature([1], tf.string, ""),
    "words": tf.io.VarLenFeature(tf.string),
}


def heads(directory: Path) -> Path:
    """Signatures on one input of serialized Examples with the `FEATURES` x, n, word and words, of which none is needed.

    classify (also as `serving_default`): classes [?, 2] = word, "other"; scores [?, 2] = x, 1 - x.
    classes_only, scores_only: one of the two.        regress: outputs [?, 1] = x / 2 + 2.
    count: outputs [?] = the number of words.         calls: outputs [?] = how often the graph has run, counted from 1.
    double_n: outputs [?, 1] = 2 * n as a float.
    other_input: outputs [?, 1] = 3 * x, from Examples in a tensor of its own.
    """
    with tf.Graph().as_default(), v1.Session() as session:
        examples = v1.placeholder(tf.string, [None], name="tf_example")
        parsed = tf.io.parse_example(examples, FEATURES)
        x, word = parsed["x"], parsed["word"]
        others = v1.placeholder(tf.string, [None], name="another_example")
        classes = {
            "classes": tf.concat([word, tf.fill(tf.shape(word), "other")], axis=1),
            "scores": tf.concat([x, 1.0 - x], axis=1),
        }
        counter = v1.Variable(0.0, use_resource=True)
        session.run(counter.initializer)
        runs = tf.fill(tf.shape(examples), counter.assign_add(1.0).read_value())
        count = tf.math.count_nonzero(tf.strings.length(tf.sparse.to_dense(parsed["words"])), axis=1, dtype=tf.float32)
        classified = {name: {name: classes[name]} for name in classes}
        regressed = {
            "regress": 0.5 * x + 2.0,
            "count": count,
            "calls": runs,
            "double_n": tf.cast(2 * parsed["n"], tf.float32),
        }
        signatures = {
            "classify": _definition({"inputs": examples}, classes, "classify"),
            "serving_default": _definition({"inputs": examples}, classes, "classify"),
            **{
                f"{name}_only": _definition({"inputs": examples}, outputs, "classify")
                for name, outputs in classified.items()
            },
            **{
                name: _definition({"inputs": examples}, {"outputs": outputs}, "regress")
                for name, outputs in regressed.items()
            },
            "other_input": _definition(
                {"inputs": others},
                {"outputs": 3.0 * tf.io.parse_example(others, FEATURES)["x"]},
                "regress",
            ),
        }
        return _save_graph(session, directory, signatures)


def unfit(directory: Path) -> Path:
    """Signatures that cannot be asked for what they say, each named for what is wrong with it."""
    with tf.Graph().as_default(), v1.Session() as session:
        examples = v1.placeholder(tf.string, [None], name="tf_example")
        floats = v1.placeholder(tf.float32, [None], name="floats")
        x = tf.io.parse_example(examples, FEATURES)["x"]
        pair, word = tf.concat([x, x], axis=1), tf.as_string(x)
        inputs, strange = {"inputs": examples}, tf.constant(["\udcff".encode(errors="surrogateescape")])[None]
        definitions = {
            "two_inputs": ({"inputs": examples, "floats": floats}, {"scores": x, "outputs": x}),
            "other_input_key": ({"examples": examples}, {"scores": x}),
            "other_input_key_regress": ({"examples": examples}, {"outputs": x}),
            "three_outputs": (inputs, {"scores": x, "classes": word, "more": x}),
            "other_output_key": (inputs, {"probabilities": x}),
            "float_input": ({"inputs": floats}, {"scores": floats[:, None]}),
            "float_input_regress": ({"inputs": floats}, {"outputs": -floats}),
            "flat_scores": (inputs, {"scores": x[:, 0]}),
            "flat_classes": (inputs, {"classes": word[:, 0], "scores": x}),
            "whole_scores": (inputs, {"scores": tf.cast(x, tf.int64)}),
            "numbers_as_classes": (inputs, {"classes": x}),
            "rows_of_scores": (inputs, {"scores": tf.concat([x, x], axis=0)}),
            "rows_of_classes": (inputs, {"classes": tf.concat([word, word], axis=0)}),
            "widths": (inputs, {"classes": word, "scores": pair}),
            "not_utf8": (inputs, {"classes": tf.tile(strange, [tf.shape(x)[0], 1])}),
            "no_classes": (inputs, {"scores": x[:, :0]}),
            "not_finite": (inputs, {"scores": x / 0.0}),
            "with_more": (inputs, {"scores": x, "more": pair}),
            "wide": (inputs, {"outputs": pair}),
            "scalar": (inputs, {"outputs": tf.reduce_sum(x)}),
            "sum": (inputs, {"outputs": tf.reduce_sum(x, keepdims=True)}),
            "doubles": (inputs, {"outputs": tf.cast(x, tf.float64)}),
        }
        signatures = {name: _definition(*sides, "predict") for name, sides in definitions.items()}
        return _save_graph(session, directory, signatures)


def tf2(directory: Path) -> Path:
    """As TensorFlow 2 exports it, all methods being `predict`: regress: inputs → outputs: float[?, 1] = x + 1;
    slow: inputs → outputs: float[?], after keeping one core busy for x seconds of the first example.
    """

    def serve(inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"outputs": tf.io.parse_example(inputs, FEATURES)["x"] + 1.0}

    def slow(inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        x, start = tf.io.parse_example(inputs, FEATURES)["x"], tf.timestamp()
        least = tf.cast(x[0, 0], tf.float64)
        elapsed = tf.while_loop(lambda elapsed: elapsed < least, lambda _: [tf.timestamp() - start], [start - start])[0]
        return {"outputs": x[:, 0] + 0.0 * tf.cast(elapsed, tf.float32)}

    signature = [tf.TensorSpec([None], tf.string, name="inputs")]
    functions = {"regress": serve, "slow": slow}
    return _save(
        tf.Module(),
        directory,
        {name: tf.function(function, input_signature=signature) for name, function in functions.items()},
    )
