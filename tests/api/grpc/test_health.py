"""grpc.health.v1.Health and server reflection with the official clients of both."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, Any

import grpc
import pytest
import tensorflow as tf
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

import tfs_notebook
from tests.support.serving import PATIENCE, until
from tfs_notebook.server import start

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import Models

ANY: dict[str, Any] = {"rest_api_port": 0, "port": 0}
HEALTHY: dict[str, Any] = {**ANY, "enable_grpc_healthcheck_service": True}
SERVING, NOT_SERVING, UNKNOWN = 1, 2, 3
OURS = ["tensorflow.serving.ModelService", "tensorflow.serving.PredictionService"]
REFLECTION = "grpc.reflection.v1alpha.ServerReflection"


@pytest.fixture
def path(models: Models) -> str:
    return str(models.path("half_plus_two"))


def check(channel: grpc.Channel, service: str = "") -> int:
    request = health_pb2.HealthCheckRequest(service=service)
    return int(health_pb2_grpc.HealthStub(channel).Check(request, timeout=PATIENCE).status)


def refusal(call: Callable[[], Any]) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value.code(), caught.value.details()


class Watch:
    """A stream of health, read as it comes."""

    def __init__(self, channel: grpc.Channel, service: str = "") -> None:
        self._stream = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=service))
        self._told: queue.Queue[Any] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        try:
            for response in self._stream:
                self._told.put(response.status)
            self._told.put("end")
        except grpc.RpcError as error:
            self._told.put(error.code())

    def next(self) -> Any:
        return self._told.get(timeout=PATIENCE)

    def cancel(self) -> None:
        self._stream.cancel()


# Health


@pytest.mark.parametrize("service", ["", "ModelService", "PredictionService"])
def test_health(path: str, service: str) -> None:
    with tfs_notebook.serve(path, **HEALTHY) as server, grpc.insecure_channel(server.grpc_target) as channel:
        assert check(channel, service) == SERVING
        watch = Watch(channel, service)
        assert watch.next() == SERVING


def test_health_of_what_is_no_service(path: str) -> None:
    name = "tensorflow.serving.PredictionService"  # TensorFlow Serving has the short names alone
    with tfs_notebook.serve(path, **HEALTHY) as server, grpc.insecure_channel(server.grpc_target) as channel:
        assert refusal(lambda: check(channel, name)) == (grpc.StatusCode.NOT_FOUND, "service name unknown")
        watch = Watch(channel, name)
        assert watch.next() == UNKNOWN
        server.stop()
        assert watch.next() == "end"


def test_health_is_off_unless_asked_for(path: str) -> None:
    with tfs_notebook.serve(path, **ANY) as server, grpc.insecure_channel(server.grpc_target) as channel:
        assert refusal(lambda: check(channel))[0] == grpc.StatusCode.UNIMPLEMENTED
        target = server.grpc_target
        start.change(server, path, "", {"enable_grpc_healthcheck_service": True})
        assert server.grpc_target == target
        own_connection = [("grpc.use_local_subchannel_pool", 1)]  # the other one ends with the server that had it
        with grpc.insecure_channel(target, own_connection) as fresh:
            assert check(fresh) == SERVING


def test_probes_need_no_token_and_get_nothing_else(path: str) -> None:
    with (
        tfs_notebook.serve(path, token="secret", **HEALTHY) as server,
        grpc.insecure_channel(server.grpc_target) as channel,
    ):
        assert check(channel) == SERVING
        request = predict_pb2.PredictRequest(model_spec={"name": "model"})
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        assert refusal(lambda: stub.Predict(request))[0] == grpc.StatusCode.UNAUTHENTICATED
    with (
        tfs_notebook.serve(path, token="secret", **ANY) as server,
        grpc.insecure_channel(server.grpc_target) as channel,
    ):
        assert refusal(lambda: check(channel))[0] == grpc.StatusCode.UNAUTHENTICATED


def test_a_probe_is_answered_while_every_thread_is_busy(models: Models) -> None:
    path = str(models.path("slow"))
    with (
        tfs_notebook.serve(path, grpc_max_threads=1, **HEALTHY) as server,
        grpc.insecure_channel(server.grpc_target) as channel,
    ):
        request = predict_pb2.PredictRequest(model_spec={"name": "model"})
        request.inputs["seconds"].CopyFrom(tf.make_tensor_proto(10.0))
        busy = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict.future(request, timeout=PATIENCE)
        until(lambda: server._core.manager.registry.serving["model"][1]._pins, "its request has not begun")
        assert check(channel) == SERVING
        assert not busy.done()
        busy.cancel()
        server.stop(timeout=0.1)


def test_watchers_are_told_that_the_server_drains_and_do_not_hold_it_up(models: Models) -> None:
    path = str(models.path("slow"))
    server = tfs_notebook.serve(path, **HEALTHY)
    with grpc.insecure_channel(server.grpc_target) as channel:
        request = predict_pb2.PredictRequest(model_spec={"name": "model"})
        request.inputs["seconds"].CopyFrom(tf.make_tensor_proto(2.0))
        watch = Watch(channel)
        assert watch.next() == SERVING
        under_way = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict.future(request, timeout=PATIENCE)
        until(lambda: server._core.manager.registry.serving["model"][1]._pins, "its request has not begun")
        stopping = threading.Thread(target=server.stop, args=(60,))
        stopping.start()
        assert watch.next() == NOT_SERVING
        assert watch.next() == "end"
        assert under_way.result().model_spec.name == "model"
        stopping.join(30)  # half of what the watcher might have taken
        assert not stopping.is_alive()


def test_a_watcher_who_left(path: str) -> None:
    with tfs_notebook.serve(path, **HEALTHY) as server, grpc.insecure_channel(server.grpc_target) as channel:
        watches = [Watch(channel) for _ in range(20)]  # more than there are threads
        for watch in watches:
            assert watch.next() == SERVING
        for watch in watches:
            watch.cancel()
            assert watch.next() == grpc.StatusCode.CANCELLED
        assert check(channel) == SERVING


# Reflection


def test_reflection_tells_services_and_messages(path: str) -> None:
    with tfs_notebook.serve(path, **ANY) as server, grpc.insecure_channel(server.grpc_target) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        assert sorted(database.get_services()) == sorted([REFLECTION, *OURS])
        pool = DescriptorPool(database)
        service = pool.FindServiceByName("tensorflow.serving.PredictionService")
        assert [method.name for method in service.methods] == [
            "Classify",
            "Regress",
            "Predict",
            "MultiInference",
            "GetModelMetadata",
        ]
        # A tool calls by these descriptions alone
        method = service.methods_by_name["GetModelMetadata"]
        ask = channel.unary_unary(
            f"/{service.full_name}/{method.name}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )
        request = GetMessageClass(method.input_type)(metadata_field=["signature_def"])
        request.model_spec.name = "model"
        assert ask(request).model_spec.version.value == 1


def test_reflection_tells_of_health_when_it_is_on(path: str) -> None:
    with tfs_notebook.serve(path, **HEALTHY) as server, grpc.insecure_channel(server.grpc_target) as channel:
        services = ProtoReflectionDescriptorDatabase(channel).get_services()
        assert sorted(services) == sorted(["grpc.health.v1.Health", REFLECTION, *OURS])


def test_reflection_needs_the_token(path: str) -> None:
    requests = [reflection_pb2.ServerReflectionRequest(list_services="")]

    def services(channel: grpc.Channel, token: str) -> list[Any]:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        return list(stub.ServerReflectionInfo(iter(requests), metadata=[("authorization", token)], timeout=PATIENCE))

    with (
        tfs_notebook.serve(path, token="secret", **ANY) as server,
        grpc.insecure_channel(server.grpc_target) as channel,
    ):
        assert refusal(lambda: services(channel, "guess"))[0] == grpc.StatusCode.UNAUTHENTICATED
        (told,) = services(channel, "Bearer secret")
        assert [service.name for service in told.list_services_response.service] == [REFLECTION, *OURS]


def test_a_reflection_stream_that_stays_open_holds_nothing_up(path: str) -> None:
    over = threading.Event()

    def requests() -> Iterator[Any]:
        yield reflection_pb2.ServerReflectionRequest(list_services="")
        over.wait()

    server = tfs_notebook.serve(path, grpc_max_threads=1, **ANY)
    with grpc.insecure_channel(server.grpc_target) as channel:
        stream = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(requests())
        assert len(next(stream).list_services_response.service) == 3
        request = predict_pb2.PredictRequest(model_spec={"name": "model"})
        request.inputs["x"].CopyFrom(tf.make_tensor_proto([1.0]))
        assert prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request, timeout=PATIENCE)
        stopping = threading.Thread(target=server.stop, args=(60,))
        stopping.start()
        stopping.join(30)
        assert not stopping.is_alive()
        assert refusal(lambda: next(stream))[0] == grpc.StatusCode.CANCELLED
        over.set()
