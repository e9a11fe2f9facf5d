"""Real SavedModels, TF1 and TF2, called as a request calls them."""

from __future__ import annotations

import gc
import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import psutil
import pytest
import tensorflow as tf

from tests.support import saved_models
from tfs_notebook.engine.input_checks.shapes import MAX_DIMENSIONS
from tfs_notebook.engine.models.signature import together
from tfs_notebook.engine.saved_model.graph_loader import load_into
from tfs_notebook.engine.saved_model.loader import SessionOptions, load_saved_model
from tfs_notebook.engine.saved_model.servable import SavedModel
from tfs_notebook.engine.saved_model.session import CALLING_THREAD, Runner, open_session
from tfs_notebook.errors import Code, ServingError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from tests.conftest import Models

    Load = Callable[..., SavedModel]


@pytest.fixture
def load(models: Models) -> Iterator[Load]:
    """Loads version 1 of a model by its name; closed after the test."""
    opened: list[SavedModel] = []

    def load(name: str, options: SessionOptions | None = None) -> SavedModel:
        opened.append(load_saved_model(models.path(name) / "1", options))
        return opened[-1]

    yield load
    for servable in opened:
        servable.close()


def call(
    servable: SavedModel,
    inputs: Mapping[str, Any],
    signature: str = "serving_default",
    outputs: list[str] | None = None,
    timeout: float | None = 20.0,
) -> dict[str, np.ndarray]:
    return servable.run(servable.signatures[signature], inputs, outputs, timeout)


def refused(servable: SavedModel, inputs: Mapping[str, Any], **options: Any) -> ServingError:
    with pytest.raises(ServingError) as error:
        call(servable, inputs, **options)
    return error.value


