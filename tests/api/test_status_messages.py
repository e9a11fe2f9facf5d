from __future__ import annotations

import json
from pathlib import Path

from google.protobuf import json_format
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef
from tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusResponse

from tfs_notebook.api.status_messages import metadata_json, model_spec, status_json, status_message
from tfs_notebook.engine.events import State
from tfs_notebook.engine.lifecycle.version import VersionStatus
from tfs_notebook.errors import ServingError, not_found


def version(number: int, state: State, error: ServingError | None = None) -> VersionStatus:
    return VersionStatus(number, state, error, True, Path("/m"), 0.0, 1, None, {})


def test_status_as_tensorflow_serving_prints_it() -> None:
    assert status_json([version(123, State.AVAILABLE)]) == (
        b"""{
 "model_version_status": [
  {
   "version": "123",
   "state": "AVAILABLE",
   "status": {
    "error_code": "OK",
    "error_message": ""
   }
  }
 ]
}
"""
    )


def test_an_error_is_told_once_the_version_has_ended_by_it() -> None:
    failed = not_found("no graph")
    versions = [version(2, State.END, failed), version(1, State.LOADING, failed)]
    ended, loading = json.loads(status_json(versions))["model_version_status"]
    assert ended["status"] == {"error_code": "NOT_FOUND", "error_message": "no graph"}
    assert loading["status"] == {"error_code": "OK", "error_message": ""}
    message = status_message(versions)
    assert [entry.HasField("status") for entry in message.model_version_status] == [True, True]
    assert json_format.Parse(status_json(versions), GetModelStatusResponse()) == message


def test_metadata_is_the_model_spec_and_the_signatures_without_an_envelope() -> None:
    definition = SignatureDef(method_name="tensorflow/serving/predict")
    definition.inputs["x"].name = "x:0"
    definition.inputs["x"].tensor_shape.dim.add(size=-1)
    metadata = json.loads(metadata_json("m/n", 7, {"serving_default": definition}))
    shape = {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False}
    assert metadata == {
        "model_spec": {"name": "m/n", "signature_name": "", "version": "7"},
        "metadata": {
            "signature_def": {
                "signature_def": {
                    "serving_default": {
                        "inputs": {"x": {"name": "x:0", "dtype": "DT_INVALID", "tensor_shape": shape}},
                        "outputs": {},
                        "method_name": "tensorflow/serving/predict",
                        "defaults": {},
                    }
                }
            }
        },
    }


def test_the_effective_model_spec_names_the_version_even_when_it_is_0() -> None:
    spec = model_spec("m", 0, "s")
    assert spec.HasField("version")
    assert (spec.name, spec.version.value, spec.signature_name) == ("m", 0, "s")
