"""Small requests never cost the server more memory than it can tell beforehand."""

from __future__ import annotations

import threading
import weakref
from functools import partial
from typing import TYPE_CHECKING

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

import tfs_notebook
from tests.faults.parts import ANY, BATCHED
from tests.support.serving import PATIENCE, ask, until
from tfs_notebook.api.calls.call import Asking
from tfs_notebook.api.calls.exchanges import ArraysExchange
from tfs_notebook.api.calls.model_spec import ModelSpec
from tfs_notebook.api.records import write_down
from tfs_notebook.engine.request_log.config import LoggingConfig
from tfs_notebook.engine.request_log.log import RequestLog

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Models


def test_a_request_of_few_bytes_does_not_make_a_batch_of_gigabytes(models: Models, tmp_path: Path) -> None:
    """An empty tensor may have a very long side, to which the rows of others would be padded."""
    file = tmp_path / "batching"
    file.write_text(
        "max_batch_size { value: 2 } batch_timeout_micros { value: 3600000000 } pad_variable_length_inputs: true"
    )
    empty, other = (predict_pb2.PredictRequest(model_spec={"name": "model"}) for _ in range(2))
    empty.inputs["x"].dtype = 1
    for size in (0, 2**31 - 1):
        empty.inputs["x"].tensor_shape.dim.add(size=size)
    other.inputs["x"].CopyFrom(tf.make_tensor_proto(np.ones((2, 1), np.float32)))
    options = {"batching_parameters_file": str(file), **BATCHED, **ANY}
    with (
        tfs_notebook.serve(str(models.path("any_width")), **options) as server,
        grpc.insecure_channel(server.grpc_target) as channel,
    ):
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        queues = server._core.manager.registry.serving["model"][1].servable._queues
        first = stub.Predict.future(empty, timeout=PATIENCE)
        until(lambda: any(not queue.is_empty for queue in list(queues.values())))
        for call in (stub.Predict.future(other, timeout=PATIENCE), first):
            with pytest.raises(grpc.RpcError) as refused:
                call.result()
            assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert "would take 17179869176 bytes when padded to rows of [2147483647]" in refused.value.details()
        assert ask(server, "POST", "/v1/models/model:predict", {"instances": [[1.0], [2.0]]}).status == 200


def test_a_record_that_waits_does_not_keep_the_batch_it_was_answered_with(models: Models, tmp_path: Path) -> None:
    """The log counts the bytes of the one request; the batch may have had a thousand."""
    begun, go_on = threading.Event(), threading.Event()

    def hang() -> bytes:
        begun.set()
        assert go_on.wait(PATIENCE)
        return b""

    log = RequestLog()
    logs = log.update({"model": LoggingConfig(f"{tmp_path}/", 1.0)})
    try:
        logs["model"].submit(hang, 1)  # as on a disk that does not answer
        assert begun.wait(PATIENCE)
        with (
            tfs_notebook.serve(str(models.path("half_plus_two")), **ANY) as server,
        ):
            server._inference.observers.add(partial(write_down, logs), tensors=True)
            batch = np.zeros((1000, 1000), np.float32)
            share = {"y": batch[:1]}
            spec = ModelSpec("model")
            with server._inference.pin(spec, Asking("rest", "Predict"), ("",)) as call:
                call.exchange = ArraysExchange(spec, "serving_default", {"x": np.ones(1, np.float32)}, share)
            del call
            kept = weakref.ref(batch)
            del batch, share
            assert kept() is None
    finally:
        go_on.set()
        log.close(PATIENCE)
    records = tf.data.TFRecordDataset(sorted(map(str, tmp_path.glob("*.tfrecord"))))
    assert len([*records]) == 2