def floats(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def strings(*values: bytes) -> np.ndarray:
    return np.array(values, object)


def example(x: float) -> bytes:
    feature = tf.train.Feature(float_list=tf.train.FloatList(value=[x]))
    return bytes(tf.train.Example(features=tf.train.Features(feature={"x": feature})).SerializeToString())


# Answers


@pytest.mark.parametrize(
    ("name", "signature", "inputs", "expected"),
    [
        ("half_plus_two", "serving_default", {"x": floats(1, 2, 5)}, {"y": [2.5, 3.0, 4.5]}),
        ("half_plus_two_tf1", "serving_default", {"x": np.ones((2, 1), np.float32)}, {"y": [[2.5], [2.5]]}),
        ("half_plus_two_tf1", "regress_x_to_y", {"inputs": strings(example(1), example(5))},
         {"outputs": [[2.5], [4.5]]}),
        ("half_plus_two_tf1", "classify_x_to_y", {"inputs": strings(example(1))}, {"scores": [[2.5]]}),
        ("multi", "serving_default", {"a": np.array([[1, 2], [3, 4]], np.float32), "b": np.array([5, 6], np.int32)},
         {"total": [3, 7], "doubled": [10, 12]}),
        ("multi", "one_output", {"a": np.ones((1, 2), np.float32), "b": np.array([5], np.int32)}, {"total": [2]}),
        ("no_input", "constant", {}, {"values": [1, 2, 3]}),
        ("no_input", "serving_default", {"x": floats()}, {"y": []}),
        ("vocabulary", "serving_default", {"words": strings(b"fox", b"?", b"the")},
         {"ids": [3, 4, 0], "words_bytes": [b"fox", b"?", b"the"]}),
        ("bytes_image", "serving_default", {"image_bytes": strings(b"\xff\0", b"", b"\0")},
         {"length": [2, 0, 1], "echo_bytes": [b"\xff\0", b"", b"\0"]}),
    ],
)  # fmt: skip
def test_answers(load: Load, name: str, signature: str, inputs: dict[str, Any], expected: dict[str, Any]) -> None:
    answer = call(load(name), inputs, signature)
    assert {alias: array.tolist() for alias, array in answer.items()} == expected


def test_several_signatures_are_one_run_by_the_names_of_their_tensors(load: Load) -> None:
    servable = load("half_plus_two_tf1")
    default, classify = (servable.signatures[name] for name in ("serving_default", "classify_x_to_y"))
    (x, y), examples = (default.inputs["x"].name, default.outputs["y"].name), classify.inputs["inputs"].name
    both = together([default, classify])
    assert (set(both.inputs), set(both.outputs)) == ({x, examples}, {y})
    for outputs in (None, [y]):  # an input that is not needed may be left out
        assert servable.run(both, {examples: strings(example(5))}, outputs, 20.0)[y].tolist() == [[4.5]]
    one = together([classify])
    assert servable.run(one, {examples: strings(example(1))}, None, None)[y].tolist() == [[2.5]]
    assert together([classify, default]).name == both.name not in servable.signatures
    assert one.name not in servable.signatures


@pytest.mark.parametrize("dtype", [*saved_models.FLOATS, *saved_models.INTEGERS, "bool", "string"])
def test_every_dtype_is_taken_and_given_as_itself(load: Load, dtype: str) -> None:
    x, y = {"bool": ([True, False], [False, True]), "string": ([b"a", b""], [b"a!", b"!"])}.get(dtype, ([1, 2], [2, 3]))
    servable = load("dtypes")
    spec = servable.signatures[dtype].inputs["x"]
    assert (spec.dtype, str(spec)) == (dtype, f"{dtype}[?]")
    answer = call(servable, {"x": np.array(x, spec.numpy_dtype)}, dtype)["y"]
    assert answer.tolist() == y
    assert answer.dtype == spec.numpy_dtype == tf.as_dtype(dtype).as_numpy_dtype
    assert call(servable, {"x": np.array([], spec.numpy_dtype)}, dtype)["y"].shape == (0,)


def test_the_extremes_of_the_small_floats(load: Load) -> None:
    servable = load("dtypes")
    for dtype, numpy_dtype in (("half", np.float16), ("bfloat16", ml_dtypes.bfloat16)):
        x = np.array([np.inf, -np.inf, np.nan], numpy_dtype)
        answer = call(servable, {"x": x}, dtype)["y"].astype(np.float64)
        assert answer[:2].tolist() == [np.inf, -np.inf]
        assert np.isnan(answer[2])


def test_several_outputs_in_the_order_asked_for(load: Load) -> None:
    inputs = {"a": np.ones((1, 2), np.float32), "b": np.ones(1, np.int32)}
    assert list(call(load("multi"), inputs, outputs=["total", "doubled"])) == ["total", "doubled"]
    assert list(call(load("multi"), inputs, outputs=["doubled"])) == ["doubled"]


def test_aliases_of_one_tensor(load: Load) -> None:
    servable = load("aliased")
    assert call(servable, {"x": floats(1)}, outputs=["y", "also_y"]) == {"y": [2], "also_y": [2]}
    assert call(servable, {"also_x": floats(3)}, outputs=["y"])["y"].tolist() == [6]
    assert str(refused(servable, {"x": floats(1), "also_x": floats(1)}, outputs=["y"])) == (
        'INVALID_ARGUMENT: Endpoint "x:0" fed more than once.'
    )
    assert str(refused(servable, {"x": floats(1)}, outputs=["echo"])) == (
        "INVALID_ARGUMENT: x:0 is both fed and fetched."
    )


def test_scalars_come_as_arrays(load: Load, tmp_path: Path) -> None:
    @tf.function(input_signature=[tf.TensorSpec([], tf.string, name="s"), tf.TensorSpec([], tf.bfloat16, name="n")])
    def serve(s: tf.Tensor, n: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"text": tf.strings.join([s, "!"]), "number": n + 1, "whole": tf.constant(7)}

    mean = call(load("scalar_output"), {"x": floats(1, 2)})["mean"]
    assert (type(mean), mean.shape, mean.item()) == (np.ndarray, (), 1.5)
    tf.saved_model.save(tf.Module(), str(tmp_path / "1"), signatures=serve)
    servable = load_saved_model(tmp_path / "1")
    answer = call(servable, {"s": np.array(b"ok", object), "n": np.array(1, ml_dtypes.bfloat16)})
    servable.close()
    assert {alias: (type(a), a.shape, a.dtype.name) for alias, a in answer.items()} == {
        "text": (np.ndarray, (), "object"), "number": (np.ndarray, (), "bfloat16"), "whole": (np.ndarray, (), "int32"),
    }  # fmt: skip
    assert [answer[alias].item() for alias in ("text", "number", "whole")] == [b"ok!", 2, 7]


def test_a_model_keeps_its_state_between_calls_and_signatures(load: Load) -> None:
    servable = load("counter")
    sequence = ["get_counter", "incr", "incr", "get_counter", *["incr"] * 30, "get_counter"]
    counts = [call(servable, {}, signature)["counter"].item() for signature in sequence]
    assert counts == [0, 1, 2, 2, *range(3, 33), 32]


def test_two_copies_have_states_of_their_own(load: Load) -> None:
    first, second = load("counter"), load("counter")
    call(first, {}, "incr")
    assert [call(servable, {}, "get_counter")["counter"].item() for servable in (first, second)] == [1, 0]


def test_arrays_that_do_not_lie_in_one_piece(load: Load) -> None:
    servable = load("half_plus_two")
    assert call(servable, {"x": np.arange(6, dtype=np.float32)[::2]})["y"].tolist() == [2, 3, 4]
    square = np.arange(4, dtype=np.float32).reshape(2, 2).T
    assert call(servable, {"x": square})["y"].tolist() == (square / 2 + 2).tolist()
    assert call(servable, {"x": np.broadcast_to(np.float32(2), (3,))})["y"].tolist() == [3, 3, 3]


def test_a_callers_array_is_not_changed(load: Load) -> None:
    for name in ("no_input", "half_plus_two"):
        servable, x = load(name), floats(1, 2)
        answers = [call(servable, {"x": x})["y"] for _ in range(60)]
        answers[0][:] = 9
        assert x.tolist() == [1, 2]
        assert len({tuple(answer) for answer in answers[1:]}) == 1


# Signatures


def test_signatures_say_what_they_take_and_give(load: Load) -> None:
    assert [str(signature) for signature in load("multi").signatures.values()] == [
        "one_output(a: float[?, 2], b: int32[?]) → total: float[?]",
        "serving_default(a: float[?, 2], b: int32[?]) → doubled: int32[?], total: float[?]",
    ]
    methods = {name: of.method_name for name, of in load("half_plus_two_tf1").signatures.items()}
    assert methods == {
        "classify_x_to_y": "tensorflow/serving/classify",
        "regress_x_to_y": "tensorflow/serving/regress",
        "serving_default": "tensorflow/serving/predict",
    }


def test_what_cannot_be_called_is_in_the_metadata_and_not_a_signature(load: Load) -> None:
    servable = load("half_plus_two")
    assert set(servable.signature_def) - set(servable.signatures) == {"__saved_model_init_op"}


def test_an_output_that_is_a_reference_variable_and_a_shape_that_is_unknown(tmp_path: Path) -> None:
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, None, name="x")
        weight = v1.Variable([1.0, 2.0], use_resource=False)
        session.run(weight.initializer)
        infos = [{"x": v1.saved_model.build_tensor_info(x)}, {"w": v1.saved_model.build_tensor_info(weight._variable)}]
        definition = v1.saved_model.build_signature_def(*infos, "tensorflow/serving/predict")
        builder = v1.saved_model.Builder(str(tmp_path / "1"))
        builder.add_meta_graph_and_variables(session, ["serve"], signature_def_map={"serving_default": definition})
        builder.save()
    servable = load_saved_model(tmp_path / "1")
    assert str(servable.signatures["serving_default"]) == "serving_default(x: float of any shape) → w: float_ref[2]"
    assert call(servable, {"x": np.ones((1, 2, 3), np.float32)})["w"].tolist() == [1, 2]
    servable.close()


