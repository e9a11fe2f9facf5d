"""Whatever tensors a TFLite model is given, the process lives, the error is TFLite's, and the next request is answered.

TFLite's kernels check little of what they are given, and an interpreter that has failed once must not be used again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tensorflow_serving.apis import predict_pb2

import tfs_notebook
from tests.faults.parts import ANY, FIXED, assert_nothing_pinned
from tests.faults.test_fuzz_grpc import NEVER, PREDICTION, floats, integers, sizes
from tests.support import tflite_models
from tests.support.serving import PATIENCE, ask, config_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tfs_notebook.server.server import Server

MODELS = {
    "linear": (("serving_default_x", "serving_default_z"), 2, 1),
    "words": (("serving_default_s",), 1, 7),
    "gathering": (("serving_default_i",), 1, 3),
}
"""The inputs of each, their rank and their dtype's number."""
TOLD = ("Failed to allocate tensors", "Failed to invoke TfLite interpreter", "Failed to resize input tensor")
"""What TensorFlow Serving, too, says with INTERNAL."""
GOOD = {"instances": [{"serving_default_x": [1.0, 2.0], "serving_default_z": [0.0, 1.0]}]}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("tflite")
    for name in MODELS:
        tflite_models.write(root / name / "1", getattr(tflite_models, name)())
    config = config_text({name: root / name for name in MODELS})
    with tfs_notebook.serve(config=config, prefer_tflite_model=True, **ANY) as server:
        assert server.problems == []
        yield server
        assert_nothing_pinned(server)


@pytest.fixture(scope="module")
def channel(server: Server) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(server.grpc_target) as channel:
        yield channel


@st.composite
def requests(draw: st.DrawFn) -> predict_pb2.PredictRequest:
    """A request with tensors of the right dtype, mostly of the right rank, and of any size."""
    name = draw(st.sampled_from(sorted(MODELS)))
    aliases, rank, dtype = MODELS[name]
    request = predict_pb2.PredictRequest(model_spec={"name": name})
    for alias in aliases:
        tensor: Any = request.inputs[alias]
        tensor.dtype = dtype
        dimensions = draw(st.sampled_from([rank] * 6 + [0, 3]))
        for size in draw(st.lists(st.integers(0, 3) | sizes, min_size=dimensions, max_size=dimensions)):
            tensor.tensor_shape.dim.add(size=size)
        tensor.float_val.extend(draw(floats))
        tensor.int_val.extend(draw(st.lists(st.integers(-1, 3), max_size=3) | integers))
        tensor.string_val.extend(draw(st.lists(st.binary(max_size=3), max_size=3)))
    return request


@FIXED
@given(request=requests())
def test_tensors(server: Server, channel: grpc.Channel, request: predict_pb2.PredictRequest) -> None:
    code, told = grpc.StatusCode.OK, ""
    try:
        channel.unary_unary(PREDICTION + "Predict")(request.SerializeToString(), timeout=PATIENCE)
    except grpc.RpcError as error:
        code, told = error.code(), error.details() or ""
    assert code not in NEVER or told.startswith(TOLD), told
    reply = ask(server, "POST", "/v1/models/linear:predict", GOOD)
    assert reply.json == {"predictions": [{"PartitionedCall": [2.0, 5.0], "PartitionedCall:1": 7.0}]}
