"""Whatever bytes come over gRPC: a status that tells the client, and the next request is answered as ever."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import pytest
from google.protobuf import wrappers_pb2
from hypothesis import given
from hypothesis import strategies as st
from tensorflow.core.example import example_pb2, feature_pb2
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    input_pb2,
    model_management_pb2,
    model_pb2,
    predict_pb2,
    regression_pb2,
)

import tfs_notebook
from tests.faults.parts import ANY, FIXED, FUZZED, WAYS, assert_answers, serving_as
from tests.support.serving import config_text
from tfs_notebook.settings import deployment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.message import Message

    from tests.conftest import Models
    from tfs_notebook.server.server import Server

PREDICTION, MODEL = "/tensorflow.serving.PredictionService/", "/tensorflow.serving.ModelService/"
UNPARSABLE = "Exception deserializing request!"
"""What grpc itself says, with INTERNAL, of bytes that are no message."""
NEVER = {
    grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED,
    grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.DATA_LOSS,
}  # fmt: skip


@pytest.fixture(scope="module", params=WAYS)
def server(
    request: pytest.FixtureRequest, models: Models, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    with serving_as(request.param, models, tmp_path_factory.mktemp("fuzz")) as server:
        yield server


@pytest.fixture(scope="module")
def channel(server: Server) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(server.grpc_target) as channel:
        yield channel


names = st.sampled_from(FUZZED)
sizes = st.sampled_from([0, 1, 2, 3, 28, -1, -(2**63), 2**31 - 1, 2**31, 2**40, 2**63 - 1])
small_shapes = st.lists(st.integers(0, 3), max_size=4)
shapes = small_shapes | st.lists(sizes, max_size=5) | st.lists(st.sampled_from([0, 1]), min_size=20, max_size=260)
floats = st.lists(st.floats(width=32), max_size=9)
integers = st.lists(st.integers(-(2**31), 2**31 - 1), max_size=5)
aliases = st.sampled_from(["x", "also_x", "a", "b", "words", "image_bytes", "keras_tensor", "z", ""])


@st.composite
def tensors(draw: st.DrawFn) -> tensor_pb2.TensorProto:
    """A TensorProto of any dtype and shape, whose values are in one field or in several, or not enough."""
    tensor = tensor_pb2.TensorProto(dtype=draw(st.sampled_from([1, 1, 1, 3, 7]) | st.integers(0, 30)))
    shape = draw(shapes)
    for size in shape:
        tensor.tensor_shape.dim.add(size=size)
    tensor.tensor_shape.unknown_rank = draw(st.sampled_from([False] * 9 + [True]))
    tensor.float_val.extend(draw(floats))
    tensor.int_val.extend(draw(integers))
    tensor.string_val.extend(draw(st.lists(st.binary(max_size=4), max_size=3)))
    if draw(st.booleans()):
        tensor.tensor_content = draw(st.binary(max_size=40))
    return tensor


specs = st.builds(
    model_pb2.ModelSpec,
    name=names,
    signature_name=st.sampled_from(
        ["", "serving_default", "regress_x_to_y", "classify_x_to_y", "float", "string", "?"]
    ),
    version=st.none() | st.integers(0, 2).map(lambda number: wrappers_pb2.Int64Value(value=number)),
)
predicts = st.builds(
    predict_pb2.PredictRequest,
    model_spec=specs,
    inputs=st.dictionaries(aliases, tensors(), max_size=3),
    output_filter=st.lists(st.sampled_from(["y", "also_y", "total", "doubled", "?"]), max_size=2),
)
features = st.one_of(
    st.builds(lambda v: feature_pb2.Feature(float_list={"value": v}), floats),
    st.builds(lambda v: feature_pb2.Feature(int64_list={"value": v}), integers),
    st.just(feature_pb2.Feature()),
)
examples = st.builds(
    lambda by_name: example_pb2.Example(features={"feature": by_name}),
    st.dictionaries(st.sampled_from(["x", "z"]), features, max_size=2),
)
inputs = st.builds(input_pb2.Input, example_list=st.builds(input_pb2.ExampleList, examples=st.lists(examples)))
contexts = st.builds(
    input_pb2.ExampleListWithContext, examples=st.lists(examples, max_size=3), context=examples | st.none()
)
inputs |= st.builds(input_pb2.Input, example_list_with_context=contexts) | st.just(input_pb2.Input())
tasks = st.builds(
    inference_pb2.InferenceTask,
    model_spec=specs,
    method_name=st.sampled_from(["tensorflow/serving/classify", "tensorflow/serving/regress", "?"]),
)
requests = {
    PREDICTION + "Predict": predicts,
    PREDICTION + "Classify": st.builds(classification_pb2.ClassificationRequest, model_spec=specs, input=inputs),
    PREDICTION + "Regress": st.builds(regression_pb2.RegressionRequest, model_spec=specs, input=inputs),
    PREDICTION + "MultiInference": st.builds(
        inference_pb2.MultiInferenceRequest, tasks=st.lists(tasks, max_size=3), input=inputs
    ),
    PREDICTION + "GetModelMetadata": st.builds(
        get_model_metadata_pb2.GetModelMetadataRequest,
        model_spec=specs,
        metadata_field=st.lists(st.sampled_from(["signature_def", "?"]), max_size=2),
    ),
    MODEL + "GetModelStatus": st.builds(get_model_status_pb2.GetModelStatusRequest, model_spec=specs),
}


def serialized(messages: st.SearchStrategy[Message]) -> st.SearchStrategy[bytes]:
    return messages.map(lambda message: message.SerializeToString())


@st.composite
def damaged(draw: st.DrawFn, sound: st.SearchStrategy[bytes]) -> bytes:
    """What `sound` gives with some bytes put in, taken out or exchanged."""
    message = draw(sound)
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(message)))
        message = message[:start] + draw(st.binary(max_size=3)) + message[start + draw(st.integers(0, 3)) :]
    return message


def ask_raw(channel: grpc.Channel, method: str, message: bytes, timeout: float = 60) -> grpc.StatusCode:
    """The status of `message`, sent as it is; OK also for what grpc itself finds to be no message at all."""
    try:
        channel.unary_unary(method)(message, timeout=timeout)
    except grpc.RpcError as error:
        return grpc.StatusCode.OK if error.details() == UNPARSABLE else error.code()
    return grpc.StatusCode.OK


def some(strategies: dict[str, st.SearchStrategy[bytes]]) -> st.SearchStrategy[tuple[str, bytes]]:
    """A method, and bytes from its own strategy."""
    return st.sampled_from(sorted(strategies)).flatmap(
        lambda method: strategies[method].map(lambda message: (method, message))
    )


@FIXED
@given(message=serialized(predicts))
def test_predict(server: Server, channel: grpc.Channel, message: bytes) -> None:
    assert ask_raw(channel, PREDICTION + "Predict", message) not in NEVER
    assert_answers(server)


@FIXED
@given(asked=some({method: serialized(messages) for method, messages in requests.items()}))
def test_messages(server: Server, channel: grpc.Channel, asked: tuple[str, bytes]) -> None:
    assert ask_raw(channel, *asked) not in NEVER
    assert_answers(server)


@FIXED
@given(asked=some({method: damaged(serialized(messages)) for method, messages in requests.items()}))
def test_damaged_messages(server: Server, channel: grpc.Channel, asked: tuple[str, bytes]) -> None:
    assert ask_raw(channel, *asked) not in NEVER
    assert_answers(server)


@FIXED
@given(method=st.sampled_from(sorted(requests)), message=st.binary(max_size=80))
def test_bytes(server: Server, channel: grpc.Channel, method: str, message: bytes) -> None:
    assert ask_raw(channel, method, message) not in NEVER
    assert_answers(server)


@FIXED
@given(data=st.data())
def test_configurations(models: Models, reloaded: Server, data: st.DataObject) -> None:
    """One that is refused changes nothing; one that is taken may well serve nothing, until it is mended."""
    good = deployment.parse_config(config_text({"half_plus_two": models.path("half_plus_two")}))
    sound = model_management_pb2.ReloadConfigRequest(config=good).SerializeToString()
    message = data.draw(damaged(st.just(sound)) | st.binary(max_size=40))
    with grpc.insecure_channel(reloaded.grpc_target) as channel:
        status = ask_raw(channel, MODEL + "HandleReloadConfigRequest", message, timeout=2)
    # UNKNOWN is TensorFlow Serving's code for models that do not come up
    assert status not in NEVER - {grpc.StatusCode.UNKNOWN, grpc.StatusCode.DEADLINE_EXCEEDED}
    reloaded.reload(good)
    assert_answers(reloaded)


@pytest.fixture(scope="module")
def reloaded(models: Models) -> Iterator[Server]:
    with tfs_notebook.serve(str(models.path("half_plus_two")), model_name="half_plus_two", **ANY) as server:
        yield server