def test_an_output_that_is_no_tensor_keeps_back_no_other(tmp_path: Path) -> None:
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [None], name="x")
        sparse = v1.saved_model.build_tensor_info(tf.sparse.from_dense(x))
        outputs = {"decoded": sparse, "y": v1.saved_model.build_tensor_info(tf.identity(x + 1, name="y"))}
        definition = v1.saved_model.build_signature_def({"x": v1.saved_model.build_tensor_info(x)}, outputs, "p")
        builder = v1.saved_model.Builder(str(tmp_path / "1"))
        builder.add_meta_graph_and_variables(session, ["serve"], signature_def_map={"serving_default": definition})
        builder.save()
    servable = load_saved_model(tmp_path / "1")
    signature, inputs = servable.signatures["serving_default"], {"x": np.ones(2, np.float32)}
    for _ in range(40):
        assert servable.run(signature, inputs, ["y"], 10.0)["y"].tolist() == [2, 2]
        for outputs in (None, ["decoded"], ["y", "decoded"]):
            with pytest.raises(
                ServingError, match="Tensor :0, specified in either feed_devices or fetch_devices"
            ) as refused:
                servable.run(signature, inputs, outputs, 10.0)
            assert refused.value.code is Code.INVALID_ARGUMENT
    servable.close()


