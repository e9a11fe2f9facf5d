"""Versions that answer their own warm-up requests while they load, with real SavedModels."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

from tests.engine.parts import Recorder, until
from tests.support.example_models import heads
from tfs_notebook.api.classification import CLASSIFY
from tfs_notebook.api.records import replay
from tfs_notebook.engine.events import EventStream, State
from tfs_notebook.engine.lifecycle.manager import Manager, RetryPolicy
from tfs_notebook.engine.models.warmup import REQUESTS, WarmingLoader
from tfs_notebook.engine.saved_model.loader import load_saved_model
from tfs_notebook.errors import Code, ServingError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from tests.conftest import Models
    from tfs_notebook.engine.models.servable import Servable

NO_RECORD_FILE = "Please verify your warmup data is in TFRecord format."


def predict_log(inputs: dict[str, Any] | None = None, **spec: str) -> PredictionLog:
    log = PredictionLog()
    log.predict_log.request.model_spec.name = spec.pop("name", "another name")
    for field, value in spec.items():
        setattr(log.predict_log.request.model_spec, field, value)
    for alias, value in (inputs or {}).items():
        log.predict_log.request.inputs[alias].CopyFrom(tf.make_tensor_proto(value))
    return log


def write(version: Path, records: Iterable[PredictionLog | bytes]) -> Path:
    path = version / REQUESTS
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record if isinstance(record, bytes) else record.SerializeToString())
    return path


INCREMENT = predict_log(signature_name="incr")
X = predict_log({"x": np.float32([1.0, 2.0])})


def loader(**options: Any) -> WarmingLoader:
    return WarmingLoader(load_saved_model, replay, **options)


def refusal(version: Path, **options: Any) -> ServingError:
    with pytest.raises(ServingError) as error:
        loader(**options)(version)
    return error.value


@pytest.fixture
def count(models: Models, tmp_path: Path) -> Callable[..., int]:
    """How many requests a version of `counter` with these records has answered once it is loaded."""
    version = models.copy("counter", tmp_path)

    def count(records: Iterable[PredictionLog | bytes], **options: Any) -> int:
        write(version, records)
        servable = loader(**options)(version)
        try:
            return int(servable.run(servable.signatures["get_counter"], {}, None, None)["counter"])
        finally:
            servable.close()

    return count


# What is answered


def test_every_record_is_answered_in_order_by_the_version_that_loads(count: Callable[..., int]) -> None:
    assert count([INCREMENT] * 3) == 3


def test_each_as_often_as_asked(count: Callable[..., int]) -> None:
    assert count([INCREMENT] * 2, iterations=5) == 10


def test_none_when_it_is_off(count: Callable[..., int]) -> None:
    assert count([INCREMENT, b"no record"], enabled=False) == 0


def test_a_thousand_records_are_not_too_many(count: Callable[..., int]) -> None:
    assert count([INCREMENT] * 1000) == 1000


def test_records_without_a_request_are_passed_over(count: Callable[..., int]) -> None:
    assert count([PredictionLog(), INCREMENT, b""]) == 1


def examples_log(kind: str, signature_name: str) -> PredictionLog:
    """A record of `kind` that asks a signature of `heads` about one empty example."""
    log = PredictionLog()
    request = getattr(log, kind).request
    request.input.example_list.examples.add()
    spec = request.tasks.add(method_name=CLASSIFY).model_spec if kind == "multi_inference_log" else request.model_spec
    spec.name, spec.signature_name = "another name", signature_name
    return log


@pytest.mark.parametrize(
    ("kind", "signature_name", "refused"),
    [
        ("classify_log", "classify", "No signature was found with the name: none"),
        ("regress_log", "regress", "No signature was found with the name: none"),
        ("multi_inference_log", "classify", "Requested signature not found in model graph: none"),
    ],
)
def test_classify_regress_and_several_at_once(tmp_path: Path, kind: str, signature_name: str, refused: str) -> None:
    heads(tmp_path / "1")
    write(tmp_path / "1", [examples_log(kind, signature_name)])
    loader()(tmp_path / "1").close()
    write(tmp_path / "1", [examples_log(kind, signature_name), examples_log(kind, "none")])
    error = refusal(tmp_path / "1")
    assert (error.code, error.message) == (Code.INVALID_ARGUMENT, refused)
    assert error.where.endswith("record 2")


def test_a_file_without_records_and_no_file(count: Callable[..., int], models: Models) -> None:
    assert count([]) == 0
    loader()(models.path("half_plus_two") / "1").close()


def test_the_model_spec_does_not_matter_but_for_the_signature(count: Callable[..., int]) -> None:
    other = predict_log(name="", signature_name="incr", version_label="no such label")
    assert count([other]) == 1


def test_it_is_told_in_the_log_as_tensorflow_serving_does(
    models: Models, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    version = models.copy("half_plus_two", tmp_path)
    caplog.set_level(logging.INFO, logger="tfs_notebook")
    path = version / REQUESTS
    loader()(version).close()
    assert caplog.messages == [f"No warmup data file found at {path}"]
    caplog.clear()
    write(version, [X, X])
    loader()(version).close()
    began, ended = caplog.messages
    assert began == f"Starting to read warmup data for model at {path}"
    assert ended.startswith(f"Finished reading warmup data for model at {path}. Number of warmup records read: 2. ")


# What ends the load


@pytest.fixture
def version(models: Models, tmp_path: Path) -> Path:
    return models.copy("half_plus_two", tmp_path)


@pytest.mark.parametrize(
    ("log", "code", "message"),
    [
        (
            predict_log({"x": 1.0}, signature_name="other"),
            Code.FAILED_PRECONDITION,
            'Serving signature key "other" not found.',
        ),
        (
            predict_log({"z": np.float32([1.0])}),
            Code.INVALID_ARGUMENT,
            (
                "Signature input alias: x(feed name: serving_default_x:0) not found in request and no default value "
                "provided. Inputs expected to be in the request {x}, or default input alias set: {}"
            ),
        ),
        (predict_log({"x": np.int32([1])}), Code.INVALID_ARGUMENT, "Expects arg[0] to be float but int32 is provided"),
    ],
    ids=["signature", "input", "dtype"],
)
def test_a_request_that_fails(version: Path, log: PredictionLog, code: Code, message: str) -> None:
    path = write(version, [X, log, X])
    error = refusal(version)
    assert (error.code, error.message, error.where) == (code, message, f"{path}, record 2")
    assert "--enable_model_warmup=false" in error.told


def test_an_output_that_is_not_there(version: Path) -> None:
    log = predict_log({"x": np.float32([1.0])})
    log.predict_log.request.output_filter.append("z")
    write(version, [log])
    assert refusal(version).message.startswith("output tensor alias not found in signature: z ")


@pytest.mark.parametrize(
    ("kind", "number"), [("session_run_log", 5), ("predict_streamed_log", 7)], ids=["session run", "streamed"]
)
def test_a_kind_of_request_that_cannot_be_asked_again(version: Path, kind: str, number: int) -> None:
    log = PredictionLog()
    getattr(log, kind).SetInParent()
    write(version, [log])
    error = refusal(version)
    assert (error.code, error.message) == (Code.UNIMPLEMENTED, f"Unsupported log_type for warmup: {number}")


def test_more_than_a_thousand_records(version: Path) -> None:
    path = write(version, [X] * 1001)
    error = refusal(version)
    assert error.code is Code.INVALID_ARGUMENT
    assert error.message == f"Number of warmup records exceeds the maximum (1000) at {path}"


def test_the_one_record_too_many_is_answered_before_it_is_counted(version: Path) -> None:
    write(version, [X] * 1000 + [predict_log(signature_name="other")])
    assert refusal(version).message == 'Serving signature key "other" not found.'


def test_a_record_that_is_no_prediction_log(version: Path) -> None:
    path = write(version, [X, b"\xffno message"])
    error = refusal(version)
    assert error.code is Code.INVALID_ARGUMENT
    assert error.message == f"Failed to parse warmup record: \\xffno message from {path}"


def test_a_long_record_is_not_all_shown(version: Path) -> None:
    write(version, [b"\xff" + b"x" * 100_000])
    assert len(refusal(version).message) < 1000


@pytest.mark.parametrize("data", [b"no TFRecord file at all", b"short and no record"])
def test_a_file_of_something_else(version: Path, data: bytes) -> None:
    path = write(version, [])
    path.write_bytes(data)
    error = refusal(version)
    assert (error.code, error.where) == (Code.DATA_LOSS, str(path))
    assert error.message.endswith(f". {NO_RECORD_FILE}")
    assert str(path) in error.told


def test_a_file_that_was_cut_off(version: Path) -> None:
    path = write(version, [X, X])
    path.write_bytes(path.read_bytes()[:-3])
    error = refusal(version)
    assert error.code is Code.DATA_LOSS
    assert error.message.endswith(NO_RECORD_FILE)


def test_a_byte_that_changed(version: Path) -> None:
    path = write(version, [X])
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert refusal(version).code is Code.DATA_LOSS


def test_a_directory_in_place_of_the_file(version: Path) -> None:
    (version / REQUESTS).mkdir(parents=True)
    error = refusal(version)
    assert (error.code, error.message) == (Code.FAILED_PRECONDITION, f"{version / REQUESTS}; Is a directory")


def test_a_failed_warm_up_frees_the_version(version: Path) -> None:
    write(version, [predict_log(signature_name="other")])
    sessions = []

    def load(directory: Path) -> Servable:
        servable = load_saved_model(directory)
        sessions.append(servable._runner._session)
        return servable

    with pytest.raises(ServingError):
        WarmingLoader(load, replay)(version)
    (session,) = sessions
    with pytest.raises(RuntimeError, match="Attempted to use a closed Session"):
        session.run(session.graph.get_operations()[0])


def test_a_version_that_is_no_longer_wanted_answers_no_more(version: Path) -> None:
    write(version, [X] * 3)
    looks = iter([True, False])
    error = refusal(version, wanted=lambda: next(looks))
    assert (error.code, error.message) == (Code.CANCELLED, "Loading of servable cancelled")


def test_only_what_comes_out_makes_two_loaders_different() -> None:
    assert loader(enabled=False, iterations=3) == loader()
    assert WarmingLoader(load_saved_model, replay) != WarmingLoader(loader(), replay)


# While it loads


async def test_a_version_is_available_only_when_it_is_warm(
    models: Models, tmp_path: Path, events: EventStream, recorder: Recorder
) -> None:
    version = models.copy("counter", tmp_path)
    write(version, [INCREMENT] * 2)
    states = []

    def watched(servable: Servable, log: PredictionLog) -> None:
        replay(servable, log)
        states.append(recorder.states("m", 1)[-1])

    manager = Manager(WarmingLoader(load_saved_model, watched), events)
    manager.aspire("m", {1: version})
    await until(lambda: manager.registry.serving.get("m"))
    assert states == ["LOADING", "LOADING"]
    loaded = manager.registry.serving["m"][1]
    assert loaded.stats["incr"].summary().count == 0  # nobody has asked it yet
    await manager.close()


async def test_a_failed_warm_up_is_a_failed_load(
    models: Models, tmp_path: Path, events: EventStream, recorder: Recorder
) -> None:
    version = models.copy("counter", tmp_path)
    write(version, [predict_log(signature_name="other")])
    manager = Manager(loader(), events, retry_policy=RetryPolicy(max_retries=2, interval=-1.0))
    manager.aspire("m", {1: version})
    await until(lambda: recorder.states("m", 1)[-1:] == ["END"])
    (status,) = manager.versions("m")
    assert (status.state, status.attempts, status.error_code) == (State.END, 3, Code.FAILED_PRECONDITION)
    await manager.close()
