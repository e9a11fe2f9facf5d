"""Real SavedModels behind a queue answer as they do without one, and fail as TensorFlow Serving's do."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.support import saved_models
from tests.support.serving import until
from tfs_notebook.engine.batching.model import BatchedModel, BatchingLoader
from tfs_notebook.engine.batching.parameters import BatchingParameters
from tfs_notebook.engine.batching.scheduler import Scheduler
from tfs_notebook.engine.batching.status import BatchingStatus
from tfs_notebook.engine.saved_model.loader import load_saved_model
from tfs_notebook.engine.saved_model.servable import SavedModel
from tfs_notebook.errors import Code, ServingError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from tests.conftest import Models

    Load = Callable[..., BatchedModel]
    Inputs = Mapping[str, np.ndarray]

WHEN_FULL = 3600 * 10**6
"""A batch timeout that no test waits for: only a full batch runs."""


@pytest.fixture
def load(models: Models) -> Iterator[Load]:
    """Loads a model by its name with parameters, one scheduler for all; closed after the test."""
    opened: list[BatchedModel] = []
    scheduler = Scheduler(2)

    def load(name: str, **parameters: Any) -> BatchedModel:
        loader = BatchingLoader(load_saved_model, scheduler, BatchingParameters(**parameters))
        model = loader(models.path(name) / "1")
        assert isinstance(model, BatchedModel)
        opened.append(model)
        return model

    yield load
    for model in opened:
        model.close()


@pytest.fixture
def clients() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(32) as clients:
        yield clients


def call(
    model: BatchedModel | SavedModel,
    inputs: Inputs,
    signature: str = "serving_default",
    outputs: Sequence[str] | None = None,
    timeout: float | None = 20.0,
) -> dict[str, np.ndarray]:
    return model.run(model.signatures[signature], inputs, outputs, timeout)


def together(clients: ThreadPoolExecutor, model: BatchedModel, *inputs: Inputs) -> list[Future[dict[str, np.ndarray]]]:
    """The calls that these make at the same time; one after the other takes its place in the batch."""
    calls = []
    for each in inputs:
        before = waiting(model)
        calls.append(clients.submit(call, model, each))
        until(lambda before=before, calls=calls: waiting(model) != before or calls[-1].done())
    return calls


def waiting(model: BatchedModel) -> int:
    return sum(len(batch.parts) for queue in model._queues.values() for batch in list(queue._batches))


def refused(model: BatchedModel, inputs: Inputs, **options: Any) -> ServingError:
    with pytest.raises(ServingError) as error:
        call(model, inputs, **options)
    return error.value


def floats(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def same(first: Mapping[str, np.ndarray], second: Mapping[str, np.ndarray]) -> bool:
    """The same outputs in the same order, up to what another batch size may change in the last digit."""
    return list(first) == list(second) and all(
        array.dtype == second[alias].dtype
        and (
            np.allclose(array, second[alias], rtol=1e-5)
            if array.dtype.kind == "f"
            else array.tolist() == second[alias].tolist()
        )
        for alias, array in first.items()
    )


# Answers


def many(name: str) -> list[Inputs]:
    """Requests of one to four rows."""
    random = np.random.default_rng(0)
    sizes = [1 + n % 4 for n in range(64)]
    if name == "half_plus_two":
        return [{"x": random.random(n, np.float32)} for n in sizes]
    if name == "cnn":
        return [{"keras_tensor": random.random((n, 28, 28, 1), np.float32)} for n in sizes]
    if name == "multi":
        return [
            {"a": random.random((n, 2), np.float32), "b": random.integers(9, size=n).astype(np.int32)} for n in sizes
        ]
    words = np.array([*saved_models.WORDS, b"", b"\xff\x00", "Füchse".encode()], object)
    return [{"words": random.choice(words, n)} for n in sizes]


@pytest.mark.parametrize("parameters", [{}, {"batch_timeout_micros": 2000}, {"allowed_batch_sizes": (8, 32)}])
@pytest.mark.parametrize("name", ["half_plus_two", "cnn", "multi", "vocabulary"])
def test_each_of_many_clients_gets_the_answer_it_gets_alone(
    models: Models, load: Load, clients: ThreadPoolExecutor, name: str, parameters: dict[str, Any]
) -> None:
    model = load(name, max_batch_size=32, max_enqueued_batches=100, **parameters)
    alone = load_saved_model(models.path(name) / "1")
    requests = many(name)
    try:
        answers = list(clients.map(lambda inputs: call(model, inputs), requests))
        assert all(same(answer, call(alone, inputs)) for answer, inputs in zip(answers, requests, strict=True))
    finally:
        alone.close()


def test_requests_that_come_together_run_together(load: Load, clients: ThreadPoolExecutor) -> None:
    model = load("together", max_batch_size=6, batch_timeout_micros=WHEN_FULL)
    rows = [np.zeros(n, np.float32) for n in (1, 2, 3)]
    answers = [future.result() for future in together(clients, model, *({"seconds": row} for row in rows))]
    assert [answer["rows"].tolist() for answer in answers] == [[6], [6, 6], [6, 6, 6]]


def test_an_output_filter_has_a_queue_of_its_own_whatever_its_order(load: Load, clients: ThreadPoolExecutor) -> None:
    model = load("multi", max_batch_size=2, batch_timeout_micros=WHEN_FULL)
    inputs = {"a": np.ones((1, 2), np.float32), "b": np.array([3], np.int32)}
    only = [clients.submit(call, model, inputs, outputs=["total"]) for _ in range(2)]
    assert [list(future.result()) for future in only] == [["total"], ["total"]]
    orders = ["doubled", "total"], ["total", "doubled"]
    both = [clients.submit(call, model, inputs, outputs=order) for order in orders]
    assert [list(future.result()) for future in both] == [*orders]
    assert len(model._queues) == 2


def test_it_tells_how_full_its_batches_are_and_how_many_wait(load: Load, clients: ThreadPoolExecutor) -> None:
    model = load("together", max_batch_size=4, batch_timeout_micros=WHEN_FULL, allowed_batch_sizes=(4,))
    assert (model.batching(), model.batching().mean_rows) == (BatchingStatus(0, 0, 0), 0.0)
    call(model, {"seconds": np.zeros(4, np.float32)})
    waits = together(clients, model, *({"seconds": np.zeros(n, np.float32)} for n in (1, 2)))
    assert model.batching() == BatchingStatus(batches=1, rows=4, waiting=2)
    model.hurry()
    assert [future.result()["rows"][0] for future in waits] == [4, 4]
    assert model.batching() == BatchingStatus(batches=2, rows=7, waiting=0)  # the row that fills it up is not asked for
    assert model.batching().mean_rows == 3.5


def test_a_request_that_is_split_waits_once(load: Load, clients: ThreadPoolExecutor) -> None:
    options = {"enable_large_batch_splitting": True, "max_execution_batch_size": 4}
    model = load("gated", max_batch_size=10, batch_timeout_micros=WHEN_FULL, **options)
    future = clients.submit(call, model, {"x": np.arange(10, dtype=np.float32)})
    until(lambda: model.batching() == BatchingStatus(batches=2, rows=8, waiting=1))
    for _ in range(3):
        call(model._model, {"one": floats(1)}, "let_in")
    model.hurry()
    assert future.result()["y"].tolist() == list(range(10))


def test_signatures_do_not_run_together(load: Load) -> None:
    model = load("dtypes")
    assert call(model, {"x": floats(1, 2)}, "float")["y"].tolist() == [2, 3]
    assert call(model, {"x": np.array([1], np.int64)}, "int64")["y"].tolist() == [2]
    assert len(model._queues) == 2


def test_a_call_is_never_to_be_made_where_requests_are_read(load: Load) -> None:
    model = load("half_plus_two")
    for _ in range(40):
        call(model, {"x": floats(1)})
    assert model.expected_seconds(model.signatures["serving_default"], {"x": floats(1)}) is None


# Sizes and shapes


def test_a_batch_is_filled_up_to_an_allowed_size_and_nobody_sees_it(load: Load, clients: ThreadPoolExecutor) -> None:
    model = load("together", max_batch_size=8, allowed_batch_sizes=(2, 4, 8), batch_timeout_micros=0)
    for rows, run in ((1, 2), (2, 2), (3, 4), (4, 4), (5, 8), (8, 8)):
        answer = call(model, {"seconds": np.zeros(rows, np.float32)})
        assert answer["rows"].tolist() == [run] * rows
        assert answer["echo"].tolist() == [0.0] * rows


def test_a_batch_larger_than_all_allowed_sizes_runs_as_it_is(load: Load, caplog: pytest.LogCaptureFixture) -> None:
    # Only an order that is not ascending can bring that about
    model = load("together", max_batch_size=8, allowed_batch_sizes=(8,))
    model._parameters = BatchingParameters(max_batch_size=8, allowed_batch_sizes=(2,))
    assert call(model, {"seconds": floats(0, 0, 0)})["rows"].tolist() == [3, 3, 3]
    assert "ignoring allowed sizes constraint" in caplog.text


def test_different_shapes_fail_the_whole_batch_without_padding(load: Load, clients: ThreadPoolExecutor) -> None:
    model = load("any_width", max_batch_size=2, batch_timeout_micros=WHEN_FULL)
    calls = together(clients, model, {"x": np.ones((1, 2), np.float32)}, {"x": np.ones((1, 3), np.float32)})
    for future in calls:
        with pytest.raises(ServingError) as error:
            future.result()
        assert str(error.value) == (
            "FAILED_PRECONDITION: Tensors with name 'serving_default_x:0' from different tasks have different shapes "
            "and padding is turned off. Set pad_variable_length_inputs to true, or ensure that all tensors with the "
            "same name have equal dimensions starting with the first dim."
        )


def test_padding_repeats_the_first_element_of_each_request(load: Load, clients: ThreadPoolExecutor) -> None:
    model = load("any_width", max_batch_size=4, batch_timeout_micros=WHEN_FULL, pad_variable_length_inputs=True)
    inputs = [np.array(x, np.float32) for x in ([[1, 2]], [[3, 4, 5]], [[7], [9]])]
    first, second, third = (f.result() for f in together(clients, model, *({"x": x} for x in inputs)))
    assert (first["total"].tolist(), first["width"].tolist()) == ([1 + 2 + 1], [3])
    assert second["total"].tolist() == [12]
    assert third["total"].tolist() == [7 * 3, 9 + 7 + 7]


def test_padding_with_nothing_of_its_own_is_nought(load: Load, clients: ThreadPoolExecutor) -> None:
    model = load("any_width", max_batch_size=2, batch_timeout_micros=WHEN_FULL, pad_variable_length_inputs=True)
    inputs = np.zeros((1, 0), np.float32), np.ones((1, 2), np.float32)
    assert [f.result()["total"].tolist() for f in together(clients, model, *({"x": x} for x in inputs))] == [[0], [2]]


def test_different_ranks_cannot_be_padded(load: Load, clients: ThreadPoolExecutor) -> None:
    model = load("any_width", max_batch_size=2, batch_timeout_micros=WHEN_FULL, pad_variable_length_inputs=True)
    calls = together(clients, model, {"x": np.ones((1, 2), np.float32)}, {"x": np.ones(1, np.float32)})
    for future in calls:
        with pytest.raises(ServingError, match="have different numbers of dimensions, which no padding makes equal"):
            future.result()


def test_a_large_request_is_split_and_put_together(load: Load) -> None:
    model = load("together", max_batch_size=10, enable_large_batch_splitting=True, max_execution_batch_size=4)
    answer = call(model, {"seconds": np.zeros(10, np.float32)})
    assert answer["rows"].tolist() == [4] * 8 + [2] * 2


# Refusals


@pytest.mark.parametrize(
    ("name", "signature", "inputs", "message"),
    [
        (
            "multi",
            "serving_default",
            {"a": np.ones((2, 2), np.float32), "b": np.ones(1, np.int32)},
            "INVALID_ARGUMENT: Batching Run() input tensors must have equal 0th-dimension size",
        ),
        (
            "half_plus_two",
            "serving_default",
            {"x": np.float32(1.0).reshape(())},
            "INVALID_ARGUMENT: Batching Run() input tensors must have at least one dimension",
        ),
        ("no_input", "constant", {}, "INVALID_ARGUMENT: Batching Run() must have at least one input tensor"),
        (
            "half_plus_two",
            "serving_default",
            {"x": np.ones(5, np.float32)},
            "INVALID_ARGUMENT: Task size 5 is larger than maximum input batch size 4",
        ),
        (
            "scalar_output",
            "serving_default",
            {"x": np.ones(2, np.float32)},
            "FAILED_PRECONDITION: Batched output tensor has 0 dimensions",
        ),
    ],
)
def test_what_cannot_be_batched(load: Load, name: str, signature: str, inputs: Inputs, message: str) -> None:
    assert str(refused(load(name, max_batch_size=4), inputs, signature=signature)) == message


@pytest.mark.parametrize("signature", ["none_of", "unequal"])
def test_an_output_without_a_row_for_each_row(load: Load, signature: str) -> None:
    model = load("echoes", max_batch_size=4)
    assert str(refused(model, {"x": floats(1, 2)}, signature=signature)) == (
        "FAILED_PRECONDITION: Batched output tensor's 0th dimension does not equal the sum of the 0th dimension sizes "
        "of the input tensors"
    )


def test_one_request_that_the_graph_refuses_fails_its_batch(load: Load, clients: ThreadPoolExecutor) -> None:
    model = load("raising", max_batch_size=3, batch_timeout_micros=WHEN_FULL)
    for future in together(clients, model, *({"x": floats(x)} for x in (1, -1, 2))):
        with pytest.raises(ServingError, match="x must not be negative"):
            future.result()
    assert call(model, {"x": floats(1, 2, 3)})["y"].tolist() == [1, 2, 3]


def test_a_wrong_dtype_is_refused_alone_and_as_without_batching(load: Load, clients: ThreadPoolExecutor) -> None:
    model = load("half_plus_two", max_batch_size=2, batch_timeout_micros=WHEN_FULL)
    (neighbour,) = together(clients, model, {"x": floats(1)})
    error = refused(model, {"x": np.array([1], np.int32)})
    assert (error.code, "to be float but int32 is provided" in error.message) == (Code.INVALID_ARGUMENT, True)
    call(model, {"x": floats(2)})
    assert neighbour.result()["y"].tolist() == [2.5]


# Time


def test_a_request_whose_batch_does_not_begin_in_time_is_not_run(load: Load) -> None:
    model = load("half_plus_two", batch_timeout_micros=WHEN_FULL)
    error = refused(model, {"x": floats(1)}, timeout=0.02)
    assert str(error) == "RESOURCE_EXHAUSTED: Run() timeout exceeded while waiting in batching queue"
    assert waiting(model) == 0


def test_a_request_whose_batch_does_not_end_in_time_is_answered_then(load: Load, clients: ThreadPoolExecutor) -> None:
    model = load("together", max_batch_size=2, batch_timeout_micros=WHEN_FULL)
    (patient,) = together(clients, model, {"seconds": floats(3.0)})
    error = refused(model, {"seconds": floats(0)}, timeout=1.5)
    assert str(error) == "DEADLINE_EXCEEDED: Timed out waiting for notification"
    assert patient.result()["rows"].tolist() == [2]


def test_a_batch_ends_with_its_latest_deadline(load: Load) -> None:
    model = load("together")
    assert refused(model, {"seconds": floats(3600)}, timeout=0.3).code is Code.DEADLINE_EXCEEDED


# Loading


def test_only_versions_with_parameters_are_batched_when_each_has_its_own(tmp_path: Path, models: Models) -> None:
    plain, batched = models.copy("half_plus_two", tmp_path, 1), models.copy("half_plus_two", tmp_path, 2)
    (batched / "batching_params.pbtxt").write_text("max_batch_size { value: 2 }")
    load = BatchingLoader(load_saved_model, Scheduler(1), BatchingParameters(max_batch_size=3), per_model=True)
    first, second = load(plain), load(batched)
    try:
        assert isinstance(first, SavedModel)
        assert isinstance(second, BatchedModel)
        assert refused(second, {"x": floats(1, 2, 3)}).message.endswith("maximum input batch size 2")
    finally:
        first.close()
        second.close()


def test_parameters_that_cannot_be_fail_the_load(models: Models) -> None:
    load = BatchingLoader(load_saved_model, Scheduler(1), BatchingParameters(batch_timeout_micros=-1))
    with pytest.raises(ServingError, match="batch_timeout_micros must be non-negative; was -1"):
        load(models.path("half_plus_two") / "1")


def test_closing_answers_what_waits(models: Models, clients: ThreadPoolExecutor) -> None:
    parameters = BatchingParameters(batch_timeout_micros=WHEN_FULL)
    model = BatchingLoader(load_saved_model, Scheduler(1), parameters)(models.path("half_plus_two") / "1")
    assert isinstance(model, BatchedModel)
    (future,) = together(clients, model, {"x": floats(1)})
    model.close()
    assert future.result()["y"].tolist() == [2.5]