# Refusals


@pytest.mark.parametrize(
    ("given", "name"),
    [(np.int32, "int32"), (np.int64, "int64"), (np.float64, "double"), (np.bool_, "bool"), (np.float16, "half"),
     (ml_dtypes.bfloat16, "bfloat16")],
)  # fmt: skip
def test_a_wrong_dtype(load: Load, given: Any, name: str) -> None:
    error = refused(load("half_plus_two"), {"x": np.ones(1, given)})
    assert str(error) == f"INVALID_ARGUMENT: Expects arg[0] to be float but {name} is provided"


def test_a_wrong_dtype_of_strings_and_for_strings(load: Load) -> None:
    assert str(refused(load("half_plus_two"), {"x": strings(b"1")})) == (
        "INVALID_ARGUMENT: Expects arg[0] to be float but string is provided"
    )
    assert str(refused(load("vocabulary"), {"words": floats(1)})) == (
        "INVALID_ARGUMENT: Expects arg[0] to be string but float is provided"
    )


def test_strings_that_are_none(load: Load) -> None:
    error = refused(load("vocabulary"), {"words": np.array([b"fox", 3], object)})
    assert error.code in {Code.INTERNAL, Code.INVALID_ARGUMENT}
    assert "Unsupported object type int" in error.message


def test_the_declared_shape_is_not_enforced_as_in_the_cpp_server(load: Load) -> None:
    assert call(load("half_plus_two_tf1"), {"x": floats(1, 2)})["y"].tolist() == [2.5, 3.0]
    assert call(load("half_plus_two"), {"x": np.ones((2, 2), np.float32)})["y"].shape == (2, 2)
    assert call(load("half_plus_two"), {"x": np.float32(1).reshape(())})["y"].shape == ()


@pytest.mark.parametrize("shape", [(28, 28), (1, 28, 28, 3)])
def test_shapes_that_do_not_fit_are_the_graphs_error(load: Load, shape: tuple[int, ...]) -> None:
    error = refused(load("cnn"), {"keras_tensor": np.ones(shape, np.float32)})
    assert error.code is Code.INVALID_ARGUMENT
    assert "{{node" in error.message


def test_an_input_that_is_not_fed(load: Load) -> None:
    error = refused(load("aliased"), {}, outputs=["y"])
    assert error.code is Code.INVALID_ARGUMENT
    assert error.message.startswith("You must feed a value for placeholder tensor 'x' with dtype float and shape [?]")


def test_an_error_of_the_graph_and_the_calls_after_it(load: Load) -> None:
    servable = load("raising")
    for _ in range(20):  # wherever the call runs
        error = refused(servable, {"x": floats(1, -1)})
        assert error.code is Code.INVALID_ARGUMENT
        assert error.message.startswith("assertion failed: [x must not be negative] [1 -1]\n\t [[{{")
        assert "{{node" in error.message
        assert call(servable, {"x": floats(1)})["y"].tolist() == [1]


