"""The messages of Classify, Regress and MultiInference: requests answered by a version that is already pinned.

Only `signature_name` is taken from a request's model spec here; replies tell the version that answers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tensorflow_serving.apis.classification_pb2 import (
    Class,
    ClassificationRequest,
    ClassificationResponse,
    ClassificationResult,
    Classifications,
)
from tensorflow_serving.apis.inference_pb2 import InferenceResult, MultiInferenceRequest, MultiInferenceResponse
from tensorflow_serving.apis.regression_pb2 import Regression, RegressionRequest, RegressionResponse, RegressionResult

from tfs_notebook.api.classification import Classes, Task, classify, multi_inference, regress
from tfs_notebook.api.examples import read_input
from tfs_notebook.api.status_messages import model_spec
from tfs_notebook.engine.models.signature import DEFAULT_SIGNATURE

if TYPE_CHECKING:
    import numpy as np
    from tensorflow_serving.apis.model_pb2 import ModelSpec

    from tfs_notebook.api.calls.call import Call
    from tfs_notebook.api.classification import Result


def classification_response(
    call: Call, request: ClassificationRequest, timeout: float | None = None
) -> ClassificationResponse:
    """The answer to Classify; `timeout` in seconds. Raises ServingError."""
    name = request.model_spec.signature_name
    classes = classify(call, name, read_input(request.input), timeout=timeout)
    return ClassificationResponse(model_spec=_effective(call, request.model_spec), result=_classification(classes))


def regression_response(call: Call, request: RegressionRequest, timeout: float | None = None) -> RegressionResponse:
    """The answer to Regress; `timeout` in seconds. Raises ServingError."""
    name = request.model_spec.signature_name
    values = regress(call, name, read_input(request.input), timeout=timeout)
    return RegressionResponse(model_spec=_effective(call, request.model_spec), result=_regression(values))


def multi_inference_response(
    call: Call, request: MultiInferenceRequest, timeout: float | None = None
) -> MultiInferenceResponse:
    """The answer to MultiInference, task by task; `timeout` in seconds. Raises ServingError."""
    tasks = [Task(task.model_spec.name, task.model_spec.signature_name, task.method_name) for task in request.tasks]
    results = multi_inference(call, tasks, read_input(request.input), timeout=timeout)
    specs = [_effective(call, task.model_spec) for task in request.tasks]
    return MultiInferenceResponse(results=map(_inference_result, specs, results))


def result_response(result: Result) -> ClassificationResponse | RegressionResponse:
    """The answer to Classify or Regress with `result`, still without the version that gave it."""
    if isinstance(result, Classes):
        return ClassificationResponse(result=_classification(result))
    return RegressionResponse(result=_regression(result))


def _inference_result(spec: ModelSpec, result: Result) -> InferenceResult:
    if isinstance(result, Classes):
        return InferenceResult(model_spec=spec, classification_result=_classification(result))
    return InferenceResult(model_spec=spec, regression_result=_regression(result))


def _effective(call: Call, asked: ModelSpec) -> ModelSpec:
    return model_spec(asked.name, call.version, asked.signature_name or DEFAULT_SIGNATURE)


def _classification(classes: Classes) -> ClassificationResult:
    rows = zip(classes.labels.tolist(), classes.scores.tolist(), strict=True)
    return ClassificationResult(classifications=[_classifications(*row) for row in rows])


def _classifications(labels: list[bytes], scores: list[float]) -> Classifications:
    # A string field of a message cannot carry anything but UTF-8
    pairs = zip(labels, scores, strict=True)
    return Classifications(classes=[Class(label=label.decode(errors="replace"), score=score) for label, score in pairs])


def _regression(values: np.ndarray) -> RegressionResult:
    return RegressionResult(regressions=[Regression(value=value) for value in values.tolist()])
