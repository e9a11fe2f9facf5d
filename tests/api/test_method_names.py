"""--enable_signature_method_name_check, asked in the three ways."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

import tfs_notebook
from tests.support.serving import PATIENCE, ask
from tfs_notebook import ServingError
from tfs_notebook.server import start

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Models
    from tfs_notebook.server.server import Server

ANY = {"port": 0, "rest_api_port": 0}
REFUSED = (
    "Expected prediction signature method_name to be one of {tensorflow/serving/predict, tensorflow/serving/classify, "
    "tensorflow/serving/regress}. Was: mine/own"
)


@pytest.fixture
def base_path(tmp_path: Path) -> Path:
    """x: float[?] → y = 2x, as the signatures `own`, `predict`, `classify` and `regress`, by their method names."""
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [None], name="x")
        sides = [{alias: v1.saved_model.build_tensor_info(t)} for alias, t in {"x": x, "y": 2 * x}.items()]
        builder = v1.saved_model.Builder(str(tmp_path / "1"))
        methods = {
            "own": "mine/own",
            **{name: f"tensorflow/serving/{name}" for name in ("predict", "classify", "regress")},
        }
        signatures = {name: v1.saved_model.build_signature_def(*sides, method) for name, method in methods.items()}
        builder.add_meta_graph_and_variables(session, ["serve"], signature_def_map=signatures)
        builder.save()
    return tmp_path


def over_grpc(server: Server, signature_name: str) -> list[float]:
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "model", signature_name
    request.inputs["x"].CopyFrom(tf.make_tensor_proto([1.0]))
    with grpc.insecure_channel(server.grpc_target) as channel:
        reply = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request, timeout=PATIENCE)
    return list(reply.outputs["y"].float_val)


def over_rest(server: Server, signature_name: str) -> object:
    body = {"signature_name": signature_name, "instances": [1.0]}
    reply = ask(server, "POST", "/v1/models/model:predict", body)
    return reply.json.get("predictions") if reply.status == 200 else (reply.status, reply.error)


def test_a_method_name_of_ones_own_is_refused_when_asked_for(base_path: Path) -> None:
    with tfs_notebook.serve(str(base_path), enable_signature_method_name_check=True, **ANY) as server:
        for name in ("predict", "classify", "regress"):
            assert over_rest(server, name) == over_grpc(server, name) == [2.0]
        assert over_rest(server, "own") == (500, REFUSED)
        with pytest.raises(grpc.RpcError) as caught:
            over_grpc(server, "own")
        assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.INTERNAL, REFUSED)
        with pytest.raises(ServingError) as refused:
            server.predict("model", np.array([1.0], np.float32), signature_name="own")
        assert (refused.value.code.name, refused.value.message) == ("INTERNAL", REFUSED)
        assert ask(server, "GET", "/v1/models/model/metadata").status == 200


def test_the_check_is_off_by_default_and_can_be_switched(base_path: Path) -> None:
    with tfs_notebook.serve(str(base_path), **ANY) as server:
        assert over_rest(server, "own") == over_grpc(server, "own") == [2.0]
        start.change(server, str(base_path), "", {"enable_signature_method_name_check": True})
        assert over_rest(server, "own") == (500, REFUSED)
        start.change(server, str(base_path), "", {})
        assert over_rest(server, "own") == [2.0]


def test_a_signature_that_is_not_there_is_still_told_as_such(models: Models) -> None:
    path = str(models.path("half_plus_two"))
    with tfs_notebook.serve(path, enable_signature_method_name_check=True, **ANY) as server:
        assert over_rest(server, "nothing") == (400, 'Serving signature name: "nothing" not found in signature def')