def test_a_deadline(load: Load) -> None:
    servable = load("slow")
    started = time.monotonic()
    error = refused(servable, {"seconds": np.array(60, np.float32)}, timeout=0.1)
    assert (error.code, error.message) == (Code.DEADLINE_EXCEEDED, "Timed out waiting for notification")
    assert time.monotonic() - started < 20
    assert call(servable, {"seconds": np.array(0.01, np.float32)})["elapsed"].item() >= 0.01


def test_a_deadline_holds_however_quick_the_calls_before_were(load: Load) -> None:
    servable = load("slow")
    for _ in range(40):
        call(servable, {"seconds": np.array(0, np.float32)})
    error = refused(servable, {"seconds": np.array(60, np.float32)}, timeout=0.1)
    assert error.code is Code.DEADLINE_EXCEEDED


# Loading


def load_error(directory: Path, options: SessionOptions | None = None) -> ServingError:
    with pytest.raises(ServingError) as error:
        load_saved_model(directory, options)
    return error.value


@pytest.mark.parametrize("kind", ["empty", "missing", "file"])
def test_no_saved_model(tmp_path: Path, kind: str) -> None:
    directory = tmp_path / "1"
    if kind == "empty":
        directory.mkdir()
    elif kind == "file":
        directory.touch()
    error = load_error(directory)
    assert error.code is Code.NOT_FOUND
    assert error.message == (
        "Specified file path does not appear to contain a SavedModel bundle (should have a file called "
        f"`saved_model.pb`)\nSpecified file path: {directory}"
    )


@pytest.mark.parametrize("tags", [("gpu",), ("serve", "gpu"), ()])
def test_tags_that_are_not_there(models: Models, tags: tuple[str, ...]) -> None:
    error = load_error(models.path("half_plus_two") / "1", SessionOptions(tags=tags))
    assert error.code is Code.NOT_FOUND
    assert error.message == (
        f"Could not find meta graph def matching supplied tags: {{ {' '.join(tags)} }}. To inspect available tag-sets "
        "in the SavedModel, please use the SavedModel CLI: `saved_model_cli`"
    )
    assert "serve" in error.hint


def test_an_operation_that_is_not_there(models: Models, tmp_path: Path) -> None:
    version = models.copy("dtypes", tmp_path)
    graph = version / "saved_model.pb"
    graph.write_bytes(graph.read_bytes().replace(b"LogicalNot", b"LogicalNix"))
    error = load_error(version)
    assert error.code is Code.NOT_FOUND
    assert error.message.startswith("Op type not registered 'LogicalNix' in binary running on ")


@pytest.mark.parametrize(
    ("name", "damage", "code", "says"),
    [
        ("half_plus_two", saved_models.truncated_pb, Code.DATA_LOSS, "saved_model.pb"),
        ("half_plus_two", saved_models.without_shard, Code.NOT_FOUND, "variables"),
        ("vocabulary", saved_models.without_asset, None, "vocabulary.txt"),
    ],
)
def test_a_damaged_version(
    models: Models, tmp_path: Path, name: str, damage: Callable[[Path], Path], code: Code | None, says: str
) -> None:
    version = models.copy(name, tmp_path)
    damage(version)
    error = load_error(version)
    assert code in {None, error.code}
    assert error.code is not Code.OK
    assert says in error.message
    assert error.where == str(version)


def test_the_text_form(models: Models, tmp_path: Path) -> None:
    from google.protobuf import text_format
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel as Message

    version = models.copy("half_plus_two", tmp_path)
    binary = version / "saved_model.pb"
    (version / "saved_model.pbtxt").write_text(text_format.MessageToString(Message.FromString(binary.read_bytes())))
    binary.unlink()
    servable = load_saved_model(version)
    assert call(servable, {"x": floats(1)})["y"].tolist() == [2.5]
    servable.close()


@pytest.mark.parametrize(
    ("fault", "code"),
    [(MemoryError(), Code.RESOURCE_EXHAUSTED), (tf.errors.ResourceExhaustedError(None, None, "OOM"),
      Code.RESOURCE_EXHAUSTED), (tf.errors.UnavailableError(None, None, "gone"), Code.UNAVAILABLE),
     (OSError("disk"), Code.DATA_LOSS), (KeyError("odd"), Code.UNKNOWN)],
)  # fmt: skip
def test_faults_below_tensorflow(models: Models, monkeypatch: pytest.MonkeyPatch, fault: Exception, code: Code) -> None:
    def fail(*arguments: Any) -> None:
        raise fault

    monkeypatch.setattr("tfs_notebook.engine.saved_model.loader.load_into", fail)
    assert load_error(models.path("half_plus_two") / "1").code is code


def test_a_load_that_fails_half_way_leaves_no_open_session(models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    sessions = []

    def fail_after(session: Any, *arguments: Any) -> None:
        sessions.append(session)
        load_into(session, *arguments)
        raise MemoryError

    monkeypatch.setattr("tfs_notebook.engine.saved_model.loader.load_into", fail_after)
    load_error(models.path("half_plus_two") / "1")
    with pytest.raises(RuntimeError, match="closed"):
        sessions[0].run([])


def test_options_of_the_session() -> None:
    made = SessionOptions(intra_op_threads=3, inter_op_threads=2).config()
    assert (made.intra_op_parallelism_threads, made.inter_op_parallelism_threads) == (3, 2)
    assert [pool.num_threads for pool in made.session_inter_op_thread_pool] == [2]
    assert made.gpu_options.allow_growth
    assert made.allow_soft_placement


def test_pools_that_the_session_config_names_stay() -> None:
    pools = "session_inter_op_thread_pool { num_threads: 5 }"
    made = SessionOptions(inter_op_threads=2, base_config=pools).config()
    assert [pool.num_threads for pool in made.session_inter_op_thread_pool] == [5]


SEVERAL_PROCESSORS = pytest.mark.skipif(os.cpu_count() == 1, reason="an operation has one thread anyway")


@SEVERAL_PROCESSORS
def test_threads_for_an_operation_count_though_the_kernel_has_computed_before() -> None:
    array = np.ones((512, 512), np.float32)
    tf.linalg.matmul(array, array)  # it has made TensorFlow's own threads

    def elsewhere(threads: int) -> float:
        """How much of the processor's time other threads take of a product that is asked for on this one."""
        session = open_session(SessionOptions(intra_op_threads=threads).config())
        with session.graph.as_default():
            given = tf.compat.v1.placeholder(tf.float32, array.shape, "given")
            tf.linalg.matmul(given, given, name="product")
        runner = Runner(session)
        feeds, fetches = {runner.tensor("given:0"): array}, [runner.tensor("product:0")]
        here, everywhere = time.thread_time(), time.process_time()
        for _ in range(50):
            runner.run(feeds, fetches, pool=CALLING_THREAD, timeout=None)
        here, everywhere = time.thread_time() - here, time.process_time() - everywhere
        runner.close()
        return (everywhere - here) / everywhere

    assert elsewhere(0) > 0.2
    assert elsewhere(1) < 0.1


def test_threads_between_operations_count_though_the_kernel_has_computed_before(load: Load) -> None:
    tf.linalg.matmul(tf.ones((64, 64)), tf.ones((64, 64)))
    before = psutil.Process().num_threads()
    for _ in range(2):  # the second one shares them
        call(load("half_plus_two", SessionOptions(inter_op_threads=7)), {"x": np.zeros(1, np.float32)})
    assert psutil.Process().num_threads() - before == 7


def test_a_tensorflow_without_the_names_loads_with_the_threads_that_there_are(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tfs_notebook.engine.saved_model.session._SHARES_THREADS", None)
    servable = load("half_plus_two", SessionOptions(intra_op_threads=1))
    assert call(servable, {"x": np.zeros(1, np.float32)})["y"].item() == 2


def test_loading_leaves_the_kernels_own_graph_and_eager_mode_alone(load: Load) -> None:
    graph = tf.compat.v1.get_default_graph()
    before = len(graph.get_operations())
    load("half_plus_two")
    assert tf.executing_eagerly()
    assert tf.compat.v1.get_default_graph() is graph
    assert len(graph.get_operations()) == before


# Threads and memory


def test_many_threads_at_once_get_their_own_answers(load: Load) -> None:
    servable = load("half_plus_two")

    def ask(thread: int) -> bool:
        x = np.full(1 + thread * 7, thread, np.float32)
        return all(np.array_equal(call(servable, {"x": x})["y"], np.full(x.shape, thread / 2 + 2)) for _ in range(100))

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(ask, range(16)))


def test_many_threads_at_once_change_a_state_one_after_the_other(load: Load) -> None:
    servable = load("counter")
    with ThreadPoolExecutor(8) as pool:
        counts = list(pool.map(lambda _: call(servable, {}, "incr")["counter"].item(), range(400)))
    assert call(servable, {}, "get_counter")["counter"].item() == 400
    assert max(counts) == 400


def test_loads_at_once_do_not_mix(models: Models) -> None:
    names = ["half_plus_two", "aliased", "multi", "counter", "no_input", "vocabulary"] * 2
    with ThreadPoolExecutor(4) as pool:
        servables = list(pool.map(lambda name: load_saved_model(models.path(name) / "1"), names))
    try:
        for name, servable in zip(names, servables, strict=True):
            x = {"half_plus_two": {"x": floats(1)}, "counter": {}}.get(name)
            if x is not None:
                signature = "incr" if name == "counter" else "serving_default"
                ((value,),) = (call(servable, x, signature).values(),)
                assert value.reshape(-1).tolist() == ([1] if name == "counter" else [2.5])
    finally:
        for servable in servables:
            servable.close()


def expected(servable: SavedModel, inputs: Mapping[str, np.ndarray]) -> float | None:
    return servable.expected_seconds(servable.signatures["serving_default"], inputs)


def test_calls_come_to_be_expected_but_never_with_strings(load: Load) -> None:
    servable = load("half_plus_two")
    assert expected(servable, {"x": floats(1)}) is None
    for _ in range(60):
        call(servable, {"x": floats(1)})
    assert 0 < (expected(servable, {"x": floats(1)}) or 0) < 0.1
    strings_ = load("bytes_image")
    for _ in range(60):
        call(strings_, {"image_bytes": strings(b"x")})
    assert expected(strings_, {"image_bytes": strings(b"x")}) is None


@pytest.mark.parametrize(
    ("name", "inputs"), [("slow", {"seconds": np.array(0, np.float32)}), ("sized", {"n": np.array(1, np.int32)})]
)
def test_nothing_is_expected_of_a_graph_whose_work_depends_on_values(
    load: Load, name: str, inputs: dict[str, np.ndarray]
) -> None:
    servable = load(name)
    for _ in range(60):
        call(servable, inputs)
    assert expected(servable, inputs) is None


def test_nothing_is_expected_of_a_graph_with_a_long_answer(load: Load) -> None:
    servable = load("wide")
    for _ in range(60):
        assert call(servable, {"x": floats(1)})["y"].shape == (1, 10_000)
    assert expected(servable, {"x": floats(1)}) is None


def until_quick(servable: SavedModel, inputs: Mapping[str, Any]) -> None:
    """Call until the calls run by the way that is made for many."""
    for _ in range(60):
        call(servable, inputs)
    assert expected(servable, inputs) is not None
    assert servable._callables["serving_default"]._quick is not None


def test_errors_of_the_quick_way_are_those_of_the_session(load: Load) -> None:
    slow_way, quick_way = load("cnn"), load("cnn")
    until_quick(quick_way, {"keras_tensor": np.zeros((1, 28, 28, 1), np.float32)})
    five = np.ones((1, 5, 5, 1))
    for wrong in (five.astype(np.float32), five.astype(np.int32), five.astype(np.float64), five.astype(object)):
        expected, got = (refused(servable, {"keras_tensor": wrong}) for servable in (slow_way, quick_way))
        assert (got.code, got.message) == (expected.code, expected.message)
    assert call(quick_way, {"keras_tensor": np.ones((2, 28, 28, 1), np.float32)})["output_0"].shape == (2, 10)


def test_two_names_of_one_tensor_are_served_and_refused_as_before(load: Load) -> None:
    servable = load("aliased")
    for _ in range(60):
        outputs = call(servable, {"x": floats(1)}, outputs=["y"])
        assert outputs["y"].tolist() == [2]
        assert "fed more than once" in refused(servable, {"x": floats(1), "also_x": floats(1)}).message


@pytest.mark.parametrize("name", ["bytes_image", "half_plus_two", "cnn"])
def test_more_dimensions_than_tensorflow_survives(load: Load, name: str) -> None:
    servable = load(name)
    (alias,) = servable.signatures["serving_default"].inputs
    value = np.array(b"x", object) if name == "bytes_image" else np.array(1, np.float32)
    for dimensions in (MAX_DIMENSIONS + 1, 33, 64):
        error = refused(servable, {alias: value.reshape((1,) * dimensions)})
        assert error.code is Code.INVALID_ARGUMENT
        assert error.message.startswith(f"{alias} may have at most {MAX_DIMENSIONS} dimensions, but is [1,1,")
    if name == "bytes_image":
        assert call(servable, {alias: value.reshape((1,) * MAX_DIMENSIONS)})["length"].ndim == MAX_DIMENSIONS


@pytest.mark.parametrize("shape", [(), (3,), (1, 1, 3)])
def test_a_rank_that_would_end_the_process(load: Load, shape: tuple[int, ...]) -> None:
    error = refused(load("quantised"), {"x": np.ones(shape, np.float32)})
    assert error.message == f"x must be 2-dimensional, [?,3], but is [{','.join(map(str, shape))}]"
    assert error.hint == (
        "Of FakeQuantWithMinMaxVarsPerChannel, which the model runs, it is not known that it survives other shapes; "
        "--enable_input_shape_check=false hands them on."
    )


def test_a_size_that_could_end_the_process(load: Load) -> None:
    assert refused(load("quantised"), {"x": np.ones((2, 4), np.float32)}).message == "x must be [?,3], but is [2,4]"


def test_an_error_that_quotes_bytes_of_the_request(load: Load) -> None:
    error = refused(load("half_plus_two_tf1"), {"inputs": strings(b"\xff\xfe")}, signature="regress_x_to_y")
    assert error.code is Code.INVALID_ARGUMENT
    assert "Could not parse example input, value: '" in error.message
    assert "\udcff\udcfe" in error.message


def large(directory: Path, size: int) -> Path:
    """i: int32[] → w: float[] = 1, taken from `size` bytes of them."""
    module = tf.Module()
    module.weights = tf.Variable(tf.ones([size // 4]))
    signature = [tf.TensorSpec([], tf.int32, name="i")]
    serve = tf.function(lambda i: {"w": module.weights[i]}, input_signature=signature)
    tf.saved_model.save(module, str(directory), signatures=serve)
    return directory


def test_closing_frees_the_variables_at_once(tmp_path: Path) -> None:
    """Thirty loads of 32 MB one after the other, without a garbage collection, take the room of a few."""
    size = 32 * 2**20
    version = large(tmp_path / "1", size)

    def load_and_unload() -> None:
        servable = load_saved_model(version)
        assert call(servable, {"i": np.array(5, np.int32)})["w"].item() == 1
        servable.close()

    process = psutil.Process()
    gc.collect()
    for _ in range(3):
        load_and_unload()
    gc.disable()
    try:
        before = process.memory_info().rss
        for _ in range(30):
            load_and_unload()
        grown = process.memory_info().rss - before
    finally:
        gc.enable()
    assert grown < 8 * size


def test_closing_after_a_call_that_was_timed_out_does_not_wait_for_it(models: Models) -> None:
    servable = load_saved_model(models.path("slow") / "1")
    refused(servable, {"seconds": np.array(60, np.float32)}, timeout=0.05)
    started = time.monotonic()
    servable.close()
    assert time.monotonic() - started < 20
